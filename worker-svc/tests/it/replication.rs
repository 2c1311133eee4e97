//! Rows arrive, each once, whatever happens to the worker.

use std::time::Duration;

use dm_keyspace::Stage;
use dm_testkit::wait_until;
use mysql_async::prelude::Queryable;

use crate::harness::{LIMIT, Site};

const EVERY_TYPE: &str = "CREATE TABLE shop.v (id BIGINT UNSIGNED PRIMARY KEY, i8 TINYINT, u8 TINYINT UNSIGNED, i16 SMALLINT, i24 MEDIUMINT, \
    u24 MEDIUMINT UNSIGNED, i32 INT, u64 BIGINT UNSIGNED, f FLOAT, d DOUBLE, n DECIMAL(30,10), y YEAR, dt DATE, t0 TIME, t2 TIME(2), t6 TIME(6), \
    dt0 DATETIME, dt6 DATETIME(6), ts TIMESTAMP NULL, ts3 TIMESTAMP(3) NULL, c CHAR(5), vc VARCHAR(300), l VARCHAR(20) CHARACTER SET latin1, \
    tx TEXT, mt MEDIUMTEXT, b BINARY(4), vb VARBINARY(20), bl BLOB, e ENUM('a','b','c'), s SET('x','y','z'), bi BIT(10), j JSON, u UUID, i4 INET4, \
    i6 INET6, g INT AS (id + 1) VIRTUAL, gs INT AS (i32 * 2) STORED, p POINT) DEFAULT CHARSET utf8mb4";

fn insert(id: u32) -> String {
    let columns = "(id, i8, u8, i16, i24, u24, i32, u64, f, d, n, y, dt, t0, t2, t6, dt0, dt6, ts, ts3, c, vc, l, tx, mt, b, vb, bl, e, s, bi, j, u, i4, i6, p)";
    let lows = "-128, 0, -32768, -8388608, 0, -2147483648, 0, -1.5e-10, -1.7e308, '-12345678901234567890.0123456789', 0, '0000-00-00', '-838:59:59', '-12:34:56.78', \
        '-00:00:00.000001', '0000-00-00 00:00:00', '1000-01-01 00:00:00.000001', '1970-01-01 00:00:01', '2000-02-29 23:59:59.999', '', '', '', '', '', '', '', '', 'a', '', b'0', '{}', \
        '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::', POINT(0, 0)";
    let highs = "127, 255, 32767, 8388607, 16777215, 2147483647, 18446744073709551615, 3.4e38, 1.7976931348623157e308, '12345678901234567890.9876543210', 2155, '9999-12-31', '838:59:59', '12:34:56.78', \
        '23:59:59.999999', '9999-12-31 23:59:59', '2026-01-02 03:04:05.678901', '2038-01-19 03:14:07', '2026-08-01 04:00:00.123', 'abcde', 'it''s \\\\ \"quoted\" \\n ✓ 🙂', _latin1 X'E9FC', 'text', REPEAT('m', 70000), X'01000000', \
        X'00FF0000', REPEAT(X'27', 1000), 'c', 'x,z', b'1111111111', '{\"a\": [1, \"ü\"]}', '123e4567-e89b-12d3-a456-426655440000', '1.2.0.0', '2001:db8::', POINT(1.5, -2)";
    let values = if id.is_multiple_of(2) { lows } else { highs };
    format!("SET sql_mode = ''; INSERT INTO shop.v {columns} VALUES ({id}, {values});")
}

/// Geometry and raw bytes as text that shows every byte.
const SHOWN: &str = "SELECT id, i8, u8, i16, i24, u24, i32, u64, f, d, n, y, dt, t0, t2, t6, dt0, dt6, UNIX_TIMESTAMP(ts), UNIX_TIMESTAMP(ts3), c, vc, HEX(l), tx, MD5(mt), HEX(b), HEX(vb), MD5(bl), e, s, \
    bi + 0, j, u, i4, i6, g, gs, ST_AsText(p) FROM shop.v ORDER BY id";

