//! Unlocks at any moment, among workers that die between their done and their checkpoint and leaders that come and go:
//! whatever happens, nobody is left where no unlock can free him, and nobody is told anything about another round.

#[path = "support/world.rs"]
mod world;

use dm_keyspace::TaskName;
use dm_keyspace::pessimism::{Info, Operation};
use dm_replica::Plan;
use dm_store::{Event, Revision};
use pessimist_svc::machine::{LockView, UnlockRequest};
use proptest::prelude::*;

use world::{UNLOCK_WAIT, World, operation_key};

const SOURCES: [&str; 3] = ["s1", "s2", "s3"];
const DDLS: [(&str, &str); 3] = [
    ("bar", "ADD `c1`"),
    ("baz", "ADD `e1`"),
    ("bar", "ADD `c2`"),
];

#[derive(Clone, Copy, Debug)]
enum Action {
    /// A worker does the next thing that it can do.
    Advance(usize),
    /// A worker starts anew; if `behind`, it has not saved its last DDL and meets it again.
    Crash {
        who: usize,
        behind: bool,
    },
    Lead,
    LeadBehind(usize),
    LeaderChange,
    LoseWatch,
    /// An operator unlocks one of the locks.
    Unlock {
        lock: usize,
        force: bool,
        owner: usize,
    },
    /// A part of the time passes that an unlock waits.
    Tick,
}

fn action() -> impl Strategy<Value = Action> {
    let who = 0..SOURCES.len();
    prop_oneof![
        9 => who.clone().prop_map(Action::Advance),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, behind)| Action::Crash { who, behind }),
        6 => Just(Action::Lead),
        3 => (0..4_usize).prop_map(Action::LeadBehind),
        1 => Just(Action::LeaderChange),
        1 => Just(Action::LoseWatch),
        2 => (0..3_usize, any::<bool>(), 0..=SOURCES.len())
            .prop_map(|(lock, force, owner)| Action::Unlock { lock, force, owner }),
        3 => Just(Action::Tick),
    ]
}

#[derive(Clone, Debug)]
enum At {
    Running,
    Waiting(Revision),
    Told(Operation),
}

struct Worker {
    source: &'static str,
    next: usize,
    at: At,
}

impl Worker {
    fn info(&self) -> Info {
        let (table, ddl) = DDLS[self.next];
        Info::new("t1", self.source, "foo", table, vec![ddl.to_owned()])
    }

    /// Whether it could do anything.
    fn advance(&mut self, world: &mut World) -> bool {
        match self.at.clone() {
            At::Running if self.next == DDLS.len() => false,
            At::Running => {
                let may = world.try_report(&self.info());
                if may {
                    self.at = At::Waiting(world.etcd.revision);
                }
                may
            }
            At::Waiting(since) => {
                let key = operation_key("t1", self.source);
                let first = world.etcd.log.iter().find_map(|event| match event {
                    Event::Put(kv) if kv.key == key && kv.mod_revision > since => {
                        Operation::from_bytes(&kv.value).ok()
                    }
                    _ => None,
                });
                let Some(order) = first else {
                    return false;
                };
                let info = self.info();
                assert_eq!((&order.id, order.ddls()), (&info.lock_id(), info.ddls()));
                assert!(!order.done, "the answer to a report is already done");
                self.at = At::Told(order);
                true
            }
            At::Told(order) => {
                // Refused, its subtask pauses, and an operator resumes it: it reports again.
                if world.done("t1", self.source, Some(order)) == 0 {
                    self.next += 1;
                }
                self.at = At::Running;
                true
            }
        }
    }
}

fn unlock(world: &mut World, lock: &LockView, force: bool, owner: Option<&str>) {
    let request = UnlockRequest {
        id: lock.id.clone(),
        replace_owner: owner.map(Into::into),
        force_remove: force,
    };
    let task: TaskName = "t1".into();
    if let Ok(Plan::Commit(proposal, _)) = world.machine().plan_unlock(&task, &request) {
        world.etcd.commit(&proposal);
    }
}

fn act(world: &mut World, workers: &mut [Worker], action: Action) {
    match action {
        Action::Advance(who) => {
            workers[who].advance(world);
        }
        Action::Crash { who, behind } => {
            let worker = &mut workers[who];
            if behind && matches!(worker.at, At::Running) {
                worker.next = worker.next.saturating_sub(1);
            }
            worker.at = At::Running;
        }
        Action::Lead => {
            world.step();
        }
        Action::LeadBehind(events) => {
            world.step_behind(events);
        }
        Action::LeaderChange => {
            world.stop();
            world.start();
        }
        Action::LoseWatch => world.lose_watch(),
        Action::Unlock { lock, force, owner } => {
            if let Some(lock) = world.machine().locks("", &[]).get(lock) {
                unlock(world, lock, force, SOURCES.get(owner).copied());
            }
        }
        Action::Tick => world.tick(UNLOCK_WAIT / 2),
    }
}

/// Everybody goes as far as he can, and time passes.
fn settle(world: &mut World, workers: &mut [Worker]) {
    for _ in 0..8 {
        loop {
            world.quiet();
            let moved: Vec<bool> = workers.iter_mut().map(|w| w.advance(world)).collect();
            if !moved.contains(&true) {
                break;
            }
        }
        world.tick(UNLOCK_WAIT / 2);
    }
    world.quiet();
}

fn play(actions: &[Action]) {
    let mut world = World::running(&[("t1", &SOURCES)]);
    let mut workers = SOURCES.map(|source| Worker {
        source,
        next: 0,
        at: At::Running,
    });
    for action in actions {
        act(&mut world, &mut workers, *action);
    }
    // An operator who unlocks whatever stands still has everybody through in the end.
    for _ in 0..40 {
        settle(&mut world, &mut workers);
        let Some(lock) = world.machine().locks("", &[]).first().cloned() else {
            break;
        };
        let owner = lock.synced.first().map(|owner| owner.as_str());
        unlock(&mut world, &lock, true, owner);
    }
    let stuck: Vec<_> = workers
        .iter()
        .filter(|worker| worker.next < DDLS.len())
        .map(|worker| (worker.source, worker.next, &worker.at))
        .collect();
    let records: Vec<_> = world.etcd.operations();
    assert!(
        stuck.is_empty(),
        "stuck: {stuck:?}; {records:?}; {:?}",
        world.machine().locks("", &[])
    );
    assert!(world.etcd.infos().is_empty(), "infos are left");
    let done: Vec<_> = records
        .into_iter()
        .filter(|operation| operation.done)
        .collect();
    assert!(done.is_empty(), "these would hold the next DDL: {done:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unlocks_at_any_moment_leave_nobody_who_cannot_be_freed(actions in prop::collection::vec(action(), 0..120)) {
        play(&actions);
    }
}
