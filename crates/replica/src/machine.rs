//! What a service has to say of itself to be run by the loop: a pure fold and a pure decision.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dm_store::{Batch, Guard, KeyRange, Snapshot};

/// Pure state of one service: no I/O, no clock, no randomness; ordered maps only.
///
/// The loop calls [`Machine::decide`] after every change, on leaders and on standbys. It keeps the
/// last [`Decision`] of each subject: a leader commits it, a standby holds it ready.
pub trait Machine: Send + 'static {
    /// Results of slow work done outside the loop, fed in as events.
    type Input: Send + 'static;

    /// Replaces the state by what a snapshot says. Every subject counts as touched.
    fn load(&mut self, snapshot: &Snapshot);

    /// Folds changes in. Records that do not decode become faults of the state, never failures.
    fn apply(&mut self, batch: &Batch);

    /// Takes the result of slow work.
    fn input(&mut self, input: Self::Input);

    /// A slow timer; `now` is the monotonic time since the process started.
    fn tick(&mut self, _now: Duration) {}

    /// What each touched subject calls for *now*, computed from the state and never from what an
    /// event said. Asked again without a change in between, it answers nothing.
    fn decide(&mut self) -> Vec<Decision>;
}

/// The thing a decision is about: a lock, a source, a worker. Decisions of one subject replace each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(pub String);

impl<T: Into<String>> From<T> for Subject {
    fn from(name: T) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that a subject calls for at this state.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Whose decision this is.
    pub subject: Subject,
    /// Independent of each other; each is applied whole or not at all. None means: nothing any more.
    pub proposals: Vec<Proposal>,
}

/// A guarded write that a machine or a request asks for. The loop adds the fence.
#[derive(Clone, Debug, Default)]
pub struct Proposal {
    /// What it does, in a few constant words; the name of its span.
    pub name: &'static str,
    /// Conditions on revisions.
    pub guards: Vec<Guard>,
    /// Keys to write.
    pub puts: Vec<ProposedPut>,
    /// Ranges to delete.
    pub deletes: Vec<KeyRange>,
    /// The `traceparent` of what caused it.
    pub trace: Option<String>,
}

impl Proposal {
    /// A proposal that does nothing yet.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Adds a condition.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a key to write.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.puts.push(ProposedPut {
            key: key.into(),
            value: ProposedValue::Plain(value.into()),
        });
        self
    }

    /// Adds a key whose value carries the trace context of the commit.
    #[must_use]
    pub fn put_traced(
        mut self,
        key: impl Into<String>,
        value: impl Fn(Option<&str>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.puts.push(ProposedPut {
            key: key.into(),
            value: ProposedValue::Traced(Arc::new(value)),
        });
        self
    }

    /// Adds a range to delete.
    #[must_use]
    pub fn delete(mut self, range: KeyRange) -> Self {
        self.deletes.push(range);
        self
    }

    /// Names the trace that this continues.
    #[must_use]
    pub fn trace(mut self, traceparent: Option<String>) -> Self {
        self.trace = traceparent;
        self
    }

    /// Whether it would write nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }
}

/// A key to write.
#[derive(Clone, Debug)]
pub struct ProposedPut {
    /// The key.
    pub key: String,
    /// Its new value.
    pub value: ProposedValue,
}

/// A function from the commit's `traceparent` to a value.
pub type TracedValue = dyn Fn(Option<&str>) -> Vec<u8> + Send + Sync;

/// A value, or how to make it once the commit's span is known.
#[derive(Clone)]
pub enum ProposedValue {
    /// These bytes.
    Plain(Vec<u8>),
    /// Bytes that name the span that wrote them.
    Traced(Arc<TracedValue>),
}

impl ProposedValue {
    /// The bytes, for a commit whose span has this `traceparent`.
    #[must_use]
    pub fn bytes(&self, traceparent: Option<&str>) -> Vec<u8> {
        match self {
            Self::Plain(bytes) => bytes.clone(),
            Self::Traced(make) => make(traceparent),
        }
    }
}

impl fmt::Debug for ProposedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may hold passwords: say how long, not what.
        match self {
            Self::Plain(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Traced(_) => f.write_str("traced"),
        }
    }
}
