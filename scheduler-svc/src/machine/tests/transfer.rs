//! Transfers, and moves after dumped files.

use dm_keyspace::{SourceId, Stage, StageRecord, SubtaskStageKey, WorkerName};
use dm_replica::Plan;

use super::world::*;
use crate::machine::request::Begun;

fn begin(world: &mut World, source: &str, worker: &str) -> Result<Begun, dm_errors::DmError> {
    world.fold();
    let (id, to) = (SourceId::from(source), WorkerName::from(worker));
    let plan = world.machine.begin_transfer(&id, &to, LIMIT);
    world.request(plan)
}

fn complete(world: &mut World, source: &str) -> Result<(), dm_errors::DmError> {
    world.fold();
    let plan = world.machine.complete_transfer(&source.into());
    world.request(plan)
}

fn stage(world: &World, source: &str, task: &str) -> Option<Stage> {
    world.machine.subtask_stage(&source.into(), &task.into())
}

fn lead(world: &mut World, lease: &str) {
    world.store.put(
        format!("/dm-master/leader/scheduler/{lease}"),
        format!(r#"{{"id":"{lease}","addr":"h:1"}}"#),
    );
    world.fold();
}

/// s1 on w1 with task t running, w2 free, and a leader.
fn world() -> World {
    let mut world = World::with_workers(&["w1"]);
    lead(&mut world, "0000000000000001");
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    world.register("w2").unwrap();
    world.online("w2");
    world.settle();
    world
}

#[test]
fn case_97_a_source_that_is_there_already_is_no_write() {
    let mut world = world();
    let before = world.store.revision;
    assert_eq!(begin(&mut world, "s1", "w1").unwrap(), Begun::Done);
    assert_eq!(world.store.revision, before);
}

#[test]
fn case_98_unknown_offline_bound_and_relaying_workers_are_refused() {
    let mut world = world();
    world.register("w3").unwrap();
    world.add(&["s2"]).unwrap();
    world.settle();
    world.register("w4").unwrap();
    world.online("w4");
    world.relay("w4", "s2");
    world.settle();
    for (source, worker, expected) in [
        ("s1", "w9", 46004),
        ("s9", "w2", 46008),
        ("s1", "w2", 46006),
        ("s1", "w3", 46006),
        ("s1", "w4", 46027),
    ] {
        assert_eq!(
            code(begin(&mut world, source, worker)),
            expected,
            "{source} {worker}"
        );
    }
    let error = begin(&mut world, "s1", "w3").unwrap_err();
    assert_eq!(
        error.message_text(),
        "invalid stage transformation for dm-worker w3, from offline to bound"
    );
}

#[test]
fn case_99_without_running_tasks_a_source_moves_at_once_and_its_worker_is_used_again() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.register("w2").unwrap();
    world.online("w2");
    world.settle();
    assert_eq!(begin(&mut world, "s1", "w2").unwrap(), Begun::Done);
    world.add(&["s2"]).unwrap();
    world.settle();
    assert_eq!(world.bounds(), "w1-s2 w2-s1");
}

#[test]
fn case_102_running_tasks_are_paused_moved_and_run_again() {
    let mut world = world();
    let Begun::Waiting { from, paused } = begin(&mut world, "s1", "w2").unwrap() else {
        panic!("nothing to wait for");
    };
    assert_eq!((from.worker.as_str(), paused.len()), ("w1", 1));
    assert_eq!(stage(&world, "s1", "t"), Some(Stage::Paused));
    assert!(world.settle().is_empty(), "the request attends to it");
    assert_eq!(code(begin(&mut world, "s1", "w2")), 46024);
    complete(&mut world, "s1").unwrap();
    assert!(world.settle().is_empty());
    assert_eq!(stage(&world, "s1", "t"), Some(Stage::Running));
    assert_eq!(world.bounds(), "w2-s1");
    assert!(!world.has("/dm-master/source-transfer/s1"));
}

