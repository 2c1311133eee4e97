//! What the cluster calls for, without an etcd: the test plays it.

use std::collections::BTreeMap;

use dm_keyspace::{LeaseId, RelayStageKey, RelayStageV1Key, SourceConfigKey, SourceConfigV1Key};
use dm_replica::ProposedValue;
use dm_store::KeyRange;

use super::*;

/// The records, the machine that folds them, and what it wants.
struct World {
    machine: Cluster,
    records: BTreeMap<Bytes, KeyValue>,
    revision: Revision,
    wanted: BTreeMap<String, Vec<Proposal>>,
}

impl World {
    /// A world that has these records before the machine sees anything.
    fn with(records: &[(&str, &[u8])]) -> Self {
        let mut world = Self {
            machine: Cluster::new(ClusterId(77), "v-test"),
            records: BTreeMap::new(),
            revision: Revision(10),
            wanted: BTreeMap::new(),
        };
        for (key, value) in records {
            world.record(key, value);
        }
        world.load();
        world
    }

    fn record(&mut self, key: &str, value: &[u8]) -> KeyValue {
        self.revision = self.revision.next();
        let key = Bytes::from(key.to_owned());
        let old = self.records.get(&key);
        let kv = KeyValue {
            create_revision: old.map_or(self.revision, |old| old.create_revision),
            version: old.map_or(1, |old| old.version + 1),
            mod_revision: self.revision,
            value: Bytes::copy_from_slice(value),
            lease: LeaseId(0),
            key: key.clone(),
        };
        self.records.insert(key, kv.clone());
        kv
    }

    fn load(&mut self) {
        let snapshot = Snapshot {
            revision: self.revision,
            entries: self.records.values().cloned().collect(),
        };
        self.machine.load(&snapshot);
        self.decide();
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        let kv = self.record(key, value);
        self.apply(vec![Event::Put(kv)]);
    }

    fn delete(&mut self, key: &str) {
        self.revision = self.revision.next();
        let key = Bytes::from(key.to_owned());
        self.records.remove(&key);
        let revision = self.revision;
        self.apply(vec![Event::Delete { key, revision }]);
    }

    fn apply(&mut self, events: Vec<Event>) {
        let revision = self.revision;
        self.machine.apply(&Batch { revision, events });
        self.decide();
    }

    fn decide(&mut self) {
        for decision in self.machine.decide() {
            self.wanted
                .insert(decision.subject.to_string(), decision.proposals);
        }
    }

    /// Everything that is called for.
    fn called_for(&self) -> Vec<&Proposal> {
        self.wanted.values().flatten().collect()
    }

    fn names(&self) -> Vec<&'static str> {
        self.called_for().iter().map(|p| p.name).collect()
    }

    fn value(&self, key: &str) -> Option<&[u8]> {
        self.records.get(key.as_bytes()).map(|kv| kv.value.as_ref())
    }

    /// Whether a guard holds on the records as they are.
    fn holds(&self, guard: &Guard) -> bool {
        let record = |key: &Bytes| self.records.get(key);
        match guard {
            Guard::Missing(key) => record(key).is_none(),
            Guard::Exists(key) => record(key).is_some(),
            Guard::CreateRevision(key, at) => {
                record(key).is_some_and(|kv| kv.create_revision == *at)
            }
            Guard::ModRevision(key, at) => record(key).is_some_and(|kv| kv.mod_revision == *at),
        }
    }

    /// Carries one proposal out as etcd would; false when a guard refuses it.
    fn commit(&mut self, proposal: &Proposal) -> bool {
        if !proposal.guards.iter().all(|guard| self.holds(guard)) {
            return false;
        }
        self.revision = self.revision.next();
        let revision = self.revision;
        let mut events = Vec::new();
        for range in &proposal.deletes {
            let gone: Vec<Bytes> = self
                .records
                .keys()
                .filter(|key| range.contains(key))
                .cloned()
                .collect();
            for key in gone {
                self.records.remove(&key);
                events.push(Event::Delete { key, revision });
            }
        }
        for put in &proposal.puts {
            let ProposedValue::Plain(value) = &put.value else {
                panic!("nothing here is traced");
            };
            self.revision = Revision(revision.0 - 1);
            events.push(Event::Put(self.record(&put.key, value)));
        }
        self.apply(events);
        true
    }

    /// Commits what is called for until nothing is; answers how many commits that took.
    fn settle(&mut self) -> usize {
        for commits in 0.. {
            let Some(next) = self.called_for().first().map(|p| (*p).clone()) else {
                return commits;
            };
            assert!(self.commit(&next), "{next:?} is called for and cannot be");
        }
        unreachable!("the loop ends by itself")
    }
}

