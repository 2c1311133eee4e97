//! What outlives a leader, and what has become stale in the meantime.

use dm_keyspace::{Stage, StageRecord, ValidatorStageKey};
use dm_replica::Machine;

use super::world::*;
use crate::machine::request::{Begun, NewValidation};

/// Another replica sees the same at this moment, and has nothing to add.
fn is_the_same_from_a_snapshot(world: &mut World) {
    let (bounds, revision) = (world.bounds(), world.store.revision);
    let stages = |world: &World| {
        let rows = world.machine.worker_rows();
        rows.map(|row| (row.name, row.stage, row.source))
            .collect::<Vec<_>>()
    };
    let records = |world: &World| {
        let sources = &world.machine.sources;
        (stages(world), format!("{sources:?}"))
    };
    let seen = records(world);
    let snapshot = world.store.snapshot();
    // The replica that has followed all the time, and one that starts now.
    world.machine.load(&snapshot);
    let again = world.machine.decide();
    assert!(again.iter().all(|d| d.proposals.is_empty()), "{again:?}");
    assert_eq!(records(world), seen);
    let done = world.restart();
    assert!(done.is_empty(), "{done:?}");
    assert_eq!((world.bounds(), world.store.revision), (bounds, revision));
    assert_eq!(records(world), seen);
}

#[test]
fn case_5_after_each_step_of_a_life_a_new_replica_sees_the_same() {
    let mut world = World::default();
    let steps: [&dyn Fn(&mut World); 13] = [
        &|world| world.add(&["s1", "s2"]).unwrap(),
        &|world| world.register("w1").unwrap(),
        &|world| world.online("w1"),
        &|world| {
            world.register("w2").unwrap();
            world.online("w2");
        },
        &|world| world.start("t", &["s1", "s2"]).unwrap(),
        &|world| {
            let plan = world.machine.set_stage(
                crate::machine::request::SubtaskStage::Paused,
                &"t".into(),
                &ids(&["s1"]),
                LIMIT,
            );
            world.request(plan).unwrap();
        },
        &|world| {
            let plan = world.machine.start_relay(&"s1".into(), &["w1".into()]);
            world.request(plan).unwrap();
        },
        &|world| {
            let plan = world.machine.set_relay_stage(false, &ids(&["s1"]), LIMIT);
            world.request(plan).unwrap();
        },
        &|world| {
            let targets = world.machine.validation_targets(&"t".into(), &[]);
            let new = NewValidation::default();
            let plan = world.machine.start_validation(&targets, &new, LIMIT);
            world.request(plan).unwrap();
        },
        &|world| world.offline("w1"),
        &|world| {
            let plan = world
                .machine
                .remove_subtasks(&"t".into(), &ids(&["s1", "s2"]), LIMIT);
            world.request(plan).unwrap();
        },
        &|world| {
            let plan = world.machine.stop_relay(&"s1".into(), &["w1".into()]);
            world.request(plan).unwrap();
        },
        &|world| {
            let plan = world.machine.remove_source(&"s2".into());
            world.request(plan).unwrap();
        },
    ];
    for step in steps {
        step(&mut world);
        world.settle();
        is_the_same_from_a_snapshot(&mut world);
    }
    assert_eq!(world.bounds(), "w2-s1");
}

#[test]
fn case_15_files_of_one_source_and_relay_of_another_are_told_and_stop_nothing() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1", "s2"]).unwrap();
    world.settle();
    world.start("t", &["s2"]).unwrap();
    world.relay("w1", "s1");
    world.load_task("t", "s2", "w1");
    world.restart();
    assert_eq!(world.bounds(), "w1-s1 w2-s2");
    let told: Vec<String> = world.machine.conflicts().collect();
    assert_eq!(
        told,
        [
            "worker w1 has dumped files of source s2 for task t, which it cannot serve while it pulls the relay log of s1"
        ]
    );
    let plan = world
        .machine
        .remove_subtasks(&"t".into(), &ids(&["s2"]), LIMIT);
    world.request(plan).unwrap();
    assert_eq!(world.machine.conflicts().count(), 0);
}

#[test]
fn a_worker_told_to_relay_for_a_source_that_is_gone_is_told_and_served_nothing() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.relay("w1", "gone");
    world.add(&["s1"]).unwrap();
    world.settle();
    assert_eq!(world.bounds(), "w2-s1");
    let told: Vec<&str> = world.machine.orphans().map(|o| o.text.as_str()).collect();
    assert_eq!(
        told,
        ["worker w1 is told to pull the relay log of gone, which is no source"]
    );
}

#[test]
fn case_18_a_validator_that_another_leader_removed_is_not_enabled() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    let targets = world.machine.validation_targets(&"t".into(), &[]);
    let key = ValidatorStageKey {
        source: "s1".into(),
        task: "t".into(),
    };
    let running = StageRecord::subtask(Stage::Running, "s1", "t");
    world.store.put(key.encode(), running.to_bytes());
    world.fold();
    assert!(world.machine.stop_validation(&targets, LIMIT).is_ok());
    world.store.delete(key.encode());
    world.fold();
    let refused = world.machine.stop_validation(&targets, LIMIT).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("is not enabled"));
}

