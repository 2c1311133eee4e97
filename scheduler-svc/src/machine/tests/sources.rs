//! Adding and removing sources.

use super::world::*;

#[test]
fn case_61_a_source_without_a_worker_is_added_and_its_id_is_taken() {
    let mut world = World::default();
    world.add(&["s1"]).unwrap();
    world.settle();
    assert_eq!(
        (
            world.machine.bound_sources().count(),
            world.machine.source_ids().count()
        ),
        (0, 1)
    );
    assert_eq!(code(world.add(&["s1"])), 46007);
}

#[test]
fn case_62_a_named_worker_must_be_known_and_free() {
    let mut world = World::with_workers(&["w1", "w2", "w3"]);
    world.relay("w3", "s9");
    assert_eq!(code(world.add_on(&["s1"], Some("w9"))), 46004);
    world.add_on(&["s1"], Some("w2")).unwrap();
    assert_eq!(world.bounds(), "w2-s1");
    for busy in ["w2", "w3"] {
        assert_eq!(code(world.add_on(&["s2"], Some(busy))), 46033);
    }
    assert!(!world.has(&config_key("s2")));
}

#[test]
fn case_63_of_two_sources_in_one_request_none_is_added_when_one_is_known() {
    let mut world = World::default();
    world.add(&["s2"]).unwrap();
    assert_eq!(code(world.add(&["s1", "s2"])), 46007);
    assert_eq!(code(world.add(&["s1", "s1"])), 46007);
    assert!(!world.has(&config_key("s1")));
    world.add(&["s1", "s3"]).unwrap();
}

#[test]
fn case_65_a_source_in_use_is_not_removed() {
    let mut world = World::with_workers(&["w1", "w2"]);
    assert_eq!(code(world.machine.remove_source(&"s1".into())), 46008);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t2", &["s1"]).unwrap();
    world.start("t1", &["s1"]).unwrap();
    let error = world
        .machine
        .remove_source(&"s1".into())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.code().number(), 46010);
    assert_eq!(
        error.message_text(),
        "source with name s1 need to operate has existing tasks [t1 t2]"
    );
    for task in ["t1", "t2"] {
        let plan = world
            .machine
            .remove_subtasks(&task.into(), &ids(&["s1"]), LIMIT);
        world.request(plan).unwrap();
    }
    world.relay("w2", "s1");
    world.fold();
    assert_eq!(code(world.machine.remove_source(&"s1".into())), 46023);
}

#[test]
fn case_66_a_removed_source_leaves_nothing_and_its_worker_takes_another_one() {
    let mut world = World::with_workers(&["w1"]);
    let plan = world
        .machine
        .add_sources(&[source("s1", true), source("s2", false)], None);
    world.request(plan).unwrap();
    world.settle();
    let plan = world.machine.remove_source(&"s1".into());
    let removed = world.request(plan).unwrap();
    assert_eq!(removed.worker.unwrap().worker.as_str(), "w1");
    let s1 = world
        .store
        .keys
        .keys()
        .filter(|key| key.ends_with(hex_of("s1").as_bytes()))
        .count();
    assert_eq!(
        (
            s1,
            world.bounds().as_str(),
            world.has(&last_bound_key("w1"))
        ),
        (0, "", false)
    );
    world.settle();
    assert_eq!(world.bounds(), "w1-s2");
}

fn hex_of(name: &str) -> String {
    name.bytes().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn case_68_a_source_whose_bind_fails_is_there_and_waits_for_the_next_worker() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    let bind = world.wanted.values().flatten().next().cloned().unwrap();
    // It goes while the bind is on its way.
    world.offline("w1");
    assert!(!world.store.commit(&bind));
    assert!(world.settle().is_empty());
    assert!(world.has(&config_key("s1")));
    // That is when the request tells that there is no worker.
    assert!(world.machine.is_settled(&"s1".into()));
    assert_eq!(code(world.add(&["s1"])), 46007);
    world.online("w1");
    world.settle();
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn a_request_for_no_sources_is_no_write() {
    let plan = World::default().machine.add_sources(&[], None);
    assert!(matches!(plan, Ok(dm_replica::Plan::Done(()))), "{plan:?}");
}

#[test]
fn passwords_of_sources_are_not_shown() {
    assert!(!format!("{:?}", source("s1", false)).contains("s3cret"));
}
