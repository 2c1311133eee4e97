//! Subtasks and their stages.

use super::world::*;
use crate::machine::request::SubtaskStage::{Paused, Running};
use crate::machine::request::{CliArgs, NewTask};
use dm_keyspace::{
    LoadTaskKey, Stage, SubtaskKey, SubtaskStageKey, TaskCliArgsKey, TaskStartKey,
    ValidatorStageKey,
};

fn two_bound_sources() -> World {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1", "s2"]).unwrap();
    world.settle();
    world
}

fn subtask_key(source: &str) -> String {
    SubtaskKey {
        source: source.into(),
        task: "t".into(),
    }
    .encode()
}

fn stage_key(source: &str) -> String {
    SubtaskStageKey {
        source: source.into(),
        task: "t".into(),
    }
    .encode()
}

fn stage_of(world: &World, source: &str) -> Option<Stage> {
    world.machine.subtask_stage(&source.into(), &"t".into())
}

#[test]
fn case_81_an_unbound_source_refuses_the_whole_task() {
    let mut world = two_bound_sources();
    world.add(&["s4", "s3"]).unwrap();
    let error = world.start("t", &["s1", "s4", "s3"]).unwrap_err();
    assert_eq!(
        (error.code().number(), error.message_text()),
        (46009, "sources [s4 s3] have not bound")
    );
    assert!(world.machine.sources_of_task(&"t".into()).is_empty());
}

#[test]
fn case_82_what_exists_is_skipped_unless_all_of_it_exists() {
    let mut world = two_bound_sources();
    world.start("t", &["s2"]).unwrap();
    let key = subtask_key("s2");
    let before = world.store.keys[key.as_bytes()].mod_revision;
    world.start("t", &["s2", "s1"]).unwrap();
    assert_eq!(world.store.keys[key.as_bytes()].mod_revision, before);
    let error = world.start("t", &["s2", "s1"]).unwrap_err();
    assert_eq!(
        error.message_text(),
        "subtasks with name t for sources [s1 s2] already exist"
    );
    assert_eq!(error.code().number(), 46014);
}

#[test]
fn case_83_a_physical_import_starts_as_a_whole_with_no_source_ready() {
    let mut world = two_bound_sources();
    world.start("t", &["s2"]).unwrap();
    let physical = |sources: &[&str], name: &str| NewTask {
        is_physical_import: true,
        ..new_task(name, sources)
    };
    assert_eq!(
        code(world.machine.start_task(&physical(&["s1", "s2"], "t"))),
        46014
    );
    let plan = world.machine.start_task(&physical(&["s1", "s2"], "u"));
    world.request(plan).unwrap();
    let ready = dm_keyspace::LightningKey::prefix_of_task(&"u".into());
    let keys = world
        .store
        .keys
        .iter()
        .filter(|(key, _)| key.starts_with(ready.as_bytes()));
    assert!(
        keys.clone()
            .all(|(_, kv)| kv.value.as_ref() == br#""not-ready""#)
    );
    assert_eq!(keys.count(), 2);
}

#[test]
fn case_84_a_task_that_validates_has_a_validator_stage() {
    let mut world = two_bound_sources();
    let mut task = new_task("t", &["s1"]);
    task.subtasks[0].validates = true;
    let plan = world.machine.start_task(&task);
    world.request(plan).unwrap();
    let key = ValidatorStageKey {
        source: "s1".into(),
        task: "t".into(),
    }
    .encode();
    assert_eq!(
        world.store.keys[key.as_bytes()].value.as_ref(),
        br#"{"expect":2,"source":"s1","task":"t"}"#
    );
}

#[test]
fn a_start_writes_configuration_and_stage_at_one_revision() {
    let mut world = two_bound_sources();
    world.start("t", &["s1"]).unwrap();
    let config = subtask_key("s1");
    let stage = stage_key("s1");
    let revision = |key: &str| world.store.keys[key.as_bytes()].mod_revision;
    assert_eq!(revision(&config), revision(&stage));
    assert_eq!(stage_of(&world, "s1"), Some(Stage::Running));
}

#[test]
fn case_85_subtasks_are_removed_whole_or_not_at_all() {
    let mut world = two_bound_sources();
    assert_eq!(
        code(
            world
                .machine
                .remove_subtasks(&"t".into(), &ids(&["s1"]), LIMIT)
        ),
        46016
    );
    world.start("t", &["s1", "s2"]).unwrap();
    let error = world
        .machine
        .remove_subtasks(&"t".into(), &ids(&["s1", "s9"]), LIMIT)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        (error.code().number(), error.message_text()),
        (46017, "sources [s9] need to be operate not exist")
    );
    for (source, left) in [("s1", 1), ("s2", 0)] {
        let plan = world
            .machine
            .remove_subtasks(&"t".into(), &ids(&[source, source]), LIMIT);
        world.request(plan).unwrap();
        assert_eq!(world.machine.sources_of_task(&"t".into()).len(), left);
    }
    assert_eq!(
        code(
            world
                .machine
                .remove_subtasks(&"t".into(), &ids(&["s1"]), LIMIT)
        ),
        46016
    );
}

