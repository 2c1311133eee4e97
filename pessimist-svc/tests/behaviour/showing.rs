//! What a lock shows of why it waits: crossed waits, repeated statements, workers that are gone, records that cannot be read.

use dm_keyspace::{Bound, BoundKey, JoinTime, KeepAlive, KeepAliveKey};
use pessimist_svc::machine::{Seen, SourceState, UnlockOutcome};

use crate::stage::{D1, D2, E1, Stage, id, stage};

fn reasons(stage: &Stage, table: &str) -> String {
    stage.view(table).expect("a lock").reasons.join("\n")
}

fn state(stage: &Stage, source: &str) -> SourceState {
    let sources = stage.view("bar").expect("a lock").sources;
    let found = sources.iter().find(|view| view.source.as_str() == source);
    found.expect("it is shown").state
}

#[test]
fn crossed_waits_are_named_and_their_cure_works() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    stage.report("s1", D1);
    assert_eq!(stage.world.machine().crossings(), []);
    stage.report("s3", D1);
    stage.report_all("s2", "baz", &[E1]);
    let crossings = stage.world.machine().crossings();
    assert_eq!(crossings.len(), 1);
    assert_eq!(crossings[0].unlock, id("bar"), "two of three wait in it");
    assert_eq!(
        crossings[0].waits,
        [(id("bar"), "s2".into()), (id("baz"), "s1".into())]
    );
    for table in ["bar", "baz"] {
        let reasons = reasons(&stage, table);
        let cure = format!("Unlock {} by hand", id("bar"));
        assert!(
            reasons.contains("Crossed waits: lock") && reasons.contains(&cure),
            "{reasons}"
        );
    }
    // The cure, as it is told.
    stage.unlock(None, false, &["s1", "s3"]);
    assert_eq!(stage.world.machine().crossings(), []);
    stage.report_all("s1", "baz", &[E1]);
    assert_eq!(stage.report_all("s3", "baz", &[E1]), "s2 executes");
    stage.done("s2");
    stage.done("s1");
    stage.done("s3");
    stage.report("s2", D1);
    let removed = UnlockOutcome::Removed {
        unfinished: Vec::new(),
    };
    assert_eq!(stage.unlock(None, false, &["s2"]), removed);
    assert_eq!(
        (stage.infos().as_str(), stage.operations().as_str()),
        ("", "")
    );
}

#[test]
fn circle_of_three_locks_is_found_and_a_chain_is_none() {
    let mut stage = stage(&["s1", "s2", "s3"]);
    // s1 waits for a, s2 for b, s3 for c: each pair crosses already, so one circle of two is told and the third lock joins one.
    stage.report_all("s1", "a", &[D1]);
    stage.report_all("s2", "b", &[D1]);
    stage.report_all("s3", "c", &[D1]);
    let crossings = stage.world.machine().crossings();
    assert_eq!(crossings.len(), 2);
    assert!(crossings.iter().all(|crossing| crossing.waits.len() == 2));
    // A stranger's info crosses nothing.
    let mut stage = crate::stage::stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.report_all("s9", "baz", &[E1]);
    assert_eq!(stage.world.machine().crossings(), []);
}

#[test]
fn statements_of_the_round_before_are_told_to_be_a_repetition_and_nobody_is_told_to_skip_them() {
    let mut stage = stage(&["s1", "s2"]);
    for source in ["s1", "s2"] {
        stage.report(source, D1);
    }
    stage.done("s1");
    stage.done("s2");
    assert_eq!(stage.report("s2", D1), "");
    let said = "had the same statements, and s2 was done in it";
    assert!(reasons(&stage, "bar").contains(said));
    // However long nobody else reports: issued a second time, they would be executed by nobody.
    assert_eq!(
        stage.after(|world| world.tick(std::time::Duration::from_secs(86_400))),
        ""
    );
    stage.change_leader();
    assert!(
        reasons(&stage, "bar").contains(said),
        "also after a leader change"
    );
    // They were: the other source reports them as well, and the round is one like any other.
    assert_eq!(stage.report("s1", D1), "s2 executes");
    assert!(!reasons(&stage, "bar").contains(said));
    assert_eq!(stage.done("s2"), "s1 skips");
    stage.done("s1");
    assert_eq!(stage.lock(), "none");
}

