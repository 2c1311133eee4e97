//! What the machines themselves cost: folding an event and deciding, in this process, without etcd, network or disk. The cost of an
//! event must not grow with the size of the cluster, and each case looks at the answer before it is timed.
//!
//! Not measured: decoding what comes from the network, the commit, and the bookkeeping of the loop; `bench scheduler`, `bench pessimist`
//! and `bench optimist` measure the whole.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has failed"
)]

#[path = "fold/optimist.rs"]
mod optimist;
#[path = "fold/pessimist.rs"]
mod pessimist;
#[path = "fold/scheduler.rs"]
mod scheduler;

use std::collections::BTreeMap;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use dm_keyspace::LeaseId;
use dm_replica::{Decision, Machine, ProposedPut};
use dm_store::{Batch, Event, KeyValue, Revision, Snapshot};

criterion_group! {
    name = fold;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50);
    targets = scheduler::benches, pessimist::benches, optimist::benches
}
criterion_main!(fold);

/// What etcd would hold, and the revision it would be at.
struct Etcd {
    entries: BTreeMap<String, KeyValue>,
    revision: Revision,
}

impl Etcd {
    fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            revision: Revision(1),
        }
    }

    /// Puts a record at a revision of its own.
    fn put(&mut self, (key, value): (String, Vec<u8>)) -> Event {
        self.revision = self.revision.next();
        let before = self.entries.get(&key);
        let kv = KeyValue {
            key: key.clone().into(),
            value: value.into(),
            create_revision: before.map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: before.map_or(1, |kv| kv.version + 1),
            lease: LeaseId(0),
        };
        self.entries.insert(key, kv.clone());
        Event::Put(kv)
    }

    fn delete(&mut self, key: &str) -> Event {
        self.revision = self.revision.next();
        self.entries.remove(key);
        Event::Delete {
            key: key.to_owned().into(),
            revision: self.revision,
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            entries: self.entries.values().cloned().collect(),
        }
    }
}

/// One turn of the loop with one event.
fn turn(machine: &mut impl Machine, event: Event) -> Vec<Decision> {
    let revision = event.revision();
    machine.apply(&Batch {
        revision,
        events: vec![event],
    });
    machine.decide()
}

/// All that is to be written.
fn puts(decisions: &[Decision]) -> Vec<&ProposedPut> {
    let proposals = decisions.iter().flat_map(|decision| &decision.proposals);
    proposals.flat_map(|proposal| &proposal.puts).collect()
}
