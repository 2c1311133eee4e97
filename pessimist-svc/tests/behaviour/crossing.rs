//! Orders that cross with sources that leave and come back: the leader commits what it has decided on before it has seen them.

use dm_keyspace::pessimism::{Info, Operation};
use dm_replica::Machine as _;
use dm_store::Snapshot;
use pessimist_svc::machine::{Pessimist, UnlockOutcome, UnlockRequest};

use crate::stage::{D1, Stage, id, stage};
use crate::world::{UNLOCK_WAIT, operation_key};

fn info(source: &str) -> Info {
    Info::new("t1", source, "foo", "bar", vec![D1.to_owned()])
}

/// `s1` and `s2` have reported, and `s1` is told to execute after it has left the task, which the leader has not seen.
fn owner_told_after_it_left() -> Stage {
    let mut stage = stage(&["s1", "s2"]);
    stage.world.report(&info("s1"));
    stage.world.report(&info("s2"));
    stage.world.set_sources("t1", &[], &["s1"]);
    stage.world.step_behind(2);
    assert_eq!(stage.operations(), "s1");
    stage
}

/// `s1` is done, and `s2` is told to skip after it has left the task, which the leader has not seen.
fn other_told_after_it_left(and_is_back: bool) -> Stage {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(stage.world.done("t1", "s1", None), 0);
    stage.world.set_sources("t1", &[], &["s2"]);
    if and_is_back {
        stage.world.set_sources("t1", &["s2"], &[]);
    }
    stage.world.step_behind(2);
    assert_eq!(stage.operations(), "s1* s2");
    stage
}

#[test]
fn done_of_an_owner_that_was_told_after_it_left_counts() {
    let mut stage = owner_told_after_it_left();
    assert_eq!(stage.done("s1"), "s2 skips");
}

#[test]
fn nobody_else_executes_when_the_owner_that_left_is_done_just_now() {
    let mut stage = owner_told_after_it_left();
    assert_eq!(stage.world.done("t1", "s1", None), 0);
    stage.world.put.clear();
    // Its leaving, its order, the record: not that it is done.
    stage.world.step_behind(3);
    assert_eq!(stage.world.put, []);
    assert_eq!(stage.after(|_| {}), "s2 skips");
}

#[test]
fn owner_that_left_and_comes_back_is_not_told_again_when_another_one_was() {
    let mut stage = owner_told_after_it_left();
    stage.world.set_sources("t1", &["s1"], &[]);
    // Its leaving, its order, the record: not that it is back.
    stage.world.step_behind(3);
    assert_eq!(stage.operations(), "s1 s2");
    assert_eq!(stage.after(|_| {}), "");
    assert_eq!(stage.report("s1", D1), "");
    assert_eq!(stage.done("s2"), "s1 skips");
}

#[test]
fn one_that_comes_back_while_the_round_ends_is_told_nothing_of_it_any_more() {
    let mut stage = owner_told_after_it_left();
    assert_eq!(stage.after(|_| {}), "s2 executes");
    assert_eq!(stage.world.done("t1", "s2", None), 0);
    stage.world.set_sources("t1", &["s1"], &[]);
    // That s2 is done, and not that s1 is back.
    stage.world.step_behind(2);
    assert_eq!(stage.after(|_| {}), "");
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("s1 owns; ready s1; missing s2; done -", "")
    );
}

#[test]
fn done_that_comes_after_the_round_holds_nobody_up() {
    let mut stage = other_told_after_it_left(false);
    stage.after(|_| {});
    let order = Operation::new(id("bar"), "t1", "s2", vec![D1.to_owned()], false);
    assert_eq!(stage.world.done("t1", "s2", Some(order)), 0);
    stage.after(|_| {});
    stage.join("s2");
    assert_eq!(stage.operations(), "");
}

#[test]
fn round_does_not_end_without_one_that_is_back_and_was_told_to_skip() {
    let mut stage = other_told_after_it_left(true);
    // That it has left, and not that it is back.
    stage.world.step_behind(1);
    stage.after(|_| {});
    assert_eq!(stage.lock(), "s1 owns; ready s1 s2; missing -; done s1");
    stage.done("s2");
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("none", "")
    );
}

#[test]
fn unlock_leaves_nothing_of_one_that_was_told_after_it_left() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    let request = UnlockRequest {
        id: id("bar"),
        replace_owner: None,
        force_remove: false,
    };
    stage
        .world
        .begin_unlock(&"t1".into(), &request)
        .expect("the unlock begins");
    assert_eq!(stage.world.done("t1", "s1", None), 0);
    stage.world.set_sources("t1", &[], &["s2"]);
    // That s1 is done, then that s2 has left, and not that it was told to skip before that was known.
    stage.world.step_behind(2);
    stage.world.step_behind(1);
    stage.world.tick(UNLOCK_WAIT);
    stage.world.step_behind(0);
    stage.after(|_| {});
    assert_eq!(
        (stage.operations().as_str(), stage.infos().as_str()),
        ("", "")
    );
}

#[test]
fn unlock_takes_the_order_of_one_that_has_left_with_it() {
    let mut stage = owner_told_after_it_left();
    assert_eq!(stage.after(|_| {}), "s2 executes");
    let removed = UnlockOutcome::Removed {
        unfinished: Vec::new(),
    };
    assert_eq!(stage.unlock(None, false, &["s2"]), removed);
    assert_eq!(
        (stage.operations().as_str(), stage.infos().as_str()),
        ("", "")
    );
    assert!(stage.late_done_fails("s1"));
}

#[test]
fn order_that_is_put_again_unasked_is_the_same_to_the_byte() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    let etcd = &stage.world.etcd;
    let mut next = Pessimist::default();
    next.load(&Snapshot {
        revision: etcd.revision,
        entries: etcd.keys.values().cloned().collect(),
    });
    let key = operation_key("t1", "s1");
    let decisions = next.decide();
    let mut puts = decisions
        .iter()
        .flat_map(|decision| &decision.proposals)
        .flat_map(|proposal| &proposal.puts);
    let again = puts.find(|put| put.key == key).expect("it is put again");
    let trace = "00-0000000000000000000000000000000a-000000000000000b-01";
    let present = &etcd.get(&key).expect("it is there").value;
    assert_eq!(again.value.bytes(Some(trace)), *present);
}