#[test]
fn repetition_is_resolved_by_an_unlock() {
    let mut stage = stage(&["s1", "s2"]);
    for source in ["s1", "s2"] {
        stage.report(source, D1);
    }
    stage.done("s1");
    stage.done("s2");
    stage.report("s2", D1);
    let removed = UnlockOutcome::Removed {
        unfinished: Vec::new(),
    };
    assert_eq!(stage.unlock(None, false, &["s2"]), removed);
    assert!(stage.may_report("s2", D2));
    let reasons = reasons(&stage, "bar");
    assert!(!reasons.contains("had the same statements"), "{reasons}");
}

#[test]
fn source_without_a_worker_that_is_online_is_shown() {
    let mut stage = stage(&["s1", "s2"]);
    let bound = |source: &str, worker: &str| {
        let key = BoundKey {
            worker: worker.into(),
        }
        .encode();
        (key, Bound::new(source, worker).to_bytes())
    };
    let alive = |worker: &str| {
        let key = KeepAliveKey {
            worker: worker.into(),
        }
        .encode();
        (key, KeepAlive::new(worker, JoinTime::default()).to_bytes())
    };
    stage.report("s1", D1);
    assert_eq!(state(&stage, "s2"), SourceState::Offline);
    assert!(reasons(&stage, "bar").contains("No worker serves source s2."));
    let puts = vec![bound("s1", "w1"), bound("s2", "w2"), alive("w1")];
    stage.after(|world| world.etcd.write(puts, &[]));
    assert_eq!(
        (state(&stage, "s1"), state(&stage, "s2")),
        (SourceState::Reported, SourceState::Offline)
    );
    let said = reasons(&stage, "bar");
    assert!(
        said.contains("Worker w2 of source s2 is offline.") && !said.contains("w1"),
        "{said}"
    );
    stage.after(|world| world.etcd.write(vec![alive("w2")], &[]));
    assert_eq!(state(&stage, "s2"), SourceState::Awaited);
    assert_eq!(
        reasons(&stage, "bar"),
        "Source s2 has not reported the statements."
    );
    stage.report("s2", D2);
    assert_eq!(state(&stage, "s2"), SourceState::Mismatched);
    let gone = KeepAliveKey {
        worker: "w1".into(),
    }
    .encode();
    stage.after(|world| world.etcd.write(Vec::new(), &[gone]));
    stage.change_leader();
    assert!(reasons(&stage, "bar").contains("Worker w1 of source s1 is offline."));
}

#[test]
fn record_that_cannot_be_read_is_told_by_the_locks_that_lack_its_source() {
    let mut stage = stage(&["s1", "s2"]);
    stage.report("s1", D1);
    stage.put_raw_info("s2", b"{");
    let said = reasons(&stage, "bar");
    assert!(
        said.contains("The info of source s2 cannot be read and is passed over"),
        "{said}"
    );
    let errors = stage.world.machine().errors()["t1"];
    assert_eq!((errors.unreadable_infos, errors.rejected_infos), (1, 0));
    stage.report("s2", D2);
    assert_eq!(stage.world.machine().errors()["t1"].rejected_infos, 1);
    assert!(!reasons(&stage, "bar").contains("cannot be read"));
}

#[test]
fn who_watches_looks_at_the_tasks_that_have_changed_and_at_no_others() {
    let mut stage = stage(&["s1", "s2"]);
    stage.world.set_sources("t2", &["s1", "s2"], &[]);
    stage.report("s1", D1);
    let mut seen = Seen::new();
    let mut look = |stage: &Stage, task: &str| {
        let news = stage.world.machine().news(&seen, task);
        for one in &news {
            match one.changes {
                Some(changes) => seen.insert(one.task.clone(), changes),
                None => seen.remove(&one.task),
            };
        }
        let shown = news
            .iter()
            .map(|one| format!("{}: {}", one.task, one.locks.len()));
        shown.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(look(&stage, ""), "t1: 1, t2: 0");
    assert_eq!(look(&stage, ""), "");
    let info = dm_keyspace::pessimism::Info::new("t2", "s1", "foo", "bar", vec![D1.to_owned()]);
    stage.after(|world| world.report(&info));
    assert_eq!(look(&stage, "t1"), "");
    assert_eq!(look(&stage, ""), "t2: 1");
    stage.after(crate::world::World::lose_watch);
    assert_eq!(look(&stage, ""), "t1: 1, t2: 1");
    stage.after(|world| world.remove_meta(&"t2".into()));
    stage.world.set_sources("t2", &[], &["s1", "s2"]);
    stage.world.quiet();
    assert_eq!(look(&stage, ""), "t2: 0");
    assert_eq!(look(&stage, ""), "");
}
