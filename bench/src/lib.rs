//! How fast a DM-compatible master is, seen from outside: through `pb.Master` and the keys in etcd, as DM's own workers
//! see it. It knows nothing of how the master is built, so that several can be put side by side.
//!
//! | module | what |
//! |---|---|
//! | [`worker`] | simulated workers: they register, keep alive, take bounds, report shard DDLs and do as they are told |
//! | [`latency`] | info put -> operation put, beside the bare round trip of [`bare`], sample by sample in turn |
//! | [`throughput`] | shard DDLs per second, by number of sources |
//! | [`pending`] | the same while other locks wait, by their number |
//! | [`takeover`] | how long a shard DDL waits when the leader resigns or is killed, by number of keys in etcd |
//! | [`optimism`], [`shards`] | optimistic DDLs: latency, infos per second by tables in a lock, a conflict, takeover |
//! | [`placement`] | sources on workers, by their number |
//! | [`memory`], [`cpu`] | resident memory by number of keys in etcd; processor time by DDL |
//! | [`cluster`] | etcd and the services, started for the purpose |
//! | [`suite`] | which scenario runs when; [`cli`] says how often |
//! | [`report`], [`times`], [`facts`] | tables, percentiles, and what they were measured on |
//!
//! Every scenario checks each answer: exactly one source of a lock executes, the others skip, each is told its own
//! statements, each operation is deleted at the end. A wrong answer ends the run; there are no figures without it.

pub mod ballast;
pub mod bare;
pub mod cli;
pub mod cluster;
pub mod cpu;
pub mod error;
pub mod facts;
pub mod latency;
pub mod leader;
pub mod memory;
pub mod names;
pub mod optimism;
pub mod pending;
pub mod placement;
pub mod report;
pub mod shards;
pub mod suite;
pub mod takeover;
pub mod throughput;
pub mod times;
pub mod worker;
pub mod world;

pub use error::{Error, Result};
pub use world::World;
