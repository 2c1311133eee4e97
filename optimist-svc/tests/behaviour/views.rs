//! What is shown of a lock: how far it is, what each table is at, and why it stands still.

use optimist_svc::machine::{Phase, TableState};

use crate::stage::{Stage, json};

const OLD: &str = "id INT PRIMARY KEY, a INT";
const RENAME: (&str, &str) = ("CHANGE COLUMN a c INT", "id INT PRIMARY KEY, c INT");

/// Phase of the lock, state of a table, and the reasons.
fn seen(stage: &Stage, table: &str) -> (Phase, TableState, Vec<String>) {
    let lock = stage.shown().expect("there is a lock");
    (lock.phase, stage.table(table).state, lock.reasons)
}

fn says(reasons: &[String], part: &str) -> bool {
    reasons.iter().any(|reason| reason.contains(part))
}

#[test]
fn refused_table_is_a_conflict_also_when_what_it_was_before_can_be_joined() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    stage.report(
        "a1",
        &[("ADD COLUMN d TEXT", "id INT PRIMARY KEY, a INT, d TEXT")],
    );
    stage.report(
        "b1",
        &[("ADD COLUMN d DATE", "id INT PRIMARY KEY, a INT, d DATE")],
    );
    let (phase, state, reasons) = seen(&stage, "b1");
    assert_eq!((phase, state), (Phase::Conflict, TableState::Conflict));
    assert!(
        says(&reasons, "Refused to B-`db`.`b1`: [code=11111:"),
        "{reasons:?}"
    );
    assert!(stage.shown().is_some_and(|lock| lock.joined.is_some()));
}

#[test]
fn tables_that_merely_wait_are_no_conflict_even_if_nothing_can_be_joined_meanwhile() {
    let mut stage = Stage::new(&["a1", "b1", "c1"], OLD);
    let modify = (
        "MODIFY COLUMN a VARCHAR(9)",
        "id INT PRIMARY KEY, a VARCHAR(9)",
    );
    for waiting in ["a1", "b1"] {
        stage.report(waiting, &[modify]);
        let (phase, state, reasons) = seen(&stage, waiting);
        assert_eq!((phase, state), (Phase::Diverged, TableState::Waiting));
        assert!(
            says(&reasons, "Waiting until all other tables"),
            "{reasons:?}"
        );
    }
}

#[test]
fn redirected_table_is_told_nothing_to_execute() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    stage.report("a1", &[RENAME]);
    stage.report("b1", &[RENAME]);
    let (_, state, reasons) = seen(&stage, "a1");
    assert_eq!(state, TableState::Redirected);
    let sentence =
        "Told to go back to the statement that it waited at, and not there yet: A-`db`.`a1`.";
    assert!(says(&reasons, sentence), "{reasons:?}");
}

#[test]
fn silent_table_that_keeps_the_lock_open_is_named() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    let other = json("id INT PRIMARY KEY, a INT, c INT");
    stage.world.checkpoint.insert(crate::stage::id("b1"), other);
    stage.report(
        "a1",
        &[("ADD COLUMN c INT", "id INT PRIMARY KEY, a INT, c INT")],
    );
    stage.done("a1");
    let (phase, state, reasons) = seen(&stage, "b1");
    assert_eq!((phase, state), (Phase::Synced, TableState::Synced));
    assert!(
        says(
            &reasons,
            "has not reported any statement of its own yet: B-`db`.`b1`."
        ),
        "{reasons:?}"
    );
    assert!(stage.table("b1").is_undone && !stage.table("a1").is_undone);
}

#[test]
fn sentence_names_few_tables_and_counts_the_others() {
    let tables: Vec<String> = (10..40).map(|number| format!("a{number}")).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    let mut stage = Stage::new(&tables, OLD);
    stage.report(
        "a10",
        &[("ADD COLUMN c INT", "id INT PRIMARY KEY, a INT, c INT")],
    );
    let (_, _, reasons) = seen(&stage, "a10");
    assert!(says(&reasons, "A-`db`.`a20` and 19 more."), "{reasons:?}");
}

#[test]
fn schema_that_makes_no_sense_is_said_to_be_one() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    let add = ("ADD COLUMN c INT", "id INT PRIMARY KEY, a INT, c INT");
    let mut info = stage.info("a1", &[add]);
    info.table_info_before = dm_keyspace::OpaqueJson::parse("{\"cols\": 7}").ok();
    stage.put("a1", &info);
    stage.world.quiet();
    let message = stage.operation("a1").expect("an answer").conflict_message;
    assert!(
        message.starts_with("[code=38055:") && message.contains("cannot be read"),
        "{message}"
    );
    let mut info = stage.info("b1", &[add]);
    info.table_info_before = None;
    stage.put("b1", &info);
    stage.world.quiet();
    let message = stage.operation("b1").expect("an answer").conflict_message;
    assert!(
        message.contains("table-info-before not exist in optimistic ddls"),
        "{message}"
    );
}
