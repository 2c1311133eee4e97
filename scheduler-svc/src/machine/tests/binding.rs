//! Which worker gets which source.

use super::world::*;

#[test]
fn case_38_a_worker_prefers_its_last_source_to_another_one() {
    let mut world = World::with_workers(&["w1"]);
    world.add_on(&["s2"], Some("w1")).unwrap();
    world.add(&["s1"]).unwrap();
    world.offline("w1");
    world.settle();
    world.online("w1");
    world.settle();
    assert_eq!(world.bounds(), "w1-s2");
}

#[test]
fn case_39_a_last_source_that_is_taken_is_no_claim() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add_on(&["s1"], Some("w1")).unwrap();
    world.offline("w1");
    world.settle();
    world.add(&["s2"]).unwrap();
    world.online("w1");
    world.settle();
    assert_eq!(world.bounds(), "w1-s2 w2-s1");
}

#[test]
fn case_40_a_last_source_without_configuration_is_no_claim() {
    let mut world = World::with_workers(&["w1"]);
    world.store.put(last_bound_key("w1"), bound("w1", "gone"));
    world.settle();
    world.add(&["s1"]).unwrap();
    world.settle();
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn case_41_a_source_prefers_its_last_relay_worker_then_relay_workers_then_its_last_worker() {
    let mut world = World::with_workers(&["w1", "w2", "w3", "w4"]);
    for worker in ["w2", "w4"] {
        world.store.put(last_bound_key(worker), bound(worker, "s1"));
    }
    world.relay("w3", "s1");
    world.relay("w4", "s1");
    world.settle();
    world.add(&["s1"]).unwrap();
    for expected in ["w4-s1", "w3-s1", "w2-s1", "w1-s1"] {
        world.settle();
        assert_eq!(world.bounds(), expected);
        world.offline(&expected[..2]);
    }
    world.settle();
    assert_eq!(world.bounds(), "");
}

#[test]
fn case_42_a_source_waits_when_the_only_workers_relay_for_another_one() {
    let mut world = World::with_workers(&["w1"]);
    world.relay("w1", "s2");
    world.settle();
    world.add(&["s1"]).unwrap();
    assert!(world.settle().is_empty());
    assert_eq!(world.stage("w1"), "relay");
}

#[test]
fn case_43_a_relay_worker_whose_source_is_bound_elsewhere_takes_nothing_else() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add_on(&["s1"], Some("w1")).unwrap();
    world.offline("w2");
    world.settle();
    world.relay("w2", "s1");
    world.add(&["s2"]).unwrap();
    world.online("w2");
    world.settle();
    assert_eq!(
        (world.stage("w2"), world.bounds().as_str()),
        ("relay", "w1-s1")
    );
}

#[test]
fn case_44_a_relay_worker_takes_its_source_when_it_comes_online() {
    let mut world = World::default();
    world.relay("w1", "s2");
    world.add(&["s1", "s2"]).unwrap();
    world.register("w1").unwrap();
    world.online("w1");
    world.settle();
    assert_eq!(world.bounds(), "w1-s2");
}

#[test]
fn case_45_a_source_leaves_a_dead_relay_worker_and_does_not_go_back() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add_on(&["s1"], Some("w1")).unwrap();
    world.relay("w1", "s1");
    world.settle();
    world.offline("w1");
    world.settle();
    assert_eq!(world.bounds(), "w2-s1");
    world.online("w1");
    world.settle();
    assert_eq!(
        (world.stage("w1"), world.bounds().as_str()),
        ("relay", "w2-s1")
    );
}

#[test]
fn case_46_the_first_bind_of_a_source_with_relay_puts_its_relay_stage() {
    let mut world = World::with_workers(&["w1"]);
    let plan = world.machine.add_sources(&[source("s1", true)], None);
    world.request(plan).unwrap();
    assert_eq!(world.settle(), ["bind_source"]);
    let stage = dm_keyspace::RelayStageKey {
        source: "s1".into(),
    }
    .encode();
    let kv = &world.store.keys[stage.as_bytes()];
    assert_eq!(kv.value.as_ref(), br#"{"expect":2,"source":"s1"}"#);
    assert_eq!(
        kv.mod_revision,
        world.store.keys[bound_key("w1").as_bytes()].mod_revision
    );
}

#[test]
fn case_47_a_paused_relay_stays_paused_over_a_failover() {
    let mut world = World::with_workers(&["w1", "w2"]);
    let plan = world.machine.add_sources(&[source("s1", true)], None);
    world.request(plan).unwrap();
    world.settle();
    let stage = dm_keyspace::RelayStageKey {
        source: "s1".into(),
    }
    .encode();
    let paused = br#"{"expect":3,"source":"s1"}"#;
    world.store.put(stage.clone(), paused);
    world.offline("w1");
    world.settle();
    assert_eq!(world.bounds(), "w2-s1");
    assert_eq!(world.store.keys[stage.as_bytes()].value.as_ref(), paused);
}

#[test]
fn case_48_equal_candidates_are_taken_by_name() {
    let mut world = World::with_workers(&["w3", "w1", "w2"]);
    world.add(&["s2", "s3", "s1"]).unwrap();
    world.settle();
    assert_eq!(world.bounds(), "w1-s1 w2-s2 w3-s3");
}

#[test]
fn case_49_a_source_goes_to_the_free_worker_that_holds_its_files() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add_on(&["s1"], Some("w2")).unwrap();
    world.start("t", &["s1"]).unwrap();
    world.load_task("t", "s1", "w3");
    world.register("w3").unwrap();
    world.online("w3");
    world.store.put(last_bound_key("w1"), bound("w1", "s1"));
    world.offline("w2");
    world.settle();
    assert_eq!(world.bounds(), "w3-s1");
}

#[test]
fn case_54_files_of_a_task_that_is_gone_are_no_claim() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.load_task("gone", "s1", "w2");
    world.settle();
    world.add(&["s1"]).unwrap();
    world.settle();
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn the_timer_looks_at_all_that_wait_in_turn_and_changes_nothing_that_is_settled() {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use dm_replica::Machine;

    let mut world = World::with_workers(&["w1"]);
    let names: Vec<String> = (0..250).map(|n| format!("s{n:03}")).collect();
    world
        .add(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .unwrap();
    world.settle();
    assert_eq!(world.machine.waiting_sources(), 249);
    let mut seen = BTreeSet::new();
    for second in [0, 0, 1, 2] {
        world.machine.tick(Duration::from_secs(second));
        for decision in world.machine.decide() {
            assert!(decision.proposals.is_empty());
            seen.insert(decision.subject);
        }
    }
    assert_eq!(seen.len(), 249);
}
