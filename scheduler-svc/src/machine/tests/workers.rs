//! Workers register, come, go, and are taken out.

use super::world::*;
use crate::machine::Scheduler;

#[test]
fn case_21_a_new_worker_is_offline_and_gets_nothing() {
    let mut world = World::default();
    world.add(&["s1"]).unwrap();
    world.register("w1").unwrap();
    world.settle();
    assert_eq!(
        (world.stage("w1"), world.bounds().as_str()),
        ("offline", "")
    );
}

#[test]
fn case_22_the_same_registration_again_writes_nothing() {
    let mut world = World::with_workers(&["w1"]);
    let before = world.store.revision;
    world.register("w1").unwrap();
    assert_eq!(world.store.revision, before);
}

#[test]
fn case_23_another_address_for_a_living_name_is_refused_with_the_old_record() {
    let world = World::with_workers(&["w1"]);
    let error = world
        .machine
        .register_worker(&"w1".into(), "elsewhere:1")
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "[code=46003:class=scheduler:scope=internal:level=medium], Message: dm-worker with name \
         {\"name\":\"w1\",\"addr\":\"w1:8262\"} already exists"
    );
}

#[test]
fn case_24_another_address_is_taken_while_the_worker_is_offline() {
    let mut world = World::with_workers(&["w1"]);
    world.offline("w1");
    world.settle();
    let plan = world.machine.register_worker(&"w1".into(), "elsewhere:1");
    world.request(plan).unwrap();
    assert_eq!(
        world.machine.worker_rows().next().unwrap().addr,
        "elsewhere:1"
    );
}

#[test]
fn case_25_a_worker_that_comes_online_takes_a_source_if_there_is_one() {
    let mut world = World::with_workers(&["w1"]);
    assert_eq!(world.stage("w1"), "free");
    world.add(&["s1"]).unwrap();
    assert_eq!(world.settle(), ["bind_source"]);
    assert_eq!(
        (world.stage("w1"), world.bounds().as_str()),
        ("bound", "w1-s1")
    );
}

#[test]
fn case_26_a_keepalive_that_was_there_before_the_registration_counts() {
    let mut world = World::default();
    world.add(&["s1"]).unwrap();
    world.online("w1");
    assert!(world.settle().is_empty());
    assert_eq!(world.stage("w1"), "unknown");
    world.register("w1").unwrap();
    world.settle();
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn case_27_the_source_of_a_worker_that_goes_moves_in_one_transaction() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.offline("w1");
    assert_eq!(world.settle(), ["failover_source"]);
    assert_eq!(world.bounds(), "w2-s1");
    assert!(world.has(&last_bound_key("w1")));
    assert_eq!(world.stage("w1"), "offline");
}

#[test]
fn case_27_without_another_worker_only_the_bound_goes() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.offline("w1");
    assert_eq!(world.settle(), ["unbind_source"]);
    assert_eq!(
        (world.bounds().as_str(), world.machine.waiting_sources()),
        ("", 1)
    );
}

#[test]
fn case_28_a_free_worker_that_goes_causes_no_write() {
    let mut world = World::with_workers(&["w1"]);
    world.offline("w1");
    assert!(world.settle().is_empty());
    assert_eq!(world.stage("w1"), "offline");
}

#[test]
fn case_29_a_worker_that_restarts_within_its_ttl_gets_the_same_bound_again() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.relay("w1", "s1");
    world.online("w1");
    assert_eq!(world.settle(), ["rebind_source"]);
    assert_eq!(
        (world.stage("w1"), world.bounds().as_str()),
        ("bound", "w1-s1")
    );
    let relay = dm_keyspace::RelayWorkerKey {
        worker: "w1".into(),
    }
    .encode();
    assert_eq!(
        world.store.keys[relay.as_bytes()].mod_revision,
        world.store.revision
    );
}

#[test]
fn a_worker_that_only_changes_its_ttl_causes_no_write() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    let value = world.store.keys[alive_key("w1").as_bytes()].value.to_vec();
    world.store.put(alive_key("w1"), value);
    assert!(world.settle().is_empty());
}

