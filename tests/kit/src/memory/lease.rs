//! Leases against a time that is handed in, never read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::refusal::Refusal;

/// etcd's limit, in seconds.
const MAX_TTL: i64 = 9_000_000_000;

#[derive(Debug)]
struct Lease {
    ttl: i64,
    deadline: Duration,
    keys: BTreeSet<Vec<u8>>,
}

impl Lease {
    fn renew(&mut self, now: Duration) {
        self.deadline = now.saturating_add(Duration::from_secs(self.ttl.unsigned_abs()));
    }
}

/// What a lease has left, in etcd's units.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remaining {
    pub(crate) seconds: i64,
    pub(crate) granted: i64,
    pub(crate) keys: Vec<Vec<u8>>,
}

/// All living leases and the keys attached to them.
#[derive(Debug)]
pub(crate) struct Leases {
    living: BTreeMap<i64, Lease>,
    min_ttl: i64,
    next_id: i64,
    now: Duration,
}

impl Leases {
    /// Starts without a lease at time zero; shorter grants than `min_ttl` seconds get that much.
    pub(crate) fn new(min_ttl: i64) -> Self {
        Self {
            living: BTreeMap::new(),
            min_ttl,
            next_id: 0x5eed_0000_0000_0001,
            now: Duration::ZERO,
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Moves the time; never back.
    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    pub(crate) fn grant(&mut self, id: i64, ttl: i64) -> Result<(i64, i64), Refusal> {
        if ttl > MAX_TTL {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        let id = if id == 0 { self.fresh_id() } else { id };
        if self.living.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        let ttl = ttl.max(self.min_ttl);
        let mut lease = Lease {
            ttl,
            deadline: self.now,
            keys: BTreeSet::new(),
        };
        lease.renew(self.now);
        self.living.insert(id, lease);
        Ok((id, ttl))
    }

    fn fresh_id(&mut self) -> i64 {
        while self.living.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// Starts the lease's time anew; gives back its length in seconds.
    pub(crate) fn keep_alive(&mut self, id: i64) -> Result<i64, Refusal> {
        let now = self.now;
        let lease = self.living.get_mut(&id).ok_or(Refusal::LeaseNotFound)?;
        lease.renew(now);
        Ok(lease.ttl)
    }

    pub(crate) fn exists(&self, id: i64) -> bool {
        self.living.contains_key(&id)
    }

    pub(crate) fn ids(&self) -> Vec<i64> {
        self.living.keys().copied().collect()
    }

    pub(crate) fn remaining(&self, id: i64) -> Option<Remaining> {
        let lease = self.living.get(&id)?;
        let left = lease.deadline.saturating_sub(self.now).as_secs();
        Some(Remaining {
            seconds: i64::try_from(left).unwrap_or(i64::MAX),
            granted: lease.ttl,
            keys: lease.keys.iter().cloned().collect(),
        })
    }

    /// Ends a lease; gives back the keys that must go with it.
    pub(crate) fn end(&mut self, id: i64) -> Result<BTreeSet<Vec<u8>>, Refusal> {
        self.living
            .remove(&id)
            .map(|lease| lease.keys)
            .ok_or(Refusal::LeaseNotFound)
    }

    /// The lease that has run out first, if one has.
    pub(crate) fn expired(&self) -> Option<i64> {
        let first = self
            .living
            .iter()
            .min_by_key(|(id, lease)| (lease.deadline, **id))?;
        (first.1.deadline <= self.now).then_some(*first.0)
    }

    /// When the next lease runs out.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.living.values().map(|lease| lease.deadline).min()
    }

    /// Moves a key from one lease to another; 0 is none.
    pub(crate) fn reattach(&mut self, key: &[u8], from: i64, to: i64) {
        if let Some(lease) = self.living.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.living.get_mut(&to) {
            lease.keys.insert(key.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_run_out_in_the_order_of_their_deadlines() {
        let mut leases = Leases::new(1);
        leases.grant(7, 3).unwrap();
        leases.grant(9, 2).unwrap();
        assert_eq!(leases.next_deadline(), Some(Duration::from_secs(2)));
        assert_eq!(leases.expired(), None);
        leases.set_now(Duration::from_secs(5));
        assert_eq!(leases.expired(), Some(9));
        leases.end(9).unwrap();
        assert_eq!(leases.expired(), Some(7));
    }

    #[test]
    fn a_renewal_starts_the_time_anew() {
        let mut leases = Leases::new(1);
        leases.grant(7, 3).unwrap();
        leases.set_now(Duration::from_secs(2));
        assert_eq!(leases.remaining(7).unwrap().seconds, 1);
        assert_eq!(leases.keep_alive(7), Ok(3));
        assert_eq!(leases.remaining(7).unwrap().seconds, 3);
    }

    #[test]
    fn grants_are_checked_as_etcd_does() {
        let mut leases = Leases::new(2);
        assert_eq!(leases.grant(7, 1), Ok((7, 2)));
        assert_eq!(leases.grant(7, 5), Err(Refusal::LeaseExists));
        assert_eq!(leases.grant(0, MAX_TTL + 1), Err(Refusal::LeaseTtlTooLarge));
        let (first, second) = (leases.grant(0, 5).unwrap().0, leases.grant(0, 5).unwrap().0);
        assert_ne!(first, second);
    }
}
