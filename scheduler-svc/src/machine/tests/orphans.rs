//! Records that cannot be read, or that refer to what is gone: told, and in nobody's way.

use dm_keyspace::{
    RelayStageKey, Stage, StageRecord, SubtaskKey, SubtaskStageKey, TaskName, ValidatorStageKey,
};
use dm_replica::Machine;

use super::world::*;

fn subtask_key(source: &str, task: &str) -> String {
    SubtaskKey {
        source: source.into(),
        task: task.into(),
    }
    .encode()
}

fn stage_key(source: &str, task: &str) -> String {
    SubtaskStageKey {
        source: source.into(),
        task: task.into(),
    }
    .encode()
}

fn faults(world: &World) -> Vec<String> {
    world.machine.faults().map(|f| f.reason.clone()).collect()
}

fn counts(world: &World) -> Vec<(&'static str, usize)> {
    let counts = world.machine.orphan_counts();
    counts
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| (kind.as_str(), count))
        .collect()
}

#[test]
fn a_subtask_that_cannot_be_read_or_names_another_is_told() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    for (task, value, reason) in [
        ("a", "no toml", "key with no value, expected `=`"),
        (
            "b",
            "name = \"other\"\nsource-id = \"s1\"\n",
            "`name` of the value is not the name in the key",
        ),
        (
            "c",
            "name = \"c\"\nsource-id = \"s2\"\n",
            "`source-id` of the value is not the name in the key",
        ),
        (
            "d",
            "name = \"d\"\nsource-id = \"s1\"\n[from]\npassword = 4711\n",
            "invalid type: integer ``, expected a string",
        ),
    ] {
        world.store.put(subtask_key("s1", task), value);
        world.fold();
        let told = faults(&world);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0] == reason || task == "a" && !told[0].contains("no toml"),
            "{told:?}"
        );
        // It is there all the same: nobody starts over it, and it can be stopped.
        assert_eq!(code(world.start(task, &["s1"])), 46014);
        let plan = world
            .machine
            .remove_subtasks(&task.into(), &ids(&["s1"]), LIMIT);
        world.request(plan).unwrap();
        assert!(faults(&world).is_empty());
        assert!(!world.has(&subtask_key("s1", task)));
    }
}

#[test]
fn every_key_of_a_source_is_looked_at() {
    let mut world = World::with_workers(&["w1"]);
    let value = "source-id = \"s1\"\nrelay-dir = 5\n";
    world.store.put(config_key("s1"), value);
    world.settle();
    assert_eq!(world.bounds(), "");
    assert_eq!(
        faults(&world),
        ["invalid type: integer ``, expected a string"]
    );
    world.store.put(config_key("s1"), source("s1", false).toml);
    world.settle();
    assert!(faults(&world).is_empty());
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn a_stage_that_cannot_be_read_is_written_over_and_can_be_stopped() {
    use crate::machine::request::SubtaskStage::Paused;

    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    let task: TaskName = "t".into();
    world.store.put(stage_key("s1", "t"), "garbage");
    world.fold();
    let plan = world.machine.set_stage(Paused, &task, &ids(&["s1"]), LIMIT);
    world.request(plan).unwrap();
    assert!(faults(&world).is_empty());
    world.store.put(stage_key("s1", "t"), "garbage");
    // Nothing but the stage is left.
    world.store.delete(subtask_key("s1", "t"));
    world.fold();
    assert_eq!(
        world.machine.members_of_task(&task),
        ids(&["s1"]).into_iter().collect()
    );
    let plan = world.machine.remove_subtasks(&task, &ids(&["s1"]), LIMIT);
    world.request(plan).unwrap();
    assert!(!world.has(&stage_key("s1", "t")));
    // A subtask without a stage can be stopped as well.
    world.start("t", &["s1"]).unwrap();
    world.store.delete(stage_key("s1", "t"));
    world.fold();
    let plan = world.machine.remove_subtasks(&task, &ids(&["s1"]), LIMIT);
    world.request(plan).unwrap();
    assert!(!world.has(&subtask_key("s1", "t")));
}

#[test]
fn a_relay_stage_that_cannot_be_read_keeps_no_source_from_its_worker() {
    let mut world = World::with_workers(&["w1"]);
    let key = RelayStageKey {
        source: "s1".into(),
    };
    world.store.put(key.encode(), "garbage");
    world.store.put(config_key("s1"), source("s1", true).toml);
    assert_eq!(world.settle(), ["bind_source"]);
    let plan = world.machine.set_relay_stage(true, &ids(&["s1"]), LIMIT);
    world.request(plan).unwrap();
    assert!(faults(&world).is_empty());
}

#[test]
fn whatever_refers_to_a_source_that_is_gone_is_told_until_one_of_them_goes() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    world.relay("w2", "s1");
    world.load_task("t", "s1", "w1");
    let relay_stage = RelayStageKey {
        source: "s1".into(),
    };
    world.store.put(
        relay_stage.encode(),
        StageRecord::relay(Stage::Running, "s1").to_bytes(),
    );
    world.settle();
    assert_eq!(counts(&world), []);
    world.store.delete(config_key("s1"));
    world.store.put(
        "/dm-master/source-transfer/s1",
        r#"{"to":"w2","from":"w1","paused":[],"term":0}"#,
    );
    world.settle();
    let all = [
        ("relay-worker", 1),
        ("last-bound", 1),
        ("relay-stage", 1),
        ("transfer", 1),
        ("subtask", 1),
    ];
    assert_eq!(counts(&world), all);
    assert_eq!(world.machine.orphans().count(), 5);
    // Also to a replica that starts now.
    world.restart();
    assert_eq!(counts(&world), all);
    world.store.put(config_key("s1"), source("s1", false).toml);
    world.settle();
    assert_eq!(counts(&world), []);
    assert_eq!(world.machine.orphans().count(), 0);
}

