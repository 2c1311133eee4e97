//! Expression filters: rows are left out as a query of the source would select them.

use dm_proto::pb;
use dm_task::SubtaskConfig;
use dm_task::subtask::ExpressionFilter;

use crate::harness::Site;

fn filter(table: &str) -> ExpressionFilter {
    ExpressionFilter {
        schema: "shop".to_owned(),
        table: table.to_owned(),
        ..ExpressionFilter::default()
    }
}

fn on_insert(table: &str, expression: &str) -> ExpressionFilter {
    ExpressionFilter {
        insert_value_expr: expression.to_owned(),
        ..filter(table)
    }
}

fn with(site: &Site, filters: Vec<ExpressionFilter>) -> SubtaskConfig {
    SubtaskConfig {
        expression_filters: filters,
        ..site.subtask("all", false)
    }
}

const CONDITIONS: [&str; 30] = [
    "id > 3",
    "Tiny = 255 OR big > 9223372036854775807",
    "big + 0 >= 18446744073709551615",
    "dec_ = 1.50",
    "flt = 1.1",
    "dbl < -1e10",
    "v = 'abc'",
    "v = 'ABC  '",
    "v <> 'abc'",
    "vb = 'abc'",
    "l1 = 'É'",
    "v LIKE 'a%'",
    "vb NOT LIKE 'A|_%' ESCAPE '|'",
    "v IN ('abc', 'x', NULL)",
    "v NOT IN ('abc', NULL)",
    "v > 'b'",
    "v = 0",
    "e = 'Two'",
    "s = 'a,c'",
    "FIND_IN_SET('b', s)  > 0",
    "d = '2020-2-3'",
    "dt BETWEEN '2020-02-03' AND '2020-02-04'",
    "tm < '-01:00:00'",
    "y = 2020",
    "b = 5",
    "bin = 'a'",
    "txt IS NULL OR NOT tiny IS NULL AND v IS NOT NULL",
    "(v = 'abc') IS UNKNOWN",
    "tiny / 0 IS NULL",
    "LENGTH(l1) = 1 AND CHAR_LENGTH(v) < 4 AND COALESCE(txt, 'none') = 'NONE'",
];

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_left_out_as_the_source_would_select_them() {
    let columns = "id INT PRIMARY KEY, tiny TINYINT UNSIGNED, big BIGINT UNSIGNED, dec_ DECIMAL(9,2), flt FLOAT, dbl DOUBLE, \
                   v VARCHAR(20) COLLATE utf8mb4_general_ci, vb VARCHAR(20) COLLATE utf8mb4_bin, l1 VARCHAR(20) CHARACTER SET latin1, \
                   e ENUM('One','two') COLLATE utf8mb4_general_ci, s SET('a','b','c'), d DATE, dt DATETIME(3), tm TIME(1), y YEAR, b BIT(3), bin BINARY(3), txt TEXT COLLATE utf8mb4_general_ci";
    let tables: Vec<String> = (0..CONDITIONS.len())
        .map(|nth| format!("CREATE TABLE shop.t{nth} ({columns}); "))
        .collect();
    let site = Site::with(&format!("CREATE DATABASE shop; {}", tables.concat())).await;
    let filters = CONDITIONS.iter().enumerate();
    let filters = filters.map(|(nth, expression)| on_insert(&format!("t{nth}"), expression));
    let worker = site.run(&with(&site, filters.collect())).await;
    worker.await_replication().await;
    let rows = "(1, 255, 18446744073709551615, 1.5, 1.1, -2e10, 'abc', 'abc', 'é', 'one', 'a,c', '2020-02-03', '2020-02-03 00:00:00.001', '-01:00:00.5', 2020, 5, 'a', 'none'), \
                (2, 0, 0, -1.5, 0, 0, 'ABC', 'ABC', 'É', 'two', 'b', '0000-00-00', '2020-02-05', '00:00:00', 0, 0, 'a\\0\\0', NULL), \
                (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
                (4, 7, 9223372036854775808, 100, 2.5, 1e300, 'ä', 'a_b', 'x', 'two', '', '1999-12-31', '1999-12-31 23:59:59', '838:59:59', 1999, 1, 'ab', 'It''s')";
    let inserts: Vec<String> = (0..CONDITIONS.len())
        .map(|nth| format!("INSERT INTO shop.t{nth} VALUES {rows}; "))
        .collect();
    site.up
        .exec(&format!("SET SESSION sql_mode = ''; {}", inserts.concat()))
        .await
        .unwrap();
    for (nth, expression) in CONDITIONS.iter().enumerate() {
        let left = format!("SELECT * FROM shop.t{nth} WHERE ({expression}) IS NOT TRUE ORDER BY 1");
        site.same_as(&left, &format!("shop.t{nth}")).await;
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_and_deletes_have_conditions_of_their_own() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v INT); CREATE TABLE shop.u LIKE shop.t; \
         INSERT INTO shop.t VALUES (1, 1), (2, 2), (3, 3); INSERT INTO shop.u SELECT * FROM shop.t",
    )
    .await;
    let filters = vec![
        ExpressionFilter {
            update_old_value_expr: "v < 3".to_owned(),
            update_new_value_expr: "v > 10".to_owned(),
            ..filter("t")
        },
        ExpressionFilter {
            update_new_value_expr: "v = 7".to_owned(),
            ..filter("t")
        },
        ExpressionFilter {
            delete_value_expr: "v <= 2".to_owned(),
            ..filter("u")
        },
        // A column that is not there holds for no row, until it is.
        on_insert("u", "later = 1"),
    ];
    let worker = site.run(&with(&site, filters)).await;
    worker.await_replication().await;
    site.up
        .exec(
            "USE shop; UPDATE t SET v = v + 10; UPDATE t SET v = 7 WHERE id = 3; DELETE FROM u; INSERT INTO u VALUES (8, 1); \
             ALTER TABLE u ADD COLUMN later INT; INSERT INTO u VALUES (9, 9, 1), (10, 10, 2); UPDATE t SET v = 5 WHERE id = 1",
        )
        .await
        .unwrap();
    site.same_as(
        "SELECT 1, 1 UNION SELECT 2, 2 UNION SELECT 8, 1 UNION SELECT 10, 10",
        "(SELECT id, v FROM shop.u) s",
    )
    .await;
    // The last update of the first row finds it, as it is found by its key.
    site.same_as("SELECT 1, 5 UNION SELECT 2, 2 UNION SELECT 3, 13", "shop.t")
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_are_told_in_the_zone_of_the_task() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, ts TIMESTAMP NULL)",
    )
    .await;
    let filters = vec![on_insert("t", "ts >= '2020-01-01 04:00:00'")];
    let config = SubtaskConfig {
        timezone: "+08:00".to_owned(),
        ..with(&site, filters)
    };
    let worker = site.run(&config).await;
    worker.await_replication().await;
    site.up
        .exec(
            "SET SESSION time_zone = '+00:00', sql_mode = ''; INSERT INTO shop.t VALUES (1, '2019-12-31 19:59:59'), (2, '2019-12-31 20:00:00'), (3, NULL), (4, '0000-00-00')",
        )
        .await
        .unwrap();
    site.same_as(
        "SELECT 1 UNION SELECT 3 UNION SELECT 4",
        "(SELECT id FROM shop.t) s",
    )
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_judged_is_refused_when_the_subtask_starts() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, ts TIMESTAMP NULL)",
    )
    .await;
    for (expression, why) in [
        ("id IN (SELECT 1)", "is not supported"),
        ("id", "it is no condition"),
        ("ts > '2020-01-01'", "column ts is a TIMESTAMP"),
    ] {
        let config = with(&site, vec![on_insert("t", expression)]);
        let runs = site.run(&config).await;
        runs.await_stage(pb::Stage::Paused).await;
        let message = runs.errors()[0].message.clone();
        assert!(
            message.contains(&format!("`shop`.`t`: `{expression}`")) && message.contains(why),
            "{message}"
        );
        runs.stop().await;
    }
}
