//! Commands against a master that answers by script: what is sent, what is printed, with which code it ends.

mod connection;
mod members;
mod program;
mod server;
mod tasks;
