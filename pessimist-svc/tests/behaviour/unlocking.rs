//! Locks resolved by hand. Cases 53 to 63.

use pessimist_svc::machine::{UnlockOutcome, UnlockRefusal};

use crate::stage::{D1, E1, Stage, id, stage};

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
        UnlockOutcome::OwnerSilent("s1".into())
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

#[test]
fn source_that_reports_while_the_lock_is_unlocked_is_not_forgotten() {
    let mut stage = stage(&["s1", "s2", "s3"]);
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
    stage.report("s2", D1);
    stage.done("s1");
    // Told to skip, or still waiting in a lock of its own: never without info and without an answer.
    assert!(stage.world.etcd.info("t1", "s2").is_some());
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
