//! Any order of the workers' steps, with leaders that die, lag and start anew at any point: each DDL is executed by
//! exactly one source, after all have reported it, skipped by the others only after that, and everything comes to its end.

#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::pessimism::{Info, Operation};
use dm_replica::Machine as _;
use dm_store::{Event, Revision};
use pessimist_svc::machine::Fault;
use proptest::prelude::*;

use world::{Part, World, operation_key};

const SOURCES: [&str; 3] = ["s1", "s2", "s3"];

/// What every source meets, in this order: two tables, the same statement twice.
const DDLS: [(&str, &str); 4] = [
    ("bar", "ALTER TABLE `foo`.`bar` ADD COLUMN `c1` INT"),
    ("baz", "ALTER TABLE `foo`.`baz` ADD COLUMN `e1` INT"),
    ("bar", "ALTER TABLE `foo`.`bar` ADD COLUMN `c2` INT"),
    ("bar", "ALTER TABLE `foo`.`bar` ADD COLUMN `c1` INT"),
];

#[derive(Clone, Copy, Debug)]
enum Action {
    /// A worker does the next thing that it can do.
    Advance(usize),
    /// A worker starts anew from its checkpoint.
    Crash(usize),
    /// The leader folds what is new and commits what it wants.
    Lead,
    /// The leader folds a little, then commits what it wants by that.
    LeadBehind(usize),
    LeaderChange,
    LeaderDies,
    LoseWatch,
    /// The next transaction of a stop of the task in two parts, or of its start.
    StopOrStart,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0..SOURCES.len()).prop_map(Action::Advance),
        1 => (0..SOURCES.len()).prop_map(Action::Crash),
        6 => Just(Action::Lead),
        3 => (0..4_usize).prop_map(Action::LeadBehind),
        1 => Just(Action::LeaderChange),
        1 => Just(Action::LeaderDies),
        1 => Just(Action::LoseWatch),
        2 => Just(Action::StopOrStart),
    ]
}

#[derive(Clone, Debug)]
enum At {
    Running,
    Waiting(Revision),
    Told(Operation),
    Executed(Operation),
}

/// How many subtasks there are. The first source is stopped and started in a transaction of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Task {
    #[default]
    Running,
    Stopping,
    Stopped,
    Starting,
}

impl Task {
    fn has_subtask(self, source: &str) -> bool {
        match self {
            Self::Running => true,
            Self::Stopped => false,
            Self::Stopping => source != SOURCES[0],
            Self::Starting => source == SOURCES[0],
        }
    }

    fn next(self, world: &mut World) -> Self {
        let (first, rest) = SOURCES.split_at(1);
        let (next, added, removed, part): (_, &[&str], &[&str], _) = match self {
            Self::Running => (Self::Stopping, &[], first, Part::First(&SOURCES)),
            Self::Stopping => (Self::Stopped, &[], rest, Part::Last),
            Self::Stopped => (Self::Starting, first, &[], Part::First(&SOURCES)),
            Self::Starting => (Self::Running, rest, &[], Part::Last),
        };
        world.set_part_of_sources("t1", added, removed, part);
        next
    }
}

struct Worker {
    source: &'static str,
    next: usize,
    at: At,
}

#[derive(Default)]
struct Downstream {
    task: Task,
    reported: BTreeMap<usize, BTreeSet<&'static str>>,
    executed: BTreeMap<usize, BTreeSet<&'static str>>,
}

fn info(worker: &Worker) -> Info {
    let (table, ddl) = DDLS[worker.next];
    Info::new("t1", worker.source, "foo", table, vec![ddl.to_owned()])
}

/// The first put on the worker's operation key after its info.
fn first_order(world: &World, source: &str, after: Revision) -> Option<Operation> {
    let key = operation_key("t1", source);
    world.etcd.log.iter().find_map(|event| match event {
        Event::Put(kv) if kv.key == key && kv.mod_revision > after => {
            Operation::from_bytes(&kv.value).ok()
        }
        _ => None,
    })
}

