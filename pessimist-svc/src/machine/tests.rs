//! What is brought up to date source by source is what is derived from everything.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_keyspace::{LeaseId, SourceId, SubtaskKey, TaskStartKey};
use dm_replica::{Decision, Machine, Subject};
use dm_store::{Batch, Event, KeyValue, Revision};
use proptest::prelude::*;

use super::own::Family;
use super::record::{Record, Stage};
use super::touch::Touch;
use super::{LockKey, Pessimist};

const TASK: &str = "t";
const SOURCES: [&str; 5] = ["s1", "s2", "s3", "s4", "s5"];
const TABLES: [&str; 2] = ["a", "b"];
const DDLS: [&str; 3] = ["ADD x", "ADD y", "DROP x"];

/// Anything that may stand in etcd, sensible or not.
#[derive(Clone, Copy, Debug)]
enum Change {
    Info(usize, usize, usize),
    NoInfo(usize),
    Operation(usize, usize, usize, bool, bool),
    /// What a worker does: done, and the info goes.
    Done(usize, usize, usize, bool),
    NoOperation(usize),
    Subtask(usize),
    NoSubtask(usize),
    /// A start or stop of several transactions begins or ends.
    Transition(bool),
    /// What a round leaves, of any stage and with so many members.
    Record(usize, usize, usize, usize),
    NoRecord(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let source = 0..SOURCES.len();
    // Mostly the same table and statements, so that rounds come to their end.
    let table = prop_oneof![4 => Just(0_usize), 1 => Just(1)];
    let ddl = prop_oneof![6 => Just(0_usize), 1 => 1..DDLS.len()];
    let place = (source.clone(), table.clone(), ddl.clone());
    prop_oneof![
        8 => place.clone().prop_map(|(s, t, d)| Change::Info(s, t, d)),
        1 => source.clone().prop_map(Change::NoInfo),
        5 => (place.clone(), any::<bool>(), any::<bool>())
            .prop_map(|((s, t, d), exec, done)| Change::Operation(s, t, d, exec, done)),
        5 => (place, any::<bool>()).prop_map(|((s, t, d), exec)| Change::Done(s, t, d, exec)),
        2 => source.clone().prop_map(Change::NoOperation),
        2 => source.clone().prop_map(Change::Subtask),
        1 => source.prop_map(Change::NoSubtask),
        1 => any::<bool>().prop_map(Change::Transition),
        2 => (table.clone(), ddl, 0..3_usize, 1..=SOURCES.len())
            .prop_map(|(t, d, stage, members)| Change::Record(t, d, stage, members)),
        1 => table.prop_map(Change::NoRecord),
    ]
}

fn put(key: String, value: Vec<u8>, at: Revision) -> Event {
    Event::Put(KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision: at,
        mod_revision: at,
        version: 1,
        lease: LeaseId(0),
    })
}

