//! Stops, pauses, resumes and changes of validators that take several transactions.

use dm_keyspace::{
    RelayOperationKey, RelayStageKey, Stage, StageRecord, SubtaskKey, SubtaskStageKey, TaskStart,
    TaskStartKey, ValidatorStageKey,
};
use dm_replica::Machine;

use super::starts::{keys, lead};
use super::world::*;
use crate::machine::request::SubtaskStage::{Paused, Running};
use crate::machine::request::{Extent, NewValidation};

const SOURCES: usize = 300;

/// A leader, and a running task of many sources whose workers are all away.
fn world() -> (World, Vec<dm_keyspace::SourceId>) {
    let mut world = World::default();
    lead(&mut world, 1);
    let names: Vec<String> = (0..SOURCES).map(|n| format!("s{n:03}")).collect();
    for name in &names {
        world.store.put(config_key(name), source(name, false).toml);
        add_subtask(&mut world, name);
    }
    world.settle();
    (world, names.iter().map(|n| n.as_str().into()).collect())
}

fn add_subtask(world: &mut World, name: &str) {
    let key = SubtaskKey {
        source: name.into(),
        task: "t".into(),
    };
    let config = dm_task::SubtaskConfig {
        name: "t".into(),
        source_id: name.into(),
        mode: "all".into(),
        ..Default::default()
    };
    world.store.put(key.encode(), config.to_toml().unwrap());
    world.store.put(
        stage_key(name),
        StageRecord::subtask(Stage::Running, name, "t").to_bytes(),
    );
}

fn stage_key(name: &str) -> String {
    SubtaskStageKey {
        source: name.into(),
        task: "t".into(),
    }
    .encode()
}

fn record(world: &World) -> TaskStart {
    let key = TaskStartKey { task: "t".into() }.encode();
    TaskStart::from_bytes(&world.store.keys[key.as_bytes()].value).unwrap()
}

/// One transaction after the other, as long as the record is there; `halfway` may do something after the first.
fn carry_on(world: &mut World, key: &str, halfway: impl FnOnce(&mut World)) -> usize {
    let mut halfway = Some(halfway);
    let mut transactions = 0;
    while world.has(key) {
        let next = world.wanted.values().flatten().next().cloned();
        let proposal = next.unwrap_or_else(|| panic!("nothing is wanted, and {key} is there"));
        // One condition more is the fence.
        assert!(proposal.guards.len() < LIMIT);
        assert!(proposal.puts.len() + proposal.deletes.len() <= LIMIT);
        assert!(world.store.commit(&proposal), "{}", proposal.name);
        transactions += 1;
        world.fold();
        if let Some(halfway) = halfway.take() {
            halfway(world);
        }
    }
    assert!(world.settle().is_empty());
    transactions
}

fn next_leader(world: &mut World) {
    lead(world, 2);
    world.machine = crate::machine::Scheduler::default();
    world.wanted.clear();
    world.machine.load(&world.store.snapshot());
    for decision in world.machine.decide() {
        world.wanted.insert(decision.subject, decision.proposals);
    }
}

#[test]
fn a_stop_in_parts_is_finished_by_the_next_leader_and_its_record_names_all_sources() {
    let (mut world, sources) = world();
    world.load_task("t", "s250", "w1");
    world.fold();
    let plan = world.machine.remove_subtasks(&"t".into(), &sources, LIMIT);
    assert_eq!(world.request(plan).unwrap(), Extent::InParts);
    assert_eq!(keys(&world, SubtaskKey::PREFIX), SOURCES);
    let key = TaskStartKey { task: "t".into() }.encode();
    let names = sources.clone();
    carry_on(&mut world, &key, |world| {
        assert!((1..SOURCES).contains(&keys(world, SubtaskKey::PREFIX)));
        assert_eq!(record(world).sources, names);
        // Nobody else touches the task in the meantime.
        let plan = world
            .machine
            .set_stage(Paused, &"t".into(), &names[299..], LIMIT);
        assert_eq!(code(plan), 46024);
        next_leader(world);
    });
    for prefix in [
        SubtaskKey::PREFIX,
        SubtaskStageKey::PREFIX,
        dm_keyspace::LoadTaskKey::PREFIX,
    ] {
        assert_eq!(keys(&world, prefix), 0, "{prefix}");
    }
}