#[test]
fn cases_103_104_and_108_an_abandoned_transfer_lets_tasks_run_where_they_are() {
    let mut world = world();
    begin(&mut world, "s1", "w2").unwrap();
    let plan = world.machine.abandon_transfer(&"s1".into());
    world.request(plan).unwrap();
    assert_eq!(stage(&world, "s1", "t"), Some(Stage::Running));
    assert_eq!(world.bounds(), "w1-s1");
    let again = world.machine.abandon_transfer(&"s1".into());
    assert!(matches!(again, Ok(Plan::Done(()))));
}

#[test]
fn case_105_a_source_whose_worker_dies_during_the_wait_fails_over_once() {
    let mut world = world();
    begin(&mut world, "s1", "w2").unwrap();
    world.offline("w1");
    world.settle();
    assert_eq!(world.bounds(), "w2-s1");
    assert_eq!(code(complete(&mut world, "s1")), 46026);
    let plan = world.machine.abandon_transfer(&"s1".into());
    world.request(plan).unwrap();
    assert_eq!(world.bounds(), "w2-s1");
    assert_eq!(stage(&world, "s1", "t"), Some(Stage::Running));
}

#[test]
fn case_106_a_target_that_is_taken_during_the_wait_is_not_overwritten() {
    let mut world = world();
    begin(&mut world, "s1", "w2").unwrap();
    world.add(&["s2"]).unwrap();
    world.settle();
    assert_eq!(code(complete(&mut world, "s1")), 46006);
    assert_eq!(world.bounds(), "w1-s1 w2-s2");
}

#[test]
fn case_107_the_next_leader_lets_the_tasks_of_a_lost_transfer_run_again() {
    for restarts in [false, true] {
        let mut world = world();
        begin(&mut world, "s1", "w2").unwrap();
        world
            .store
            .delete("/dm-master/leader/scheduler/0000000000000001");
        lead(&mut world, "0000000000000002");
        let done = if restarts {
            world.restart()
        } else {
            world.settle()
        };
        assert!(done.contains(&"undo_transfer"), "{done:?}");
        assert_eq!(stage(&world, "s1", "t"), Some(Stage::Running));
        assert_eq!(world.bounds(), "w1-s1");
        assert!(!world.has("/dm-master/source-transfer/s1"));
    }
}

#[test]
fn a_task_that_a_user_pauses_during_a_transfer_stays_paused() {
    let mut world = world();
    begin(&mut world, "s1", "w2").unwrap();
    let key = SubtaskStageKey {
        source: "s1".into(),
        task: "t".into(),
    };
    let paused = StageRecord::subtask(Stage::Paused, "s1", "t").to_bytes();
    world.store.put(key.encode(), paused);
    complete(&mut world, "s1").unwrap();
    assert_eq!(stage(&world, "s1", "t"), Some(Stage::Paused));
    assert_eq!(world.bounds(), "w2-s1");
}

#[test]
fn a_source_whose_files_are_being_loaded_stays_with_them() {
    let mut world = world();
    world.load_task("t", "s1", "w1");
    assert_eq!(code(begin(&mut world, "s1", "w2")), 46019);
}

#[test]
fn case_50_a_source_moves_to_the_worker_with_its_files_when_that_comes_online() {
    let mut world = world();
    world.offline("w2");
    world.load_task("t", "s1", "w2");
    world.settle();
    world.online("w2");
    world.add(&["s2"]).unwrap();
    world.settle();
    assert_eq!(world.bounds(), "w1-s2 w2-s1");
}

