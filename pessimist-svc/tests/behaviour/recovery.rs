//! A change of leader at any point. Cases 38 to 49.

use crate::stage::{D1, D2, Stage, id, stage};

#[test]
fn case_38_unsynced_lock_is_the_same_and_its_smallest_reporter_owns() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s2", D1);
    stage.report("s1", D1);
    assert_eq!(stage.change_leader(), "");
    assert_eq!(stage.lock(), "s1 owns; ready s1 s2; missing s3; done -");
}

#[test]
fn case_39_owner_that_was_told_stays_the_owner_and_is_told_again() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s2", D1);
    stage.report("s1", D1);
    assert_eq!(stage.change_leader(), "s2 executes");
    assert_eq!(stage.lock(), "s2 owns; ready s1 s2; missing -; done -");
}

#[test]
fn case_40_and_41_skips_are_put_again_except_over_done_ones() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    for source in ["s1", "s2", "s3"] {
        stage.report(source, D1);
    }
    stage.done("s1");
    assert_eq!(stage.change_leader(), "s2 skips, s3 skips");
    stage.done("s2");
    assert_eq!(stage.change_leader(), "s3 skips");
    stage.done("s3");
    assert_eq!(stage.lock(), "none");
}

#[test]
fn case_42_after_the_end_there_is_nothing_to_recover() {
    let mut stage = stage(&["s1"]);
    stage.report("s1", D1);
    stage.done("s1");
    assert_eq!(
        (stage.change_leader().as_str(), stage.lock().as_str()),
        ("", "none")
    );
}

#[test]
fn case_43_last_report_without_a_leader_is_answered_at_the_start() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.world.stop();
    stage.report("s2", D1);
    assert_eq!(stage.after(crate::world::World::start), "s1 executes");
}

#[test]
fn case_44_order_without_any_report_is_left_alone() {
    let mut stage = stage(&["s1", "s2"]);
    stage.world.stop();
    stage.put_operation("s1", &id("bar"), false, false);
    assert_eq!(stage.after(crate::world::World::start), "");
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("none", "s1")
    );
}

#[test]
fn case_45_lost_watch_is_a_load_and_the_round_goes_on() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(stage.after(crate::world::World::lose_watch), "s1 executes");
    assert_eq!(stage.done("s1"), "s2 skips");
}

#[test]
fn case_46_operations_that_the_old_leader_did_not_delete_are_deleted_at_the_start() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    stage.world.stop();
    stage.done("s2");
    assert_eq!(stage.after(crate::world::World::start), "");
    assert_eq!(stage.operations(), "");
    assert!(stage.may_report("s1", D2));
}

#[test]
fn case_47_mismatch_in_one_lock_does_not_touch_the_others() {
    let mut stage = stage(&["s1", "s2"]);
    stage.world.set_sources("t2", &["s1", "s2"], &[]);
    stage.world.stop();
    stage.report("s1", D1);
    stage.report("s2", D2);
    for source in ["s1", "s2"] {
        let info =
            dm_keyspace::pessimism::Info::new("t2", source, "foo", "bar", vec![D1.to_owned()]);
        stage.world.report(&info);
    }
    assert_eq!(stage.after(crate::world::World::start), "s1 executes");
    assert_eq!(stage.world.put[0].task.as_str(), "t2");
}

#[test]
fn case_48_source_that_joined_and_reported_without_a_leader_skips_at_the_start() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    stage.join("s3");
    stage.world.stop();
    stage.report("s3", D1);
    assert_eq!(
        stage.after(crate::world::World::start),
        "s2 skips, s3 skips"
    );
}

#[test]
fn case_49_start_and_stop_may_be_repeated() {
    let mut stage = stage(&["s1"]);
    stage.world.stop();
    stage.world.stop();
    assert_eq!(stage.change_leader(), "");
    assert_eq!(stage.report("s1", D1), "s1 executes");
}

#[test]
fn large_round_whose_deletion_is_cut_short_is_finished_by_the_sources_going_on() {
    let names: Vec<String> = (0..150).map(|n| format!("s{n:03}")).collect();
    let sources: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut stage = stage(&sources);
    for source in &sources {
        stage.report(source, D1);
    }
    for source in &sources {
        stage.done(source);
    }
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("none", "")
    );
    // A leader that dies after the first of the deleting transactions.
    let left = &sources[100..];
    for source in left {
        stage.put_operation(source, &id("bar"), *source == "s100", true);
    }
    stage.change_leader();
    for source in &sources[..100] {
        assert!(stage.may_report(source, D2));
    }
    assert_eq!(stage.operations(), "");
    for source in left {
        stage.report(source, D2);
    }
    assert_eq!(stage.view("bar").expect("a lock").unsynced, []);
}

