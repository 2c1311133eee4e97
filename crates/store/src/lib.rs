//! etcd as the services see it: one connection, snapshots, a resumable feed, guarded transactions, leases.
//!
//! This crate is the only one that talks to etcd, so that deadlines, paging, operation limits and
//! the meaning of a lost reply are decided in one place:
//!
//! * [`Store::snapshot`] reads a range of any size in pages, all at one revision;
//! * [`Feed`] yields the snapshot and then every change after it, once, in etcd's own order, and
//!   resumes by itself after a broken connection or a compaction;
//! * [`Store::commit`] applies a [`Txn`] whose [`Guard`]s are about revisions, never about values,
//!   and tells a refused guard from an outcome that nobody knows;
//! * [`Store::grant`], [`Store::keep_alive_once`] and [`Store::revoke`] are the lease.
//!
//! It knows nothing of DM's keys: those are in `dm-keyspace`.

mod connect;
mod endpoints;
mod error;
mod feed;
mod lease;
mod snapshot;
mod txn;
mod types;

pub use connect::{Options, Store, TlsContent, TlsFiles};
pub use error::{CommitError, Error};
pub use feed::{Feed, FeedHealth, FeedItem, FeedStats};
pub use lease::Lease;
pub use txn::{Guard, Put, Txn};
pub use types::{Batch, Event, KeyRange, KeyValue, Revision, Snapshot};