#[test]
fn a_pause_and_a_resume_in_parts_reach_every_subtask_once() {
    let (mut world, sources) = world();
    for (stage, expected) in [
        (Paused, Stage::Paused),
        (Running, Stage::Running),
        // Again the same, which workers are to hear again.
        (Running, Stage::Running),
    ] {
        let before = world.store.revision;
        let plan = world.machine.set_stage(stage, &"t".into(), &sources, LIMIT);
        assert_eq!(world.request(plan).unwrap(), Extent::InParts);
        let key = TaskStartKey { task: "t".into() }.encode();
        let transactions = carry_on(&mut world, &key, |_| {});
        assert_eq!(transactions, SOURCES.div_ceil(LIMIT - 2));
        for id in &sources {
            assert_eq!(world.machine.subtask_stage(id, &"t".into()), Some(expected));
            let kv = &world.store.keys[stage_key(id.as_str()).as_bytes()];
            assert!(kv.mod_revision > before);
        }
    }
}

#[test]
fn a_pause_in_parts_skips_subtasks_that_went_and_ends_under_the_next_leader() {
    let (mut world, sources) = world();
    let plan = world
        .machine
        .set_stage(Paused, &"t".into(), &sources, LIMIT);
    world.request(plan).unwrap();
    let key = TaskStartKey { task: "t".into() }.encode();
    carry_on(&mut world, &key, |world| {
        world.store.delete(stage_key("s299"));
        next_leader(world);
    });
    let is_paused = |id: &&dm_keyspace::SourceId| {
        world.machine.subtask_stage(id, &"t".into()) == Some(Stage::Paused)
    };
    assert_eq!(sources.iter().filter(is_paused).count(), SOURCES - 1);
}

#[test]
fn validators_in_parts_are_started_with_their_mode_and_stopped() {
    let (mut world, _) = world();
    let targets = world.machine.validation_targets(&"t".into(), &[]);
    let new = NewValidation {
        mode: Some("fast".into()),
        start_time: Some("2026-01-01 00:00:00".into()),
    };
    let plan = world.machine.start_validation(&targets, &new, LIMIT);
    assert_eq!(world.request(plan).unwrap(), ["t".into()]);
    let key = TaskStartKey { task: "t".into() }.encode();
    carry_on(&mut world, &key, next_leader);
    assert_eq!(keys(&world, ValidatorStageKey::PREFIX), SOURCES);
    for (task, id) in &targets {
        let text = world.machine.subtask_config(id, task).unwrap();
        let config =
            dm_task::SubtaskConfig::from_toml(std::str::from_utf8(&text).unwrap()).unwrap();
        assert_eq!(config.validator.mode, "fast");
        assert_eq!(config.validator.start_time, "2026-01-01 00:00:00");
    }
    let plan = world.machine.stop_validation(&targets, LIMIT);
    world.request(plan).unwrap();
    carry_on(&mut world, &key, |_| {});
    let stopped = StageRecord::subtask(Stage::Stopped, "s000", "t").to_bytes();
    let key = ValidatorStageKey {
        source: "s000".into(),
        task: "t".into(),
    };
    assert_eq!(world.store.keys[key.encode().as_bytes()].value, stopped);
}

#[test]
fn relays_in_parts_are_paused_by_whoever_leads() {
    let (mut world, sources) = world();
    let plan = world.machine.set_relay_stage(false, &sources, LIMIT);
    assert_eq!(world.request(plan).unwrap(), Extent::InParts);
    carry_on(&mut world, RelayOperationKey::KEY, |world| {
        let plan = world.machine.set_relay_stage(true, &sources[..1], LIMIT);
        assert_eq!(code(plan), 46024);
        // A source that is removed meanwhile holds nothing up.
        world.store.delete(config_key("s299"));
        next_leader(world);
    });
    assert_eq!(keys(&world, RelayStageKey::PREFIX), SOURCES - 1);
}

#[test]
fn what_fits_into_one_transaction_leaves_no_record() {
    let (mut world, sources) = world();
    let few = &sources[..LIMIT - 2];
    let plan = world.machine.set_stage(Paused, &"t".into(), few, LIMIT);
    assert_eq!(world.request(plan).unwrap(), Extent::Whole);
    assert_eq!(keys(&world, TaskStartKey::PREFIX), 0);
}

#[test]
fn a_task_of_long_texts_is_started_in_parts_by_their_bytes() {
    let mut task = new_task("t", &["s1", "s2", "s3"]);
    for subtask in &mut task.subtasks {
        subtask.toml = "x".repeat(300 * 1024);
    }
    let parts = task.parts(LIMIT);
    let sizes: Vec<usize> = parts.iter().map(|part| part.subtasks.len()).collect();
    assert_eq!(sizes, [0, 1, 1, 1]);
    // One that is too long for any transaction is left to etcd to refuse.
    let mut task = new_task("t", &["s1"]);
    task.subtasks[0].toml = "x".repeat(3 << 20);
    assert_eq!(task.parts(LIMIT).len(), 1);
}
