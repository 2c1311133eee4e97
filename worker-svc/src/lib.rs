//! A worker of the cluster: it copies one source into the downstream, first everything that is there, then every change, exactly once.
//!
//! | module | what |
//! |---|---|
//! | [`process`], [`settings`], [`join`] | from arguments to a worker that its masters know |
//! | [`session`], [`permit`] | the lease, and the right to act that ends before it |
//! | [`worker`], [`source`], [`subtask`] | what etcd wants, and what runs |
//! | [`load`] | the full load |
//! | [`sync`] | replication of the binlog |
//! | [`shard`] | shard DDL: the tables of this source (pure), and the other sources (etcd) |
//! | [`binlog`] | events and row images from bytes (pure), and the stream they come from |
//! | [`exceptions`], [`tracked`] | what a user has ordered for single statements, and for the structures that are tracked |
//! | [`condition`] | expressions that leave rows out |
//! | [`upstream`], [`downstream`] | the two databases |
//! | [`api`], [`cast`], [`status`], `metrics` | what is told about all that |
//!
//! Two rules hold everywhere. What was applied and how far that goes are written in one transaction of the downstream, fenced by an epoch that only the latest run
//! holds; so a crash at any point neither loses nor repeats a row. And nothing whose effect lasts is begun without asking the permit.

pub mod api;
pub mod binlog;
pub mod cast;
pub mod condition;
pub mod downstream;
pub mod error;
pub mod exceptions;
pub mod join;
pub mod load;
mod metrics;
pub mod names;
pub mod permit;
pub mod process;
pub mod rules;
pub mod session;
pub mod settings;
pub mod shard;
pub mod source;
pub mod status;
pub mod subtask;
pub mod sync;
pub mod tracked;
pub mod unit;
pub mod upstream;
pub mod worker;

pub use process::serve;
