//! The whole system on one machine: a real etcd, real MariaDB servers, the four services with replicas, and workers, each a
//! process of its own with its own folder and its own loopback port. `playground demo` and `playground up` are made of it, and so are the
//! end-to-end tests: what a new user sees and what is tested is the same thing.
//!
//! ```no_run
//! # async fn example() -> Result<(), playground::Error> {
//! let mut playground = playground::Playground::builder().sources(2).workers(2).start().await?;
//! playground.wait_ready().await?;
//! println!("{}", playground.dmctl(["list-member"]).await?.stdout);
//! playground.stop().await
//! # }
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`cluster`] | [`Playground`]: what runs, and who leads |
//! | [`builder`] | how many of what, and the order of the start |
//! | [`unit`](mod@unit) | one service or worker process: kill, pause, restart, ask for its pages |
//! | [`dmctl`] | the command line, run against the doors |
//! | [`orders`] | the sharded table of the demo: its shards, its task, its source files |
//! | [`migration`], [`answers`] | the steps of a migration with `dmctl`; reading its answers |
//! | [`writers`] | rows that keep being written |
//! | [`compare`] | the downstream against the merge of the sources, row by row |
//! | [`traces`] | one trace in lines; passing spans on to another collector |
//! | [`wait`], [`http`] | for conditions, with limits; pages of a service |
//! | [`demo`], [`story`] | the main job as a story |
//!
//! Nothing here decides anything about migrations: it starts programs, talks SQL and reads answers.

pub mod answers;
pub mod binaries;
pub mod builder;
pub mod cluster;
pub mod compare;
pub mod configuration;
mod databases;
pub mod demo;
pub mod dmctl;
pub mod error;
pub mod http;
pub mod migration;
pub mod orders;
pub mod story;
pub mod traces;
pub mod unit;
pub mod up;
pub mod wait;
pub mod writers;

pub use builder::Builder;
pub use cluster::Playground;
pub use error::{Error, Result};
pub use unit::Unit;
