//! The worker against real servers: etcd, a MariaDB source and a MariaDB downstream. The tests play the master by putting keys.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose surroundings fail has failed"
)]

mod ddl;
mod exceptions;
mod filters;
mod harness;
mod keyless;
mod life;
mod load;
mod optimistic;
mod optimistic_steps;
mod referee;
mod replication;
mod schemas;
mod shard;
mod steps;
mod stream;
mod structures;
mod tls;
