//! Records that come late or early, and what need not be waited for.

use std::time::Duration;

use dm_replica::Machine as _;
use dm_store::Snapshot;
use optimist_svc::Optimist;

use crate::stage::{Stage, TASK, told};

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
fn only_table_of_a_lock_does_not_wait_for_a_schema_that_it_reports_itself() {
    for tables in [&["a1"][..], &["a1", "b1"]] {
        let mut stage = Stage::new(tables, OLD);
        let info = stage.info("a1", &[ADD]);
        stage.put("a1", &info);
        let mut machine = Optimist::reading_schemas(Duration::from_secs(60));
        machine.load(&Snapshot {
            revision: stage.world.etcd.revision,
            entries: stage.world.etcd.keys.values().cloned().collect(),
        });
        assert_eq!(machine.wanted().is_empty(), tables.len() == 1);
        let answers = machine.decide().into_iter().flat_map(|d| d.proposals);
        assert_eq!(answers.count(), usize::from(tables.len() == 1));
    }
}
