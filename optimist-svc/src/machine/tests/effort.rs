//! What an info costs: the same however many tables there are, and what is kept for that is what looking at everything gives.

use proptest::prelude::*;

use super::history::{COMPATIBLE, CONFLICTING, History, TABLES, action, possible};
use super::stage::Stage;

const OLD: &str = "id INT PRIMARY KEY, a INT, w INT";
const ADD: (&str, &str) = (
    "ADD COLUMN c INT",
    "id INT PRIMARY KEY, a INT, w INT, c INT",
);
const DROP: (&str, &str) = ("DROP COLUMN w", "id INT PRIMARY KEY, a INT");
const RENAME: (&str, &str) = ("CHANGE COLUMN a c INT", "id INT PRIMARY KEY, c INT, w INT");

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("a{number}")).collect()
}

fn work(stage: &Stage) -> u64 {
    stage
        .world
        .machine()
        .map(crate::Optimist::work)
        .unwrap_or_default()
}

/// The most that one info or one done of so many tables costs, but for the first, which makes the lock, and the last done,
/// which ends it. The largest transaction, too.
fn most(count: usize, ddl: (&str, &str)) -> (u64, usize) {
    let names = names(count);
    let tables: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::new(&tables, OLD);
    stage.report(tables[0], &[ddl]);
    stage.world.committed.clear();
    let mut most = 0;
    let mut steps: Vec<(bool, &str)> = tables[1..].iter().map(|table| (true, *table)).collect();
    steps.extend(tables[1..].iter().map(|table| (false, *table)));
    for (is_report, table) in steps {
        let before = work(&stage);
        match is_report {
            true => {
                stage.report(table, &[ddl]);
            }
            false => stage.done(table),
        }
        most = most.max(work(&stage) - before);
    }
    let sizes = stage.world.committed.iter().map(|(_, size)| *size);
    (most, sizes.max().unwrap_or_default())
}

#[test]
fn normal_statement_costs_the_same_however_many_tables_there_are() {
    for ddl in [ADD, DROP] {
        let few = most(10, ddl);
        assert!(few.0 > 0);
        assert_eq!(most(200, ddl), few, "{ddl:?}");
    }
}

#[test]
fn statement_that_waits_costs_the_same_until_the_last_which_costs_one_step_a_table() {
    let cost = |count: usize| {
        let names = names(count);
        let tables: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut stage = Stage::new(&tables, OLD);
        stage.report(tables[0], &[RENAME]);
        let (last, others) = tables[1..].split_last().expect("there are some");
        let mut most = 0;
        for table in others {
            let before = work(&stage);
            stage.report(table, &[RENAME]);
            most = most.max(work(&stage) - before);
        }
        let before = work(&stage);
        stage.report(last, &[RENAME]);
        (most, (work(&stage) - before) / count as u64)
    };
    let few = cost(20);
    let many = cost(100);
    assert_eq!(many.0, few.0);
    assert!(many.1 <= few.1, "{many:?} and {few:?}");
}

#[test]
fn list_of_one_source_costs_nothing_for_the_tables_of_others() {
    let cost = |count: usize| {
        let mut names = names(count);
        names.push("b0".to_owned());
        let tables: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut stage = Stage::new(&tables, OLD);
        stage.report("b0", &[ADD]);
        let before = work(&stage);
        stage.columns.insert("b1".to_owned(), OLD.to_owned());
        stage.flush("b1");
        stage.list(&"B".into());
        stage.world.quiet();
        assert!(
            stage
                .shown()
                .is_some_and(|lock| lock.tables.len() == count + 2)
        );
        work(&stage) - before
    };
    let few = cost(5);
    assert!(few > 0);
    assert_eq!(cost(60), few);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_looking_at_everything_gives(
        tables in 1..=TABLES.len(),
        changes in prop::sample::subsequence(
            COMPATIBLE.into_iter().chain(CONFLICTING).collect::<Vec<_>>(),
            0..=12,
        ).prop_shuffle().prop_map(possible),
        actions in prop::collection::vec(action(true), 0..80),
    ) {
        let mut history = History::same(tables, &changes);
        for action in actions {
            history.act(action);
            let machine = history.stage.world.machine();
            prop_assert!(machine.is_none_or(crate::Optimist::is_as_derived_anew));
        }
        history.finish();
        let machine = history.stage.world.machine();
        prop_assert!(machine.is_some_and(crate::Optimist::is_as_derived_anew));
    }
}
