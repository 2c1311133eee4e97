//! Commands against a master that answers by script: what is sent, what is printed, with which code it ends.

// Clippy knows by the attribute that helpers may unwrap.
#[cfg(test)]
mod binlog;
#[cfg(test)]
mod config;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod members;
#[cfg(test)]
mod program;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod validation;
