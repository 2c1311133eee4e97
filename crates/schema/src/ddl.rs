//! What a statement is: the tables it names, what it does to them, and the tokens to print it from.

use crate::lexer::Token;
use crate::table::{Column, Key, Table};

/// A table as a statement names it; the schema is missing when the statement relies on its session's default.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TableRef {
    /// Name of the schema, if it was given.
    pub schema: Option<String>,
    /// Name of the table.
    pub table: String,
}

impl TableRef {
    /// A table with its schema.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            schema: Some(schema.into()),
            table: table.into(),
        }
    }
}

/// What one query event holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// One or more changes of structure: an ALTER is split into one for each of its specifications, a DROP or RENAME into one for each table.
    Ddl(Vec<Ddl>),
    /// A border or an inner part of a transaction.
    Transaction(Transaction),
    /// Rows changed by statement; such an event holds data that row replication does not see.
    Dml,
    /// A kind that is not replicated: accounts, routines, views, triggers, maintenance, session settings.
    Ignored,
}

/// Statements about transactions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transaction {
    /// `BEGIN` or `START TRANSACTION`.
    Begin,
    /// The end of a transaction on a table without transactions, or of a sequence's use.
    Commit,
    /// Only after changes that could not be undone.
    Rollback,
    /// Without effect on rows, which are logged only when they stay.
    Savepoint,
    /// Two-phase transactions, which come apart in the log.
    Xa,
}

/// Where a column goes in its table.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Placement {
    /// New columns go to the end, changed ones stay.
    #[default]
    Unchanged,
    /// Before all others.
    First,
    /// Behind the named one.
    After(String),
}

/// One specification of an ALTER, or what an index statement amounts to.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new column, with the keys its definition brings.
    AddColumn {
        /// The definition.
        column: Column,
        /// Keys written inside the definition.
        keys: Vec<Key>,
        /// Where it goes.
        placement: Placement,
        /// IF NOT EXISTS was given.
        if_not_exists: bool,
    },
    /// A column goes; keys lose it.
    DropColumn {
        /// Its name.
        name: String,
    },
    /// A column is defined anew; `old` is its former name when it changes.
    ChangeColumn {
        /// The name before.
        old: String,
        /// The definition after.
        column: Column,
        /// Keys written inside the definition.
        keys: Vec<Key>,
        /// Where it goes.
        placement: Placement,
    },
    /// A column keeps its definition under a new name.
    RenameColumn {
        /// The name before.
        old: String,
        /// The name after.
        new: String,
    },
    /// A new index or key.
    AddKey(Key),
    /// An index or key goes.
    DropKey {
        /// Its name; `PRIMARY` for the primary key.
        name: String,
    },
    /// An index gets another name.
    RenameKey {
        /// The name before.
        old: String,
        /// The name after.
        new: String,
    },
    /// The table gets another name.
    RenameTo(TableRef),
    /// All text columns change their character set, and so does the default.
    ConvertCharset(String),
    /// The character set of columns to come.
    DefaultCharset(String),
    /// Anything that does not touch columns or keys.
    Other,
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A new schema.
    CreateDatabase(String),
    /// Defaults of a schema; without a name, of the session's.
    AlterDatabase(Option<String>),
    /// A schema goes with all its tables.
    DropDatabase(String),
    /// A new table.
    CreateTable {
        /// Its name.
        table: TableRef,
        /// Its structure as far as the statement defines it.
        structure: Table,
        /// The table whose structure it takes instead.
        like: Option<TableRef>,
    },
    /// A table goes.
    DropTable(TableRef),
    /// A table loses all rows.
    TruncateTable(TableRef),
    /// A table gets another name.
    RenameTable {
        /// The name before.
        from: TableRef,
        /// The name after.
        to: TableRef,
    },
    /// One change of a table.
    Alter {
        /// The table.
        table: TableRef,
        /// What changes.
        change: Change,
    },
}

/// One printable piece of a statement: a table name that can be replaced, a schema name, or a token that stays.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    Table(TableRef),
    Schema(String),
    Token(Token),
}

/// One statement of structure, on one table (RENAME: on one pair).
#[derive(Clone, Debug, PartialEq)]
pub struct Ddl {
    /// What it does.
    pub action: Action,
    pub(crate) pieces: Vec<Piece>,
}

impl Ddl {
    /// The table that the statement is about, if it is about one.
    pub fn table(&self) -> Option<&TableRef> {
        match &self.action {
            Action::CreateTable { table, .. }
            | Action::DropTable(table)
            | Action::TruncateTable(table)
            | Action::RenameTable { from: table, .. }
            | Action::Alter { table, .. } => Some(table),
            Action::CreateDatabase(_) | Action::AlterDatabase(_) | Action::DropDatabase(_) => None,
        }
    }

    /// Fills in the schema where the statement left it to its session.
    pub fn set_default_schema(&mut self, schema: &str) {
        let fill = |table: &mut TableRef| {
            table.schema.get_or_insert_with(|| schema.to_owned());
        };
        match &mut self.action {
            Action::CreateTable { table, like, .. } => {
                fill(table);
                like.iter_mut().for_each(fill);
            }
            Action::DropTable(table) | Action::TruncateTable(table) => fill(table),
            Action::RenameTable { from, to } => {
                fill(from);
                fill(to);
            }
            Action::Alter { table, change } => {
                fill(table);
                if let Change::RenameTo(to) = change {
                    fill(to);
                }
            }
            Action::AlterDatabase(name) => {
                name.get_or_insert_with(|| schema.to_owned());
            }
            Action::CreateDatabase(_) | Action::DropDatabase(_) => {}
        }
        for piece in &mut self.pieces {
            match piece {
                Piece::Table(table) => fill(table),
                Piece::Schema(name) if name.is_empty() => schema.clone_into(name),
                Piece::Schema(_) | Piece::Token(_) => {}
            }
        }
    }

    /// The statement in normal form, with each table and schema under the name that `rename` gives it. The schema alone is asked for with an empty table name.
    pub fn render(&self, mut rename: impl FnMut(&TableRef) -> TableRef) -> String {
        crate::print::statement(&self.pieces, &mut rename)
    }
}
