//! Joining independent proposals into as few transactions as etcd's limits allow. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use dm_store::{Guard, KeyRange, Put, Txn};

/// Bytes of one transaction; etcd refuses requests of more than 1.5 MiB by default.
const MAX_BYTES: usize = 1024 * 1024;

/// Collects the writes of one transaction for as long as they do not get in each other's way.
#[derive(Debug)]
pub(crate) struct Pack {
    max_operations: usize,
    txn: Txn,
    written: BTreeSet<Bytes>,
    guarded: BTreeSet<Bytes>,
    bytes: usize,
    members: usize,
}

impl Pack {
    /// An empty transaction under a fence.
    pub(crate) fn new(fence: Guard, max_operations: usize) -> Self {
        let txn = Txn {
            guards: vec![fence],
            ..Txn::default()
        };
        Self {
            max_operations,
            txn,
            written: BTreeSet::new(),
            guarded: BTreeSet::new(),
            bytes: 0,
            members: 0,
        }
    }

    /// Whether `part` may join: within the limits, and touching nothing that is already written.
    /// The first part always may; if it alone is too large etcd says so.
    pub(crate) fn takes(&self, part: &Txn) -> bool {
        self.members == 0
            || (self.txn.guards.len() + part.guards.len() <= self.max_operations
                && self.txn.puts.len()
                    + self.txn.deletes.len()
                    + part.puts.len()
                    + part.deletes.len()
                    <= self.max_operations
                && self.bytes + size(part) <= MAX_BYTES
                && !self.collides(part)
                && !self.overrules(part))
    }

    pub(crate) fn add(&mut self, part: Txn) {
        self.bytes += size(&part);
        self.written.extend(part.puts.iter().map(|p| p.key.clone()));
        self.guarded
            .extend(part.guards.iter().map(|g| g.key().clone()));
        self.txn.guards.extend(part.guards);
        self.txn.puts.extend(part.puts);
        self.txn.deletes.extend(part.deletes);
        self.members += 1;
    }

    pub(crate) fn into_txn(self) -> Txn {
        self.txn
    }

    fn collides(&self, part: &Txn) -> bool {
        part.puts
            .iter()
            .any(|p| self.written.contains(&p.key) || covers(&self.txn.deletes, &p.key))
            || part
                .deletes
                .iter()
                .any(|range| self.written.iter().any(|key| range.contains(key)))
            || part
                .deletes
                .iter()
                .any(|range| self.txn.deletes.contains(range))
    }

    /// etcd looks at all guards before it writes anything. One part's guard on what another one writes would hold
    /// in company and fail alone, whichever of the two came first: they may be decisions that exclude each other.
    fn overrules(&self, part: &Txn) -> bool {
        let is_written = |key: &Bytes| self.written.contains(key) || covers(&self.txn.deletes, key);
        part.guards.iter().any(|guard| is_written(guard.key()))
            || part.puts.iter().any(|put| self.guarded.contains(&put.key))
            || part
                .deletes
                .iter()
                .any(|range| self.guarded.iter().any(|key| range.contains(key)))
    }
}

fn covers(ranges: &[KeyRange], key: &[u8]) -> bool {
    ranges.iter().any(|range| range.contains(key))
}

fn size(txn: &Txn) -> usize {
    let puts: usize = txn
        .puts
        .iter()
        .map(|Put { key, value, .. }| key.len() + value.len() + 16)
        .sum();
    puts + 64 * (txn.guards.len() + txn.deletes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str) -> Txn {
        let put = Put {
            key: Bytes::from_static(key.as_bytes()),
            value: Bytes::new(),
            lease: None,
        };
        Txn {
            puts: vec![put],
            guards: vec![Guard::Missing(Bytes::from_static(key.as_bytes()))],
            ..Txn::default()
        }
    }

    fn pack(max: usize) -> Pack {
        Pack::new(Guard::Exists(Bytes::from_static(b"fence")), max)
    }

    #[test]
    fn fence_counts_toward_the_limit_of_guards() {
        let mut pack = pack(3);
        pack.add(put("a"));
        assert!(pack.takes(&put("b")));
        pack.add(put("b"));
        assert!(!pack.takes(&put("c")));
        assert_eq!(pack.into_txn().guards.len(), 3);
    }

    #[test]
    fn a_key_is_written_once_per_transaction() {
        let mut pack = pack(128);
        pack.add(put("a"));
        assert!(!pack.takes(&put("a")));
    }

    #[test]
    fn nothing_is_put_that_is_deleted_in_the_same_transaction() {
        let mut pack = pack(128);
        pack.add(Txn {
            deletes: vec![KeyRange::prefix("a/")],
            ..Txn::default()
        });
        assert!(!pack.takes(&put("a/1")) && pack.takes(&put("b")));
        pack.add(put("b"));
        assert!(!pack.takes(&Txn {
            deletes: vec![KeyRange::key("b")],
            ..Txn::default()
        }));
    }

    fn key(key: &'static str) -> Bytes {
        Bytes::from_static(key.as_bytes())
    }

    /// Binds a source: it guards the configuration and puts the bound.
    fn bind() -> Txn {
        Txn {
            guards: vec![Guard::Exists(key("config/s"))],
            ..put("bound/w")
        }
    }

    /// Removes a source: it guards the bound of the worker and deletes the configuration.
    fn remove(range: KeyRange) -> Txn {
        Txn {
            guards: vec![
                Guard::Missing(key("bound/w")),
                Guard::Exists(key("config/s")),
            ],
            deletes: vec![range],
            ..Txn::default()
        }
    }

    #[test]
    fn parts_that_exclude_each_other_go_one_after_the_other() {
        for range in [KeyRange::key("config/s"), KeyRange::prefix("config/")] {
            for (first, second) in [(bind(), remove(range.clone())), (remove(range), bind())] {
                let mut pack = pack(128);
                assert!(pack.takes(&first));
                pack.add(first);
                assert!(!pack.takes(&second));
            }
        }
    }

    #[test]
    fn one_guard_on_what_the_other_writes_is_enough_to_part_them() {
        let guards = |guard: &'static str| Txn {
            guards: vec![Guard::Missing(key(guard))],
            ..put("other")
        };
        let mut written = pack(128);
        written.add(put("a"));
        assert!(!written.takes(&guards("a")));
        let mut guarded = pack(128);
        guarded.add(guards("a"));
        assert!(!guarded.takes(&put("a")));
    }

    #[test]
    fn common_guards_on_what_nobody_writes_join_parts() {
        let part = |name: &'static str| Txn {
            guards: vec![Guard::Exists(key("config"))],
            ..put(name)
        };
        let mut pack = pack(128);
        pack.add(part("a"));
        assert!(pack.takes(&part("b")));
    }

    #[test]
    fn an_oversized_part_still_goes_alone() {
        let big = Txn {
            puts: (0..9).flat_map(|_| put("x").puts).collect(),
            ..Txn::default()
        };
        assert!(pack(2).takes(&big));
    }
}