fn events(change: Change, revision: Revision) -> Vec<Event> {
    let source = |s: usize| SourceId::from(SOURCES[s]);
    let info_key = |s| InfoKey {
        task: TASK.into(),
        source: source(s),
    };
    let operation_key = |s| OperationKey {
        task: TASK.into(),
        source: source(s),
    };
    let subtask_key = |s| SubtaskKey {
        task: TASK.into(),
        source: source(s),
    };
    let operation = |s, t: usize, d: usize, exec| {
        let id = dm_keyspace::pessimism::lock_id(&TASK.into(), "db", TABLES[t]);
        Operation::new(id, TASK, source(s), vec![DDLS[d].to_owned()], exec)
    };
    let gone = |key: String| Event::Delete {
        key: Bytes::from(key),
        revision,
    };
    let transition = TaskStartKey { task: TASK.into() }.encode();
    let record_key = |t: usize| {
        Family::ROUND.encode(&LockKey {
            task: TASK.into(),
            id: dm_keyspace::pessimism::lock_id(&TASK.into(), "db", TABLES[t]),
        })
    };
    match change {
        Change::Info(s, t, d) => {
            let info = Info::new(TASK, source(s), "db", TABLES[t], vec![DDLS[d].to_owned()]);
            vec![put(info_key(s).encode(), info.to_bytes(), revision)]
        }
        Change::NoInfo(s) => vec![gone(info_key(s).encode())],
        Change::Operation(s, t, d, exec, done) => {
            let operation = Operation {
                done,
                ..operation(s, t, d, exec)
            };
            vec![put(
                operation_key(s).encode(),
                operation.to_bytes(),
                revision,
            )]
        }
        Change::Done(s, t, d, exec) => {
            let done = operation(s, t, d, exec).into_done();
            vec![
                put(operation_key(s).encode(), done.to_bytes(), revision),
                gone(info_key(s).encode()),
            ]
        }
        Change::NoOperation(s) => vec![gone(operation_key(s).encode())],
        Change::Subtask(s) => vec![put(subtask_key(s).encode(), Vec::new(), revision)],
        Change::NoSubtask(s) => vec![gone(subtask_key(s).encode())],
        Change::Transition(true) => vec![put(transition, Vec::new(), revision)],
        Change::Transition(false) => vec![gone(transition)],
        Change::Record(t, d, stage, members) => {
            let record = Record {
                stage: [Stage::Begun, Stage::Resolving, Stage::Finished][stage],
                ddls: vec![DDLS[d].to_owned()],
                owner: source(0),
                members: (0..members).map(source).collect(),
                first_seen: Duration::ZERO,
            };
            vec![put(record_key(t), record.to_bytes(), revision)]
        }
        Change::NoRecord(t) => vec![gone(record_key(t))],
    }
}

type Wanted = BTreeMap<Subject, String>;

fn take(wanted: &mut Wanted, decisions: Vec<Decision>) {
    for Decision { subject, proposals } in decisions {
        let shown: Vec<String> = proposals
            .iter()
            .map(|p| {
                let puts: Vec<_> = p
                    .puts
                    .iter()
                    .map(|put| (&put.key, put.value.bytes(None)))
                    .collect();
                format!("{} {:?} {puts:?} {:?}", p.name, p.guards, p.deletes)
            })
            .collect();
        match shown.is_empty() {
            true => wanted.remove(&subject),
            false => wanted.insert(subject, shown.join("\n")),
        };
    }
}

/// All that is wanted, decided on from nothing.
fn wanted_by(machine: &Pessimist) -> Wanted {
    let mut machine = machine.clone();
    machine.ordered.clear();
    machine.dirty = machine
        .tasks
        .iter()
        .flat_map(|(task, known)| {
            known.locks.keys().map(|id| LockKey {
                task: task.clone(),
                id: id.clone(),
            })
        })
        .map(|key| (key, Touch::Whole))
        .collect();
    let mut wanted = Wanted::new();
    take(&mut wanted, machine.decide());
    wanted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn one_source_at_a_time_comes_to_the_same_as_looking_at_all_of_them(
        changes in proptest::collection::vec(change(), 1..80),
    ) {
        let mut machine = Pessimist::default();
        let mut wanted = Wanted::new();
        let start = [Change::Subtask(0), Change::Subtask(1), Change::Subtask(2)];
        for (number, change) in start.into_iter().chain(changes).enumerate() {
            let revision = Revision(i64::try_from(number).unwrap() + 2);
            let events = events(change, revision);
            let mut whole = machine.clone();
            machine.apply(&Batch { revision, events: events.clone() });
            for event in &events {
                whole.fold(event, false);
            }
            whole.touched.values_mut().for_each(|touch| *touch = Touch::Whole);
            whole.settle(revision);
            prop_assert_eq!(
                format!("{:#?}", machine.tasks),
                format!("{:#?}", whole.tasks),
                "after {:?}", change
            );
            prop_assert_eq!(machine.counts, whole.counts);
            take(&mut wanted, machine.decide());
            prop_assert_eq!(&wanted, &wanted_by(&machine), "after {:?}", change);
        }
    }
}