fn old_config(source: &str) -> String {
    SourceConfigV1Key {
        source: source.into(),
    }
    .encode()
}

fn config(source: &str) -> String {
    SourceConfigKey {
        source: source.into(),
    }
    .encode()
}

const ID_KEY: &str = ClusterIdKey::PREFIX;
const VERSION_KEY: &str = ClusterVersionKey::PREFIX;

fn version(number: u64) -> Vec<u8> {
    format!(r#"{{"internal-no":{number},"release-ver":"v0"}}"#).into_bytes()
}

fn written_version(world: &World) -> u64 {
    let record = world.value(VERSION_KEY).expect("there is a version");
    ClusterVersion::from_bytes(record).unwrap().internal_no
}

#[test]
fn empty_cluster_gets_one_id_and_the_present_version_and_is_then_left_alone() {
    let mut world = World::with(&[]);
    assert_eq!(world.settle(), 2);
    assert_eq!(world.value(ID_KEY), Some(77_u64.to_be_bytes().as_slice()));
    assert_eq!(written_version(&world), 4);
    assert_eq!(world.machine.id(), Ok(ClusterId(77)));
    world.load();
    assert!(world.called_for().is_empty());
}

#[test]
fn two_first_leaders_cannot_both_write_their_id() {
    let mut world = World::with(&[]);
    let ours = world.called_for()[0].clone();
    assert_eq!(ours.name, "create_cluster_id");
    // The other one was faster, and our feed has not brought it yet.
    world.record(ID_KEY, &99_u64.to_be_bytes());
    assert!(!world.commit(&ours));
    world.load();
    assert_eq!(world.machine.id(), Ok(ClusterId(99)));
    assert_eq!(world.names(), ["raise_cluster_version"]);
}

#[test]
fn broken_id_is_a_fault_that_nobody_repairs() {
    let mut world = World::with(&[(ID_KEY, b"seven b")]);
    world.settle();
    assert_eq!(world.value(ID_KEY), Some(b"seven b".as_slice()));
    let faults = world.machine.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].key, ID_KEY);
    assert!(faults[0].reason.contains("7 bytes"), "{faults:?}");
    assert_eq!(world.machine.id(), Err(faults[0].reason.clone()));
    // Once somebody takes it away, there is a new one.
    world.delete(ID_KEY);
    assert_eq!(world.names(), ["create_cluster_id"]);
    assert!(world.machine.faults().is_empty());
}

#[test]
fn broken_version_is_a_fault_that_nobody_repairs() {
    let mut world = World::with(&[(VERSION_KEY, b"{")]);
    world.settle();
    assert_eq!(world.value(VERSION_KEY), Some(b"{".as_slice()));
    assert_eq!(world.machine.faults()[0].key, VERSION_KEY);
    world.put(VERSION_KEY, &version(1));
    assert_eq!(world.names(), ["raise_cluster_version"]);
}

#[test]
fn older_version_is_raised_and_a_present_or_newer_one_stays_as_it_is() {
    for (before, after) in [(0, 4), (3, 4), (4, 4), (5, 5)] {
        let mut world = World::with(&[(VERSION_KEY, &version(before))]);
        world.settle();
        assert_eq!(written_version(&world), after);
        if before >= 4 {
            assert_eq!(world.value(VERSION_KEY), Some(version(before).as_slice()));
        }
    }
}

#[test]
fn version_that_changes_under_the_proposal_is_not_overwritten() {
    let mut world = World::with(&[(ID_KEY, &[0; 8]), (VERSION_KEY, &version(1))]);
    let raise = world.called_for()[0].clone();
    world.record(VERSION_KEY, &version(9));
    assert!(!world.commit(&raise));
    world.load();
    assert!(world.called_for().is_empty());
}

#[test]
fn version_is_raised_only_when_no_old_key_is_left() {
    let mut world = World::with(&[(ID_KEY, &[0; 8]), (&old_config("a"), b"1")]);
    assert_eq!(world.names(), ["move_v1_key"]);
    let moved = world.called_for()[0].clone();
    assert!(world.commit(&moved));
    assert_eq!(world.names(), ["raise_cluster_version"]);
    // One more appears before the version is written.
    world.put(&old_config("b"), b"2");
    assert_eq!(world.names(), ["move_v1_key"]);
    world.settle();
    assert_eq!(written_version(&world), 4);
}

