//! The checks before a task, on real databases: what is asked, what is found, and what a dead database costs.

use std::time::Duration;

use dm_keyspace::{SourceConfigKey, SubtaskKey};
use dm_proto::pb;
use dm_task::SourceConfig;
use dm_testkit::mariadb::{self, MariaDb};
use dm_testkit::proxy::{Direction, TcpProxy};

use crate::kit::{Cluster, LIMIT, database};

/// Where a source is, and who connects.
struct From {
    port: u16,
    user: &'static str,
    password: String,
}

impl From {
    fn of(db: &MariaDb) -> Self {
        Self {
            port: db.port(),
            user: mariadb::USER,
            password: db.password().to_owned(),
        }
    }
}

/// Writes the record of a source without asking its database.
fn source(cluster: &Cluster, id: &str, from: &From, gtid: bool) {
    let From {
        port,
        user,
        password,
    } = from;
    let yaml = format!(
        "source-id: {id}\nenable-gtid: {gtid}\n\
         from: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n"
    );
    let mut config = SourceConfig::from_yaml("", &yaml).unwrap();
    config.complete("mariadb", 429_496_800);
    let key = SourceConfigKey { source: id.into() }.encode();
    cluster.etcd.put(key, config.to_toml().unwrap());
}

/// A task file; `more` is at its end, on lines of its own.
fn task(mode: &str, target: &MariaDb, sources: &[(&str, &str)], more: &str) -> String {
    let (port, user, password) = (target.port(), mariadb::USER, target.password());
    let instances: String = sources
        .iter()
        .map(|(id, more)| format!("  - source-id: {id}\n    block-allow-list: l\n{more}"))
        .collect();
    format!(
        "name: t\ntask-mode: {mode}\n\
         target-database: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n\
         mysql-instances:\n{instances}\
         block-allow-list: {{l: {{do-dbs: [shop]}}}}\n{more}"
    )
}

async fn check(cluster: &Cluster, task: String) -> pb::CheckTaskResponse {
    let request = pb::CheckTaskRequest {
        task,
        err_cnt: -1,
        warn_cnt: -1,
        ..Default::default()
    };
    let mut client = cluster.client.clone();
    client.check_task(request).await.unwrap().into_inner()
}

/// State, name and findings of each result that is told.
fn results(msg: &str) -> Vec<String> {
    let (_, detail) = msg
        .split_once("detail: ")
        .unwrap_or_else(|| panic!("no detail: {msg}"));
    let detail: serde_json::Value = serde_json::from_str(detail).unwrap();
    let results = detail["results"].as_array().unwrap().iter();
    results
        .map(|result| {
            let errors = result["errors"].as_array().into_iter().flatten();
            let errors = errors.filter_map(|e| e["short_error"].as_str());
            let errors: Vec<&str> = errors.map(str::trim).collect();
            let (state, name) = (result["state"].as_str(), result["name"].as_str());
            format!(
                "{} {}: {}",
                state.unwrap(),
                name.unwrap(),
                errors.join(" | ")
            )
        })
        .collect()
}

const EXPERIMENTAL: &str = "warn mysql_version: Migrating from MariaDB is still experimental.";

#[tokio::test]
async fn a_good_task_on_mariadb_is_warned_of_nothing_but_mariadb() {
    let db = database("good").await;
    let cluster = Cluster::start().await;
    db.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, c TEXT); CREATE VIEW shop.v AS SELECT 1; CREATE SEQUENCE shop.s")
        .await
        .unwrap();
    source(&cluster, "s1", &From::of(&db), false);
    let text = task("all", &db, &[("s1", "")], "");
    let answer = check(&cluster, text.clone()).await;
    assert!(answer.result, "{}", answer.msg);
    assert!(
        answer.msg.starts_with(
            "fail to check synchronization configuration with type: no errors but some warnings\n detail: {\n\t\t\"results\": ["
        ),
        "{}",
        answer.msg
    );
    assert_eq!(results(&answer.msg), [EXPERIMENTAL]);
    assert!(answer.msg.contains("\"total\": 13"), "{}", answer.msg);
    let silent = check(
        &cluster,
        text.clone() + "ignore-checking-items: [version]\n",
    )
    .await;
    assert_eq!(
        (silent.result, silent.msg.as_str()),
        (true, "pre-check is passed. ")
    );
    let none = check(&cluster, text + "ignore-checking-items: [all]\n").await;
    assert_eq!((none.result, none.msg.as_str()), (true, ""));
    assert_eq!(
        db.query("SHOW DATABASES LIKE 'dm_meta'")
            .await
            .unwrap()
            .len(),
        0,
        "the check has written to the target"
    );
}

