//! Random statements on random numbers of tables, in any order that keeps each table's own, with workers that crash and
//! leaders that die, lag and start anew at any point: what the tables come to is the same, everything comes to its end, and
//! each report is answered once.

#[path = "support/history.rs"]
mod history;
#[expect(dead_code, reason = "only a part of the stage is needed here")]
#[path = "support/stage.rs"]
mod stage;
#[path = "support/world.rs"]
mod world;

use dm_store::Revision;
use optimist_svc::machine::{LockView, TableState};
use proptest::prelude::*;

use history::{Action, COMPATIBLE, CONFLICTING, Change, History, TABLES, action, possible};

fn actions(tables_change: bool) -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(tables_change), 0..80)
}

/// Some changes in some order.
fn some_of(pool: &[Change]) -> impl Strategy<Value = Vec<Change>> + use<> {
    let pool = pool.to_vec();
    let most = pool.len();
    prop::sample::subsequence(pool, 0..=most)
        .prop_shuffle()
        .prop_map(possible)
}

fn all() -> Vec<Change> {
    COMPATIBLE.into_iter().chain(CONFLICTING).collect()
}

/// What must hold whatever happens.
fn check(history: &mut History) -> Result<(), TestCaseError> {
    prop_assert_eq!(history.answered_twice(), Vec::<String>::new());
    history.stage.world.quiet();
    prop_assert_eq!(history.stage.world.decide_again(), 0);
    let hot = history.stage.world.machine().map(|m| m.locks("", &[]));
    let fresh = history.stage.world.loaded().locks("", &[]);
    prop_assert_eq!(known(hot.unwrap_or_default()), known(fresh));
    Ok(())
}

/// What a leader that has just come can know. A table that was done stays so when it is told to execute nothing, and etcd does
/// not show that it was (spec optimist T8, X19). Nor does it show a lock when all that reported have left it (B5).
fn known(locks: Vec<LockView>) -> Vec<LockView> {
    let known = |mut lock: LockView| {
        for table in &mut lock.tables {
            if table.state == TableState::Executing {
                table.is_undone = true;
                lock.undone.push(table.table.to_string());
            }
        }
        lock.undone.sort();
        lock.undone.dedup();
        lock
    };
    let is_recorded = |lock: &LockView| lock.tables.iter().any(|t| t.revision > Revision::ZERO);
    locks.into_iter().filter(is_recorded).map(known).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_that_meet_the_same_statements_all_finish_and_nothing_is_left(
        tables in 1..=TABLES.len(),
        changes in some_of(&all()),
        actions in actions(false),
    ) {
        let mut history = History::same(tables, &changes);
        for action in actions {
            history.act(action);
        }
        if history.stage.world.machine().is_none() {
            history.stage.world.start();
        }
        check(&mut history)?;
        history.finish();
        prop_assert_eq!(history.stuck(), Vec::<String>::new(), "{:?}", history.stage.shown());
        prop_assert_eq!(history.stage.records(), Vec::<String>::new(), "{:?}", history.stage.shown());
        check(&mut history)?;
    }

    #[test]
    fn tables_that_come_and_go_do_not_hold_up_the_others(
        tables in 1..=TABLES.len(),
        changes in some_of(&COMPATIBLE),
        actions in actions(true),
    ) {
        let mut history = History::same(tables, &changes);
        for action in actions {
            history.act(action);
        }
        if history.stage.world.machine().is_none() {
            history.stage.world.start();
        }
        check(&mut history)?;
        history.finish();
        prop_assert_eq!(history.stuck(), Vec::<String>::new(), "{:?}", history.stage.shown());
        check(&mut history)?;
    }

    #[test]
    fn joined_schema_is_the_same_for_every_order_that_keeps_each_tables_own(
        changes in prop::collection::vec(some_of(&COMPATIBLE), 2..=TABLES.len()),
        orders in prop::collection::vec(prop::collection::vec(0..TABLES.len(), 20..80), 2),
    ) {
        let joined: Vec<Option<String>> = orders
            .into_iter()
            .map(|order| {
                let mut history = History::each(&changes);
                for who in order {
                    history.act(Action::Advance(who, 1));
                    history.stage.world.quiet();
                }
                history.finish();
                assert_eq!(history.stuck(), Vec::<String>::new());
                history.stage.shown().and_then(|lock| lock.joined)
            })
            .collect();
        // A lock that all tables have left is gone, in whatever order that was.
        if let [Some(one), Some(other)] = joined.as_slice() {
            prop_assert_eq!(one, other);
        }
    }
}
