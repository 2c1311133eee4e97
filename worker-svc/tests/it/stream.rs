//! The stream of events over connections that break.

use dm_testkit::mariadb::MariaDb;
use dm_testkit::wait_until;
use worker_svc::binlog::event::{Event, RowsKind};
use worker_svc::binlog::position::Position;
use worker_svc::binlog::stream::{Located, LogReader};

use crate::harness::{LIMIT, login, options};

/// Enough of them that neither the reader's store nor the buffers of the connection hold all.
const LARGE: usize = 1000;

async fn source() -> (MariaDb, Position) {
    let mut options = options(1);
    options.args.push("--net-write-timeout=1".to_owned());
    let up = MariaDb::start_temp("up", options).await.unwrap();
    up.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v MEDIUMTEXT)")
        .await
        .unwrap();
    let status = up.query("SHOW MASTER STATUS").await.unwrap();
    let file = status[0][0].clone().unwrap();
    let pos = status[0][1].clone().unwrap().parse().unwrap();
    (up, Position::new(file, pos))
}

fn open(up: &MariaDb, from: &Position) -> LogReader {
    LogReader::open(login(up), "w1".to_owned(), from.clone())
}

/// The connections over which the server sends its log.
async fn dumps(up: &MariaDb) -> Vec<String> {
    let sql = "SELECT id FROM information_schema.processlist WHERE command = 'Binlog Dump'";
    let rows = up.query(sql).await.unwrap();
    rows.into_iter().flatten().flatten().collect()
}

async fn await_dumps(up: &MariaDb, count: usize) {
    wait_until(LIMIT, "connections that send the log", || async {
        dumps(up).await.len() == count
    })
    .await
    .unwrap();
}

/// Reads until so many rows have come, and sees to it that each event begins where the one before ended.
async fn read(reader: &mut LogReader, place: &mut Position, rows: usize) {
    let mut seen = 0;
    while seen < rows {
        let Located {
            start, end, event, ..
        } = tokio::time::timeout(LIMIT, reader.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(start, *place, "an event is missing, or comes twice");
        *place = end;
        if let Event::Rows(rows) = event {
            assert_eq!(rows.kind, RowsKind::Insert);
            seen += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_was_not_listened_to_for_long_misses_nothing_and_repeats_nothing() {
    let (up, mut place) = source().await;
    let mut reader = open(&up, &place);
    await_dumps(&up, 1).await;
    let rows = (0..LARGE).map(|id| format!("INSERT INTO d.t VALUES ({id}, REPEAT('x', 40000));"));
    up.exec(&rows.collect::<String>()).await.unwrap();
    // Nobody takes what the reader has, so it takes nothing from the server, which gives up.
    await_dumps(&up, 0).await;
    read(&mut reader, &mut place, LARGE).await;
    up.exec("INSERT INTO d.t VALUES (-1, '')").await.unwrap();
    read(&mut reader, &mut place, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_connection_is_ended_opens_another_one() {
    let (up, mut place) = source().await;
    let mut reader = open(&up, &place);
    for id in 0..3 {
        await_dumps(&up, 1).await;
        up.exec(&format!("INSERT INTO d.t VALUES ({id}, '')"))
            .await
            .unwrap();
        read(&mut reader, &mut place, 1).await;
        let dump = dumps(&up).await.remove(0);
        up.exec(&format!("KILL {dump}")).await.unwrap();
        wait_until(LIMIT, "another connection", || async {
            let now = dumps(&up).await;
            !now.is_empty() && !now.contains(&dump)
        })
        .await
        .unwrap();
    }
    up.exec("FLUSH BINARY LOGS; INSERT INTO d.t VALUES (10, '')")
        .await
        .unwrap();
    read(&mut reader, &mut place, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_there_is_an_error_at_once() {
    let (up, place) = source().await;
    let gone = Position::new("mysql-bin.000099", place.pos);
    let mut reader = open(&up, &gone);
    let error = reader.next().await.unwrap_err();
    assert_eq!(error.server_code(), Some(1236), "{error:?}");
}
