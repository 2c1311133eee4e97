//! What the project's tests and the playground stand on: child processes that never outlive
//! their owner, a real etcd and real MariaDB servers on ports and folders of their own, a TCP
//! proxy that misbehaves on demand, and waiting for conditions instead of sleeping.
//!
//! Nothing here skips: a missing program is an error that names the Debian package to install.
//! Nothing here decides what is right: assertions belong to the tests.

pub mod error;
pub mod etcd;

pub mod ports;
pub mod process;
pub mod scratch;
pub mod wait;

pub use error::{Error, Result};
pub use ports::free_port;
pub use wait::{wait_for, wait_until};
