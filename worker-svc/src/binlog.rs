//! The upstream's binlog: positions, events and row images, decoded from bytes. Pure except for [`stream`].
//!
//! The decoding is ours, because the bytes do not say enough: signs, character sets and padding come from the tracked structure of the table.

pub mod event;
pub mod gtid;
mod jsonb;
pub mod position;
pub mod reader;
pub mod row;
pub mod stream;
pub mod table_map;
pub mod value;