#[test]
fn case_30_only_an_offline_worker_can_be_taken_out() {
    let mut world = World::with_workers(&["w1"]);
    world.relay("w1", "s1");
    world.settle();
    assert_eq!(code(world.machine.offline_worker(&"w2".into())), 46004);
    assert_eq!(code(world.machine.offline_worker(&"w1".into())), 46005);
    world.offline("w1");
    world.settle();
    let plan = world.machine.offline_worker(&"w1".into());
    world.request(plan).unwrap();
    assert!(world.store.keys.is_empty());
    assert_eq!(code(world.machine.offline_worker(&"w1".into())), 46004);
}

#[test]
fn case_31_a_worker_taken_out_and_registered_again_still_has_its_last_source() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.offline("w1");
    // It would come first by its name.
    world.add(&["s0"]).unwrap();
    world.settle();
    let plan = world.machine.offline_worker(&"w1".into());
    world.request(plan).unwrap();
    world.register("w1").unwrap();
    assert_eq!(world.stage("w1"), "offline");
    world.online("w1");
    world.settle();
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn case_35_workers_that_restart_get_their_last_sources_back_in_either_order() {
    for order in [["w1", "w2"], ["w2", "w1"]] {
        let mut world = World::with_workers(&["w1", "w2"]);
        world.add_on(&["s2"], Some("w1")).unwrap();
        world.add_on(&["s1"], Some("w2")).unwrap();
        world.offline("w1");
        world.offline("w2");
        world.settle();
        assert_eq!(world.bounds(), "");
        for name in order {
            world.online(name);
            world.settle();
        }
        assert_eq!(world.bounds(), "w1-s2 w2-s1");
    }
}

#[test]
fn case_36_a_free_worker_that_restarts_changes_nothing() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.offline("w2");
    world.settle();
    world.online("w2");
    assert!(world.settle().is_empty());
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn case_37_the_first_worker_that_comes_online_takes_an_orphaned_source() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.offline("w1");
    world.settle();
    world.register("w2").unwrap();
    world.online("w2");
    world.settle();
    assert_eq!(world.bounds(), "w2-s1");
}

#[test]
fn list_member_shows_workers_by_name_with_stage_and_source() {
    let mut world = World::with_workers(&["w2", "w1", "w3"]);
    world.add_on(&["s1"], Some("w2")).unwrap();
    world.offline("w3");
    world.settle();
    let show = |m: &Scheduler| -> Vec<String> {
        let source = |s: Option<dm_keyspace::SourceId>| s.map(String::from).unwrap_or_default();
        m.worker_rows()
            .map(|r| {
                format!(
                    "{} {} {} {}",
                    r.name,
                    r.addr,
                    r.stage.as_str(),
                    source(r.source)
                )
            })
            .collect()
    };
    assert_eq!(
        show(&world.machine),
        [
            "w1 w1:8262 free ",
            "w2 w2:8262 bound s1",
            "w3 w3:8262 offline "
        ]
    );
}

#[test]
fn an_event_is_decided_on_without_a_look_at_the_rest_of_the_cluster() {
    use dm_replica::Machine;

    let names: Vec<String> = (1_000..1_500).map(|n| format!("w{n}")).collect();
    let mut world = World::with_workers(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let sources: Vec<String> = (1_000..1_499).map(|n| format!("s{n}")).collect();
    world
        .add(&sources.iter().map(String::as_str).collect::<Vec<_>>())
        .unwrap();
    world.settle();
    world.offline("w1100");
    let last = world.store.log.last().unwrap().clone();
    world.machine.apply(&last);
    let decisions = world.machine.decide();
    let names: Vec<&str> = decisions
        .iter()
        .flat_map(|d| &d.proposals)
        .map(|p| p.name)
        .collect();
    assert_eq!(
        (decisions.len(), names.as_slice()),
        (1, &["failover_source"][..])
    );
    assert!(world.machine.decide().is_empty());
}

#[test]
fn sign_of_life_that_says_nothing_new_calls_for_no_decision() {
    use dm_replica::Machine;

    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    let decided = |world: &mut World, value: String| {
        world.store.put(alive_key("w1"), value);
        let last = world.store.log.last().unwrap().clone();
        world.machine.apply(&last);
        world.machine.decide().len()
    };
    let (old, new) = (join("w1", 1), join("w1", 2));
    assert_eq!(decided(&mut world, old.clone()), 0);
    assert_eq!(decided(&mut world, new), 1);
    // Its put after that one is news again: whether the process is a third one cannot be told.
    assert_eq!(decided(&mut world, old), 1);
}
