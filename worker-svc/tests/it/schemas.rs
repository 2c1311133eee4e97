//! The tracked structures as users see and change them: `binlog-schema list`, `update`, `delete`, and the lists of the REST API.

use dm_keyspace::Stage;
use dm_proto::pb;
use dm_proto::pb::worker_server::Worker as _;
use dm_schema::create_table::read_create_table;
use dm_schema::lattice::Schema;
use dm_schema::table_info::TableInfo;
use dm_task::SubtaskConfig;
use worker_svc::api::Api;
use worker_svc::downstream::connection;
use worker_svc::names::TableName;
use worker_svc::upstream::{describe, schema_defaults};

use crate::harness::{MERGED, Running, SOURCE, Site, TASK, login};

fn request(op: pb::SchemaOp, database: &str, table: &str) -> pb::OperateWorkerSchemaRequest {
    pb::OperateWorkerSchemaRequest {
        op: op.into(),
        task: TASK.to_owned(),
        source: SOURCE.to_owned(),
        database: database.to_owned(),
        table: table.to_owned(),
        flush: true,
        sync: true,
        ..pb::OperateWorkerSchemaRequest::default()
    }
}

async fn send(worker: &Running, request: pb::OperateWorkerSchemaRequest) -> (bool, String) {
    let api = Api::new("w1".to_owned(), String::new(), worker.cast.clone());
    let answer = api.operate_schema(tonic::Request::new(request)).await;
    let answer = answer.unwrap().into_inner();
    (answer.result, answer.msg)
}

async fn done(worker: &Running, request: pb::OperateWorkerSchemaRequest) -> String {
    let (done, text) = send(worker, request).await;
    assert!(done, "{text}");
    text
}

async fn refused(worker: &Running, request: pb::OperateWorkerSchemaRequest, code: u32) {
    let (done, text) = send(worker, request).await;
    assert!(!done && text.contains(&format!("[code={code}:")), "{text}");
}

async fn get(worker: &Running, table: &str) -> String {
    done(worker, request(pb::SchemaOp::GetSchema, "shop", table)).await
}

async fn pause(site: &Site, worker: &Running, config: &SubtaskConfig) {
    site.order(config, Stage::Paused).await;
    worker.await_stage(pb::Stage::Paused).await;
}

/// What is tracked is what the source has.
async fn is_as_in_source(site: &Site, worker: &Running, table: &str) {
    let text = get(worker, table).await;
    let mut conn = connection::reader(&login(&site.up)).await.unwrap();
    let name = TableName::new("shop", table);
    let defaults = schema_defaults(&mut conn, "shop").await.unwrap();
    let now = describe(&mut conn, &name).await.unwrap().unwrap();
    let now = now.table_info(&name, &defaults).unwrap();
    let tracked = read_create_table(&text, &dm_schema::Options::default(), &defaults).unwrap();
    assert_eq!(Schema::of(&tracked), Schema::of(&now), "{text}");
    assert!(
        text.starts_with(&format!("CREATE TABLE `{table}` (")) && !text.contains('\n'),
        "{text}"
    );
}

