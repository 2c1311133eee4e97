//! What a test has planned to go wrong, and how often each method was called.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tonic::Status;

/// Every name that [`Faults::count`] and [`Faults::fail_next`] know.
const METHODS: [&str; 14] = [
    "Range",
    "Put",
    "DeleteRange",
    "Txn",
    "Compact",
    "Watch",
    "WatchCreate",
    "LeaseGrant",
    "LeaseRevoke",
    "LeaseKeepAlive",
    "LeaseTimeToLive",
    "LeaseLeases",
    "MemberList",
    "Status",
];

/// Plans and counters.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    counts: BTreeMap<&'static str, u64>,
    failures: BTreeMap<&'static str, VecDeque<Status>>,
    lost_replies: BTreeSet<&'static str>,
    refusing: bool,
    undeletable: Option<Vec<u8>>,
}

impl Faults {
    /// Counts a request, and says how it must fail, if it must.
    pub(crate) fn enter(&mut self, method: &str) -> Result<(), Status> {
        let method = known(method);
        *self.counts.entry(method).or_default() += 1;
        if self.refusing {
            return Err(Status::unavailable("connection refused"));
        }
        match self.failures.get_mut(method).and_then(VecDeque::pop_front) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }

    /// Says whether the answer of a request that was carried out must be lost.
    pub(crate) fn leave(&mut self, method: &str) -> Result<(), Status> {
        if self.lost_replies.remove(method) {
            return Err(Status::unavailable("error reading from server: EOF"));
        }
        Ok(())
    }

    pub(crate) fn count(&self, method: &str) -> u64 {
        self.counts.get(known(method)).copied().unwrap_or_default()
    }

    pub(crate) fn fail_next(&mut self, method: &str, status: Status) {
        self.failures
            .entry(known(method))
            .or_default()
            .push_back(status);
    }

    pub(crate) fn drop_next_reply(&mut self, method: &str) {
        self.lost_replies.insert(known(method));
    }

    pub(crate) fn refuse(&mut self, refusing: bool) {
        self.refusing = refusing;
    }

    pub(crate) fn refuse_deletions(&mut self, prefix: Option<Vec<u8>>) {
        self.undeletable = prefix;
    }

    /// Says how a request fails that would delete these keys, and counts it then.
    pub(crate) fn delete<'a>(
        &mut self,
        method: &str,
        mut keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), Status> {
        let Some(prefix) = &self.undeletable else {
            return Ok(());
        };
        if !keys.any(|key| key.starts_with(prefix)) {
            return Ok(());
        }
        *self.counts.entry(known(method)).or_default() += 1;
        Err(Status::permission_denied("etcdserver: permission denied"))
    }

    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing
    }
}

/// A misspelt name would make a test pass for the wrong reason.
fn known(method: &str) -> &'static str {
    let found = METHODS.iter().find(|name| **name == method);
    assert!(found.is_some(), "{method} is none of {METHODS:?}");
    found.copied().unwrap_or_default()
}
