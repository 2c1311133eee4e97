//! How much of a lock has changed.

use std::collections::BTreeSet;

use dm_keyspace::SourceId;

/// What is to be looked at anew.
#[derive(Clone, Debug)]
pub(super) enum Touch {
    /// The evidence of these sources.
    Sources(BTreeSet<SourceId>),
    /// Everything.
    Whole,
}

impl Default for Touch {
    fn default() -> Self {
        Self::Sources(BTreeSet::new())
    }
}

impl Touch {
    /// One more source.
    pub(super) fn add(&mut self, source: &SourceId) {
        if let Self::Sources(sources) = self {
            sources.insert(source.clone());
        }
    }

    /// Both.
    pub(super) fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Sources(sources), Self::Sources(more)) => sources.extend(more),
            (_, Self::Whole) => *self = Self::Whole,
            (Self::Whole, _) => {}
        }
    }
}
