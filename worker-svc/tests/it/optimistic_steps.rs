//! A crash between any two steps of two tables that rename a column: the one that waits and is read again, and the one that lets it go on.

use std::collections::BTreeMap;

use dm_keyspace::optimism::{ConflictStage, Info};
use dm_store::Revision;
use dm_testkit::{wait_for, wait_until};
use worker_svc::unit::steps::Step;

use crate::harness::{LIMIT, MERGED, Site};
use crate::referee::info_key;
use crate::steps::Run;

/// More row events than are applied again before the first of them are written down.
const HELD: usize = 510;

/// Places to crash at, and how often each is passed before: by the table that has to wait, by the other one, and by the first one again.
const CASES: [(Step, usize); 18] = [
    (Step::Met, 0),
    (Step::Met, 1),
    (Step::Met, 2),
    (Step::Ordered, 0),
    (Step::Ordered, 1),
    (Step::Ordered, 2),
    (Step::Attempted, 0),
    (Step::Attempted, 1),
    (Step::Executed, 0),
    (Step::Executed, 1),
    (Step::Told, 0),
    (Step::Told, 1),
    (Step::Confirmed, 0),
    (Step::Confirmed, 1),
    (Step::Replaying, 0),
    (Step::PartReplayed, 0),
    (Step::Replayed, 0),
    (Step::Resolved, 0),
];

/// Plays the optimist for one round: the first table waits until the second one has reported, too. Every report is answered, until both are done.
async fn optimist(site: &Site) {
    let mut answered: BTreeMap<&str, Revision> = BTreeMap::new();
    loop {
        let seen = wait_for(LIMIT, "a report, or the end of the round", || async {
            for table in ["t1", "t2"] {
                let kv = site.kv(info_key(table)).await;
                if let Some(kv) = kv.filter(|kv| answered.get(table) != Some(&kv.mod_revision)) {
                    return Some(Some((table, kv)));
                }
            }
            let mut all_done = answered.len() == 2;
            for table in ["t1", "t2"] {
                all_done &= site.present(table).await.is_some_and(|o| o.done);
            }
            all_done.then_some(None)
        });
        let Some((table, kv)) = seen.await.unwrap() else {
            return site.forget().await;
        };
        let info = Info::from_bytes(&kv.value).unwrap();
        answered.insert(table, kv.mod_revision);
        if table == "t1" && !answered.contains_key("t2") {
            let nothing = Some(Vec::new());
            site.tell(&info, ConflictStage::SkipWaitRedirect, nothing)
                .await;
            continue;
        }
        let waiting = site.present("t1").await;
        if waiting.is_some_and(|o| o.conflict_stage == ConflictStage::SkipWaitRedirect) {
            let first = site.kv(info_key("t1")).await.unwrap();
            site.redirect(&site.reported("t1", first.version).await)
                .await;
        }
        site.tell(&info, ConflictStage::None, info.ddls.clone())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_a_table_that_waits_and_is_read_again_changes_nothing() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.t1 (id INT PRIMARY KEY, c0 INT); CREATE TABLE shop.t2 (id INT PRIMARY KEY, c0 INT); \
         INSERT INTO shop.t1 VALUES (1, 0); INSERT INTO shop.t2 VALUES (2, 0)",
    )
    .await;
    let config = site.optimistic();
    let mut run = Run::of(&site, config, "w1", None).await;
    site.same_as(MERGED, "merged.t").await;
    for (n, (step, passes)) in CASES.into_iter().enumerate() {
        run.halt_at(step, passes);
        let change = format!("RENAME COLUMN c{n} TO c{}", n + 1);
        // Keys that come twice would be refused.
        let rows =
            (0..HELD).map(|row| format!("INSERT INTO t1 VALUES ({}, {n});", 1000 * (n + 1) + row));
        let rows: String = rows.collect();
        let sql = format!(
            "USE shop; ALTER TABLE t1 {change}; BEGIN; {rows} COMMIT; UPDATE t1 SET c{m} = -1 WHERE id = 1; INSERT INTO t2 VALUES ({id}, {n}); \
             ALTER TABLE t2 {change}; INSERT INTO t2 VALUES ({id} + 1, {n})",
            m = n + 1,
            id = 1000 * (n + 1) + 900,
        );
        site.up.exec(&sql).await.unwrap();
        (run, ()) = tokio::join!(run.crash_and_go_on(&site, n % 2 == 0), optimist(&site));
        site.same_as(MERGED, "merged.t").await;
        let board = run.subtask.view().board;
        let empty = wait_until(LIMIT, "nothing waits", || async {
            board.read().groups.is_empty()
        });
        empty.await.unwrap_or_else(|e| panic!("{e} after {step:?}"));
    }
    run.subtask.close().await;
}
