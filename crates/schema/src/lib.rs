//! Table structures and the DDL that changes them. Pure.
//!
//! [`read`] turns the text of one binlog query event into a [`Statement`]: it understands which tables a statement names, where the
//! specifications of an ALTER begin and end, and what columns and keys they define. Everything else it keeps as tokens, so that clauses it has
//! never heard of survive. [`Ddl::render`] prints a statement in one normal form (upper-case words, names in backquotes, single blanks)
//! with its tables renamed, and [`Table::apply`] follows a structure through an ALTER.
//!
//! [`table_info`] is the JSON that DM keeps of a table, [`create_table`] makes one of a text, and [`lattice`] compares and joins what they hold.
//!
//! It is not a validator: a text that the upstream server accepted is taken to be right, and what cannot be understood is an error that names the place.

mod column;
mod column_change;
mod create;
pub mod create_table;
mod ddl;
pub mod lattice;
mod lexer;
mod print;
mod reader;
mod table;
pub mod table_info;

mod alter;

pub use column_change::{ColumnChange, column_change};
pub use ddl::{Action, Change, Ddl, Placement, Statement, TableRef, Transaction};
pub use lexer::{Options, ReadError};
pub use reader::read;
pub use table::{ApplyError, Column, Generated, Key, Table};