/// One step of a worker. Whether it could do any.
fn advance(world: &mut World, worker: &mut Worker, downstream: &mut Downstream) -> bool {
    match worker.at.clone() {
        At::Running if worker.next == DDLS.len() => false,
        At::Running => {
            if !world.try_report(&info(worker)) {
                return false;
            }
            downstream
                .reported
                .entry(worker.next)
                .or_default()
                .insert(worker.source);
            worker.at = At::Waiting(world.etcd.revision);
            true
        }
        At::Waiting(since) => match first_order(world, worker.source, since) {
            None => false,
            Some(order) => {
                assert_eq!(
                    (order.id.as_str(), order.ddls()),
                    (info(worker).lock_id().as_str(), info(worker).ddls()),
                    "an order for another round"
                );
                assert!(!order.done, "the answer to a report is already done");
                worker.at = At::Told(order);
                true
            }
        },
        At::Told(order) => {
            let executed = downstream.executed.entry(worker.next).or_default();
            if order.exec {
                assert_eq!(
                    downstream.reported[&worker.next].len(),
                    SOURCES.len(),
                    "executed before all have reported"
                );
                executed.insert(worker.source);
                assert_eq!(executed.len(), 1, "executed by {executed:?}");
            } else {
                assert_eq!(executed.len(), 1, "skipped before it is executed");
            }
            worker.at = At::Executed(order);
            true
        }
        At::Executed(order) => {
            assert_eq!(
                world.done("t1", worker.source, Some(order)),
                0,
                "done is refused"
            );
            worker.next += 1;
            worker.at = At::Running;
            true
        }
    }
}

fn act(world: &mut World, workers: &mut [Worker], downstream: &mut Downstream, action: Action) {
    match action {
        Action::Advance(who) => {
            if downstream.task.has_subtask(workers[who].source) {
                advance(world, &mut workers[who], downstream);
            }
        }
        Action::Crash(who) => workers[who].at = At::Running,
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
        Action::LeaderDies => world.stop(),
        Action::LoseWatch => world.lose_watch(),
        Action::StopOrStart => {
            downstream.task = downstream.task.next(world);
            for worker in workers {
                if !downstream.task.has_subtask(worker.source) {
                    worker.at = At::Running;
                }
            }
        }
    }
}

fn play(actions: &[Action]) {
    let mut world = World::running(&[("t1", &SOURCES)]);
    let mut workers = SOURCES.map(|source| Worker {
        source,
        next: 0,
        at: At::Running,
    });
    let mut downstream = Downstream::default();
    for action in actions {
        act(&mut world, &mut workers, &mut downstream, *action);
    }
    if world.leader.is_none() {
        world.start();
    }
    while downstream.task != Task::Running {
        downstream.task = downstream.task.next(&mut world);
    }
    // Whatever has happened: from here on nothing fails, and everything ends.
    for _ in 0..1_000 {
        world.quiet();
        let moved: Vec<bool> = workers
            .iter_mut()
            .map(|worker| advance(&mut world, worker, &mut downstream))
            .collect();
        if !moved.contains(&true) {
            break;
        }
    }
    world.quiet();
    let stuck: Vec<_> = workers
        .iter()
        .filter(|worker| worker.next < DDLS.len())
        .map(|worker| (worker.source, worker.next, &worker.at))
        .collect();
    assert!(
        stuck.is_empty(),
        "stuck: {stuck:?}, locks {:?}",
        world.machine().locks("", &[])
    );
    assert!(
        world.etcd.infos().is_empty() && world.etcd.operations().is_empty(),
        "records are left"
    );
    assert!(world.machine().locks("", &[]).is_empty());
    for number in 0..DDLS.len() {
        assert_eq!(downstream.executed[&number].len(), 1);
    }
    assert_eq!(
        world.machine().faults().collect::<Vec<(&str, &Fault)>>(),
        []
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_executes_each_ddl_once_and_ends(actions in prop::collection::vec(action(), 0..160)) {
        play(&actions);
    }

    #[test]
    fn deciding_twice_without_an_event_gives_nothing_the_second_time(actions in prop::collection::vec(action(), 0..60)) {
        let mut world = World::running(&[("t1", &SOURCES)]);
        let mut workers = SOURCES.map(|source| Worker { source, next: 0, at: At::Running });
        let mut downstream = Downstream::default();
        for action in actions {
            act(&mut world, &mut workers, &mut downstream, action);
        }
        world.quiet();
        if let Some(leader) = &mut world.leader {
            prop_assert!(leader.machine.decide().is_empty());
        }
    }
}
