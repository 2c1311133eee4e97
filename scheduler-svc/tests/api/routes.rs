//! Routes that may share a table: what `StartTask` and `UpdateTask` say of them beside their answer.

use dm_keyspace::SubtaskKey;
use dm_proto::pb;
use dm_testkit::mariadb::{self, MariaDb};

use crate::kit::{Cluster, Fake, database};

const NOTICE: &str = "routes `early` and `late` can match the same table, such as shop.t1; a table that both match is an error of the \
                      precheck, and is not routed if prechecks are ignored";

struct Shop {
    cluster: Cluster,
    db: MariaDb,
    _worker: Fake,
}

/// A source with the tables `shop.tx` and `shop.x1`, each of which one route matches.
async fn shop() -> Shop {
    let db = database("routes").await;
    db.exec("CREATE DATABASE shop; CREATE TABLE shop.tx (id INT PRIMARY KEY); CREATE TABLE shop.x1 (id INT PRIMARY KEY)")
        .await
        .unwrap();
    let mut cluster = Cluster::start().await;
    let worker = cluster.worker("w1").await;
    let (port, user, password) = (db.port(), mariadb::USER, db.password());
    let config = format!(
        "source-id: s1\nfrom: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n"
    );
    let request = pb::OperateSourceRequest {
        op: pb::SourceOp::StartSource.into(),
        config: vec![config],
        ..Default::default()
    };
    let answer = cluster.client.operate_source(request).await.unwrap();
    assert!(answer.get_ref().result, "{}", answer.get_ref().msg);
    cluster.bounds("w1-s1").await;
    Shop {
        cluster,
        db,
        _worker: worker,
    }
}

impl Shop {
    /// A task whose second route has this pattern for tables.
    fn task(&self, late: &str, more: &str) -> String {
        let (port, user, password) = (self.db.port(), mariadb::USER, self.db.password());
        format!(
            "name: t\ntask-mode: all\n\
             target-database: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n\
             mysql-instances: [{{source-id: s1, route-rules: [early, late], block-allow-list: l}}]\n\
             block-allow-list: {{l: {{do-dbs: [shop]}}}}\n\
             routes:\n  \
             early: {{schema-pattern: shop, table-pattern: \"t*\", target-schema: merged, target-table: a}}\n  \
             late: {{schema-pattern: shop, table-pattern: \"{late}\", target-schema: merged, target-table: b}}\n{more}"
        )
    }

    async fn update(&self, task: String) -> pb::UpdateTaskResponse {
        let request = pb::UpdateTaskRequest {
            task,
            ..Default::default()
        };
        let mut client = self.cluster.client.clone();
        client.update_task(request).await.unwrap().into_inner()
    }

    async fn start(&self, task: String) -> pb::StartTaskResponse {
        let request = pb::StartTaskRequest {
            task,
            ..Default::default()
        };
        let mut client = self.cluster.client.clone();
        client.start_task(request).await.unwrap().into_inner()
    }
}

const SILENT: &str = "ignore-checking-items: [version]\n";

#[tokio::test]
async fn routes_that_may_share_a_table_are_told_and_the_task_begins() {
    let shop = shop().await;
    let text = shop.task("?1", SILENT);
    let checked = shop.update(text.clone()).await;
    assert_eq!((checked.result, checked.msg.as_str()), (true, NOTICE));
    assert_eq!(checked.check_result, "pre-check is passed. ");
    let started = shop.start(text + "remove-meta: true\n").await;
    assert!(started.result, "{}", started.check_result);
    let both = format!(
        "`remove-meta` in task config is deprecated, please use `start-task ... --remove-meta` instead\n{NOTICE}"
    );
    assert_eq!(started.msg, both);
    assert_eq!(started.sources.len(), 1);
    assert!(started.sources[0].result, "{:?}", started.sources);
}

#[tokio::test]
async fn nothing_is_told_of_routes_that_share_no_table() {
    let shop = shop().await;
    let text = shop.task("x?", SILENT);
    let checked = shop.update(text.clone()).await;
    assert_eq!((checked.result, checked.msg.as_str()), (true, ""));
    let started = shop.start(text).await;
    assert_eq!((started.result, started.msg.as_str()), (true, ""));
}

#[tokio::test]
async fn a_table_that_two_routes_match_stops_the_task_unless_checks_are_ignored() {
    let shop = shop().await;
    shop.db
        .exec("CREATE TABLE shop.t1 (id INT PRIMARY KEY)")
        .await
        .unwrap();
    let reason = "[code=11043:class=dm-master:scope=internal:level=high], Message: fail to initialize checker: source s1: \
                  generate table router, RawCause: table shop.t1 matches more than one rule";
    // The reason stands alone, as with every check that fails.
    let refused = shop.start(shop.task("?1", SILENT)).await;
    assert_eq!((refused.result, refused.msg.as_str()), (false, ""));
    assert_eq!(refused.check_result, reason);
    let refused = shop.update(shop.task("?1", SILENT)).await;
    assert_eq!((refused.result, refused.msg.as_str()), (false, ""));
    assert_eq!(refused.check_result, reason);
    assert_eq!(shop.cluster.keys(SubtaskKey::PREFIX), 0);
    let ignored = shop
        .start(shop.task("?1", "ignore-checking-items: [all]\n"))
        .await;
    assert_eq!((ignored.result, ignored.msg.as_str()), (true, NOTICE));
}
