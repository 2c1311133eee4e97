//! Locks resolved by hand. Cases 53 to 63.

use dm_store::Revision;
use pessimist_svc::machine::{OwnerState, UnlockOutcome, UnlockRefusal, UnlockRequest};

use crate::stage::{D1, D2, E1, Stage, id, stage};

fn removed() -> UnlockOutcome {
    UnlockOutcome::Removed {
        unfinished: Vec::new(),
    }
}

fn is_empty(stage: &Stage) -> bool {
    stage.infos().is_empty() && stage.operations().is_empty() && stage.lock() == "none"
}

#[test]
fn case_53_unknown_lock_is_refused() {
    assert_eq!(
        stage(&["s1"]).refuses_unlock(None),
        Some(UnlockRefusal::UnknownLock(id("bar")))
    );
}

#[test]
fn case_54_and_55_silent_owner_leaves_the_lock_as_it_was_and_may_be_asked_again() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(
        stage.unlock(None, false, &[]),
        UnlockOutcome::OwnerSilent {
            owner: "s1".into(),
            state: OwnerState::Executing
        }
    );
    assert_eq!(
        (stage.lock().as_str(), stage.operations().as_str()),
        ("s1 owns; ready s1 s2; missing s3; done -", "s1")
    );
    assert_eq!(stage.unlock(None, false, &["s1", "s2"]), removed());
    assert!(is_empty(&stage));
}

#[test]
fn case_56_new_owner_must_have_reported() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    for owner in ["s3", "s9"] {
        let expected = UnlockRefusal::NotWaiting {
            owner: owner.into(),
            synced: vec!["s1".into()],
        };
        assert_eq!(stage.refuses_unlock(Some(owner)), Some(expected));
    }
}

#[test]
fn case_57_new_owner_executes_and_the_old_one_skips() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(stage.unlock(Some("s2"), false, &["s2", "s1"]), removed());
    let put: Vec<_> = stage
        .world
        .put
        .iter()
        .map(|o| (o.source.as_str(), o.exec))
        .collect();
    assert_eq!(put, [("s2", true), ("s1", false)]);
}

#[test]
fn case_58_and_61_forced_lock_goes_although_nobody_answers_and_late_workers_are_refused() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    assert_eq!(
        stage.unlock(None, true, &[]),
        UnlockOutcome::Removed {
            unfinished: vec!["s2".into()]
        }
    );
    assert!(is_empty(&stage));
    assert!(stage.late_done_fails("s1"));
}

#[test]
fn case_59_and_60_unlock_after_the_owner_is_done_waits_for_the_others_only() {
    for (answers, unfinished) in [(&[] as &[&str], vec!["s2".into()]), (&["s2"], Vec::new())] {
        let mut stage = stage(&["s1", "s2"]);
        stage.report("s1", D1);
        stage.report("s2", D1);
        stage.done("s1");
        assert_eq!(
            stage.unlock(None, false, answers),
            UnlockOutcome::Removed { unfinished }
        );
        assert!(is_empty(&stage));
    }
}

#[test]
fn case_62_lock_that_is_resolved_but_not_deleted_is_refused_and_goes() {
    let mut stage = stage(&["s1"]);
    stage.report("s1", D1);
    stage.world.deletes_fail = true;
    stage.done("s1");
    assert_eq!(
        stage.refuses_unlock(None),
        Some(UnlockRefusal::Resolved(id("bar")))
    );
    stage.world.deletes_fail = false;
    stage.after(|world| world.tick(std::time::Duration::ZERO));
    assert!(is_empty(&stage));
    assert_eq!(
        stage.refuses_unlock(None),
        Some(UnlockRefusal::UnknownLock(id("bar")))
    );
}

#[test]
fn case_63_source_that_waits_for_another_table_is_not_touched() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report_all("s2", "baz", &[E1]);
    assert_eq!(stage.unlock(None, false, &["s1"]), removed());
    assert_eq!(
        (stage.infos().as_str(), stage.operations().as_str()),
        ("s2", "")
    );
    assert_eq!(
        stage.lock_of("baz"),
        "s2 owns; ready s2; missing s1; done -"
    );
}