#[tokio::test]
async fn a_server_that_logs_too_little_and_an_account_that_may_too_little_fail_by_item() {
    let mut options = mariadb::Options::new(1);
    options.args = [
        "--binlog-format=MIXED",
        "--binlog-row-image=MINIMAL",
        "--binlog-do-db=other",
    ]
    .map(str::to_owned)
    .into();
    let db = MariaDb::start_temp("poor", options).await.unwrap();
    let mut cluster = Cluster::start().await;
    db.exec(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT); CREATE TABLE shop._t_gho (id INT PRIMARY KEY); \
         CREATE USER poor IDENTIFIED BY 'secret-of-poor'; GRANT SELECT ON shop.* TO poor; GRANT BINLOG MONITOR ON *.* TO poor",
    )
    .await
    .unwrap();
    let from = From {
        port: db.port(),
        user: "poor",
        password: "secret-of-poor".into(),
    };
    source(&cluster, "s1", &from, false);
    let text = task("all", &db, &[("s1", "")], "");
    let answer = check(&cluster, text.clone()).await;
    assert!(!answer.result);
    assert!(
        answer.msg.starts_with(
            "[code=26005:class=dm-master:scope=internal:level=medium], Message: fail to check"
        ),
        "{}",
        answer.msg
    );
    assert_eq!(
        results(&answer.msg),
        [
            "warn dumper_conn_number_checker: lack of Process global (*.*) privilege;",
            EXPERIMENTAL,
            "fail source db dump privilege checker: lack of RELOAD global (*.*) privilege;",
            "fail mysql_binlog_format: binlog_format is MIXED, and should be ROW",
            "fail mysql_binlog_row_image: binlog_row_image is MINIMAL, and should be FULL",
            "fail source db replication privilege checker: lack of REPLICATION SLAVE global (*.*) privilege;",
            "fail online ddl checker: your ddl is in pt/ghost online-ddl",
            "fail binlog_do_db/binlog_ignore_db check: these dbs [shop] are not in binlog_do_db[other]",
            "warn table structure compatibility check: table `shop`.`t` primary/unique key does not exist",
        ]
    );
    assert!(!answer.msg.contains("secret"), "{}", answer.msg);

    // The same stops a start, before anything is written.
    let _worker = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    let request = pb::StartTaskRequest {
        task: text,
        ..Default::default()
    };
    let answer = cluster
        .client
        .start_task(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.result && answer.msg.is_empty(), "{}", answer.msg);
    assert!(
        answer.check_result.starts_with("[code=26005:"),
        "{}",
        answer.check_result
    );
    assert_eq!(cluster.keys(SubtaskKey::PREFIX), 0);
}

