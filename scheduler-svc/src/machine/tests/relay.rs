//! Relay, by source and by worker.

use dm_errors::DmError;
use dm_keyspace::{
    RelayStageKey, RelayWorkerKey, SourceConfigKey, SourceId, Stage, StageRecord, WorkerName,
};
use dm_task::SourceConfig;

use super::world::*;

/// s1 on w1, s2 on w2, w3 free, w4 offline; configurations are complete ones.
fn world() -> World {
    let mut world = World::with_workers(&["w1", "w2"]);
    for id in ["s1", "s2"] {
        let yaml = format!("source-id: {id}\nfrom: {{host: h, port: 1, user: u}}\n");
        let mut config = SourceConfig::from_yaml("", &yaml).unwrap();
        config.complete("mysql", 1);
        world.store.put(config_key(id), config.to_toml().unwrap());
        world.settle();
    }
    world.register("w3").unwrap();
    world.online("w3");
    world.register("w4").unwrap();
    world.settle();
    assert_eq!(world.bounds(), "w1-s1 w2-s2");
    world
}

fn names(names: &[&str]) -> Vec<WorkerName> {
    names.iter().map(|name| WorkerName::from(*name)).collect()
}

fn start(world: &mut World, id: &str, workers: &[&str]) -> Result<(), DmError> {
    world.fold();
    let plan = world.machine.start_relay(&id.into(), &names(workers));
    world.request(plan).map(|_| ())
}

fn stop(world: &mut World, id: &str, workers: &[&str]) -> Result<(), DmError> {
    world.fold();
    let plan = world.machine.stop_relay(&id.into(), &names(workers));
    world.request(plan).map(|_| ())
}

fn set(world: &mut World, is_running: bool, sources: &[&str]) -> Result<(), DmError> {
    world.fold();
    let plan = world
        .machine
        .set_relay_stage(is_running, &ids(sources), LIMIT);
    world.request(plan).map(|_| ())
}

fn stage(world: &World, id: &str) -> Option<Stage> {
    let key = RelayStageKey { source: id.into() }.encode();
    let kv = world.store.keys.get(key.as_bytes())?;
    Some(StageRecord::from_bytes(&kv.value).unwrap().expect)
}

fn relays(world: &World) -> String {
    let keys = world.store.keys.iter();
    let relays = keys.filter(|(key, _)| key.starts_with(RelayWorkerKey::PREFIX.as_bytes()));
    let text = |kv: &dm_store::KeyValue| {
        let name = RelayWorkerKey::parse(&kv.key).unwrap().worker;
        format!("{name}-{}", String::from_utf8_lossy(&kv.value))
    };
    relays.map(|(_, kv)| text(kv)).collect::<Vec<_>>().join(" ")
}

fn enables(world: &World, id: &str) -> bool {
    let text = world.machine.source_config(&SourceId::from(id)).unwrap();
    SourceConfig::from_toml(&String::from_utf8_lossy(&text))
        .unwrap()
        .enable_relay
}

#[test]
fn cases_69_and_80_named_workers_start_relay_in_whatever_stage_also_when_named_twice() {
    let mut world = world();
    start(&mut world, "s1", &["w1", "w3", "w4", "w3"]).unwrap();
    assert!(world.settle().is_empty());
    assert_eq!(relays(&world), "w1-s1 w3-s1 w4-s1");
    assert_eq!(
        (world.stage("w1"), world.stage("w3"), world.stage("w4")),
        ("bound", "relay", "offline")
    );
    assert_eq!(stage(&world, "s1"), Some(Stage::Running));
    world.online("w4");
    world.settle();
    assert_eq!(world.stage("w4"), "relay");
}

#[test]
fn case_70_a_second_start_leaves_a_paused_relay_paused() {
    let mut world = world();
    start(&mut world, "s1", &["w1"]).unwrap();
    set(&mut world, false, &["s1"]).unwrap();
    start(&mut world, "s1", &["w1"]).unwrap();
    assert_eq!(stage(&world, "s1"), Some(Stage::Paused));
}