#[test]
fn case_51_a_source_stays_with_a_worker_that_has_files_of_it_too() {
    let mut world = world();
    world.start("u", &["s1"]).unwrap();
    world.load_task("u", "s1", "w1");
    world.load_task("t", "s1", "w2");
    assert!(world.settle().is_empty());
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn case_52_a_busy_worker_gives_up_its_source_for_one_that_it_has_the_files_of() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    world.load_task("t", "s1", "w1");
    world.offline("w1");
    world.settle();
    world.add(&["s0"]).unwrap();
    world.store.put(last_bound_key("w1"), bound("w1", "s0"));
    world.store.put(bound_key("w1"), bound("w1", "s0"));
    world.online("w1");
    let done = world.settle();
    assert!(done.contains(&"release_for_files"), "{done:?}");
    assert_eq!(world.bounds(), "w1-s1");
    world.register("w2").unwrap();
    world.online("w2");
    world.settle();
    assert_eq!(world.bounds(), "w1-s1 w2-s0");
}

#[test]
fn case_60_a_swap_deletes_before_it_puts_and_is_finished_by_any_leader() {
    for crash in [false, true] {
        let mut world = World::with_a_pair();
        let before = world.store.revision;
        world.load_task("t", "s1", "w2");
        world.fold();
        let release = world.wanted.values().flatten().next().cloned().unwrap();
        assert_eq!((release.name, release.puts.len()), ("release_for_files", 0));
        assert!(world.store.commit(&release));
        assert_eq!(world.bounds(), "");
        if crash {
            world.restart()
        } else {
            world.settle()
        };
        assert_eq!(world.bounds(), "w1-s2 w2-s1");
        assert!(world.store.revision > before);
    }
}

#[test]
fn case_53_a_worker_that_has_loaded_its_own_files_swaps_for_the_others_that_it_has() {
    let mut world = World::with_a_pair();
    world.load_task("t", "s1", "w1");
    world.load_task("t", "s2", "w1");
    // As long as it loads for its own source, nothing moves.
    assert!(world.settle().is_empty());
    assert_eq!(world.bounds(), "w1-s1 w2-s2");
    let loaded = dm_keyspace::LoadTaskKey {
        task: "t".into(),
        source: "s1".into(),
    };
    world.store.delete(loaded.encode());
    world.settle();
    assert_eq!(world.bounds(), "w1-s2 w2-s1");
}

#[test]
fn a_transfer_of_more_running_tasks_than_it_can_pause_says_so() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add_on(&["s1"], Some("w1")).unwrap();
    world.settle();
    for n in 0..121 {
        world.start(&format!("t{n}"), &["s1"]).unwrap();
    }
    let plan = world
        .machine
        .begin_transfer(&"s1".into(), &"w2".into(), LIMIT);
    assert_eq!(
        plan.map(|_| ()).unwrap_err().message_text(),
        "source s1 has 121 running tasks, and a transfer can pause 120 of them by itself; please pause some with \
         `pause-task`"
    );
}

#[test]
fn case_54_files_of_a_task_that_is_gone_move_nothing() {
    let mut world = world();
    world.load_task("gone", "s1", "w2");
    assert!(world.settle().is_empty());
}

#[test]
fn case_55_a_started_task_draws_its_source_to_its_files() {
    let mut world = world();
    world.load_task("u", "s1", "w2");
    assert!(world.settle().is_empty());
    world.start("u", &["s1"]).unwrap();
    assert_eq!(world.settle(), ["follow_files"]);
    assert_eq!(world.bounds(), "w2-s1");
}

#[test]
fn cases_56_and_58_files_are_looked_at_anew_after_a_reload_and_relay_elsewhere_keeps_a_worker_away()
{
    let mut world = world();
    world.relay("w2", "s9");
    world.settle();
    world.load_task("t", "s1", "w2");
    assert!(world.settle().is_empty());
    world.store.delete(
        dm_keyspace::RelayWorkerKey {
            worker: "w2".into(),
        }
        .encode(),
    );
    assert_eq!(
        world
            .restart()
            .iter()
            .filter(|n| **n == "follow_files")
            .count(),
        1
    );
    assert_eq!(world.bounds(), "w2-s1");
}
