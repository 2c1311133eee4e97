//! Following a table info through an ALTER: what it would be if the table were created anew as it is afterwards.

#[cfg(test)]
mod tests;

use super::charset::complete;
use super::column::{self, set_default, without_default};
use super::key::{self, Key};
use super::{
    CreateTableError, Defaults, is_whole, key_flags, literal, options, types, unique_type,
};
use crate::alter::placed;
use crate::ddl::{Action, Change, Ddl, Piece, Placement};
use crate::lexer::{ReadError, Token};
use crate::print::quoted;
use crate::reader::Cursor;
use crate::table_info::{ColumnInfo, IndexColumn, IndexInfo, Name, TableInfo, flag};

/// Why a statement does not fit a table info: it is not the one that the statement's table had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FollowError {
    /// A definition is not understood.
    #[error(transparent)]
    Definition(#[from] CreateTableError),
    /// A column that should be there is not.
    #[error("column {0} does not exist")]
    MissingColumn(String),
}

impl From<ReadError> for FollowError {
    fn from(error: ReadError) -> Self {
        Self::Definition(error.into())
    }
}

/// Beginnings of specifications that say nothing about columns, keys or options of the table.
const NO_OPTIONS: [&str; 22] = [
    "ADD",
    "DROP",
    "ORDER",
    "DISABLE",
    "ENABLE",
    "FORCE",
    "TRUNCATE",
    "COALESCE",
    "REORGANIZE",
    "EXCHANGE",
    "REBUILD",
    "OPTIMIZE",
    "ANALYZE",
    "CHECK",
    "REPAIR",
    "DISCARD",
    "IMPORT",
    "REMOVE",
    "CONVERT",
    "PARTITION",
    "PARTITIONS",
    "UPGRADE",
];

impl TableInfo {
    /// Follows the table through one change of its structure; other statements change nothing. `defaults` is what the server and the schema
    /// give where the statement leaves something open.
    ///
    /// # Errors
    /// When the statement does not fit. The table info is then unchanged.
    pub fn apply(&mut self, ddl: &Ddl, defaults: &Defaults) -> Result<(), FollowError> {
        let Action::Alter { change, .. } = &ddl.action else {
            return Ok(());
        };
        let mut after = self.clone();
        let tokens = behind_table(&ddl.pieces);
        let table = defaults.within(&self.charset, &self.collate);
        after.follow(change, &tokens, defaults, &table)?;
        after.settle(defaults)?;
        *self = after;
        Ok(())
    }

    fn follow(
        &mut self,
        change: &Change,
        tokens: &[Token],
        defaults: &Defaults,
        table: &Defaults,
    ) -> Result<(), FollowError> {
        let mut cursor = Cursor::new(tokens);
        match change {
            Change::AddColumn {
                placement,
                if_not_exists,
                ..
            } => self.new_column(&mut cursor, placement, *if_not_exists, table),
            Change::ChangeColumn { old, placement, .. } => {
                self.change_column(&mut cursor, old, placement, table)
            }
            Change::DropColumn { name } => {
                let if_exists = tokens.iter().any(|t| t.is_word("EXISTS"));
                match self.required(name) {
                    Err(_) if if_exists => Ok(()),
                    other => {
                        self.drop_column(other?);
                        Ok(())
                    }
                }
            }
            Change::RenameColumn { old, new } => {
                let at = self.required(old)?;
                let new = Name::new(new.as_str());
                self.columns[at].name = new.clone();
                self.rename_uses(old, &new);
                Ok(())
            }
            Change::AddKey(named) => self.follow_key(named, tokens),
            Change::DropKey { name } => {
                let lower = name.to_lowercase();
                self.indexes.retain(|index| index.name.lower != lower);
                Ok(())
            }
            Change::RenameKey { old, new } => {
                let lower = old.to_lowercase();
                let found = self.indexes.iter_mut().find(|i| i.name.lower == lower);
                if let Some(index) = found {
                    index.name = Name::new(new.as_str());
                }
                Ok(())
            }
            Change::ConvertCharset(_) => self.convert(&mut cursor, defaults),
            Change::DefaultCharset(_) | Change::Other => self.other_change(&mut cursor, defaults),
            Change::RenameTo(_) => Ok(()),
        }
    }

    fn new_column(
        &mut self,
        cursor: &mut Cursor<'_>,
        placement: &Placement,
        if_not_exists: bool,
        table: &Defaults,
    ) -> Result<(), FollowError> {
        cursor.words(&["ADD", "COLUMN"]);
        cursor.words(&["IF", "NOT", "EXISTS"]);
        let (column, keys) = defined(cursor, table)?;
        if self.column(&column.name.original).is_some() {
            let name = column.name.original;
            return match if_not_exists {
                true => Ok(()),
                false => Err(CreateTableError::DuplicateColumn(name).into()),
            };
        }
        let at = self.place(placement, self.columns.len())?;
        self.insert(at, column);
        keys.into_iter().try_for_each(|key| self.add_key(key))
    }