#[test]
fn each_old_key_moves_in_a_proposal_of_its_own_however_many_there_are() {
    let mut world = World::with(&[(ID_KEY, &[0; 8])]);
    for n in 0..1_000 {
        world.record(
            &old_config(&format!("source {n}")),
            n.to_string().as_bytes(),
        );
    }
    world.load();
    let moves = world.called_for();
    assert_eq!(moves.len(), 1_000);
    for one in moves {
        assert!(one.guards.len() + one.puts.len() + one.deletes.len() <= 4);
    }
    world.settle();
    for n in 0..1_000 {
        let source = format!("source {n}");
        assert_eq!(
            world.value(&config(&source)),
            Some(n.to_string().as_bytes())
        );
        assert_eq!(world.value(&old_config(&source)), None);
    }
    assert_eq!(written_version(&world), 4);
}

#[test]
fn newer_record_in_the_new_place_wins_over_the_old_one() {
    let mut world = World::with(&[(&config("a"), b"new"), (&old_config("a"), b"old")]);
    world.settle();
    assert_eq!(world.value(&config("a")), Some(b"new".as_slice()));
    assert_eq!(world.value(&old_config("a")), None);
}

#[test]
fn record_that_appears_in_the_new_place_meanwhile_is_not_overwritten() {
    let mut world = World::with(&[(ID_KEY, &[0; 8]), (&old_config("a"), b"old")]);
    let stale = world.called_for()[0].clone();
    world.put(&config("a"), b"new");
    assert!(!world.commit(&stale));
    world.settle();
    assert_eq!(world.value(&config("a")), Some(b"new".as_slice()));
    assert_eq!(world.value(&old_config("a")), None);
}

#[test]
fn old_record_that_changes_while_it_moves_takes_its_last_value_along() {
    let mut world = World::with(&[(ID_KEY, &[0; 8]), (&old_config("a"), b"1")]);
    let stale = world.called_for()[0].clone();
    world.put(&old_config("a"), b"2");
    assert!(!world.commit(&stale));
    world.settle();
    assert_eq!(world.value(&config("a")), Some(b"2".as_slice()));
}

#[test]
fn relay_stages_move_as_source_configurations_do() {
    let old = RelayStageV1Key { source: "a".into() }.encode();
    let mut world = World::with(&[(&old, b"stage")]);
    world.settle();
    let new = RelayStageKey { source: "a".into() }.encode();
    assert_eq!(world.value(&new), Some(b"stage".as_slice()));
    assert_eq!(world.value(&old), None);
}

#[test]
fn next_leader_goes_on_where_the_last_one_stopped() {
    let mut world = World::with(&[(&old_config("a"), b"1"), (&old_config("b"), b"2")]);
    let first = world
        .called_for()
        .into_iter()
        .find(|p| p.name == "move_v1_key")
        .cloned()
        .unwrap();
    assert!(world.commit(&first));
    let mut next = World {
        machine: Cluster::new(ClusterId(78), "v-next"),
        wanted: BTreeMap::new(),
        ..world
    };
    next.load();
    let moves = next.names().iter().filter(|n| **n == "move_v1_key").count();
    assert_eq!(moves, 1);
    next.settle();
    assert_eq!(next.value(&config("a")), Some(b"1".as_slice()));
    assert_eq!(next.value(&config("b")), Some(b"2".as_slice()));
}

#[test]
fn state_folded_from_events_is_the_state_loaded_at_once() {
    let mut folded = World::with(&[]);
    folded.put(&old_config("a"), b"1");
    folded.put(&config("b"), b"2");
    folded.put(ID_KEY, &[1; 8]);
    folded.delete(&config("b"));
    folded.put(VERSION_KEY, &version(2));
    let records: Vec<(String, Bytes)> = folded
        .records
        .values()
        .map(|kv| {
            (
                String::from_utf8_lossy(&kv.key).into_owned(),
                kv.value.clone(),
            )
        })
        .collect();
    let records: Vec<(&str, &[u8])> = records
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_ref()))
        .collect();
    let loaded = World::with(&records);
    assert_eq!(folded.machine.summary(), loaded.machine.summary());
    assert_eq!(folded.names(), loaded.names());
}

#[test]
fn nothing_is_deleted_but_old_keys() {
    let mut world = World::with(&[(&old_config("a"), b"1")]);
    while let Some(next) = world.called_for().first().map(|p| (*p).clone()) {
        for range in &next.deletes {
            assert_eq!(*range, KeyRange::key(old_config("a")));
        }
        world.commit(&next);
    }
}