async fn same_values(site: &Site) {
    let agreed = wait_until(LIMIT, "all values agree", || async {
        let expected = site.up.query(SHOWN).await.unwrap();
        site.down.query(SHOWN).await.is_ok_and(|d| d == expected)
    })
    .await;
    if agreed.is_err() {
        let (up, down) = (
            site.up.query(SHOWN).await.unwrap(),
            site.down.query(SHOWN).await,
        );
        panic!("\n{up:?}\n{down:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_value_arrives_by_load_and_by_replication() {
    let site = Site::start().await;
    let setup = format!(
        "CREATE DATABASE shop DEFAULT CHARSET utf8mb4; {EVERY_TYPE}; {}{}INSERT INTO shop.v (id) VALUES (9)",
        insert(1),
        insert(2)
    );
    site.up.exec(&setup).await.unwrap();
    let worker = site.run(&site.subtask("all", false)).await;
    same_values(&site).await;
    site.up
        .exec(&format!(
            "{}{}INSERT INTO shop.v (id) VALUES (10); UPDATE shop.v SET i24 = -1, vc = NULL, t2 = '-00:00:00.10' WHERE id IN (1, 3); \
             UPDATE shop.v SET id = 20 WHERE id = 2; DELETE FROM shop.v WHERE id = 9",
            insert(3),
            insert(4)
        ))
        .await
        .unwrap();
    same_values(&site).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_at_any_point_neither_lose_nor_repeat_a_row() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.keyed (id INT PRIMARY KEY, v INT); CREATE TABLE shop.keyless (a INT, b VARCHAR(10))",
    )
    .await;
    site.bind("w1").await;
    site.order(&site.subtask("all", false), Stage::Running)
        .await;
    let writing = async {
        let mut conn = site.up.connect().await.unwrap();
        for id in 0..400_u64 {
            let other = id / 2;
            conn.query_drop(format!(
                "BEGIN; INSERT INTO shop.keyed VALUES ({id}, 0); INSERT INTO shop.keyless VALUES ({other}, 'x'), ({other}, 'x'); \
                 UPDATE shop.keyed SET v = v + 1 WHERE id = {other}; DELETE FROM shop.keyless WHERE a = {other} LIMIT 1; COMMIT"
            ))
            .await
            .unwrap();
            // At the speed of a busy shop, so that the crashes fall between the rows.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let crashing = async {
        for round in 1..10_u64 {
            let worker = site.worker("w1");
            let some = format!("SELECT COUNT(*) >= {} FROM shop.keyed", round * 30);
            wait_until(LIMIT, "some rows arrive", || async {
                let enough = site.down.query(&some).await;
                enough.is_ok_and(|e| e[0][0].as_deref() == Some("1"))
            })
            .await
            .unwrap();
            worker.crash().await;
        }
    };
    tokio::join!(writing, crashing);
    let worker = site.worker("w1");
    site.same("shop.keyed").await;
    site.same("shop.keyless").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_task_begins_where_it_is_told() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); INSERT INTO shop.a VALUES (1)",
    )
    .await;
    let place = site.up.query("SHOW MASTER STATUS").await.unwrap();
    site.down
        .exec("CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); INSERT INTO shop.a VALUES (1)")
        .await
        .unwrap();
    site.up.exec("INSERT INTO shop.a VALUES (2)").await.unwrap();
    let mut config = site.subtask("incremental", false);
    config.meta = Some(dm_task::subtask::Meta {
        binlog_name: place[0][0].clone().unwrap(),
        binlog_pos: place[0][1].as_deref().unwrap().parse().unwrap(),
        binlog_gtid: String::new(),
    });
    let worker = site.run(&config).await;
    site.up.exec("INSERT INTO shop.a VALUES (3)").await.unwrap();
    site.same("shop.a").await;
    worker.stop().await;
}
