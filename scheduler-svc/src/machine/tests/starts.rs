//! Starts of tasks that take several transactions.

use dm_keyspace::{SubtaskKey, SubtaskStageKey, TaskStart, TaskStartKey};

use super::world::*;
use crate::machine::request::NewTask;

pub(super) fn lead(world: &mut World, lease: usize) {
    let key = |lease: usize| format!("/dm-master/leader/scheduler/{lease:016}");
    if lease > 1 {
        world.store.delete(key(lease - 1));
    }
    let value = format!(r#"{{"id":"{lease}","addr":"h:1"}}"#);
    world.store.put(key(lease), value);
    world.fold();
}

/// A leader, and a hundred bound sources.
fn world() -> (World, Vec<String>) {
    let workers: Vec<String> = (100..200).map(|n| format!("w{n}")).collect();
    let workers: Vec<&str> = workers.iter().map(String::as_str).collect();
    let mut world = World::with_workers(&workers);
    lead(&mut world, 1);
    let sources: Vec<String> = workers.iter().map(|name| name.replace('w', "s")).collect();
    let names: Vec<&str> = sources.iter().map(String::as_str).collect();
    world.add(&names).unwrap();
    world.settle();
    (world, sources)
}

fn whole(sources: &[String]) -> NewTask {
    let names: Vec<&str> = sources.iter().map(String::as_str).collect();
    new_task("t", &names)
}

/// Sends so many parts of the start.
fn begin(world: &mut World, task: NewTask, parts: usize) {
    let all = task.parts(LIMIT);
    assert!(all.len() > parts, "{} parts", all.len());
    for part in all.iter().take(parts) {
        let plan = world.machine.start_task(part);
        world.request(plan).unwrap();
    }
}

pub(super) fn keys(world: &World, prefix: &str) -> usize {
    let keys = world.store.keys.keys();
    keys.filter(|key| key.starts_with(prefix.as_bytes()))
        .count()
}

#[test]
fn a_start_whose_leader_is_gone_halfway_is_removed_whole_by_the_next() {
    let (mut world, sources) = world();
    begin(&mut world, whole(&sources), 4);
    let record = &world.store.keys[TaskStartKey { task: "t".into() }.encode().as_bytes()];
    let record = TaskStart::from_bytes(&record.value).unwrap();
    assert_eq!(record.sources.len(), sources.len());
    // What a worker has written about the subtask goes with it.
    world.load_task("t", "s100", "w100");
    world.fold();
    assert!(
        world.settle().is_empty(),
        "the leader's own request goes on"
    );
    assert!(keys(&world, SubtaskKey::PREFIX) > 40);
    lead(&mut world, 2);
    let done = world.settle();
    assert!(
        done.len() > 1 && done.iter().all(|name| *name == "undo_start"),
        "{done:?}"
    );
    for prefix in [
        SubtaskKey::PREFIX,
        SubtaskStageKey::PREFIX,
        TaskStartKey::PREFIX,
        dm_keyspace::LoadTaskKey::PREFIX,
    ] {
        assert_eq!(keys(&world, prefix), 0, "{prefix}");
    }
    world.start("t", &["s100"]).unwrap();
}

#[test]
fn a_replica_that_starts_now_removes_it_too_and_keeps_what_was_there_before() {
    let (mut world, sources) = world();
    world.start("t", &["s100", "s199"]).unwrap();
    let rest: Vec<String> = sources[1..99].to_vec();
    begin(&mut world, whole(&rest), 2);
    lead(&mut world, 2);
    world.restart();
    assert_eq!(
        world.machine.sources_of_task(&"t".into()),
        ids(&["s100", "s199"]).into_iter().collect()
    );
    assert_eq!(keys(&world, TaskStartKey::PREFIX), 0);
}

#[test]
fn nobody_else_starts_the_task_in_the_meantime() {
    let (mut world, sources) = world();
    begin(&mut world, whole(&sources), 1);
    assert!(world.machine.is_in_operation(&"t".into()));
    assert_eq!(code(world.start("t", &["s199"])), 46024);
    assert_eq!(code(world.start("u", &["s199"])), 0);
    lead(&mut world, 2);
    // The old leader's next part does not pass, whoever sends it.
    let next = whole(&sources).parts(LIMIT).remove(1);
    assert_eq!(code(world.machine.start_task(&next)), 46024);
}

#[test]
fn a_start_that_is_given_up_is_removed_by_its_own_leader() {
    let (mut world, sources) = world();
    begin(&mut world, whole(&sources), 2);
    let plan = world.machine.abandon_start(&"t".into());
    world.request(plan).unwrap();
    assert!(world.settle().contains(&"undo_start"));
    assert!(world.machine.sources_of_task(&"t".into()).is_empty());
    assert!(!world.machine.is_in_operation(&"t".into()));
}

#[test]
fn a_start_that_has_come_to_its_end_leaves_no_record() {
    let (mut world, sources) = world();
    for part in whole(&sources).parts(LIMIT) {
        let plan = world.machine.start_task(&part);
        world.request(plan).unwrap();
    }
    lead(&mut world, 2);
    assert!(world.settle().is_empty());
    assert_eq!(keys(&world, SubtaskKey::PREFIX), 100);
    assert_eq!(keys(&world, TaskStartKey::PREFIX), 0);
}