    fn change_column(
        &mut self,
        cursor: &mut Cursor<'_>,
        old: &str,
        placement: &Placement,
        table: &Defaults,
    ) -> Result<(), FollowError> {
        let keeps_name = cursor.words(&["MODIFY", "COLUMN"]);
        if !keeps_name {
            cursor.words(&["CHANGE", "COLUMN"]);
        }
        if cursor.words(&["IF", "EXISTS"]) && self.column(old).is_none() {
            return Ok(());
        }
        if !keeps_name {
            cursor.next();
        }
        let (column, keys) = defined(cursor, table)?;
        let new = column.name.clone();
        let from = self.required(old)?;
        self.columns.remove(from);
        let at = self.place(placement, from)?;
        self.insert(at, column);
        self.rename_uses(old, &new);
        keys.into_iter().try_for_each(|key| self.add_key(key))
    }

    /// `ADD … KEY …`, or the columns of a CREATE INDEX, whose name stands before the table.
    fn follow_key(&mut self, named: &crate::Key, tokens: &[Token]) -> Result<(), FollowError> {
        let mut whole = Vec::new();
        if tokens.first().is_some_and(|t| t.is_punct("(")) {
            let word = |w: &str| Token::Word(w.to_owned());
            whole.extend(named.unique.then(|| word("UNIQUE")));
            whole.push(word("INDEX"));
            whole.push(Token::Name(named.name.clone()));
            whole.extend_from_slice(tokens);
        } else {
            whole.extend_from_slice(tokens.get(1..).unwrap_or_default());
        }
        match key::read(&mut Cursor::new(&whole))? {
            Some(Some(key)) => self.add_key(key),
            _ => Ok(()),
        }
    }

    /// `CONVERT TO CHARACTER SET … [COLLATE …]`.
    fn convert(&mut self, cursor: &mut Cursor<'_>, defaults: &Defaults) -> Result<(), FollowError> {
        cursor.words(&["CONVERT", "TO"]);
        let (charset, collate) = options::each(cursor, self)?;
        (self.charset, self.collate) = complete(charset.as_deref(), collate.as_deref(), defaults);
        let (charset, collate) = (self.charset.clone(), self.collate.clone());
        for column in &mut self.columns {
            types::convert(&mut column.field_type, &charset, &collate);
        }
        Ok(())
    }

    /// Options of the table, and defaults of columns.
    fn other_change(
        &mut self,
        cursor: &mut Cursor<'_>,
        defaults: &Defaults,
    ) -> Result<(), FollowError> {
        if cursor.words(&["ALTER", "COLUMN"]) {
            return self.alter_column(cursor, defaults);
        }
        let first = cursor.peek();
        if cursor.word("ALTER") || first.is_some_and(|t| NO_OPTIONS.iter().any(|w| t.is_word(w))) {
            return Ok(());
        }
        let (charset, collate) = options::each(cursor, self)?;
        if charset.is_some() || collate.is_some() {
            (self.charset, self.collate) =
                complete(charset.as_deref(), collate.as_deref(), defaults);
        }
        Ok(())
    }

    /// `ALTER COLUMN … SET DEFAULT …` and `… DROP DEFAULT`.
    fn alter_column(
        &mut self,
        cursor: &mut Cursor<'_>,
        defaults: &Defaults,
    ) -> Result<(), FollowError> {
        let name = cursor.name("a column name")?;
        let at = self.required(&name)?;
        let column = &mut self.columns[at];
        if defaults.is_mariadb {
            // Another default, or none, takes ON UPDATE along.
            column.field_type.flags &= !flag::ON_UPDATE_NOW;
        }
        if cursor.words(&["SET", "DEFAULT"]) {
            let default = literal::default(cursor)?;
            set_default(column, &default);
            column.field_type.flags &= !flag::NO_DEFAULT;
        } else if cursor.words(&["DROP", "DEFAULT"]) {
            set_default(column, &literal::Default::Null);
        }
        Ok(())
    }

    fn required(&self, name: &str) -> Result<usize, FollowError> {
        let lower = name.to_lowercase();
        let found = self.columns.iter().position(|c| c.name.lower == lower);
        found.ok_or_else(|| FollowError::MissingColumn(name.to_owned()))
    }

    fn place(&self, placement: &Placement, unchanged: usize) -> Result<usize, FollowError> {
        match placement {
            Placement::Unchanged => Ok(unchanged),
            Placement::First => Ok(0),
            Placement::After(name) => self.required(name).map(|at| at + 1),
        }
    }

    fn insert(&mut self, at: usize, mut column: ColumnInfo) {
        let id = self.other::<i64>("max_col_id").unwrap_or(0) + 1;
        self.set_other("max_col_id", id);
        column.set_other("id", id);
        self.columns.insert(at, column);
    }