#[test]
fn unlock_goes_on_under_the_next_leader() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    let request = pessimist_svc::machine::UnlockRequest {
        id: id("bar"),
        replace_owner: None,
        force_remove: false,
    };
    stage
        .world
        .begin_unlock(&"t1".into(), &request)
        .expect("it begins");
    assert_eq!(stage.change_leader(), "s1 executes");
    assert_eq!(stage.done("s1"), "");
    assert!(is_empty(&stage));
}

fn begin(stage: &mut Stage, replace_owner: Option<&str>, force: bool) -> Revision {
    let request = UnlockRequest {
        id: id("bar"),
        replace_owner: replace_owner.map(Into::into),
        force_remove: force,
    };
    let begun = stage.world.begin_unlock(&"t1".into(), &request);
    begun.expect("it begins")
}

fn outcome(stage: &Stage, since: Revision) -> Option<UnlockOutcome> {
    stage.world.unlock_outcome(&"t1".into(), &id("bar"), since)
}

#[test]
fn source_that_reports_while_the_others_skip_is_told_and_waited_for() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    let since = begin(&mut stage, None, false);
    assert_eq!(stage.done("s1"), "s2 skips");
    assert_eq!(stage.report("s3", D1), "s3 skips");
    stage.done("s2");
    assert_eq!(outcome(&stage, since), None);
    stage.done("s3");
    assert_eq!(outcome(&stage, since), Some(removed()));
    assert!(is_empty(&stage));
    assert!(stage.may_report("s3", D2));
}

#[test]
fn source_that_was_told_during_an_unlock_and_is_late_is_named_and_left_with_nothing() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    let since = begin(&mut stage, None, false);
    stage.done("s1");
    stage.report("s3", D1);
    stage.done("s2");
    stage.after(|world| world.tick(crate::world::UNLOCK_WAIT * 2));
    let unfinished = vec!["s3".into()];
    assert_eq!(
        outcome(&stage, since),
        Some(UnlockOutcome::Removed { unfinished })
    );
    assert!(is_empty(&stage));
    assert!(
        stage.late_done_fails("s3"),
        "its subtask pauses; resumed, it reports again"
    );
}

#[test]
fn source_that_reports_after_all_others_are_done_waits_on_and_was_told_nothing() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    let since = begin(&mut stage, None, false);
    // The removal has been decided by a leader that has not seen the report yet.
    stage.world.done("t1", "s1", None);
    let info = dm_keyspace::pessimism::Info::new("t1", "s3", "foo", "bar", vec![D1.to_owned()]);
    stage.world.report(&info);
    stage.world.step_behind(2);
    stage.world.quiet();
    assert_eq!(outcome(&stage, since), Some(removed()));
    assert_eq!(
        (stage.infos().as_str(), stage.operations().as_str()),
        ("s3", "")
    );
    assert_eq!(stage.lock(), "s3 owns; ready s3; missing s1 s2; done -");
}

#[test]
fn owner_that_is_done_just_after_the_limit_lets_the_lock_go_on() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    let since = begin(&mut stage, None, false);
    stage.world.deletes_fail = true;
    stage.after(|world| world.tick(crate::world::UNLOCK_WAIT * 2));
    assert_eq!(
        outcome(&stage, since),
        None,
        "the request cannot be deleted"
    );
    // Seen before the request is gone: the unlock goes on.
    stage.world.deletes_fail = false;
    assert_eq!(stage.done("s1"), "s2 skips");
    stage.done("s2");
    assert_eq!(outcome(&stage, since), Some(removed()));
    assert!(is_empty(&stage));
}

#[test]
fn owner_that_is_done_at_the_very_limit_is_not_called_silent_without_a_word() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    let since = begin(&mut stage, None, false);
    stage.world.tick(crate::world::UNLOCK_WAIT * 2);
    // Its done comes before the deletion of the request, which was decided without it.
    stage.world.done("t1", "s1", None);
    stage.world.step_behind(0);
    stage.world.quiet();
    let state = OwnerState::Done;
    let owner = "s1".into();
    assert_eq!(
        outcome(&stage, since),
        Some(UnlockOutcome::OwnerSilent { owner, state })
    );
    assert_eq!(stage.lock(), "s1 owns; ready s1 s2; missing s3; done s1");
    // Nobody asks again, and all the same those that have reported are told.
    assert_eq!(stage.operations(), "s1* s2");
}

