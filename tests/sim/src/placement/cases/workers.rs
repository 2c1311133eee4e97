//! Workers that go and come back, with a leader, without one, and with one that is deposed.

#![expect(
    clippy::missing_panics_doc,
    reason = "a case panics when it does not hold, and says so by its name"
)]

use dm_keyspace::{
    LastBoundKey, RelayStageKey, RelayWorkerKey, SourceConfigKey, Stage, StageRecord,
};

use super::{LEADERS, Play, alive_key, is_alive, other, worker_of};

/// A new leader puts nothing again where nothing has changed.
pub fn case_4(seed: u64) {
    let mut play = Play::new(seed, 2, 2);
    play.crash_all_replicas();
    let before = [play.bound_of("s0"), play.bound_of("s1")];
    play.until("nobody leads", |etcd| etcd.dump(LEADERS).is_empty());
    play.bounce_all_replicas();
    play.leader();
    play.calm_down();
    assert_eq!([play.bound_of("s0"), play.bound_of("s1")], before);
}

/// A worker that goes while nobody leads is replaced by the next leader.
pub fn cases_6_and_16(seed: u64) {
    let mut play = Play::new(seed, 2, 1);
    let first = play.worker_of("s0");
    play.crash_all_replicas();
    play.cluster.crash(&first);
    let gone = first.clone();
    play.until("its lease ends", move |etcd| !is_alive(etcd, &gone));
    assert_eq!(play.worker_of("s0"), first);
    play.bounce_all_replicas();
    let second = other(&first);
    play.until_it_serves(&second);
}

/// A worker whose process starts anew within its lease gets the same bound again, by the leader that there is, or by
/// the next one.
pub fn cases_17_and_29(seed: u64) {
    for somebody_leads in [true, false] {
        let mut play = Play::new(seed, 2, 1);
        let worker = play.worker_of("s0");
        let alive = play.cluster.etcd.dump(&alive_key(&worker)).remove(0);
        let (put, value) = play.bound_of("s0");
        if !somebody_leads {
            play.crash_all_replicas();
        }
        play.cluster.bounce(&worker);
        let key = alive_key(&worker);
        play.until("it signs on again", move |etcd| {
            let now = etcd.dump(&key);
            now.first().is_some_and(|now| now.value != alive.value)
        });
        if !somebody_leads {
            assert_eq!(play.bound_of("s0").0, put);
            play.bounce_all_replicas();
        }
        let key = dm_keyspace::BoundKey {
            worker: worker.as_str().into(),
        };
        play.until("its bound is put again", move |etcd| {
            let bound = etcd.dump(&key.encode());
            bound.first().is_some_and(|bound| bound.mod_revision > put)
        });
        assert_eq!(play.bound_of("s0").1, value);
    }
}

/// What a leader has sent before it was deposed, and what arrives after its successor has decided, is refused.
pub fn case_20(seed: u64) {
    let mut play = Play::new(seed, 2, 1);
    let first = play.worker_of("s0");
    let second = other(&first);
    play.cluster.crash(&first);
    // Only a decision that is on its way when all messages are held shows anything.
    let (leader, lease) = play.leader();
    let (desk, gone) = (play.desk.clone(), first.clone());
    let deposed = leader.clone();
    let held = std::rc::Rc::new(std::cell::Cell::new(false));
    let seen = std::rc::Rc::clone(&held);
    let ended = std::rc::Rc::new(std::cell::Cell::new(0));
    play.until("the leader has decided", move |etcd| {
        if is_alive(etcd, &gone) {
            return false;
        }
        if ended.get() == 0 {
            ended.set(etcd.revision());
        }
        let has_heard = desk.status(&deposed).applied.0 >= ended.get();
        let is_moved = worker_of(etcd, "s0").is_some_and(|worker| worker != gone);
        seen.set(has_heard && !is_moved);
        has_heard || is_moved
    });
    if !held.get() {
        // The answer was faster than the look.
        assert_eq!(play.worker_of("s0"), second);
        return;
    }
    play.cluster.hold(&leader);
    let refused = play.desk.status(&leader).stats.guard_failures;
    let _ = play.cluster.etcd.revoke(lease);
    play.until_it_serves(&second);
    let bound = play.bound_of("s0");
    play.cluster.release(&leader);
    let desk = play.desk.clone();
    let former = leader.clone();
    play.until("the deposed one is refused", move |_| {
        desk.status(&former).stats.guard_failures > refused
    });
    play.calm_down();
    assert_eq!(play.bound_of("s0"), bound);
}