#[test]
fn cases_86_and_96_a_stage_is_written_again_even_if_it_is_the_same() {
    let mut world = two_bound_sources();
    world.start("t", &["s1", "s2"]).unwrap();
    for (stage, expected) in [
        (Paused, Stage::Paused),
        (Paused, Stage::Paused),
        (Running, Stage::Running),
        (Running, Stage::Running),
    ] {
        let before = world.store.revision;
        let plan = world
            .machine
            .set_stage(stage, &"t".into(), &ids(&["s1", "s2", "s1"]), LIMIT);
        world.request(plan).unwrap();
        assert_eq!(world.store.revision, before.next());
        assert_eq!(stage_of(&world, "s1"), Some(expected));
    }
    assert_eq!(
        code(
            world
                .machine
                .set_stage(Paused, &"u".into(), &ids(&["s1"]), LIMIT)
        ),
        46016
    );
    assert_eq!(
        code(
            world
                .machine
                .set_stage(Paused, &"t".into(), &ids(&["s3"]), LIMIT)
        ),
        46017
    );
}

#[test]
fn case_89_metadata_of_a_task_that_exists_is_left_alone() {
    let mut world = two_bound_sources();
    world.start("t", &["s1"]).unwrap();
    world.load_task("t", "s1", "w1");
    world.fold();
    let task = NewTask {
        removes_meta: true,
        ..new_task("t", &["s1", "s2"])
    };
    let error = world.machine.start_task(&task).map(|_| ()).unwrap_err();
    assert_eq!(
        error.message_text(),
        "while remove-meta is true: subtasks with name t for sources [s1] already exist"
    );
    assert!(
        world.has(
            &LoadTaskKey {
                task: "t".into(),
                source: "s1".into()
            }
            .encode()
        )
    );
}

