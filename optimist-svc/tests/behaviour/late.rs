//! Records that come late or early, and what need not be waited for.

use std::time::Duration;

use dm_replica::Machine as _;
use dm_store::{Batch, Event, Snapshot};
use optimist_svc::Optimist;

use crate::stage::{Stage, TASK, info_key, told};

const OLD: &str = "id INT PRIMARY KEY, a INT, w INT";
const ADD: (&str, &str) = (
    "ADD COLUMN c INT",
    "id INT PRIMARY KEY, a INT, w INT, c INT",
);
const DROP: (&str, &str) = ("DROP COLUMN w", "id INT PRIMARY KEY, a INT, c INT");

#[test]
fn done_of_the_statement_before_is_not_taken_for_an_answer_by_who_has_just_come() {
    for is_answered_with_nothing in [false, true] {
        let mut stage = Stage::new(&["a1", "b1"], OLD);
        stage.report("a1", &[ADD]);
        if is_answered_with_nothing {
            stage.done("a1");
            stage.report("a1", &[DROP]);
        }
        let before = stage.operation("a1").expect("an answer");
        stage.world.stop();
        // The worker was started anew, and writes the done of what it had been told a moment too late.
        let columns = stage.columns["a1"].clone();
        let next = ("ADD COLUMN d INT", format!("{columns}, d INT"));
        let info = stage.info("a1", &[(next.0, &next.1)]);
        stage.put("a1", &info);
        stage.late_done("a1");
        stage.world.start();
        stage.world.quiet();
        assert_eq!(stage.told("a1"), Some(told("none", &[next.0])));
        assert!(
            stage
                .operation("a1")
                .is_some_and(|now| !now.done && now.ddls != before.ddls)
        );
    }
}

#[test]
fn removal_that_something_new_outruns_is_counted() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    for table in ["a1", "b1"] {
        stage.report(table, &[ADD]);
    }
    stage.done("a1");
    stage.flush("b1");
    stage.late_done("b1");
    let info = stage.info("a1", &[DROP]);
    stage.put("a1", &info);
    stage.world.quiet();
    assert_eq!(stage.told("a1"), Some(told("none", &[])));
    let machine = stage.world.machine().expect("somebody leads");
    let errors = machine.errors().get(TASK).copied().unwrap_or_default();
    assert_eq!((errors.removals, errors.infos), (1, 0));
}

#[test]
fn tables_that_have_reported_are_not_looked_for_and_the_lock_waits_for_the_others_only() {
    let mut stage = Stage::new(&["a1", "b1", "c1"], OLD);
    stage.world.stop();
    let snapshot = |stage: &Stage| Snapshot {
        revision: stage.world.etcd.revision,
        entries: stage.world.etcd.keys.values().cloned().collect(),
    };
    let mut machine = Optimist::reading_schemas(Duration::from_secs(60));
    machine.load(&snapshot(&stage));
    let mut wanted = Vec::new();
    for table in ["a1", "b1", "c1"] {
        let info = stage.info(table, &[ADD]);
        stage.put(table, &info);
        let record = stage.world.etcd.get(&info_key(table)).cloned();
        machine.apply(&Batch {
            revision: stage.world.etcd.revision,
            events: record.into_iter().map(Event::Put).collect(),
        });
        wanted.push(
            machine
                .wanted()
                .iter()
                .map(|w| w.tables.len())
                .sum::<usize>(),
        );
        let answers = machine.decide().into_iter().flat_map(|d| d.proposals);
        assert_eq!(answers.count() > 0, table == "c1");
    }
    assert_eq!(wanted, [2, 1, 0]);
    // So does one that finds all of it.
    let mut late = Optimist::reading_schemas(Duration::from_secs(60));
    late.load(&snapshot(&stage));
    assert!(late.wanted().is_empty());
    let answers = late.decide().into_iter().flat_map(|d| d.proposals);
    assert_eq!(answers.count(), 3);
}
