//! Sources that come and go while a lock is pending. Cases 30 to 37.

use crate::stage::{D1, stage};

#[test]
fn case_30_and_31_source_that_joins_before_all_have_reported_is_waited_for() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.join("s3");
    assert_eq!(stage.report("s2", D1), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1 s2; missing s3; done -");
    assert_eq!(stage.report("s3", D1), "s1 executes");
}

#[test]
fn case_32_source_that_joins_while_the_owner_executes_skips_with_the_others() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.join("s3");
    assert_eq!(stage.report("s3", D1), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1 s2 s3; missing -; done -");
    assert_eq!(stage.done("s1"), "s2 skips, s3 skips");
}

#[test]
fn case_33_source_that_joins_after_the_owner_is_done_skips_alone() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    stage.join("s3");
    assert_eq!(stage.report("s3", D1), "s3 skips");
    stage.done("s2");
    assert_eq!(
        stage.lock(),
        "s1 owns; ready s1 s2 s3; missing -; done s1 s2"
    );
    stage.done("s3");
    assert_eq!(stage.lock(), "none");
}

#[test]
fn case_34_join_while_the_owner_executes_does_not_lose_its_done() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.join("s3");
    assert_eq!(stage.report("s2", D1), "");
    assert_eq!(stage.done("s1"), "s2 skips");
}

#[test]
fn case_35_lock_goes_on_when_the_missing_source_leaves() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(stage.leave(&["s3"]), "s1 executes");
}

#[test]
fn case_36_stranger_never_owns_and_counts_from_its_joining_on() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s9", D1);
    assert_eq!(stage.lock(), "none");
    stage.report("s2", D1);
    stage.join("s9");
    assert_eq!(stage.lock(), "s2 owns; ready s2 s9; missing s1; done -");
    assert_eq!(stage.report("s1", D1), "s2 executes");
}

#[test]
fn case_37_task_without_sources_executes_nothing() {
    let mut stage = stage(&[]);
    assert_eq!(stage.report("s1", D1), "");
    assert_eq!(
        (stage.infos().as_str(), stage.change_leader().as_str()),
        ("s1", "")
    );
}

#[test]
fn stopped_task_keeps_its_lock_and_goes_on_when_it_is_started_again() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    assert_eq!(stage.leave(&["s1", "s2"]), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1; missing s2; done -");
    assert_eq!(stage.report("s2", D1), "");
    assert_eq!(
        stage.after(|world| world.set_sources("t1", &["s1", "s2"], &[])),
        "s1 executes"
    );
}

#[test]
fn owner_that_leaves_before_it_is_done_is_followed_by_the_smallest_that_waits() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s3", D1);
    stage.report("s2", D1);
    assert_eq!(stage.report("s1", D1), "s3 executes");
    assert_eq!(stage.leave(&["s3"]), "s1 executes");
}

#[test]
fn owner_that_leaves_after_it_is_done_still_counts_and_its_operation_goes_with_the_lock() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    stage.leave(&["s1"]);
    assert_eq!(stage.change_leader(), "s2 skips");
    stage.done("s2");
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("none", "")
    );
}
