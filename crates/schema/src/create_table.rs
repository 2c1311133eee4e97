//! From the text of a CREATE TABLE to the table info that TiDB would keep of it (spec schemacmp 12, rules B1 to B15).
//!
//! Two texts with the same meaning give the same schema. What has no meaning to the comparison (engines, partitions, checks, foreign keys,
//! full-text and spatial indexes) is passed over; what could have one and is not understood is an error that names the place.

mod charset;
mod column;
mod expression;
mod follow;
mod key;
mod literal;
mod options;
mod print;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeSet;

use crate::lexer::{Options, ReadError, tokens};
use crate::reader::{Cursor, split_commas};
use crate::table_info::{ColumnInfo, IndexColumn, IndexInfo, Name, TableInfo, code, flag};

pub use charset::Defaults;
pub use follow::FollowError;
pub use print::print_create_table;

use column::Definition;
use key::Key;

/// Why a text is not the definition of a table.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CreateTableError {
    /// Something else was expected at some place.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Two columns have one name.
    #[error("column {0} is defined twice")]
    DuplicateColumn(String),
    /// Two keys have one name.
    #[error("key {0} is defined twice")]
    DuplicateKey(String),
    /// A key has a column that the table does not have.
    #[error("key column {0} does not exist")]
    UnknownColumn(String),
    /// There is more than one primary key.
    #[error("several primary keys are defined")]
    SeveralPrimaryKeys,
    /// Nothing stands between the parentheses.
    #[error("a table without columns")]
    NoColumns,
}

/// Reads `CREATE TABLE … ( … ) …`; `defaults` holds where the table names no character set.
pub fn read_create_table(
    text: &str,
    options: &Options,
    defaults: &Defaults,
) -> Result<TableInfo, CreateTableError> {
    let mut tokens = tokens(text, options)?;
    while tokens.last().is_some_and(|t| t.is_punct(";")) {
        tokens.pop();
    }
    let mut cursor = Cursor::new(&tokens);
    cursor.expect_word("CREATE")?;
    cursor.words(&["OR", "REPLACE"]);
    cursor.word("TEMPORARY");
    cursor.expect_word("TABLE")?;
    cursor.words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table()?.table;
    let elements = cursor.group()?;
    let mut info = TableInfo::new(Name::new(name));
    options::read(&mut cursor, defaults, &mut info)?;
    let table = defaults.within(&info.charset, &info.collate);
    let mut builder = Builder {
        info,
        table,
        columns: Vec::new(),
        keys: Vec::new(),
        inline_keys: Vec::new(),
    };
    for part in split_commas(elements) {
        builder.element(Cursor::new(part))?;
    }
    builder.finish()
}

struct Builder {
    info: TableInfo,
    /// What holds within the table.
    table: Defaults,
    columns: Vec<Definition>,
    keys: Vec<Key>,
    /// Keys written within columns come behind all others.
    inline_keys: Vec<Key>,
}

impl Builder {
    /// One column, key or constraint between the parentheses.
    fn element(&mut self, mut cursor: Cursor<'_>) -> Result<(), CreateTableError> {
        if key::passed_over(&cursor) {
            return Ok(());
        }
        if let Some(key) = key::read(&mut cursor)? {
            self.keys.extend(key);
            return Ok(());
        }
        let name = cursor.name("a column or a key")?;
        let (definition, keys) = column::read(&name, &mut cursor, &self.table)?;
        if let Some(bits) = definition.auto_random {
            self.info.auto_random_bits = bits;
        }
        self.columns.push(definition);
        self.inline_keys.extend(keys);
        Ok(())
    }

    fn finish(mut self) -> Result<TableInfo, CreateTableError> {
        if self.columns.is_empty() {
            return Err(CreateTableError::NoColumns);
        }
        let mut seen = BTreeSet::new();
        for definition in &self.columns {
            let name = &definition.info.name;
            if !seen.insert(name.lower.clone()) {
                return Err(CreateTableError::DuplicateColumn(name.original.clone()));
            }
        }
        let inline = std::mem::take(&mut self.inline_keys);
        self.keys.extend(inline);
        key::name_all(&mut self.keys)?;
        self.flag_key_columns()?;
        for (at, key) in (1_i64..).zip(&self.keys) {
            let index = self.index(at, key)?;
            self.info.indexes.push(index);
        }
        self.info.set_other("max_idx_id", self.keys.len());
        self.info.set_other("max_col_id", self.columns.len());
        for (at, definition) in (0_i64..).zip(self.columns) {
            let mut column = definition.finish();
            column.set_other("id", at + 1);
            column.set_other("offset", at);
            self.info.columns.push(column);
        }
        Ok(self.info)
    }

    fn position(&self, column: &str) -> Result<usize, CreateTableError> {
        let name = Name::new(column);
        self.columns
            .iter()
            .position(|c| c.info.name.lower == name.lower)
            .ok_or(CreateTableError::UnknownColumn(name.original))
    }

    /// Rule B8: which columns a key makes NOT NULL, and the key bits.
    fn flag_key_columns(&mut self) -> Result<(), CreateTableError> {
        let keys = std::mem::take(&mut self.keys);
        for key in &keys {
            let (counted, flags) = key_flags(key.primary, key.unique, key.columns.len());
            for (name, _) in key.columns.iter().take(counted) {
                let at = self.position(name)?;
                self.columns[at].info.field_type.flags |= flags;
            }
        }
        self.keys = keys;
        Ok(())
    }

    /// Rules B11 and B12.
    fn index(&self, id: i64, key: &Key) -> Result<IndexInfo, CreateTableError> {
        let mut index = IndexInfo::new(Name::new(key.name.as_str()));
        index.unique = key.primary || key.unique;
        index.primary = key.primary;
        index.index_type = key.index_type;
        index.set_other("id", id);
        for (name, length) in &key.columns {
            let at = self.position(name)?;
            let column = &self.columns[at].info;
            let length = length.filter(|n| !is_whole(column, *n));
            index.columns.push(key::column(column, at, length));
        }
        if self.table.is_mariadb && index.unique && index.index_type == IndexInfo::BTREE {
            let info = |name: &Name| Some(&self.columns[self.position(&name.original).ok()?].info);
            index.index_type = unique_type(&index, info);
        }
        Ok(index)
    }
}

/// Rule B8: how many columns of a key are flagged, and with what.
fn key_flags(primary: bool, unique: bool, columns: usize) -> (usize, u64) {
    match columns {
        n if primary => (n, flag::PRIMARY | flag::NOT_NULL),
        1 if unique => (1, flag::UNIQUE),
        _ => (1, flag::MULTIPLE),
    }
}

/// MariaDB builds a unique key as a hash if a whole text is part of it, and as a tree otherwise.
fn unique_type<'a>(index: &IndexInfo, column: impl Fn(&Name) -> Option<&'a ColumnInfo>) -> i64 {
    let is_text = |part: &IndexColumn| {
        let column = column(&part.name);
        let is_text = column.is_some_and(|c| types::is_text(c.field_type.code));
        is_text && part.length == IndexColumn::WHOLE
    };
    match index.columns.iter().any(is_text) {
        true => IndexInfo::HASH,
        false => IndexInfo::BTREE,
    }
}

/// Whether a prefix of that length is the whole of a column.
fn is_whole(column: &ColumnInfo, prefix: i64) -> bool {
    let ty = &column.field_type;
    matches!(ty.code, code::CHAR | code::VARCHAR) && ty.flen <= prefix
}