#[test]
fn halves_of_a_subtask_and_files_of_nobody_are_told() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    world.start("u", &["s1"]).unwrap();
    world.store.delete(subtask_key("s1", "t"));
    world.store.delete(stage_key("s1", "u"));
    let validator = ValidatorStageKey {
        source: "s1".into(),
        task: "v".into(),
    };
    let running = StageRecord::subtask(Stage::Running, "s1", "v").to_bytes();
    world.store.put(validator.encode(), running);
    world.load_task("t", "s1", "w1");
    world.load_task("u", "s1", "w9");
    world.fold();
    assert_eq!(
        counts(&world),
        [
            ("subtask-without-stage", 1),
            ("stage-without-subtask", 2),
            ("load-task", 2)
        ]
    );
    let told: Vec<&str> = world.machine.orphans().map(|o| o.text.as_str()).collect();
    assert_eq!(
        told,
        [
            "subtask of task t for source s1: there is a stage and no configuration",
            "subtask of task u for source s1: there is a configuration and no stage",
            "subtask of task v for source s1: there is a stage and no configuration",
            "worker w1 has dumped files of source s1 for task t: there is no such subtask",
            "worker w9 has dumped files of source s1 for task u: the worker is not registered",
        ]
    );
    // The worker comes, the task goes.
    world.register("w9").unwrap();
    for task in ["t", "v"] {
        let plan = world
            .machine
            .remove_subtasks(&task.into(), &ids(&["s1"]), LIMIT);
        world.request(plan).unwrap();
    }
    assert_eq!(counts(&world), [("subtask-without-stage", 1)]);
    let mut replica = crate::machine::Scheduler::default();
    replica.load(&world.store.snapshot());
    replica.decide();
    assert_eq!(replica.orphans().count(), 1);
}

#[test]
fn the_next_task_of_a_name_does_not_go_where_the_files_of_the_last_one_are() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    world.load_task("t", "s1", "w1");
    world.settle();
    let plan = world
        .machine
        .remove_subtasks(&"t".into(), &ids(&["s1"]), LIMIT);
    world.request(plan).unwrap();
    world.offline("w1");
    world.settle();
    world.online("w1");
    world.settle();
    world.start("t", &["s1"]).unwrap();
    assert!(world.settle().is_empty());
    assert_eq!(world.bounds(), "w2-s1");
}
