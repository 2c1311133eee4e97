//! A replica that starts from a snapshot, and records that do not agree.

use super::world::*;
use dm_replica::Machine;

#[test]
fn case_4_a_fresh_replica_on_a_healthy_cluster_writes_nothing() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1", "s2"]).unwrap();
    world.settle();
    world.start("t", &["s1", "s2"]).unwrap();
    assert!(world.restart().is_empty());
    assert_eq!(world.bounds(), "w1-s1 w2-s2");
    assert_eq!(world.machine.sources_of_task(&"t".into()).len(), 2);
}

#[test]
fn a_snapshot_of_what_is_known_brings_no_new_decision() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    // A second lease, with the same value: without the history it could be a restart.
    let value = world.store.keys[alive_key("w1").as_bytes()].value.to_vec();
    world.store.put(alive_key("w1"), value);
    world.settle();
    let snapshot = world.store.snapshot();
    world.machine.load(&snapshot);
    assert!(
        world
            .machine
            .decide()
            .iter()
            .all(|d| d.proposals.is_empty())
    );
}

#[test]
fn a_snapshot_without_what_was_known_takes_the_decision_back() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.fold();
    assert_eq!(world.wanted.values().flatten().count(), 1);
    world.machine.load(&dm_store::Snapshot::default());
    for decision in world.machine.decide() {
        world.wanted.insert(decision.subject, decision.proposals);
    }
    assert_eq!(world.wanted.values().flatten().count(), 0);
    assert_eq!(world.machine.worker_rows().count(), 0);
}

#[test]
fn cases_6_and_16_the_bound_of_a_worker_that_is_not_online_moves() {
    let mut world = World::with_workers(&["w2"]);
    world.register("w1").unwrap();
    world.store.put(config_key("s1"), source("s1", false).toml);
    world.store.put(bound_key("w1"), bound("w1", "s1"));
    assert_eq!(world.restart(), ["failover_source"]);
    assert_eq!(world.bounds(), "w2-s1");
}

#[test]
fn case_7_the_bound_of_an_unregistered_worker_is_deleted() {
    let mut world = World::default();
    world.online("w1");
    world.store.put(config_key("s1"), source("s1", false).toml);
    world.store.put(bound_key("w1"), bound("w1", "s1"));
    assert_eq!(world.restart(), ["unbind_source"]);
    assert_eq!(world.bounds(), "");
}

#[test]
fn case_8_bounds_to_sources_without_configuration_are_deleted() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.store.put(bound_key("w1"), bound("w1", "s1"));
    world.store.put(bound_key("w2"), bound("w2", "s2"));
    assert_eq!(world.restart(), ["unbind_source", "unbind_source"]);
    assert_eq!((world.stage("w1"), world.stage("w2")), ("free", "free"));
}

#[test]
fn case_9_a_worker_that_pulls_another_relay_log_than_it_is_bound_for_loses_the_bound() {
    let mut world = World::with_workers(&["w1"]);
    world.store.put(config_key("s1"), source("s1", false).toml);
    world.store.put(config_key("s2"), source("s2", false).toml);
    world.store.put(bound_key("w1"), bound("w1", "s1"));
    world.relay("w1", "s2");
    assert_eq!(world.restart(), ["unbind_source", "bind_source"]);
    assert_eq!(world.bounds(), "w1-s2");

    // With s2 on another worker, it only pulls the log; s1 goes to whoever is free.
    let mut world = World::with_workers(&["w1", "w2", "w3"]);
    world.store.put(config_key("s1"), source("s1", false).toml);
    world.store.put(config_key("s2"), source("s2", false).toml);
    world.store.put(bound_key("w1"), bound("w1", "s1"));
    world.store.put(bound_key("w2"), bound("w2", "s2"));
    world.relay("w1", "s2");
    assert_eq!(world.restart(), ["failover_source"]);
    assert_eq!(world.bounds(), "w2-s2 w3-s1");
    assert_eq!(world.stage("w1"), "relay");
}

#[test]
fn case_10_workers_told_to_relay_by_name_are_freed_when_the_source_relays_by_itself() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.store.put(config_key("s1"), source("s1", true).toml);
    world.store.put(bound_key("w1"), bound("w1", "s1"));
    world.relay("w1", "s1");
    world.relay("w2", "s1");
    world.restart();
    assert_eq!(world.bounds(), "w1-s1");
    assert_eq!((world.stage("w1"), world.stage("w2")), ("bound", "free"));
    let relays = dm_keyspace::RelayWorkerKey::PREFIX.as_bytes();
    assert!(!world.store.keys.keys().any(|key| key.starts_with(relays)));
}

#[test]
fn case_12_a_record_that_cannot_be_read_is_reported_and_the_rest_is_served() {
    let mut world = World::with_workers(&["w1", "w2"]);
    let bad = dm_keyspace::SubtaskStageKey {
        source: "s1".into(),
        task: "t".into(),
    }
    .encode();
    world.store.put(bad.clone(), "no json");
    world
        .store
        .put(config_key("s2"), "password = \"s3cret\" and more");
    world
        .store
        .put(config_key("s3"), source("other", false).toml);
    world.add(&["s1"]).unwrap();
    world.restart();
    assert_eq!(world.bounds(), "w1-s1");
    let faults: Vec<String> = world.machine.faults().map(|f| format!("{f:?}")).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults.iter().all(|f| !f.contains("s3cret")), "{faults:?}");
    world.store.delete(bad);
    world.fold();
    assert_eq!(world.machine.faults().count(), 2);
}

#[test]
fn a_source_whose_configuration_became_unreadable_keeps_its_worker() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.store.put(config_key("s1"), "garbage");
    assert!(world.settle().is_empty());
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn a_bound_that_cannot_be_read_is_deleted_so_that_the_worker_can_work() {
    let mut world = World::with_workers(&["w1"]);
    world.store.put(bound_key("w1"), "garbage");
    world.add(&["s1"]).unwrap();
    assert_eq!(world.settle(), ["delete_unreadable_bound", "bind_source"]);
    assert_eq!(world.machine.faults().count(), 0);
}

#[test]
fn case_13_of_two_workers_bound_to_one_source_the_first_is_kept() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add_on(&["s1"], Some("w2")).unwrap();
    world.store.put(bound_key("w1"), bound("w1", "s1"));
    assert_eq!(world.restart(), ["unbind_source"]);
    assert_eq!(world.bounds(), "w2-s1");
}

#[test]
fn case_14_a_relay_worker_without_its_source_does_not_hide_a_free_worker() {
    let mut world = World::with_workers(&["w1", "w2", "w3"]);
    world.add_on(&["s1"], Some("w2")).unwrap();
    world.relay("w1", "s1");
    world.settle();
    world.add(&["s2"]).unwrap();
    world.restart();
    assert_eq!(world.bounds(), "w2-s1 w3-s2");
}

#[test]
fn case_17_a_worker_that_came_back_while_nobody_led_gets_its_bound_again() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add_on(&["s1"], Some("w1")).unwrap();
    world.offline("w1");
    world.online("w1");
    assert_eq!(world.restart(), ["rebind_source"]);
    assert_eq!(world.bounds(), "w1-s1");
    let (bound, alive) = (
        &world.store.keys[bound_key("w1").as_bytes()],
        &world.store.keys[alive_key("w1").as_bytes()],
    );
    assert!(bound.mod_revision > alive.create_revision);
}
