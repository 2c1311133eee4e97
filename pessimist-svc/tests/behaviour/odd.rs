//! Late, repeated and undecodable records; failures of etcd; the rest of the API. Cases 50 to 52, 66 to 68, and more.

use std::time::Duration;

use crate::stage::{D1, D2, E1, id, stage};
use crate::world::{info_key, operation_key};

#[test]
fn case_50_late_info_of_the_owner_does_not_undo_its_done() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    for source in ["s1", "s2", "s3"] {
        stage.report(source, D1);
    }
    stage.done("s1");
    assert_eq!(stage.report("s1", D1), "");
    assert_eq!(stage.change_leader(), "s2 skips, s3 skips");
}

#[test]
fn case_51_non_owner_that_was_done_first_is_not_told_again() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    for source in ["s1", "s2", "s3"] {
        stage.report(source, D1);
    }
    stage.after(|world| world.etcd.write(Vec::new(), &[info_key("t1", "s2")]));
    stage.put_operation("s2", &id("bar"), false, true);
    assert_eq!(stage.done("s1"), "s3 skips");
}

#[test]
fn case_52_rejected_info_is_reconsidered_when_the_lock_ends() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.join("s3");
    stage.report("s3", D2);
    assert_eq!(stage.done("s1"), "s2 skips");
    stage.done("s2");
    assert_eq!(stage.lock(), "s3 owns; ready s3; missing s1 s2; done -");
}

#[test]
fn case_66_and_67_remove_meta_takes_one_task_and_finds_what_only_operations_name() {
    let mut stage = stage(&["s1", "s2"]);
    stage.world.set_sources("t1x", &["s1"], &[]);
    stage.world.report(&dm_keyspace::pessimism::Info::new(
        "t1x",
        "s1",
        "foo",
        "bar",
        vec![D1.to_owned()],
    ));
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.after(|world| {
        world
            .etcd
            .write(Vec::new(), &[info_key("t1", "s1"), info_key("t1", "s2")])
    });
    assert_eq!(stage.lock(), "s1 owns; ready s1 s2; missing -; done -");
    stage.after(|world| world.remove_meta(&"t1".into()));
    assert_eq!(stage.lock(), "none");
    assert!(stage.world.etcd.get(&operation_key("t1", "s1")).is_none());
    assert!(stage.world.etcd.get(&operation_key("t1x", "s1")).is_some());
}

#[test]
fn case_68_show_filters_by_task_and_by_any_member() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    let shown = |task: &str, sources: &[&str]| {
        let sources: Vec<_> = sources.iter().map(|source| (*source).into()).collect();
        stage.world.machine().locks(task, &sources).len()
    };
    assert_eq!(
        (shown("", &[]), shown("t1", &[]), shown("t1", &["s9", "s3"])),
        (1, 1, 1)
    );
    assert_eq!((shown("t2", &[]), shown("", &["s9"])), (0, 0));
}

#[test]
fn undecodable_info_is_named_counted_and_skipped_and_everything_else_goes_on() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    assert_eq!(stage.put_raw_info("s2", b"no json"), "");
    let faults: Vec<_> = stage
        .world
        .machine()
        .faults()
        .map(|(key, _)| key.to_owned())
        .collect();
    assert_eq!(
        (faults, stage.world.machine().counts().faults),
        (vec![info_key("t1", "s2")], 1)
    );
    assert_eq!(stage.report("s2", D1), "s1 executes");
    assert_eq!(stage.world.machine().faults().count(), 0);
}

#[test]
fn info_that_names_another_source_than_its_key_is_a_fault() {
    let mut stage = stage(&["s1", "s2"]);
    let other = dm_keyspace::pessimism::Info::new("t1", "s1", "foo", "bar", vec![D1.to_owned()]);
    assert_eq!(stage.put_raw_info("s2", &other.to_bytes()), "");
    assert_eq!(
        (
            stage.lock().as_str(),
            stage.world.machine().faults().count()
        ),
        ("none", 1)
    );
}

#[test]
fn undecodable_operation_of_a_source_that_waits_is_replaced() {
    let mut stage = stage(&["s1", "s2"]);
    stage.after(|world| {
        world
            .etcd
            .write(vec![(operation_key("t1", "s1"), b"{".to_vec())], &[])
    });
    stage.report("s1", D1);
    assert_eq!(stage.report("s2", D1), "s1 executes");
    assert_eq!(stage.world.machine().faults().count(), 0);
}

#[test]
fn done_that_arrives_while_all_have_not_reported_starts_the_skips() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.put_operation("s1", &id("bar"), true, false);
    assert_eq!(stage.done("s1"), "s2 skips");
    assert_eq!(stage.report("s3", D1), "s3 skips");
    stage.done("s2");
    stage.done("s3");
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("none", "")
    );
}

#[test]
fn order_of_a_round_that_its_source_has_left_does_not_hold_the_next_one() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.put_operation("s1", &id("bar"), true, false);
    stage.report("s1", D2);
    assert_eq!(stage.report("s2", D2), "s1 executes");
    assert_eq!(stage.world.put[0].ddls(), [D2]);
}

#[test]
fn operation_of_another_lock_never_answers_a_source() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report_all("s1", "baz", &[E1]);
    stage.put_operation("s2", &id("baz"), false, true);
    stage.report("s2", D1);
    assert_eq!(stage.report("s1", D1), "s2 executes");
}

#[test]
fn deletion_that_fails_is_tried_again() {
    let mut stage = stage(&["s1"]);
    stage.report("s1", D1);
    stage.world.deletes_fail = true;
    stage.done("s1");
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("s1 owns; ready s1; missing -; done s1", "s1*")
    );
    stage.world.deletes_fail = false;
    stage.after(|world| world.tick(Duration::ZERO));
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("none", "")
    );
}

#[test]
fn every_operation_of_a_lock_carries_the_trace_of_its_first_report_and_a_done_one_none() {
    let trace = |n: u8| format!("00-{n:032x}-00000000000000{n:02x}-01");
    let mut stage = stage(&["s1", "s2"]);
    for (source, n) in [("s1", 1), ("s2", 2)] {
        let new =
            dm_keyspace::pessimism::Info::new("t1", source, "foo", "bar", vec![D1.to_owned()]);
        stage.after(|world| {
            world.report(&dm_keyspace::pessimism::Info {
                traceparent: Some(trace(n)),
                ..new
            })
        });
    }
    assert_eq!(stage.world.put[0].traceparent, Some(trace(1)));
    stage.done("s1");
    assert_eq!(stage.world.put[0].traceparent, Some(trace(1)));
    let done = &stage
        .world
        .etcd
        .get(&operation_key("t1", "s1"))
        .expect("it is done")
        .value;
    assert!(!String::from_utf8_lossy(done).contains("traceparent"));
    stage.change_leader();
    assert_eq!(
        stage.world.put[0].traceparent,
        Some(trace(1)),
        "found again in the order of another source"
    );
}

#[test]
fn orders_that_etcd_refuses_are_tried_again() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.world.puts_fail = true;
    assert_eq!(stage.report("s2", D1), "");
    assert_eq!(stage.after(|world| world.tick(Duration::ZERO)), "");
    stage.world.puts_fail = false;
    assert_eq!(
        stage.after(|world| world.tick(Duration::ZERO)),
        "s1 executes"
    );
    stage.world.puts_fail = true;
    assert_eq!(stage.done("s1"), "");
    stage.world.puts_fail = false;
    assert_eq!(stage.after(|world| world.tick(Duration::ZERO)), "s2 skips");
}