    /// Keys lose the column; those of it alone go.
    fn drop_column(&mut self, at: usize) {
        let gone = self.columns.remove(at).name.lower;
        for index in &mut self.indexes {
            index.columns.retain(|c| c.name.lower != gone);
        }
        self.indexes.retain(|index| !index.columns.is_empty());
    }

    /// Keys and computed columns follow a column to its new name.
    fn rename_uses(&mut self, old: &str, new: &Name) {
        let lower = old.to_lowercase();
        let parts = self.indexes.iter_mut().flat_map(|index| &mut index.columns);
        for part in parts.filter(|part| part.name.lower == lower) {
            part.name = new.clone();
        }
        if lower != new.lower {
            let (before, after) = (quoted(&lower), quoted(&new.lower));
            for column in &mut self.columns {
                column.generated_expression = column.generated_expression.replace(&before, &after);
            }
        }
    }

    /// A key that is there already stays as it is: the statement said IF NOT EXISTS, or the server would have refused it.
    fn add_key(&mut self, mut key: Key) -> Result<(), FollowError> {
        if key.name.is_empty() && !key.primary {
            let first = key.columns.first().map_or("", |(name, _)| name.as_str());
            key.name = key::free_name(first, |name| self.index(name).is_some());
        }
        let name = if key.primary { Key::PRIMARY } else { &key.name };
        if self.index(name).is_some() {
            return Ok(());
        }
        let mut index = IndexInfo::new(Name::new(name));
        index.unique = key.primary || key.unique;
        index.primary = key.primary;
        index.index_type = key.index_type;
        let id = self.other::<i64>("max_idx_id").unwrap_or(0) + 1;
        self.set_other("max_idx_id", id);
        index.set_other("id", id);
        for (column, length) in &key.columns {
            let at = self.required(column)?;
            let part = key::column(&self.columns[at], at, *length);
            index.columns.push(part);
        }
        self.indexes.push(index);
        Ok(())
    }

    fn index(&self, name: &str) -> Option<&IndexInfo> {
        let lower = name.to_lowercase();
        self.indexes.iter().find(|index| index.name.lower == lower)
    }

    /// Brings all that follows from other parts in line with them: offsets, prefixes, flags of keys.
    fn settle(&mut self, defaults: &Defaults) -> Result<(), FollowError> {
        if self.columns.is_empty() {
            return Err(CreateTableError::NoColumns.into());
        }
        for (at, column) in (0_i64..).zip(&mut self.columns) {
            column.set_other("offset", at);
            column.field_type.flags &= !flag::KEYS;
        }
        let mut indexes = std::mem::take(&mut self.indexes);
        for index in &mut indexes {
            for part in &mut index.columns {
                let at = self.required(&part.name.original)?;
                part.offset = i64::try_from(at).unwrap_or(i64::MAX);
                let column = &self.columns[at];
                if is_whole(column, part.length) || !types::has_prefixes(column.field_type.code) {
                    part.length = IndexColumn::WHOLE;
                }
                let longest = types::longest_prefix(&column.field_type);
                if let Some(longest) = longest.filter(|_| defaults.is_mariadb && !index.unique)
                    && !(0..=longest).contains(&part.length)
                {
                    part.length = longest;
                }
            }
            if defaults.is_mariadb && index.unique {
                let columns = &self.columns;
                index.index_type = unique_type(index, |name| {
                    columns.iter().find(|c| c.name.lower == name.lower)
                });
            }
            let (counted, flags) = key_flags(index.primary, index.unique, index.columns.len());
            for part in index.columns.iter().take(counted) {
                let at = self.required(&part.name.original)?;
                self.columns[at].field_type.flags |= flags;
            }
        }
        self.indexes = indexes;
        for column in self.columns.iter_mut().filter(|c| c.default.is_none()) {
            without_default(column);
        }
        Ok(())
    }
}

/// A column's name and definition, without where it goes, and the keys in it.
fn defined(
    cursor: &mut Cursor<'_>,
    table: &Defaults,
) -> Result<(ColumnInfo, Vec<Key>), FollowError> {
    let name = cursor.name("a column name")?;
    let (body, _) = placed(cursor.rest());
    let (definition, keys) = column::read(&name, &mut Cursor::new(body), table)?;
    Ok((definition.finish(), keys))
}

/// The tokens of a statement behind the table that it is about.
fn behind_table(pieces: &[Piece]) -> Vec<Token> {
    let from = pieces.iter().position(|p| matches!(p, Piece::Table(_)));
    let mut tokens = Vec::new();
    for piece in pieces.iter().skip(from.map_or(0, |at| at + 1)) {
        match piece {
            Piece::Token(token) => tokens.push(token.clone()),
            Piece::Schema(name) => tokens.push(Token::Name(name.clone())),
            Piece::Table(table) => {
                if let Some(schema) = &table.schema {
                    tokens.push(Token::Name(schema.clone()));
                    tokens.push(Token::Punct(".".into()));
                }
                tokens.push(Token::Name(table.table.clone()));
            }
        }
    }
    tokens
}