#[test]
fn case_19_more_dead_bounds_than_a_transaction_holds_are_all_replaced() {
    let mut world = World::default();
    for n in 0..300 {
        let (dead, source_id) = (format!("dead{n}"), format!("s{n:03}"));
        world
            .store
            .put(config_key(&source_id), source(&source_id, false).toml);
        world.store.put(bound_key(&dead), bound(&dead, &source_id));
        let living = format!("w{n:03}");
        world.register(&living).unwrap();
        world.online(&living);
    }
    world.restart();
    let bounds = world.store.bounds();
    assert_eq!(bounds.len(), 300);
    assert!(bounds.iter().all(|(worker, _)| worker.starts_with('w')));
}

#[test]
fn case_59_a_swap_does_not_apply_when_a_worker_has_another_source_by_then() {
    let mut world = World::with_a_pair();
    world.load_task("t", "s1", "w2");
    world.fold();
    let swap = world.wanted.values().flatten().next().cloned().unwrap();
    assert_eq!(swap.name, "release_for_files");
    world.store.put(bound_key("w2"), bound("w2", "s3"));
    let before = world.store.revision;
    assert!(!world.store.commit(&swap));
    assert_eq!(world.store.revision, before);
}

#[test]
fn case_100_a_source_without_a_worker_is_given_to_the_one_that_is_named() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    // Before the loop binds it to w1.
    let plan = world
        .machine
        .begin_transfer(&"s1".into(), &"w2".into(), 128);
    assert_eq!(world.request(plan).unwrap(), Begun::Done);
    assert_eq!(world.bounds(), "w2-s1");
    assert!(world.settle().is_empty());
}

/// Task t on s1, with a configuration that can be changed and written again.
fn with_whole_task() -> World {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    let mut task = new_task("t", &["s1"]);
    task.subtasks[0].toml = "name = \"t\"\nsource-id = \"s1\"\nmode = \"all\"\n".to_owned();
    let plan = world.machine.start_task(&task);
    world.request(plan).unwrap();
    world
}

#[test]
fn case_114_a_validator_of_a_task_that_is_being_stopped_leaves_nothing_behind() {
    for stop_first in [true, false] {
        let mut world = with_whole_task();
        let targets = world.machine.validation_targets(&"t".into(), &[]);
        let validate = planned(world.machine.start_validation(
            &targets,
            &NewValidation::default(),
            LIMIT,
        ));
        let stop = planned(
            world
                .machine
                .remove_subtasks(&"t".into(), &ids(&["s1"]), LIMIT),
        );
        if stop_first {
            assert!(world.store.commit(&stop));
            assert!(!world.store.commit(&validate));
        } else {
            assert!(world.store.commit(&validate));
            // The stop is planned anew on what is there now, and takes the validator along.
            world.fold();
            let plan = world
                .machine
                .remove_subtasks(&"t".into(), &ids(&["s1"]), LIMIT);
            world.request(plan).unwrap();
        }
        for prefix in [
            ValidatorStageKey::PREFIX,
            dm_keyspace::SubtaskKey::PREFIX,
            dm_keyspace::SubtaskStageKey::PREFIX,
        ] {
            let left = world.store.keys.keys();
            assert_eq!(left.filter(|k| k.starts_with(prefix.as_bytes())).count(), 0);
        }
    }
}

#[test]
fn case_109_a_validator_that_is_started_without_a_mode_compares_in_full() {
    let mut world = with_whole_task();
    let targets = world.machine.validation_targets(&"t".into(), &[]);
    let plan = world
        .machine
        .start_validation(&targets, &NewValidation::default(), LIMIT);
    world.request(plan).unwrap();
    let text = world
        .machine
        .subtask_config(&"s1".into(), &"t".into())
        .unwrap();
    let config = dm_task::SubtaskConfig::from_toml(std::str::from_utf8(&text).unwrap()).unwrap();
    assert_eq!(config.validator.mode, "full");
    let key = ValidatorStageKey {
        source: "s1".into(),
        task: "t".into(),
    };
    let running = StageRecord::subtask(Stage::Running, "s1", "t").to_bytes();
    assert_eq!(world.store.keys[key.encode().as_bytes()].value, running);
}

#[test]
fn a_validator_of_a_subtask_that_went_meanwhile_is_refused_and_writes_nothing() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    let targets = [("t".into(), "s1".into())];
    let plan = world
        .machine
        .start_validation(&targets, &NewValidation::default(), LIMIT);
    assert_eq!(
        plan.map(|_| ()).unwrap_err().message_text(),
        "the configuration of task t for source s1 is gone or cannot be read"
    );
}

#[test]
fn case_118_workers_that_come_all_at_once_get_one_source_each() {
    let mut world = World::default();
    for n in 0..60 {
        world.add(&[&format!("s{n:02}")]).unwrap();
    }
    for n in 0..100 {
        let name = format!("w{n:02}");
        match n % 3 {
            // The keepalive may come before the registration.
            0 => {
                world.online(&name);
                world.register(&name).unwrap();
            }
            _ => {
                world.register(&name).unwrap();
                world.online(&name);
            }
        }
        if n % 7 == 0 {
            world.settle();
        }
    }
    world.settle();
    let bounds = world.store.bounds();
    let sources: std::collections::BTreeSet<&String> = bounds.iter().map(|(_, s)| s).collect();
    assert_eq!((bounds.len(), sources.len()), (60, 60));
}
