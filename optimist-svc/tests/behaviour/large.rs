//! Locks of many tables, and statements that drop many columns: no transaction is larger than etcd takes, and what takes
//! several goes on whoever leads.

use crate::stage::{Stage, id, told};

const OLD: &str = "id INT PRIMARY KEY, a INT";
const ADD: (&str, &str) = ("ADD COLUMN c INT", "id INT PRIMARY KEY, a INT, c INT");
const RENAME: (&str, &str) = ("CHANGE COLUMN a c INT", "id INT PRIMARY KEY, c INT");

/// Names of so many tables of two sources.
fn names(count: usize) -> Vec<String> {
    let name = |number: usize| match number % 2 {
        0 => format!("a{number}"),
        _ => format!("b{number}"),
    };
    (0..count).map(name).collect()
}

fn stage(tables: &[String], columns: &str, max_txn_ops: usize) -> Stage {
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    let mut stage = Stage::new(&tables, columns);
    stage.world.max_txn_ops = max_txn_ops;
    stage.change_leader();
    stage
}

/// The largest transaction so far, with the fence.
fn largest(stage: &Stage) -> usize {
    let sizes = stage.world.committed.iter().map(|(_, size)| size + 1);
    sizes.max().unwrap_or_default()
}

#[test]
fn many_tables_are_redirected_before_the_one_that_completes_them_is_answered() {
    for max_txn_ops in [8, 128] {
        let tables = names(if max_txn_ops == 8 { 9 } else { 70 });
        let mut stage = stage(&tables, OLD, max_txn_ops);
        let (last, others) = tables.split_last().expect("there are some");
        for table in others {
            stage.report(table, &[RENAME]);
        }
        stage.world.put.clear();
        assert_eq!(stage.report(last, &[RENAME]), told("none", &[RENAME.0]));
        let stages: Vec<&str> = stage
            .world
            .put
            .iter()
            .map(|o| o.conflict_stage.as_str())
            .collect();
        assert_eq!(stages.len(), tables.len());
        assert_eq!(stages.last(), Some(&"none"));
        assert!(largest(&stage) <= max_txn_ops, "{}", largest(&stage));
        for table in others {
            assert_eq!(stage.resend(table), told("none", &[RENAME.0]));
        }
        for table in &tables {
            stage.done(table);
        }
        assert_eq!(stage.records(), Vec::<String>::new());
        assert!(largest(&stage) <= max_txn_ops, "{}", largest(&stage));
    }
}

#[test]
fn many_columns_are_dropped_by_one_event_with_their_marks_before_the_answer() {
    for max_txn_ops in [8, 32] {
        let columns = |from: usize| -> String {
            let columns = (from..40).map(|number| format!(", c{number} INT"));
            format!("id INT PRIMARY KEY{}", columns.collect::<String>())
        };
        let tables = names(2);
        let mut stage = stage(&tables, &columns(0), max_txn_ops);
        let ddls: Vec<(String, String)> = (0..40)
            .map(|number| (format!("DROP COLUMN c{number}"), columns(number + 1)))
            .collect();
        let ddls: Vec<(&str, &str)> = ddls.iter().map(|(d, c)| (d.as_str(), c.as_str())).collect();
        let all: Vec<&str> = ddls.iter().map(|(end, _)| *end).collect();
        assert_eq!(stage.report(&tables[0], &ddls), told("none", &[]));
        let marks = |stage: &Stage| {
            let records = stage.records().into_iter();
            records
                .filter(|key| key.contains("dropped-columns"))
                .count()
        };
        assert_eq!(marks(&stage), 40);
        stage.change_leader();
        assert_eq!(stage.report(&tables[1], &ddls), told("none", &all));
        stage.done(&tables[0]);
        assert_eq!(marks(&stage), 80);
        stage.done(&tables[1]);
        assert_eq!(stage.records(), Vec::<String>::new());
        assert!(largest(&stage) <= max_txn_ops, "{}", largest(&stage));
    }
}