#[test]
fn cases_71_and_78_workers_of_other_sources_are_refused_and_nothing_is_written() {
    let mut world = world();
    start(&mut world, "s2", &["w4"]).unwrap();
    let before = world.store.revision;
    for (source, workers, expected) in [
        ("s1", &["w1", "w2"][..], 46021),
        ("s1", &["w4"], 46020),
        ("s1", &["w9"], 46004),
        ("s9", &["w1"], 46008),
    ] {
        assert_eq!(code(start(&mut world, source, workers)), expected);
    }
    assert_eq!(world.store.revision, before);
    world.restart();
    let error = start(&mut world, "s1", &["w4"]).unwrap_err();
    assert_eq!(
        error.message_text(),
        "these workers [w4] have started relay for sources [s2] respectively"
    );
}

#[test]
fn cases_72_and_73_the_two_kinds_of_relay_exclude_each_other() {
    let mut world = world();
    start(&mut world, "s1", &["w1"]).unwrap();
    assert_eq!(code(start(&mut world, "s1", &[])), 46028);
    assert_eq!(code(stop(&mut world, "s1", &[])), 46029);
    start(&mut world, "s2", &[]).unwrap();
    assert_eq!(code(start(&mut world, "s2", &["w2"])), 46030);
    assert_eq!(code(stop(&mut world, "s2", &["w2"])), 46031);
}

#[test]
fn cases_74_and_79_relay_of_a_source_is_switched_in_its_configuration_and_its_worker_is_told() {
    let mut world = world();
    for _ in 0..2 {
        let told = world.store.keys[bound_key("w1").as_bytes()].mod_revision;
        start(&mut world, "s1", &[]).unwrap();
        assert!(enables(&world, "s1"));
        assert_eq!(stage(&world, "s1"), Some(Stage::Running));
        assert!(world.store.keys[bound_key("w1").as_bytes()].mod_revision > told);
    }
    for _ in 0..2 {
        stop(&mut world, "s1", &[]).unwrap();
        assert!(!enables(&world, "s1"));
        assert_eq!(stage(&world, "s1"), None);
    }
    assert!(world.settle().is_empty());
    assert!(
        world.has(
            &SourceConfigKey {
                source: "s1".into()
            }
            .encode()
        )
    );
}

#[test]
fn case_74_a_relay_that_is_started_while_nobody_serves_the_source_runs_at_its_next_worker() {
    let mut world = world();
    start(&mut world, "s1", &[]).unwrap();
    set(&mut world, false, &["s1"]).unwrap();
    for worker in ["w1", "w2", "w3", "w4"] {
        world.offline(worker);
    }
    world.settle();
    start(&mut world, "s1", &[]).unwrap();
    world.online("w3");
    world.settle();
    assert_eq!(world.bounds(), "w3-s1");
    assert_eq!(stage(&world, "s1"), Some(Stage::Running));
}

#[test]
fn cases_75_and_76_the_stage_goes_with_the_last_relay_worker() {
    let mut world = world();
    start(&mut world, "s1", &["w1", "w3"]).unwrap();
    assert_eq!(code(stop(&mut world, "s2", &["w1"])), 46022);
    stop(&mut world, "s1", &["w3"]).unwrap();
    assert_eq!(
        (relays(&world).as_str(), stage(&world, "s1")),
        ("w1-s1", Some(Stage::Running))
    );
    stop(&mut world, "s1", &["w1", "w3"]).unwrap();
    assert_eq!((relays(&world).as_str(), stage(&world, "s1")), ("", None));
    world.settle();
    assert_eq!((world.stage("w1"), world.stage("w3")), ("bound", "free"));
}

#[test]
fn case_77_relay_is_paused_and_resumed_for_all_sources_or_for_none() {
    let mut world = world();
    let before = world.store.revision;
    assert_eq!(code(set(&mut world, false, &["s1", "s9"])), 46012);
    set(&mut world, false, &[]).unwrap();
    assert_eq!(world.store.revision, before);
    set(&mut world, false, &["s1", "s2", "s1"]).unwrap();
    assert_eq!(
        (stage(&world, "s1"), stage(&world, "s2")),
        (Some(Stage::Paused), Some(Stage::Paused))
    );
    set(&mut world, true, &["s1"]).unwrap();
    assert_eq!(stage(&world, "s1"), Some(Stage::Running));
}
