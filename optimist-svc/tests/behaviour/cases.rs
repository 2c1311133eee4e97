//! Cases that no vector plays, or not all of it.

use dm_keyspace::SubtaskKey;
use dm_keyspace::optimism::{ConflictStage, Operation};
use optimist_svc::machine::TableState;

use crate::stage::{Stage, TASK, Told, ddl, id, info_key, lock, operation_key, told};

const OLD: &str = "id INT PRIMARY KEY, a INT";
const ADD: (&str, &str) = ("ADD COLUMN c INT", "id INT PRIMARY KEY, a INT, c INT");
const RENAME: (&str, &str) = ("CHANGE COLUMN a c INT", "id INT PRIMARY KEY, c INT");

fn waits() -> Told {
    told("skip and wait for redirect", &[])
}

#[test]
pub(crate) fn case_2_and_3_lock_stays_until_the_last_is_done_and_goes_at_once() {
    let tables = ["a1", "a2", "b1", "b2"];
    let mut stage = Stage::new(&tables, OLD);
    for table in tables {
        stage.report(table, &[ADD]);
    }
    for table in &tables[..3] {
        stage.done(table);
    }
    assert_eq!(
        stage.shown().map(|lock| lock.undone),
        Some(vec![id("b2").to_string()])
    );
    assert_eq!(stage.records().len(), 8);
    let before = stage.world.etcd.revision;
    stage.done("b2");
    assert!(stage.shown().is_none() && stage.records().is_empty());
    assert_eq!(
        stage.world.etcd.revision.0,
        before.0 + 2,
        "the done, and one transaction"
    );
}

#[test]
pub(crate) fn case_5_same_info_once_more_changes_nothing_but_its_answer() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    let first = stage.report("a1", &[ADD]);
    let (before, shown) = (stage.world.etcd.keys.clone(), stage.shown());
    let again = stage.resend("a1");
    assert_eq!((&again, stage.world.put.len()), (&first, 2));
    let changed: Vec<String> = (stage.world.etcd.keys.iter())
        .filter(|(key, kv)| before.get(*key) != Some(kv))
        .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
        .collect();
    assert_eq!(changed, [info_key("a1"), operation_key("a1")]);
    let states = |lock: Option<optimist_svc::machine::LockView>| {
        lock.map(|lock| (lock.synced, lock.unsynced, lock.undone, lock.joined))
    };
    assert_eq!(states(stage.shown()), states(shown));
    let info = stage.world.etcd.get(&info_key("a1")).map(|kv| kv.version);
    assert_eq!(info, Some(2));
}

#[test]
pub(crate) fn case_11_index_is_dropped_at_once_by_each() {
    let mut stage = Stage::new(&["a1", "b1"], "id INT PRIMARY KEY, a INT, UNIQUE KEY u (a)");
    for table in ["a1", "b1"] {
        let answer = stage.report(table, &[("DROP INDEX u", OLD)]);
        assert_eq!(answer, told("none", &["DROP INDEX u"]), "{table}");
    }
}

#[test]
pub(crate) fn case_22_refused_info_leaves_the_table_as_it_was_before_all_its_statements() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    stage.report(
        "a1",
        &[("ADD COLUMN c TEXT", "id INT PRIMARY KEY, a INT, c TEXT")],
    );
    let before = stage.table("b1").structure;
    let both = [
        ("ADD COLUMN d INT", "id INT PRIMARY KEY, a INT, d INT"),
        (
            "ADD COLUMN c DATETIME",
            "id INT PRIMARY KEY, a INT, d INT, c DATETIME",
        ),
    ];
    assert_eq!(stage.report("b1", &both), told("detected", &[]));
    let message = stage.operation("b1").expect("an answer").conflict_message;
    assert!(message.starts_with("[code=11111:"), "{message}");
    assert_eq!(stage.table("b1").structure, before);
}

#[test]
pub(crate) fn case_28_29_31_rename_waits_the_same_for_each_and_is_accepted_afterwards() {
    let mut stage = Stage::new(&["a1", "b1", "b2"], OLD);
    for table in ["a1", "b1"] {
        stage.world.put.clear();
        assert_eq!(stage.report(table, &[RENAME]), waits());
        assert_eq!(stage.world.put.len(), 1);
        let message = &stage.world.put[0].conflict_message;
        assert!(message.starts_with("[code=11127:"), "{message}");
    }
    assert_eq!(stage.report("b2", &[RENAME]), told("none", &[RENAME.0]));
    let redirected = Some(("resolved".to_owned(), None));
    assert_eq!(
        (stage.told("a1"), stage.told("b1")),
        (redirected.clone(), redirected)
    );
    stage.world.put.clear();
    assert_eq!(stage.resend("a1"), told("none", &[RENAME.0]));
    assert_eq!(stage.world.put.len(), 1, "nobody is redirected again");
}

#[test]
pub(crate) fn case_40_statements_before_the_one_that_waits_are_named() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    let both = [
        ("ADD COLUMN x INT", "id INT PRIMARY KEY, a INT, x INT"),
        ("CHANGE COLUMN a c INT", "id INT PRIMARY KEY, c INT, x INT"),
    ];
    let waits = told("skip and wait for redirect", &["ADD COLUMN x INT"]);
    assert_eq!(stage.report("a1", &both), waits);
}

