//! The machine in the place that the loop of a service gives it: a feed before it, transactions behind it, one at a time for
//! each subject.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_keyspace::SubtaskKey;
use dm_replica::{Machine as _, Subject};
use dm_store::{Batch, Event, Revision};
use pessimist_svc::machine::{Limits, Pessimist};

use super::state::Sources;
use crate::etcd::{Etcd, Write};

#[derive(Clone, Debug)]
pub(super) struct Coordinator {
    pub(super) machine: Pessimist,
    /// Sources of the task, as far as it can know them.
    pub(super) sources: Sources,
    /// How often time has passed.
    ticks: u32,
    /// What its watch has not delivered yet.
    pub(super) feed: Vec<Batch>,
    pub(super) wanted: Vec<Wish>,
    pub(super) sent: Vec<Sent>,
}

/// A transaction that the machine calls for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) subject: Subject,
    pub(super) write: Write,
    /// Decided while something else for the subject was under way: the loop of every service waits until the feed has
    /// shown what became of that.
    pub(super) is_held: bool,
}

/// Something for a subject that the feed has not shown yet.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) subject: Subject,
    /// Still under way, with the sources that were known when it was sent.
    pub(super) late: Option<(Write, Sources)>,
    /// When it has landed: the revision of etcd then.
    pub(super) landed: Revision,
}

impl Coordinator {
    pub(super) fn new(etcd: &Etcd) -> Self {
        let mut new = Self {
            machine: Pessimist::default(),
            sources: BTreeSet::new(),
            ticks: 0,
            feed: Vec::new(),
            wanted: Vec::new(),
            sent: Vec::new(),
        };
        new.replace(etcd);
        new
    }

    /// Another one, that has seen nothing, in its place.
    pub(super) fn replace(&mut self, etcd: &Etcd) {
        self.machine = Pessimist::default();
        self.machine.tick(self.now());
        self.wanted.clear();
        self.sent.clear();
        self.lose_watch(etcd);
    }

    /// Loads what there is, in place of the feed.
    pub(super) fn lose_watch(&mut self, etcd: &Etcd) {
        self.feed.clear();
        let snapshot = etcd.snapshot();
        let keys = snapshot.entries.iter().map(|entry| &entry.key);
        self.sources = keys.filter_map(|key| source_of_subtask(key)).collect();
        self.machine.load(&snapshot);
        self.decide();
    }

    pub(super) fn fold(&mut self, batch: &Batch) {
        for event in &batch.events {
            let Some(source) = source_of_subtask(event.key()) else {
                continue;
            };
            match event {
                Event::Put(_) => self.sources.insert(source),
                Event::Delete { .. } => self.sources.remove(&source),
            };
        }
        self.machine.apply(batch);
        self.decide();
    }

    /// As much time passes as an unlock waits.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.machine.tick(self.now());
        self.decide();
    }

    fn now(&self) -> Duration {
        Limits::default().unlock_wait * self.ticks
    }

    /// What the state calls for by now.
    pub(super) fn decide(&mut self) {
        let applied = self.machine.applied();
        self.sent
            .retain(|sent| sent.late.is_some() || sent.landed > applied);
        for decision in self.machine.decide() {
            let subject = decision.subject;
            self.wanted.retain(|wish| wish.subject != subject);
            let wishes = decision.proposals.iter().map(|proposal| Wish {
                subject: subject.clone(),
                write: proposal.into(),
                is_held: true,
            });
            self.wanted.extend(wishes);
        }
        let Self { wanted, sent, .. } = self;
        for wish in wanted.iter_mut() {
            wish.is_held &= sent.iter().any(|sent| sent.subject == wish.subject);
        }
        wanted.sort_by(|a, b| a.subject.0.cmp(&b.subject.0));
    }

    /// Wishes that may be sent.
    pub(super) fn free(&self) -> impl Iterator<Item = usize> {
        let wanted = self.wanted.iter().enumerate();
        wanted
            .filter(|(_, wish)| !wish.is_held)
            .map(|(number, _)| number)
    }

    pub(super) fn under_way(&self) -> impl Iterator<Item = usize> {
        let sent = self.sent.iter().enumerate();
        sent.filter(|(_, sent)| sent.late.is_some())
            .map(|(number, _)| number)
    }
}

fn source_of_subtask(key: &[u8]) -> Option<String> {
    let key = SubtaskKey::parse(key).ok()?;
    Some(key.source.as_str().to_owned())
}
