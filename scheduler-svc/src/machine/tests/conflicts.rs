//! Plans made on a state that has changed since do not apply.

use super::world::*;

#[test]
fn case_116_of_two_requests_for_the_same_source_one_succeeds() {
    let mut world = World::default();
    let add = || planned(world.machine.add_sources(&[source("s1", false)], None));
    let (first, second) = (add(), add());
    assert!(world.store.commit(&first));
    assert!(!world.store.commit(&second));
}

#[test]
fn a_task_start_and_the_removal_of_its_source_exclude_each_other() {
    for start_first in [true, false] {
        let mut world = World::with_workers(&["w1"]);
        world.add(&["s1"]).unwrap();
        world.settle();
        let start = planned(world.machine.start_task(&new_task("t", &["s1"])));
        let remove = planned(world.machine.remove_source(&"s1".into()));
        let (first, second) = if start_first {
            (start, remove)
        } else {
            (remove, start)
        };
        assert!(world.store.commit(&first));
        assert!(!world.store.commit(&second));
    }
}

#[test]
fn a_bind_does_not_reach_a_worker_that_went_offline_and_came_back() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.fold();
    let bind = world.wanted.values().flatten().next().unwrap().clone();
    world.offline("w1");
    world.online("w1");
    assert!(!world.store.commit(&bind));
    assert_eq!(world.settle(), ["bind_source"]);
}

#[test]
fn a_failover_does_not_happen_when_the_worker_is_back_in_time() {
    let mut world = World::with_workers(&["w1", "w2"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.offline("w1");
    world.fold();
    let failover = world.wanted.values().flatten().next().unwrap().clone();
    world.online("w1");
    assert!(!world.store.commit(&failover));
    assert_eq!(world.settle(), ["rebind_source"]);
    assert_eq!(world.bounds(), "w1-s1");
}

#[test]
fn a_stage_change_does_not_bring_a_stopped_task_back() {
    let mut world = World::with_workers(&["w1"]);
    world.add(&["s1"]).unwrap();
    world.settle();
    world.start("t", &["s1"]).unwrap();
    let sources = ids(&["s1"]);
    let stop = planned(world.machine.remove_subtasks(&"t".into(), &sources, LIMIT));
    let pause = planned(world.machine.set_stage(
        crate::machine::request::SubtaskStage::Paused,
        &"t".into(),
        &sources,
        LIMIT,
    ));
    assert!(world.store.commit(&stop));
    assert!(!world.store.commit(&pause));
}