async fn begin(config: impl FnOnce(&Site) -> SubtaskConfig) -> (Site, Running, SubtaskConfig) {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.t1 (id INT PRIMARY KEY, v VARCHAR(20) NOT NULL DEFAULT 'x'); CREATE TABLE shop.t2 LIKE shop.t1; \
         INSERT INTO shop.t1 VALUES (1, 'a'); INSERT INTO shop.t2 VALUES (2, 'b')",
    )
    .await;
    let config = config(&site);
    let worker = site.run(&config).await;
    (site, worker, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_structure_that_the_log_has_not_told_can_be_set() {
    let (site, worker, config) = begin(|site| site.subtask("all", false)).await;
    site.same("shop.t1").await;
    refused(
        &worker,
        request(pb::SchemaOp::GetSchema, "shop", "t1"),
        40051,
    )
    .await;
    let add = "ALTER TABLE shop.t1 ADD COLUMN c ENUM('x','y')";
    let unseen = format!(
        "SET SESSION sql_log_bin = 0; {add}; SET SESSION sql_log_bin = 1; INSERT INTO shop.t1 VALUES (3, 'c', 'y')"
    );
    site.up.exec(&unseen).await.unwrap();
    worker.await_stage(pb::Stage::Paused).await;
    assert_eq!(worker.errors()[0].err_code, 36027);
    assert_eq!(
        get(&worker, "t1").await,
        "CREATE TABLE `t1` (`id` INT(11) NOT NULL, `v` VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'x', PRIMARY KEY (`id`)) \
         CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
    );

    let set = request(pb::SchemaOp::SetSchema, "shop", "t1");
    for text in [
        "ALTER TABLE t1 ADD c INT",
        "CREATE TABLE t1 LIKE t2",
        "CREATE TABLE t1 (id INT",
        "",
    ] {
        let set = pb::OperateWorkerSchemaRequest {
            schema: text.to_owned(),
            ..set.clone()
        };
        refused(&worker, set, 44009).await;
    }
    let (taken, text) = send(
        &worker,
        pb::OperateWorkerSchemaRequest {
            schema: "CREATE TABLE t (id INT)".to_owned(),
            ..request(pb::SchemaOp::SetSchema, "other", "t")
        },
    )
    .await;
    assert!(
        !taken && text.contains("`other`.`t` takes no part"),
        "{text}"
    );
    let foreign = pb::OperateWorkerSchemaRequest {
        source: "s2".to_owned(),
        ..set.clone()
    };
    refused(&worker, foreign, 40072).await;
    let unknown = pb::OperateWorkerSchemaRequest {
        task: "t9".to_owned(),
        ..set.clone()
    };
    refused(&worker, unknown, 40054).await;

    // The name in the text does not count.
    let whole = pb::OperateWorkerSchemaRequest {
        schema: "CREATE TABLE whatever (id INT PRIMARY KEY, v VARCHAR(20) NOT NULL DEFAULT 'x', c ENUM('x','y'));".to_owned(),
        ..set.clone()
    };
    assert_eq!(done(&worker, whole).await, "");
    is_as_in_source(&site, &worker, "t1").await;
    site.down.exec(add).await.unwrap();
    site.order(&config, Stage::Running).await;
    site.same("shop.t1").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_follow_the_log_and_can_be_forgotten_and_listed() {
    let (site, worker, config) = begin(|site| site.subtask("all", false)).await;
    site.same("shop.t1").await;
    site.up
        .exec(
            "USE shop; ALTER TABLE t1 ADD COLUMN c DECIMAL(9,3) DEFAULT 1.5, ADD UNIQUE KEY u (c); RENAME TABLE t1 TO t3; ALTER TABLE t3 MODIFY v CHAR(7); \
             CREATE TABLE t4 LIKE t3; CREATE TABLE u5 (id INT PRIMARY KEY, s SET('a','b') NOT NULL); DROP TABLE t2; INSERT INTO u5 VALUES (5, 'a,b')",
        )
        .await
        .unwrap();
    site.same("shop.u5").await;
    let targets = pb::OperateWorkerSchemaRequest {
        schema: "^sh".to_owned(),
        ..request(pb::SchemaOp::ListMigrateTargets, "", "^u")
    };
    let expected = r#"[{"source_schema":"shop","source_table":"u5","target_schema":"shop","target_table":"u5"}]"#;
    assert_eq!(done(&worker, targets.clone()).await, expected);
    pause(&site, &worker, &config).await;
    for table in ["t3", "t4", "u5"] {
        is_as_in_source(&site, &worker, table).await;
    }
    assert_eq!(done(&worker, targets).await, expected);
    assert_eq!(
        done(&worker, request(pb::SchemaOp::ListSchema, "", "")).await,
        r#"["shop"]"#
    );
    assert_eq!(
        done(&worker, request(pb::SchemaOp::ListTable, "shop", "")).await,
        r#"["t3","t4","u5"]"#
    );
    refused(
        &worker,
        request(pb::SchemaOp::ListTable, "other", ""),
        44015,
    )
    .await;
    refused(
        &worker,
        request(pb::SchemaOp::GetSchema, "shop", "t9"),
        44005,
    )
    .await;

    // What is set is kept until the log, or somebody, says otherwise.
    site.down
        .exec("ALTER TABLE shop.u5 ADD COLUMN w INT")
        .await
        .unwrap();
    let from_target = pb::OperateWorkerSchemaRequest {
        from_target: true,
        ..request(pb::SchemaOp::SetSchema, "shop", "u5")
    };
    done(&worker, from_target).await;
    let text = get(&worker, "u5").await;
    assert!(text.contains("`w` INT(11)"), "{text}");
    done(&worker, request(pb::SchemaOp::RemoveSchema, "shop", "u5")).await;
    assert_eq!(
        done(&worker, request(pb::SchemaOp::ListTable, "shop", "")).await,
        r#"["t3","t4"]"#
    );
    is_as_in_source(&site, &worker, "u5").await;
    site.order(&config, Stage::Running).await;
    site.up
        .exec("INSERT INTO shop.u5 VALUES (6, 'b')")
        .await
        .unwrap();
    site.same_as("SELECT *, NULL w FROM shop.u5", "shop.u5")
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_optimistic_mode_the_optimist_hears_of_it_and_nobody_waits_for_an_answer() {
    let (site, worker, config) = begin(Site::optimistic).await;
    site.same_as(MERGED, "merged.t").await;
    pause(&site, &worker, &config).await;
    let set = pb::OperateWorkerSchemaRequest {
        schema: "CREATE TABLE t1 (id INT PRIMARY KEY, v VARCHAR(30))".to_owned(),
        ..request(pb::SchemaOp::SetSchema, "shop", "t1")
    };
    done(&worker, set).await;
    let info = site.reported("t1", 1).await;
    assert!(info.ignore_conflict);
    assert_eq!(info.ddls.as_deref(), Some(&[String::new()][..]));
    let after = info.table_info_after.as_deref().unwrap();
    assert_eq!(info.table_info_before.as_ref(), after.first());
    let schema = |json: &str| Schema::of(&TableInfo::from_json(json).unwrap());
    let row = "SELECT table_info FROM dm_meta.t1_syncer_checkpoint WHERE cp_table = 't1' AND is_global = 0";
    let written = site.down.query(row).await.unwrap()[0][0].clone().unwrap();
    assert_eq!(schema(&written), schema(after[0].get()));
    let text = get(&worker, "t1").await;
    assert!(text.contains("`v` VARCHAR(30)"), "{text}");

    // Without a word to the others; and what is forgotten is taken from the source at once, so that the table stays one of those that are compared.
    let quiet = pb::OperateWorkerSchemaRequest {
        from_source: true,
        sync: false,
        ..request(pb::SchemaOp::SetSchema, "shop", "t1")
    };
    done(&worker, quiet).await;
    is_as_in_source(&site, &worker, "t1").await;
    done(&worker, request(pb::SchemaOp::RemoveSchema, "shop", "t2")).await;
    is_as_in_source(&site, &worker, "t2").await;
    assert_eq!(site.reported("t1", 1).await, info);
    site.order(&config, Stage::Running).await;
    site.up
        .exec("INSERT INTO shop.t1 VALUES (3, 'c'); INSERT INTO shop.t2 VALUES (4, 'd')")
        .await
        .unwrap();
    site.ids(&["1", "2", "3", "4"]).await;
    site.lists(&["merged.t<-shop.t1", "merged.t<-shop.t2"])
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_pessimistic_mode_a_table_that_was_unknown_is_one_of_its_group() {
    let (site, worker, config) = begin(|site| site.subtask("all", true)).await;
    site.same_as(MERGED, "merged.t").await;
    site.up
        .exec("SET SESSION sql_log_bin = 0; CREATE TABLE shop.t3 LIKE shop.t1")
        .await
        .unwrap();
    pause(&site, &worker, &config).await;
    let unknown = pb::OperateWorkerSchemaRequest {
        from_source: true,
        ..request(pb::SchemaOp::SetSchema, "shop", "t3")
    };
    done(&worker, unknown).await;
    done(&worker, request(pb::SchemaOp::RemoveSchema, "shop", "t2")).await;
    site.order(&config, Stage::Running).await;
    site.up
        .exec(
            "USE shop; ALTER TABLE t1 ADD COLUMN c INT; ALTER TABLE t2 ADD COLUMN c INT; INSERT INTO t2 VALUES (4, 'd', 4); INSERT INTO t3 VALUES (3, 'c')",
        )
        .await
        .unwrap();
    // The third one has not met it.
    site.ids(&["1", "2", "3"]).await;
    assert!(site.info().await.is_none());
    site.up
        .exec("USE shop; ALTER TABLE t3 ADD COLUMN c INT; INSERT INTO t3 VALUES (5, 'e', 5)")
        .await
        .unwrap();
    site.resolve(true).await;
    site.ids(&["1", "2", "3", "4", "5"]).await;
    pause(&site, &worker, &config).await;
    for table in ["t1", "t2", "t3"] {
        is_as_in_source(&site, &worker, table).await;
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_pessimistic_mode_no_rows_are_held_back_for_a_ddl_of_a_table_that_is_not_known() {
    let (site, worker, config) = begin(|site| site.subtask("all", true)).await;
    site.same_as(MERGED, "merged.t").await;
    let create = "CREATE TABLE shop.t3 (id INT PRIMARY KEY, v VARCHAR(20) NOT NULL DEFAULT 'x')";
    let unseen = format!(
        "USE shop; SET SESSION sql_log_bin = 0; {create}; INSERT INTO t3 VALUES (9, 'z'); SET SESSION sql_log_bin = 1; \
         ALTER TABLE t1 ADD COLUMN c INT AFTER id; INSERT INTO t1 VALUES (5, 50, 'e'); \
         ALTER TABLE t3 ADD COLUMN c INT AFTER id; INSERT INTO t3 VALUES (3, 30, 'c'); UPDATE t3 SET c = 8 WHERE id = 3; \
         ALTER TABLE t2 ADD COLUMN c INT AFTER id; INSERT INTO t2 VALUES (4, 40, 'd')"
    );
    site.up.exec(&unseen).await.unwrap();
    worker.await_stage(pb::Stage::Paused).await;
    let error = &worker.errors()[0];
    assert_eq!(error.err_code, 44006, "{error:?}");
    assert!(
        error.message.contains("`shop`.`t3`") && error.workaround.contains("binlog-schema update"),
        "{error:?}"
    );
    let before = pb::OperateWorkerSchemaRequest {
        schema: create.to_owned(),
        ..request(pb::SchemaOp::SetSchema, "shop", "t3")
    };
    done(&worker, before).await;
    site.order(&config, Stage::Running).await;
    site.resolve(true).await;
    // All but the row that the log does not tell.
    site.same_as(
        "SELECT * FROM (SELECT * FROM shop.t1 UNION ALL SELECT * FROM shop.t2 UNION ALL SELECT * FROM shop.t3) a WHERE id <> 9 ORDER BY id",
        "merged.t",
    )
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_replication_has_begun_there_is_nothing_to_see_or_change() {
    let site = Site::start().await;
    site.up.exec("CREATE DATABASE shop").await.unwrap();
    site.bind("w1").await;
    let config = site.subtask("all", false);
    site.order(&config, Stage::Paused).await;
    let worker = site.worker("w1");
    worker.await_stage(pb::Stage::Paused).await;
    for op in [
        pb::SchemaOp::GetSchema,
        pb::SchemaOp::SetSchema,
        pb::SchemaOp::RemoveSchema,
    ] {
        refused(&worker, request(op, "shop", "t1"), 40056).await;
    }
    worker.stop().await;
}