/// A source moves when its worker goes, also when the leader goes with it; without any worker it waits for the first.
pub fn cases_27_and_37(seed: u64) {
    let mut play = Play::new(seed, 2, 1);
    let first = play.worker_of("s0");
    let second = other(&first);
    let (leader, _) = play.leader();
    play.cluster.crash(&first);
    play.cluster.crash(&leader);
    play.until_it_serves(&second);
    let last = LastBoundKey {
        worker: first.as_str().into(),
    };
    assert!(play.has(&last.encode()));
    play.cluster.bounce(&leader);
    play.cluster.crash(&second);
    play.until("it waits", |etcd| worker_of(etcd, "s0").is_none());
    play.cluster.bounce(&first);
    play.until_it_serves(&first);
}

/// A failover that cannot be written is made when it can be.
pub fn case_34(seed: u64) {
    let mut play = Play::new(seed, 2, 1);
    let first = play.worker_of("s0");
    for replica in play.cluster.replicas() {
        play.cluster.partition(&replica);
    }
    play.cluster.crash(&first);
    play.until("nobody leads and the worker is gone", {
        let first = first.clone();
        move |etcd| etcd.dump(LEADERS).is_empty() && !is_alive(etcd, &first)
    });
    play.calm_down();
    assert_eq!(play.worker_of("s0"), first);
    for replica in play.cluster.replicas() {
        play.cluster.repair(&replica);
    }
    let second = other(&first);
    play.until_it_serves(&second);
}

/// Workers that went both get back what they served last, whoever returns first.
pub fn case_35(seed: u64) {
    for order in [["worker-0", "worker-1"], ["worker-1", "worker-0"]] {
        let mut play = Play::new(seed, 2, 2);
        let before = [play.worker_of("s0"), play.worker_of("s1")];
        for worker in order {
            play.cluster.crash(worker);
        }
        play.until("nobody serves", |etcd| {
            ["s0", "s1"]
                .iter()
                .all(|source| worker_of(etcd, source).is_none())
        });
        for worker in order {
            play.cluster.bounce(worker);
            play.until("it serves again", move |etcd| {
                ["s0", "s1"]
                    .iter()
                    .any(|source| worker_of(etcd, source).as_deref() == Some(worker))
            });
        }
        assert_eq!([play.worker_of("s0"), play.worker_of("s1")], before);
    }
}

/// A source leaves the relay worker that dies, and does not go back to it.
pub fn case_45(seed: u64) {
    let mut play = Play::new(seed, 2, 1);
    let first = play.worker_of("s0");
    let name = first.as_str().into();
    let relays = play.ask(move |m| m.start_relay(&"s0".into(), std::slice::from_ref(&name)));
    assert_eq!(relays, Ok(()));
    play.cluster.crash(&first);
    let second = other(&first);
    play.until_it_serves(&second);
    play.cluster.bounce(&first);
    let back = first.clone();
    play.until("it is back", move |etcd| is_alive(etcd, &back));
    play.calm_down();
    assert_eq!(play.worker_of("s0"), second);
    let relay = RelayWorkerKey {
        worker: first.as_str().into(),
    };
    assert!(play.has(&relay.encode()));
}

/// A relay that was paused stays so over a failover, whoever makes it.
pub fn case_47(seed: u64) {
    let mut play = Play::new(seed, 2, 1);
    let first = play.worker_of("s0");
    let config = SourceConfigKey {
        source: "s0".into(),
    };
    let text =
        "enable-relay = true\nsource-id = \"s0\"\n[from]\nhost = \"h\"\nport = 1\nuser = \"u\"\n";
    let key = RelayStageKey {
        source: "s0".into(),
    }
    .encode();
    let paused = StageRecord::relay(Stage::Paused, "s0").to_bytes();
    play.cluster.etcd.put(config.encode(), text);
    play.cluster.etcd.put(key.clone(), paused.clone());
    let (leader, _) = play.leader();
    play.cluster.crash(&first);
    play.cluster.crash(&leader);
    let second = other(&first);
    play.until_it_serves(&second);
    assert_eq!(play.cluster.etcd.dump(&key).remove(0).value, paused);
}

/// A new leader knows what an offline worker is told to relay.
pub fn case_78(seed: u64) {
    let mut play = Play::new(seed, 2, 2);
    let first = play.worker_of("s0");
    let name = first.as_str().into();
    let relays = play.ask(move |m| m.start_relay(&"s0".into(), std::slice::from_ref(&name)));
    assert_eq!(relays, Ok(()));
    play.cluster.crash(&first);
    play.until("it is gone", |etcd| worker_of(etcd, "s0").is_none());
    let (leader, _) = play.leader();
    play.cluster.crash(&leader);
    let name = first.as_str().into();
    let refused = play.ask(move |m| m.start_relay(&"s1".into(), std::slice::from_ref(&name)));
    let refused = refused.err().unwrap_or_default();
    assert!(refused.starts_with("[code=46020:"), "{refused}");
}