#[test]
fn source_that_joined_while_the_owner_executed_is_no_member_after_a_leader_change_either() {
    for until_done in [false, true] {
        let mut stage = stage(&["s1", "s2"]);
        stage.report("s1", D1);
        stage.report("s2", D1);
        stage.join("s3");
        if until_done {
            assert_eq!(stage.done("s1"), "s2 skips");
            assert_eq!(stage.change_leader(), "s2 skips");
        } else {
            assert_eq!(stage.change_leader(), "s1 executes");
            assert_eq!(stage.done("s1"), "s2 skips");
        }
        assert_eq!(stage.lock(), "s1 owns; ready s1 s2; missing -; done s1");
        // The joiner began behind the statements and never meets them.
        stage.done("s2");
        assert_eq!(
            (stage.lock().as_str(), stage.operations().as_str()),
            ("none", "")
        );
        assert!(stage.may_report("s1", D2));
    }
}

#[test]
fn all_done_without_a_leader_and_a_source_that_joined_are_tidied_up_at_the_start() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.done("s1");
    stage.world.stop();
    stage.join("s3");
    stage.done("s2");
    assert_eq!(stage.after(crate::world::World::start), "");
    assert_eq!(stage.operations(), "");
}

/// 150 sources, all done, and a leader that has committed `transactions` of those that delete the operations.
fn deletion_cut_short(transactions: usize) -> (Vec<String>, Stage) {
    let names: Vec<String> = (0..150).map(|n| format!("s{n:03}")).collect();
    let sources: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut stage = stage(&sources);
    for source in &sources {
        stage.report(source, D1);
    }
    for source in &sources[..149] {
        stage.done(source);
    }
    stage.world.done("t1", "s149", None);
    for _ in 0..transactions {
        stage.world.step();
    }
    stage.world.stop();
    (names, stage)
}

#[test]
fn deletion_that_is_cut_short_is_finished_by_the_next_leader() {
    let left = |stage: &Stage| stage.world.etcd.operations().len();
    for (transactions, expected) in [(0, 150), (1, 26), (2, 0)] {
        let (names, mut stage) = deletion_cut_short(transactions);
        assert_eq!(left(&stage), expected);
        if transactions > 0 {
            // A source whose operation is gone goes on at once, with the same statements as it happens.
            assert!(stage.may_report(&names[0], D1));
        }
        assert_eq!(stage.after(crate::world::World::start), "");
        assert_eq!(left(&stage), 0, "after {transactions}");
        for name in &names {
            assert!(stage.may_report(name, D1), "{name} is held");
        }
        assert_eq!(stage.operations(), "s000");
    }
}

#[test]
fn age_of_a_lock_survives_a_lost_watch_and_once_it_is_executed_a_leader_change() {
    use std::time::Duration;
    let age = |stage: &Stage| stage.view("bar").expect("a lock").age;
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.world.tick(Duration::from_secs(60));
    stage.after(crate::world::World::lose_watch);
    assert_eq!(age(&stage), Duration::from_secs(60));
    stage.report("s2", D1);
    stage.world.tick(Duration::from_secs(5));
    stage.change_leader();
    assert_eq!(age(&stage), Duration::from_secs(65));
}

#[test]
fn record_of_a_round_that_went_away_by_other_hands_goes_too() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    let prefix = "/dm-master/pessimist/round/";
    let records = |stage: &Stage| {
        let keys = stage.world.etcd.keys.keys();
        keys.filter(|key| key.starts_with(prefix.as_bytes()))
            .count()
    };
    assert_eq!(records(&stage), 1);
    let keys = ["s1", "s2"].map(|s| {
        (
            crate::world::info_key("t1", s),
            crate::world::operation_key("t1", s),
        )
    });
    let keys: Vec<String> = keys
        .into_iter()
        .flat_map(|(info, operation)| [info, operation])
        .collect();
    stage.after(|world| world.etcd.write(Vec::new(), &keys));
    assert_eq!((records(&stage), stage.lock().as_str()), (0, "none"));
}
