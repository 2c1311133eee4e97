//! Requests whose leader, or whose worker, goes on the way.

#![expect(
    clippy::missing_panics_doc,
    reason = "a case panics when it does not hold, and says so by its name"
)]

use dm_keyspace::{LoadTask, LoadTaskKey, Stage, StageRecord, SubtaskKey, SubtaskStageKey};
use dm_testkit::memory::MemoryEtcd;
use scheduler_svc::machine::request::{Begun, SubtaskStage};

use super::super::orders::{TRANSFERS, new_task};
use super::{Play, is_alive, other, worker_of};

/// Operations of one transaction.
const MOST: usize = 128;

fn stage(etcd: &MemoryEtcd, source: &str) -> Option<Stage> {
    let key = SubtaskStageKey {
        source: source.into(),
        task: "t".into(),
    };
    let kv = etcd.dump(&key.encode()).into_iter().next()?;
    StageRecord::from_bytes(&kv.value)
        .ok()
        .map(|record| record.expect)
}

impl Play {
    /// Task t, running on the first so many sources.
    fn start(&mut self, sources: usize) {
        let new = new_task("t", sources);
        assert_eq!(self.ask(move |m| m.start_task(&new)), Ok(()));
    }

    /// Begins to move s0, whose task has to be paused for it.
    fn begin_transfer(&mut self, to: &str) {
        self.moves_living = true;
        let to = to.into();
        let begun = self.ask(move |m| m.begin_transfer(&"s0".into(), &to, MOST));
        assert!(matches!(begun, Ok(Begun::Waiting { .. })), "{begun:?}");
        assert_eq!(stage(&self.cluster.etcd, "s0"), Some(Stage::Paused));
    }
}

/// A swap for dumped files whose leader goes between the delete and the put is finished by the next one.
pub fn case_60(seed: u64) {
    let mut play = Play::new(seed, 2, 2);
    play.start(2);
    play.moves_living = true;
    let before = [play.worker_of("s0"), play.worker_of("s1")];
    let files = LoadTaskKey {
        task: "t".into(),
        source: "s0".into(),
    };
    let worker = before[1].as_str().into();
    let held = LoadTask { worker }.to_bytes();
    play.cluster.etcd.put(files.encode(), held);
    play.until("both are released", |etcd| {
        worker_of(etcd, "s0").is_none() && worker_of(etcd, "s1").is_none()
    });
    let (leader, _) = play.leader();
    play.cluster.crash(&leader);
    let [first, second] = before;
    play.until("they are swapped", move |etcd| {
        worker_of(etcd, "s0").as_ref() == Some(&second)
            && worker_of(etcd, "s1").as_ref() == Some(&first)
    });
}

/// A task that was paused before its worker went is paused on the next one, and runs there when it is told to.
pub fn case_94(seed: u64) {
    let mut play = Play::new(seed, 2, 1);
    play.start(1);
    let set = |stage| {
        move |m: &scheduler_svc::Scheduler| m.set_stage(stage, &"t".into(), &["s0".into()], MOST)
    };
    assert!(play.ask(set(SubtaskStage::Paused)).is_ok());
    let first = play.worker_of("s0");
    let (leader, _) = play.leader();
    play.cluster.crash(&first);
    play.cluster.crash(&leader);
    let second = other(&first);
    play.until_it_serves(&second);
    assert_eq!(stage(&play.cluster.etcd, "s0"), Some(Stage::Paused));
    assert!(play.ask(set(SubtaskStage::Running)).is_ok());
    assert_eq!(stage(&play.cluster.etcd, "s0"), Some(Stage::Running));
}

/// A task that is stopped while its worker is dead is gone when the worker returns.
pub fn case_95(seed: u64) {
    let mut play = Play::new(seed, 1, 1);
    play.start(1);
    play.cluster.crash("worker-0");
    play.until("nobody serves", |etcd| worker_of(etcd, "s0").is_none());
    let stopped = play.ask(|m| m.remove_subtasks(&"t".into(), &["s0".into()], MOST));
    assert!(stopped.is_ok(), "{stopped:?}");
    play.cluster.bounce("worker-0");
    play.until("it serves again", |etcd| worker_of(etcd, "s0").is_some());
    assert!(!play.has(SubtaskKey::PREFIX) && !play.has(SubtaskStageKey::PREFIX));
}

/// A source whose worker dies while a transfer waits fails over once, and the transfer moves nothing after that.
pub fn cases_103_and_105(seed: u64) {
    let mut play = Play::new(seed, 3, 1);
    play.start(1);
    let first = play.worker_of("s0");
    let idle = ["worker-0", "worker-1", "worker-2"]
        .into_iter()
        .filter(|name| *name != first);
    let idle: Vec<&str> = idle.collect();
    // Not the one that a failover takes, which is the first by name.
    play.begin_transfer(idle[1]);
    play.cluster.crash(&first);
    let (gone, next) = (first.clone(), idle[0].to_owned());
    play.until("it fails over", move |etcd| {
        !is_alive(etcd, &gone) && worker_of(etcd, "s0").as_ref() == Some(&next)
    });
    let bound = play.bound_of("s0");
    let moved = play.ask(|m| m.complete_transfer(&"s0".into()));
    let refused = moved.err().unwrap_or_default();
    assert!(refused.starts_with("[code=46026:"), "{refused}");
    assert_eq!(play.ask(|m| m.abandon_transfer(&"s0".into())), Ok(()));
    play.calm_down();
    assert_eq!(play.bound_of("s0"), bound);
    assert_eq!(stage(&play.cluster.etcd, "s0"), Some(Stage::Running));
    assert!(!play.has(TRANSFERS));
}

/// The tasks that a transfer has paused run again when its leader dies, and the source stays where it was.
pub fn case_107(seed: u64) {
    let mut play = Play::new(seed, 2, 1);
    play.start(1);
    let first = play.worker_of("s0");
    play.begin_transfer(&other(&first));
    let (leader, _) = play.leader();
    play.cluster.crash(&leader);
    play.until("the next leader lets it run", |etcd| {
        stage(etcd, "s0") == Some(Stage::Running) && etcd.dump(TRANSFERS).is_empty()
    });
    play.calm_down();
    assert_eq!(play.worker_of("s0"), first);
}

/// Requests whose replies are lost have taken effect all the same, once, and are answered so.
pub fn case_117(seed: u64) {
    let mut play = Play::new(seed, 1, 1);
    play.cluster.etcd.drop_reply_of_next_txn();
    play.start(1);
    assert_eq!(stage(&play.cluster.etcd, "s0"), Some(Stage::Running));
    play.cluster.etcd.drop_reply_of_next_txn();
    let stopped = play.ask(|m| m.remove_subtasks(&"t".into(), &["s0".into()], MOST));
    assert!(stopped.is_ok(), "{stopped:?}");
    assert!(!play.has(SubtaskKey::PREFIX));
}
