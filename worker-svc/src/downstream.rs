//! The database that everything is written to: statements, connections, and the records that make a restart exact.

pub mod connection;
pub mod holder;
pub mod keys;
pub mod meta;
pub mod statement;
pub mod target;
pub mod tolerate;
pub mod writer;
