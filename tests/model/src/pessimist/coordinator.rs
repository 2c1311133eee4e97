//! The machine in the place that the loop of a service gives it: a feed before it, transactions behind it, one at a time for
//! each subject.

use dm_replica::{Machine as _, Subject};
use dm_store::{Batch, Revision};
use pessimist_svc::machine::Pessimist;

use crate::etcd::{Etcd, Write};

#[derive(Clone, Debug)]
pub(super) struct Coordinator {
    pub(super) machine: Pessimist,
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
    /// Still under way.
    pub(super) late: Option<Write>,
    /// When it has landed: the revision of etcd then.
    pub(super) landed: Revision,
}

impl Coordinator {
    pub(super) fn new(etcd: &Etcd) -> Self {
        let mut machine = Pessimist::default();
        machine.load(&etcd.snapshot());
        let mut new = Self {
            machine,
            feed: Vec::new(),
            wanted: Vec::new(),
            sent: Vec::new(),
        };
        new.decide();
        new
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