#[test]
pub(crate) fn case_44_other_statement_of_a_waiting_table_is_judged_by_itself() {
    for changes_leader in [false, true] {
        let mut stage = Stage::new(&["a1", "b1"], OLD);
        assert_eq!(stage.report("a1", &[RENAME]), waits());
        if changes_leader {
            stage.change_leader();
        }
        // The statement was left out upstream, too.
        stage.columns.insert("a1".to_owned(), OLD.to_owned());
        let add = ("ADD COLUMN d INT", "id INT PRIMARY KEY, a INT, d INT");
        assert_eq!(stage.report("a1", &[add]), told("none", &[add.0]));
        stage.world.put.clear();
        assert_eq!(stage.report("b1", &[add]), told("none", &[add.0]));
        assert_eq!(stage.world.put.len(), 1, "nobody waits any more");
        stage.done("a1");
        stage.done("b1");
        assert!(stage.records().is_empty(), "{:?}", stage.shown());
    }
}

#[test]
pub(crate) fn case_46_and_47_column_is_free_again_when_all_that_dropped_it_are_done() {
    let mut stage = Stage::new(&["a1", "b1"], "id INT PRIMARY KEY, b INT, c INT");
    let both = [
        ("DROP COLUMN b", "id INT PRIMARY KEY, c INT"),
        ("DROP COLUMN c", "id INT PRIMARY KEY"),
    ];
    assert_eq!(stage.report("a1", &both), told("none", &[]));
    let last = ("DROP COLUMN b", "id INT PRIMARY KEY, c INT");
    assert_eq!(
        stage.report("b1", &[last]),
        told("none", &["DROP COLUMN b"])
    );
    stage.done("a1");
    stage.done("b1");
    let marks = || {
        stage
            .records()
            .into_iter()
            .filter(|key| key.contains("dropped-columns"))
    };
    assert_eq!(marks().count(), 1);
    assert_eq!(
        stage.shown().map(|lock| lock.dropped_columns),
        Some(vec!["c".to_owned()])
    );
    let add = ("ADD COLUMN b INT", "id INT PRIMARY KEY, b INT");
    assert_eq!(
        stage.report("a1", &[add]),
        told("none", &["ADD COLUMN b INT"])
    );
}

#[test]
pub(crate) fn case_59_lists_of_tables_alone_make_no_lock() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    stage.columns.insert("b2".to_owned(), OLD.to_owned());
    stage.list(&id("b2").source);
    stage.world.quiet();
    stage.columns.remove("b1");
    stage.list(&id("b1").source);
    stage.world.quiet();
    assert!(stage.shown().is_none() && stage.world.put.is_empty());
}

#[test]
pub(crate) fn case_72_done_for_an_unknown_lock_is_ignored() {
    for changes_leader in [false, true] {
        let mut stage = Stage::new(&["a1", "b1"], OLD);
        let table = id("a1");
        let stray = Operation {
            id: lock(),
            task: TASK.into(),
            source: table.source,
            up_schema: table.schema,
            up_table: table.table,
            ddls: Some(vec![ddl(ADD.0)]),
            conflict_stage: ConflictStage::None,
            done: true,
            ..Operation::default()
        };
        let put = (operation_key("a1"), stray.to_bytes());
        stage.world.etcd.write(vec![put], &[]);
        if changes_leader {
            stage.change_leader();
        }
        stage.world.quiet();
        assert!(stage.shown().is_none() && stage.world.put.is_empty());
        // It is not taken for the answer to what the table reports later.
        assert_eq!(stage.report("a1", &[ADD]), told("none", &[ADD.0]));
        assert_eq!(stage.table("a1").state, TableState::Executing);
    }
}

#[test]
pub(crate) fn case_73_answer_without_a_statement_leaves_a_table_done() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    stage.report("a1", &[ADD]);
    stage.done("a1");
    let narrow = (
        "ADD INDEX i (a)",
        "id INT PRIMARY KEY, a INT, c INT, KEY i (a)",
    );
    assert_eq!(stage.report("a1", &[narrow]), told("none", &[]));
    assert_eq!(
        stage.shown().map(|lock| lock.undone),
        Some(vec![id("b1").to_string()])
    );
    assert!(
        stage
            .operation("a1")
            .is_some_and(|operation| !operation.done)
    );
}

#[test]
pub(crate) fn case_88_strict_mode_is_the_workers_business() {
    let played = [false, true].map(|is_strict| {
        let mut stage = Stage::new(&["a1", "b1"], OLD);
        for source in ["A", "B"] {
            let key = SubtaskKey {
                source: source.into(),
                task: TASK.into(),
            };
            let record = format!("name = \"task\"\nstrict-optimistic-shard-mode = {is_strict}");
            stage
                .world
                .etcd
                .write(vec![(key.encode(), record.into_bytes())], &[]);
        }
        stage.report("a1", &[RENAME]);
        stage.report(
            "b1",
            &[("ADD COLUMN c TEXT", "id INT PRIMARY KEY, a INT, c TEXT")],
        );
        let shown = stage
            .shown()
            .map(|lock| (lock.unsynced, lock.undone, lock.reasons));
        (stage.told("a1"), stage.told("b1"), stage.records(), shown)
    });
    assert_eq!(played[0], played[1]);
    assert_eq!(played[0].0, Some(waits()));
}
