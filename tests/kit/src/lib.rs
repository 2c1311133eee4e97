//! What the project's tests and the playground stand on: child processes that never outlive
//! their owner, a real etcd and real MariaDB servers on ports and folders of their own, an etcd in
//! memory whose time and faults the test decides, a TCP proxy that misbehaves on demand, a receiver
//! of traces, and waiting for conditions instead of sleeping.
//!
//! Nothing here skips: a missing program is an error that names the Debian package to install.
//! Nothing here decides what is right: assertions belong to the tests.

pub mod error;
pub mod etcd;

pub mod mariadb;
pub mod memory;
pub mod otlp;
pub mod pages;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod scratch;
pub mod vectors;
pub mod wait;

pub use error::{Error, Result};
pub use ports::free_port;
pub use vectors::vectors;
pub use wait::{wait_for, wait_until};