#[test]
fn case_57_a_start_that_removes_metadata_forgets_who_holds_files() {
    let mut world = two_bound_sources();
    world.load_task("t", "s1", "w2");
    let imported = dm_keyspace::LightningKey {
        task: "t".into(),
        source: "s1".into(),
    }
    .encode();
    world.store.put(imported.clone(), r#""finished""#);
    world.fold();
    let task = NewTask {
        removes_meta: true,
        ..new_task("t", &["s1"])
    };
    let plan = world.machine.start_task(&task);
    world.request(plan).unwrap();
    assert!(!world.has(&imported));
    assert!(
        !world.has(
            &LoadTaskKey {
                task: "t".into(),
                source: "s1".into()
            }
            .encode()
        )
    );
    assert!(world.settle().is_empty());
}

#[test]
fn case_57_a_physical_import_begins_without_the_status_of_sources_of_an_earlier_run() {
    let mut world = two_bound_sources();
    let status = |source: &str| {
        let key = dm_keyspace::LightningKey {
            task: "t".into(),
            source: source.into(),
        };
        key.encode()
    };
    for source in ["s1", "s2"] {
        world.store.put(status(source), r#""finished""#);
    }
    world.fold();
    let task = NewTask {
        removes_meta: true,
        is_physical_import: true,
        ..new_task("t", &["s1"])
    };
    for part in task.parts(LIMIT) {
        let plan = world.machine.start_task(&part);
        world.request(plan).unwrap();
    }
    let of_s1 = &world.store.keys[status("s1").as_bytes()].value;
    assert_eq!(of_s1.as_ref(), br#""not-ready""#);
    assert!(!world.has(&status("s2")));
    assert!(!world.has(&TaskStartKey { task: "t".into() }.encode()));
}

#[test]
fn case_91_arguments_are_stored_with_the_task_and_not_by_a_refused_start() {
    let mut world = two_bound_sources();
    let args = CliArgs {
        start_time: Some("2026-01-01 00:00:00".into()),
    };
    let task = NewTask {
        args,
        ..new_task("t", &["s1"])
    };
    let plan = world.machine.start_task(&task);
    world.request(plan).unwrap();
    let key = TaskCliArgsKey {
        task: "t".into(),
        source: "s1".into(),
    }
    .encode();
    assert!(world.has(&key));
    assert_eq!(code(world.start("t", &["s1"])), 46014);
    assert!(world.has(&key));
    world.start("t", &["s1", "s2"]).unwrap();
    assert!(!world.has(&key));
}

#[test]
fn case_94_a_paused_task_stays_paused_over_a_failover_and_can_be_resumed() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    let plan = world
        .machine
        .set_stage(Paused, &"t".into(), &ids(&["s1"]), LIMIT);
    world.request(plan).unwrap();
    world.offline("w1");
    world.settle();
    assert_eq!(
        (world.bounds().as_str(), stage_of(&world, "s1")),
        ("w2-s1", Some(Stage::Paused))
    );
    let plan = world
        .machine
        .set_stage(Running, &"t".into(), &ids(&["s1"]), LIMIT);
    world.request(plan).unwrap();
    assert_eq!(stage_of(&world, "s1"), Some(Stage::Running));
}

#[test]
fn case_95_a_task_can_be_stopped_while_its_worker_is_dead() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    world.offline("w1");
    world.settle();
    let plan = world
        .machine
        .remove_subtasks(&"t".into(), &ids(&["s1"]), LIMIT);
    world.request(plan).unwrap();
    assert!(!world.has(&subtask_key("s1")));
}

#[test]
fn every_part_of_a_large_task_fits_into_one_transaction() {
    let names: Vec<String> = (100..200).map(|n| format!("w{n}")).collect();
    let mut world = World::with_workers(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let sources: Vec<String> = names.iter().map(|name| name.replace('w', "s")).collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    world.add(&sources).unwrap();
    world.settle();
    let mut task = NewTask {
        is_physical_import: true,
        removes_meta: true,
        args: CliArgs {
            start_time: Some("2026-01-01 00:00:00".into()),
        },
        ..new_task("t", &sources)
    };
    task.subtasks.iter_mut().for_each(|s| s.validates = true);
    for part in task.parts(128) {
        let plan = world.machine.start_task(&part);
        let Ok(dm_replica::Plan::Commit(proposal, ())) = &plan else {
            panic!("{plan:?}")
        };
        // One guard more is the fence.
        assert!(proposal.guards.len() < 128 && proposal.puts.len() + proposal.deletes.len() <= 128);
        world.request(plan).unwrap();
    }
    assert_eq!(world.machine.sources_of_task(&"t".into()).len(), 100);
    assert!(!world.has(&TaskStartKey { task: "t".into() }.encode()));
}
