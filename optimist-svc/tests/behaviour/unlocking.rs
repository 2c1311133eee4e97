//! Conflicts that an operator decides: in every stage, for one statement and for several, whoever leads.

use dm_keyspace::optimism::ConflictStage;
use optimist_svc::machine::UnlockRefusal;

use crate::stage::{Stage, Told, ddl, told};

const OLD: &str = "id INT PRIMARY KEY, a INT";
/// Two statements of one event; the second is the one that cannot be.
type Pair = [(&'static str, &'static str); 2];

const RENAME: Pair = [
    ("ADD COLUMN x INT", "id INT PRIMARY KEY, a INT, x INT"),
    ("CHANGE COLUMN a c INT", "id INT PRIMARY KEY, c INT, x INT"),
];
const DATE: Pair = [
    ("ADD COLUMN x INT", "id INT PRIMARY KEY, a INT, x INT"),
    (
        "ADD COLUMN d DATETIME",
        "id INT PRIMARY KEY, a INT, x INT, d DATETIME",
    ),
];
const AGAIN: Pair = [
    ("DROP COLUMN a", "id INT PRIMARY KEY"),
    ("ADD COLUMN a INT", "id INT PRIMARY KEY, a INT"),
];

/// How `a1` comes to be stuck, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuck {
    /// In a rename that the other table has not met.
    Waiting,
    /// In the same, redirected since.
    Redirected,
    /// In a column that the other table has with another type.
    Detected,
    /// In adding a column that is not dropped everywhere.
    Error,
    /// In the same as [`Stuck::Detected`], and decided once already, the other way.
    Unlocked,
}

const ALL: [Stuck; 5] = [
    Stuck::Waiting,
    Stuck::Redirected,
    Stuck::Detected,
    Stuck::Error,
    Stuck::Unlocked,
];

/// The statements, of two or of one of them alone.
fn statements(stuck: Stuck, several: bool) -> Vec<(&'static str, &'static str)> {
    match (stuck, several) {
        (Stuck::Waiting | Stuck::Redirected, true) => RENAME.to_vec(),
        (Stuck::Waiting | Stuck::Redirected, false) => {
            vec![(RENAME[1].0, "id INT PRIMARY KEY, c INT")]
        }
        (Stuck::Detected | Stuck::Unlocked, true) => DATE.to_vec(),
        (Stuck::Detected | Stuck::Unlocked, false) => {
            vec![(DATE[1].0, "id INT PRIMARY KEY, a INT, d DATETIME")]
        }
        (Stuck::Error, true) => AGAIN.to_vec(),
        (Stuck::Error, false) => vec![AGAIN[1]],
    }
}

/// Two tables, the first of which is stuck.
fn stuck(stuck: Stuck, several: bool, executes: bool) -> Stage {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    let ddls = statements(stuck, several);
    let text = ("ADD COLUMN d TEXT", "id INT PRIMARY KEY, a INT, d TEXT");
    let told = match stuck {
        Stuck::Waiting => stage.report("a1", &ddls),
        Stuck::Redirected => {
            stage.report("a1", &ddls);
            stage.report("b1", &ddls);
            stage.told("a1").unwrap_or_default()
        }
        Stuck::Detected | Stuck::Unlocked => {
            stage.report("b1", &[text]);
            stage.report("a1", &ddls)
        }
        Stuck::Error => {
            if !several {
                assert_eq!(stage.report("a1", &[AGAIN[0]]).0, "none");
                stage.done("a1");
            }
            stage.report("a1", &ddls)
        }
    };
    let expected = match stuck {
        Stuck::Waiting => "skip and wait for redirect",
        Stuck::Redirected => "resolved",
        Stuck::Detected | Stuck::Unlocked => "detected",
        Stuck::Error => "error",
    };
    assert_eq!(told.0, expected);
    if stuck == Stuck::Unlocked {
        assert_eq!(stage.unlock("a1", !executes), Ok(()));
    }
    stage
}

/// Whether the table listens for a redirect only.
fn listens_for_a_redirect(stuck: Stuck) -> bool {
    matches!(stuck, Stuck::Waiting | Stuck::Redirected)
}

fn each(check: impl Fn(Stuck, bool, bool, bool)) {
    for case in ALL {
        for several in [false, true] {
            for executes in [false, true] {
                for changes_leader in [false, true] {
                    check(case, several, executes, changes_leader);
                }
            }
        }
    }
}