#[test]
fn replacing_and_replaced_owner_may_both_execute_and_the_lock_ends() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    for source in ["s1", "s2", "s3"] {
        stage.report(source, D1);
    }
    let since = begin(&mut stage, Some("s2"), false);
    // The old one was only slow.
    assert_eq!(stage.done("s1"), "s3 skips");
    assert_eq!(stage.done("s2"), "");
    assert_eq!(stage.done("s3"), "");
    assert_eq!(outcome(&stage, since), Some(removed()));
    assert!(is_empty(&stage));
}

#[test]
fn two_unlocks_that_end_at_one_revision_both_have_their_outcome() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report_all("s2", "baz", &[E1]);
    let since = stage.world.machine().applied();
    begin(&mut stage, None, true);
    let other = UnlockRequest {
        id: id("baz"),
        replace_owner: None,
        force_remove: true,
    };
    stage
        .world
        .begin_unlock(&"t1".into(), &other)
        .expect("it begins");
    let requests: Vec<String> = {
        let keys = stage.world.etcd.keys.keys();
        let own = keys.filter(|key| key.starts_with(b"/dm-master/pessimist/"));
        own.map(|key| String::from_utf8_lossy(key).into_owned())
            .collect()
    };
    let records = ["s1", "s2"].map(|source| crate::world::info_key("t1", source));
    let operations = ["s1", "s2"].map(|source| crate::world::operation_key("t1", source));
    let keys = [requests, records.to_vec(), operations.to_vec()].concat();
    stage.after(|world| world.etcd.write(Vec::new(), &keys));
    for table in ["bar", "baz"] {
        let ended = stage.world.unlock_outcome(&"t1".into(), &id(table), since);
        assert!(ended.is_some(), "{table}");
    }
}

#[test]
fn unlock_that_ends_while_the_watch_is_lost_has_an_outcome_from_what_is_left() {
    for (force, expected) in [(true, "removed"), (false, "silent")] {
        let mut stage = stage(&["s1", "s2"]);
        stage.report("s1", D1);
        let since = begin(&mut stage, None, force);
        let mut lost = stage.world.leader.take().expect("a leader");
        // Another one brings it to its end; the first sees nothing of it, and then reads everything anew.
        stage.world.start();
        stage.after(|world| world.tick(crate::world::UNLOCK_WAIT * 3));
        stage.after(|world| world.tick(crate::world::UNLOCK_WAIT * 3));
        lost.load(&stage.world.etcd);
        stage.world.leader = Some(lost);
        let found = match outcome(&stage, since) {
            Some(UnlockOutcome::Removed { .. }) => "removed",
            Some(UnlockOutcome::OwnerSilent { .. }) => "silent",
            None => "none",
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn next_leader_takes_the_time_and_the_others_from_the_request() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    stage.report("s2", D1);
    stage.world.tick(crate::world::UNLOCK_WAIT);
    begin(&mut stage, None, false);
    stage.after(|world| world.tick(crate::world::UNLOCK_WAIT / 2));
    stage.change_leader();
    stage.after(|world| world.tick(crate::world::UNLOCK_WAIT / 2));
    let requests = |stage: &Stage| {
        let mut keys = stage.world.etcd.keys.keys();
        keys.any(|key| key.starts_with(b"/dm-master/pessimist/unlock/"))
    };
    assert!(
        !requests(&stage),
        "half the time was over when the leader changed"
    );
}

#[test]
fn large_lock_whose_removal_is_cut_short_is_removed_by_the_next_leader() {
    let names: Vec<String> = (0..150).map(|n| format!("s{n:03}")).collect();
    let sources: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut stage = stage(&sources);
    for source in &sources[1..] {
        stage.report(source, D1);
    }
    begin(&mut stage, None, true);
    stage.after(|world| world.tick(crate::world::UNLOCK_WAIT));
    stage.world.tick(crate::world::UNLOCK_WAIT);
    stage.world.step();
    assert!(stage.world.etcd.infos().len() < 149, "a part of it is gone");
    assert!(!stage.world.etcd.infos().is_empty(), "but not all");
    stage.change_leader();
    assert!(is_empty(&stage));
}

#[test]
fn unlock_leaves_no_record_of_its_own() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.unlock(None, false, &[]);
    stage.unlock(None, true, &[]);
    assert!(
        stage
            .world
            .etcd
            .keys
            .keys()
            .all(|key| key.starts_with(b"/dm-master/upstream/subtask/"))
    );
}