#[tokio::test]
async fn merged_tables_are_compared_with_each_other_and_with_the_target_until_the_task_has_run() {
    let db = database("merged").await;
    let cluster = Cluster::start().await;
    db.exec(
        "CREATE DATABASE shop; CREATE DATABASE merged; CREATE TABLE shop.t1 (id INT AUTO_INCREMENT PRIMARY KEY, c TEXT); \
         CREATE TABLE shop.t2 (id INT PRIMARY KEY); CREATE TABLE merged.t (id INT PRIMARY KEY, must INT NOT NULL)",
    )
    .await
    .unwrap();
    source(&cluster, "s1", &From::of(&db), false);
    let routes = "routes: {r: {schema-pattern: shop, table-pattern: \"t*\", target-schema: merged, target-table: t}}\n";
    let ignored = "ignore-checking-items: [version]\n";
    let text = |mode: &str| {
        let more = format!("{routes}{ignored}shard-mode: {mode}\n");
        task("all", &db, &[("s1", "    route-rules: [r]\n")], &more)
    };
    let structure = "warn table structure compatibility check: table `shop`.`t1` upstream has more columns than downstream, \
         columns: [c] | table `shop`.`t1` downstream has more columns than upstream that require values to insert records, \
         table name: t, columns: [must] | table `shop`.`t2` downstream has more columns than upstream that require values \
         to insert records, table name: t, columns: [must]";
    let auto = "sourceID s1 table {shop t1} of sharding `merged`.`t` have auto-increment key, please make sure them \
                don't conflict in target table!";
    let answer = check(&cluster, text("pessimistic")).await;
    let shards = format!(
        "fail sharding table `merged`.`t` consistency checking: {auto} | column length mismatch (self: 1 vs other: 2)"
    );
    assert_eq!(results(&answer.msg), [structure, &shards]);
    // What is left of them in an optimistic task has a join.
    let answer = check(&cluster, text("optimistic")).await;
    let shards =
        format!("warn optimistic sharding table `merged`.`t` consistency checking: {auto}");
    assert_eq!(results(&answer.msg), [structure, &shards]);
    db.exec("CREATE DATABASE dm_meta; CREATE TABLE dm_meta.t_syncer_checkpoint (id INT)")
        .await
        .unwrap();
    let answer = check(&cluster, text("pessimistic")).await;
    assert_eq!(results(&answer.msg), [structure]);
}

#[tokio::test]
async fn a_position_is_tried_by_name_and_by_gtid() {
    let db = database("position").await;
    let cluster = Cluster::start().await;
    db.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); FLUSH BINARY LOGS")
        .await
        .unwrap();
    let status = db.query("SHOW MASTER STATUS").await.unwrap().remove(0);
    let (file, pos) = (status[0].clone().unwrap(), status[1].clone().unwrap());
    let gtid = db
        .query("SELECT @@GLOBAL.gtid_binlog_pos")
        .await
        .unwrap()
        .remove(0);
    let gtid = gtid[0].clone().unwrap();
    source(&cluster, "by-name", &From::of(&db), false);
    source(&cluster, "by-gtid", &From::of(&db), true);
    let tried = async |source: &str, meta: String| {
        let meta = format!("    meta: {{{meta}}}\n");
        let more = "ignore-checking-items: [version]\n";
        let answer = check(&cluster, task("incremental", &db, &[(source, &meta)], more)).await;
        if answer.result {
            assert_eq!(answer.msg, "pre-check is passed. ");
            return String::new();
        }
        results(&answer.msg).join("\n")
    };
    assert_eq!(
        tried("by-name", format!("binlog-name: {file}, binlog-pos: {pos}")).await,
        ""
    );
    assert_eq!(
        tried("by-name", format!("binlog-name: {file}, binlog-pos: 4")).await,
        ""
    );
    assert_eq!(tried("by-gtid", format!("binlog-gtid: {gtid}")).await, "");
    for (source, meta) in [
        (
            "by-name",
            "binlog-name: nothing.000009, binlog-pos: 4".to_owned(),
        ),
        (
            "by-name",
            format!("binlog-name: {file}, binlog-pos: 99999999"),
        ),
        ("by-gtid", "binlog-gtid: 0-1-99999".to_owned()),
        ("by-gtid", "binlog-gtid: nonsense".to_owned()),
    ] {
        let told = tried(source, meta.clone()).await;
        let start = format!(
            "fail meta position check: source {source} (127.0.0.1:{}): ",
            db.port()
        );
        assert!(told.starts_with(&start), "{meta}: {told}");
    }
}

