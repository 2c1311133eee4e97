//! The structure of one table, as far as rows need it: columns in order, and keys.

use serde::{Deserialize, Serialize};

use crate::ddl::{Change, Placement};

/// How a column's value comes about when it is computed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Generated {
    /// At each read; not stored.
    Virtual,
    /// At each write; stored.
    Stored,
}

/// One column.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Column {
    /// Its name as defined; names compare without regard to case.
    pub name: String,
    /// The type in capitals, synonyms resolved: `INT`, `VARCHAR`, `DATETIME` …
    pub kind: String,
    /// The first number in the type's parentheses: length, precision or fractional digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// No sign; the binlog does not tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsigned: bool,
    /// NULL is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_null: bool,
    /// Character set of texts; `None` for other types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Set for computed columns, which are never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
}

/// An index. The primary key is called `PRIMARY`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Key {
    /// Its name; empty until the table gives it one.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// No two rows have equal values, NULLs apart.
    pub unique: bool,
    /// Some column counts only with its first characters, or an expression takes part: rows cannot be found by the column values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl Key {
    /// Name of each primary key.
    pub const PRIMARY: &'static str = "PRIMARY";

    /// Whether this is the primary key.
    pub fn is_primary(&self) -> bool {
        self.name == Self::PRIMARY
    }
}

/// Columns, keys and the default character set of one table.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Table {
    /// Character set of new text columns that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// In the order of the rows' values.
    pub columns: Vec<Column>,
    /// All indexes that matter for finding rows.
    pub keys: Vec<Key>,
}

/// Why a change does not fit a structure: the structure that is tracked is not the one that the upstream had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// A column that should be there is not.
    #[error("column {0} is not in the tracked structure")]
    MissingColumn(String),
    /// A column that should be new is there.
    #[error("column {0} is already in the tracked structure")]
    DuplicateColumn(String),
}

impl Table {
    /// The place of a column among the values of a row.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|c| c.name.eq_ignore_ascii_case(name))
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.position(name).map(|at| &self.columns[at])
    }

    /// Follows the structure through one change.
    pub fn apply(&mut self, change: &Change) -> Result<(), ApplyError> {
        match change {
            Change::AddColumn {
                column,
                keys,
                placement,
                if_not_exists,
            } => {
                if self.position(&column.name).is_some() {
                    return if *if_not_exists {
                        Ok(())
                    } else {
                        Err(ApplyError::DuplicateColumn(column.name.clone()))
                    };
                }
                let at = self.place(placement, self.columns.len())?;
                let column = self.completed(column);
                self.columns.insert(at, column);
                keys.iter().for_each(|k| self.add_key(k));
            }
            Change::DropColumn { name } => {
                let at = self.required(name)?;
                self.columns.remove(at);
                self.forget_in_keys(name);
            }
            Change::ChangeColumn {
                old,
                column,
                keys,
                placement,
            } => self.change_column(old, column, keys, placement)?,
            Change::RenameColumn { old, new } => {
                let at = self.required(old)?;
                self.columns[at].name.clone_from(new);
                self.rename_in_keys(old, new);
            }
            Change::AddKey(key) => self.add_key(key),
            Change::DropKey { name } => self.keys.retain(|k| !k.name.eq_ignore_ascii_case(name)),
            Change::RenameKey { old, new } => {
                for key in &mut self.keys {
                    if key.name.eq_ignore_ascii_case(old) {
                        key.name.clone_from(new);
                    }
                }
            }
            Change::ConvertCharset(charset) => {
                for column in self.columns.iter_mut().filter(|c| c.charset.is_some()) {
                    column.charset = Some(charset.clone());
                }
                self.charset = Some(charset.clone());
            }
            Change::DefaultCharset(charset) => self.charset = Some(charset.clone()),
            Change::RenameTo(_) | Change::Other => {}
        }
        Ok(())
    }

    fn change_column(
        &mut self,
        old: &str,
        column: &Column,
        keys: &[Key],
        placement: &Placement,
    ) -> Result<(), ApplyError> {
        let from = self.required(old)?;
        self.columns.remove(from);
        let at = self.place(placement, from)?;
        let column = self.completed(column);
        let name = column.name.clone();
        self.columns.insert(at, column);
        self.rename_in_keys(old, &name);
        keys.iter().for_each(|k| self.add_key(k));
        Ok(())
    }

    fn required(&self, name: &str) -> Result<usize, ApplyError> {
        self.position(name)
            .ok_or_else(|| ApplyError::MissingColumn(name.to_owned()))
    }

    fn place(&self, placement: &Placement, unchanged: usize) -> Result<usize, ApplyError> {
        match placement {
            Placement::Unchanged => Ok(unchanged),
            Placement::First => Ok(0),
            Placement::After(name) => self.required(name).map(|at| at + 1),
        }
    }

    /// A text column without a character set takes the table's.
    fn completed(&self, column: &Column) -> Column {
        let mut column = column.clone();
        if column.charset.is_none() && crate::column::is_text(&column.kind) {
            column.charset.clone_from(&self.charset);
        }
        column
    }

    /// Where the definition names no character set, the schema's holds.
    pub fn set_default_charset(&mut self, charset: &str) {
        if self.charset.is_none() {
            self.charset = Some(charset.to_owned());
            self.complete_charsets();
        }
    }

    pub(crate) fn complete_charsets(&mut self) {
        self.columns = self.columns.iter().map(|c| self.completed(c)).collect();
    }

    pub(crate) fn add_key(&mut self, key: &Key) {
        let mut key = key.clone();
        if key.name.is_empty() {
            key.name = self.free_key_name(key.columns.first().map_or("key", String::as_str));
        }
        if self
            .keys
            .iter()
            .any(|k| k.name.eq_ignore_ascii_case(&key.name))
        {
            return;
        }
        if key.is_primary() {
            for column in &mut self.columns {
                if key
                    .columns
                    .iter()
                    .any(|k| k.eq_ignore_ascii_case(&column.name))
                {
                    column.not_null = true;
                }
            }
        }
        self.keys.push(key);
    }

    /// As the server names an index that has no name: after its first column, with a number when that is taken.
    fn free_key_name(&self, base: &str) -> String {
        let taken = |name: &str| self.keys.iter().any(|k| k.name.eq_ignore_ascii_case(name));
        let mut name = base.to_owned();
        let mut number = 2;
        while taken(&name) {
            name = format!("{base}_{number}");
            number += 1;
        }
        name
    }

    fn forget_in_keys(&mut self, column: &str) {
        for key in &mut self.keys {
            key.columns.retain(|c| !c.eq_ignore_ascii_case(column));
        }
        self.keys.retain(|k| !k.columns.is_empty());
    }

    fn rename_in_keys(&mut self, old: &str, new: &str) {
        for name in self.keys.iter_mut().flat_map(|k| &mut k.columns) {
            if name.eq_ignore_ascii_case(old) {
                new.clone_into(name);
            }
        }
    }
}