#[test]
fn table_is_told_what_was_decided_and_again_when_it_comes_back_with_the_same() {
    each(|case, several, executes, changes_leader| {
        let what = format!("{case:?}, several {several}, executes {executes}, {changes_leader}");
        let mut stage = stuck(case, several, executes);
        assert_eq!(stage.unlock("a1", executes), Ok(()), "{what}");
        let ends: Vec<&str> = statements(case, several)
            .iter()
            .map(|(end, _)| *end)
            .collect();
        let ddls: &[&str] = if executes { &ends } else { &[] };
        let first = if listens_for_a_redirect(case) {
            "resolved"
        } else {
            "unlocked"
        };
        assert_eq!(stage.told("a1"), Some(told(first, ddls)), "{what}");
        if changes_leader {
            stage.change_leader();
        }
        assert_eq!(stage.told("a1"), Some(told(first, ddls)), "{what}");
        // Twice: a redirected table comes back, and a worker may crash.
        for _ in 0..2 {
            assert_eq!(stage.resend("a1"), told("unlocked", ddls), "{what}");
            if changes_leader {
                stage.change_leader();
            }
        }
        stage.done("a1");
        let undone = stage.shown().map(|lock| lock.undone).unwrap_or_default();
        assert!(
            !undone.contains(&"A-`db`.`a1`".to_owned()),
            "{what}: {undone:?}"
        );
    });
}

#[test]
fn schema_is_taken_as_what_was_decided_makes_it() {
    each(|case, several, executes, changes_leader| {
        let what = format!("{case:?}, several {several}, executes {executes}, {changes_leader}");
        let mut stage = stuck(case, several, executes);
        let before = match (case, several) {
            (Stuck::Error, false) => "id INT PRIMARY KEY",
            _ => OLD,
        };
        let (_, after) = statements(case, several)[usize::from(several)];
        stage.unlock("a1", executes).expect("it can be decided");
        if changes_leader {
            stage.change_leader();
        }
        let expected = if executes { after } else { before };
        let mut other = Stage::new(&["a1"], expected);
        other.report("a1", &[("COMMENT = 'x'", expected)]);
        let expected = other.table("a1").structure;
        assert_eq!(stage.table("a1").structure, expected, "{what}");
    });
}

#[test]
fn other_statement_than_the_one_decided_about_is_judged_by_itself() {
    each(|case, several, executes, changes_leader| {
        let what = format!("{case:?}, several {several}, executes {executes}, {changes_leader}");
        let mut stage = stuck(case, several, executes);
        stage.unlock("a1", executes).expect("it can be decided");
        if changes_leader {
            stage.change_leader();
        }
        let now = stage.columns["a1"].clone();
        let add = ("ADD COLUMN y INT", format!("{now}, y INT"));
        let answer: Told = stage.report("a1", &[(add.0, &add.1)]);
        assert_ne!(answer.0, "unlocked", "{what}");
    });
}

#[test]
fn what_was_forced_on_one_table_lets_the_other_follow() {
    for several in [false, true] {
        let mut stage = stuck(Stuck::Waiting, several, true);
        stage.unlock("a1", true).expect("it can be decided");
        stage.resend("a1");
        stage.done("a1");
        let ddls = statements(Stuck::Waiting, several);
        let ends: Vec<&str> = ddls.iter().map(|(end, _)| *end).collect();
        assert_eq!(stage.report("b1", &ddls), told("none", &ends));
        stage.done("b1");
        assert!(stage.records().is_empty(), "{:?}", stage.shown());
    }
}

#[test]
fn what_is_in_no_conflict_is_not_decided() {
    let mut stage = Stage::new(&["a1", "b1"], OLD);
    assert_eq!(stage.unlock("a1", true), Err(UnlockRefusal::UnknownLock));
    stage.report("a1", &[RENAME[0]]);
    let refused = UnlockRefusal::NotConflicted(ConflictStage::None);
    assert_eq!(stage.unlock("a1", true), Err(refused));
    assert_eq!(stage.unlock("b1", true), Err(UnlockRefusal::NoInfo));
}

#[test]
fn message_names_what_was_refused_and_what_was_left_out_of_it_once() {
    let mut stage = stuck(Stuck::Error, false, false);
    let refused = stage.operation("a1").expect("an answer").conflict_message;
    for _ in 0..2 {
        stage.unlock("a1", false).expect("it can be decided");
        stage.resend("a1");
    }
    let message = stage.operation("a1").expect("an answer").conflict_message;
    let left_out = format!("{refused}, Left out by unlock: {}", ddl(AGAIN[1].0));
    assert_eq!(message, left_out);
}