#[tokio::test]
async fn a_database_that_is_dead_or_silent_is_named_and_costs_its_own_task_only() {
    let db = database("silent").await;
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", db.port()))
        .await
        .unwrap();
    let cluster = Cluster::start_with(&["--database-timeout", "2s"]).await;
    db.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)")
        .await
        .unwrap();
    source(&cluster, "alive", &From::of(&db), false);
    let silent = From {
        port: proxy.port(),
        ..From::of(&db)
    };
    source(&cluster, "silent", &silent, false);
    source(
        &cluster,
        "dead",
        &From {
            port: 1,
            ..From::of(&db)
        },
        false,
    );
    let both = |id: &str| {
        task(
            "all",
            &db,
            &[("alive", ""), (id, "")],
            "ignore-checking-items: [version]\n",
        )
    };
    assert_eq!(
        check(&cluster, both("silent")).await.msg,
        "pre-check is passed. "
    );

    let dead = check(&cluster, both("dead")).await;
    let start = "[code=26002:class=dm-master:scope=upstream:level=high], Message: fail to initialize checker: failed to \
                 open DSN dm:***@127.0.0.1:1, RawCause: source dead (127.0.0.1:1): ";
    assert!(!dead.result && dead.msg.starts_with(start), "{}", dead.msg);

    proxy.black_hole(Direction::ToClient);
    let alive = task(
        "all",
        &db,
        &[("alive", "")],
        "ignore-checking-items: [version]\n",
    );
    let asked = async { tokio::join!(check(&cluster, both("silent")), check(&cluster, alive)) };
    let (waited, passed) = tokio::time::timeout(LIMIT, asked).await.unwrap();
    assert_eq!(passed.msg, "pre-check is passed. ");
    assert!(
        waited.msg.contains("source silent (127.0.0.1:"),
        "{}",
        waited.msg
    );
    assert!(
        waited
            .msg
            .contains(&format!("no answer within {:?}", Duration::from_secs(2))),
        "{}",
        waited.msg
    );
}

#[tokio::test]
async fn update_task_is_checked_and_changes_nothing() {
    let db = database("update").await;
    let mut cluster = Cluster::start().await;
    db.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)")
        .await
        .unwrap();
    source(&cluster, "s1", &From::of(&db), false);
    let text = task(
        "all",
        &db,
        &[("s1", "")],
        "ignore-checking-items: [version]\n",
    );
    let request = pb::UpdateTaskRequest {
        task: text.clone(),
        sources: vec!["s9".into()],
    };
    let answer = cluster
        .client
        .update_task(request)
        .await
        .unwrap()
        .into_inner();
    assert!(answer.result, "{}", answer.msg);
    assert_eq!(answer.check_result, "pre-check is passed. ");
    assert_eq!(answer.sources[0].msg, "source not found in task's config");
    let broken = pb::UpdateTaskRequest {
        task: text + "mydumpers: {m: {extra-args: --fast}}\n",
        sources: Vec::new(),
    };
    let broken = pb::UpdateTaskRequest {
        task: broken.task.replace(
            "block-allow-list: l\n",
            "block-allow-list: l\n    mydumper-config-name: m\n",
        ),
        ..broken
    };
    let answer = cluster
        .client
        .update_task(broken)
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.result && answer.msg.is_empty(), "{}", answer.msg);
    assert!(
        answer
            .check_result
            .contains("fail to initialize checker: unknown flag: --fast"),
        "{}",
        answer.check_result
    );
    assert_eq!(cluster.keys(SubtaskKey::PREFIX), 0);
}

#[tokio::test]
async fn an_unknown_source_is_named_with_the_file_its_line_and_those_that_are_known() {
    let db = database("unknown").await;
    let cluster = Cluster::start().await;
    cluster.source("known");
    let request = pb::CheckTaskRequest {
        task: task("all", &db, &[("s9", "")], ""),
        ..Default::default()
    };
    let mut request = tonic::Request::new(request);
    let file = tonic::metadata::MetadataValue::from_bytes("größe.yaml".as_bytes());
    request.metadata_mut().insert_bin("dm-file-bin", file);
    let mut client = cluster.client.clone();
    let msg = dm_testkit::wait_for(LIMIT, "the source is known", || {
        let (mut client, request) = (client.clone(), clone(&request));
        async move {
            let msg = client.check_task(request).await.ok()?.into_inner().msg;
            msg.contains("known sources: [known]").then_some(msg)
        }
    })
    .await
    .unwrap();
    assert!(msg.starts_with("[code=20031:class=dm-master:"), "{msg}");
    assert!(
        msg.contains("größe.yaml: line 5: key `mysql-instances[0].source-id`: "),
        "{msg}"
    );
    let answer = client
        .check_task(clone(&request))
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.result);
}

fn clone(request: &tonic::Request<pb::CheckTaskRequest>) -> tonic::Request<pb::CheckTaskRequest> {
    let mut copy = tonic::Request::new(request.get_ref().clone());
    *copy.metadata_mut() = request.metadata().clone();
    copy
}