#[test]
fn removal_of_many_tables_goes_on_whoever_leads() {
    let tables = names(60);
    let mut stage = stage(&tables, OLD, 32);
    for table in &tables {
        stage.report(table, &[ADD]);
    }
    let (last, others) = tables.split_last().expect("there are some");
    for table in others {
        stage.done(table);
    }
    stage.flush(last);
    stage.late_done(last);
    // The first transaction is through, and the leader dies.
    stage.world.step();
    let left = stage.records();
    assert!(
        left.len() > 80 && left[0].starts_with("/dm-master/optimist/removing/"),
        "{left:?}"
    );
    stage.change_leader();
    assert_eq!(stage.records(), Vec::<String>::new());
    assert!(stage.shown().is_none());
    assert!(largest(&stage) <= 32);
}

#[test]
fn answer_with_nothing_to_do_that_nobody_has_done_does_not_outlive_the_lock() {
    let tables = names(40);
    let mut stage = stage(&tables, OLD, 32);
    let (first, others) = tables.split_first().expect("there are some");
    let key = (
        "ADD INDEX i (a)",
        "id INT PRIMARY KEY, a INT, c INT, KEY i (a)",
    );
    for table in &tables {
        stage.report(table, &[ADD]);
        stage.done(table);
        if table == first {
            // Told to execute nothing, it stays done.
            assert_eq!(stage.report(first, &[key]), told("none", &[]));
        }
    }
    for table in others {
        stage.report(table, &[key]);
        stage.done(table);
    }
    assert_eq!(stage.records(), Vec::<String>::new(), "{:?}", stage.shown());
    assert!(stage.shown().is_none());
}

#[test]
fn what_is_reported_while_a_lock_is_being_removed_is_a_new_lock() {
    for changes_leader in [false, true] {
        let tables = names(40);
        let mut stage = stage(&tables, OLD, 32);
        for table in &tables {
            stage.report(table, &[ADD]);
        }
        let (last, others) = tables.split_last().expect("there are some");
        for table in others {
            stage.done(table);
        }
        stage.flush(last);
        stage.late_done(last);
        stage.world.step();
        let next = (
            "ADD COLUMN d INT",
            "id INT PRIMARY KEY, a INT, c INT, d INT",
        );
        let early = stage.info(&tables[0], &[next]);
        stage.put(&tables[0], &early);
        let early = stage.info(last, &[next]);
        stage.put(last, &early);
        if changes_leader {
            stage.change_leader();
        }
        stage.world.quiet();
        for table in [&tables[0], last] {
            assert_eq!(stage.told(table), Some(told("none", &[next.0])));
        }
        let undone = stage.shown().map(|lock| lock.undone.len());
        assert_eq!(undone, Some(40));
        let mine = |key: &String| key.starts_with("/dm-master/optimist/");
        assert!(!stage.records().iter().any(mine));
        for table in &tables {
            stage.columns.insert(table.clone(), ADD.1.to_owned());
            stage.report(table, &[next]);
            stage.done(table);
        }
        assert_eq!(stage.records(), Vec::<String>::new());
    }
}

#[test]
fn info_that_is_not_seen_when_the_removal_begins_is_not_deleted() {
    let tables = names(40);
    let mut stage = stage(&tables, OLD, 32);
    for table in &tables {
        stage.report(table, &[ADD]);
    }
    let (last, others) = tables.split_last().expect("there are some");
    for table in others {
        stage.done(table);
    }
    stage.flush(last);
    stage.late_done(last);
    // Of the two events the leader sees the first, and begins to remove the lock.
    let next = (
        "ADD COLUMN d INT",
        "id INT PRIMARY KEY, a INT, c INT, d INT",
    );
    let unseen = stage.info(last, &[next]);
    stage.put(last, &unseen);
    stage.world.step_behind(1);
    stage.world.quiet();
    assert_eq!(stage.told(last), Some(told("none", &[next.0])));
    assert_eq!(stage.table(last).table, id(last));
}
