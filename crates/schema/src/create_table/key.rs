//! Keys of a CREATE TABLE (spec schemacmp 12, rules B11 to B13).

use std::collections::BTreeSet;

use super::CreateTableError;
use super::literal::whole_number;
use crate::lexer::{ReadError, Token};
use crate::reader::{Cursor, split_commas};
use crate::table_info::{ColumnInfo, IndexColumn, IndexInfo};

/// A key as written; an empty name is given later.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) primary: bool,
    pub(super) unique: bool,
    pub(super) index_type: i64,
    /// Names and prefix lengths.
    pub(super) columns: Vec<(String, Option<i64>)>,
}

impl Key {
    pub(super) const PRIMARY: &'static str = "PRIMARY";

    /// A key written within a column.
    pub(super) fn inline(column: &str, primary: bool) -> Self {
        Self {
            name: String::new(),
            primary,
            unique: !primary,
            index_type: IndexInfo::BTREE,
            columns: vec![(column.to_owned(), None)],
        }
    }
}

/// Whether the comparison knows nothing of what begins here: foreign keys, checks, periods.
pub(super) fn passed_over(cursor: &Cursor<'_>) -> bool {
    let mut rest = cursor.rest();
    if let [first, after @ ..] = rest
        && first.is_word("CONSTRAINT")
    {
        let named = after.first().is_some_and(|t| !begins_key(t));
        rest = &after[usize::from(named)..];
    }
    match rest {
        [first, second, ..] => {
            (first.is_word("FOREIGN") && second.is_word("KEY"))
                || (first.is_word("CHECK") && second.is_punct("("))
                || (first.is_word("PERIOD") && second.is_word("FOR"))
        }
        _ => false,
    }
}

fn begins_key(token: &Token) -> bool {
    ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]
        .iter()
        .any(|word| token.is_word(word))
}

/// Reads a key: `None` if a column begins here, `Some(None)` for an index of a kind that TiDB does not keep.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Option<Key>>, ReadError> {
    let mut name = String::new();
    if cursor.word("CONSTRAINT") && cursor.peek().is_some_and(|t| !begins_key(t)) {
        name = cursor.name("the name of a constraint")?;
    }
    let primary = cursor.words(&["PRIMARY", "KEY"]);
    let unique = !primary && cursor.word("UNIQUE");
    let special = !primary && !unique && cursor.any_word(&["FULLTEXT", "SPATIAL"]);
    let plain = !primary && cursor.any_word(&["KEY", "INDEX"]);
    if special {
        return Ok(Some(None));
    }
    if !(primary || unique || plain) {
        return if name.is_empty() {
            Ok(None)
        } else {
            Err(cursor.error("a key or a check"))
        };
    }
    cursor.words(&["IF", "NOT", "EXISTS"]);
    let anonymous = |c: &Cursor<'_>| {
        c.peek()
            .is_some_and(|t| t.is_punct("(") || t.is_word("USING") || t.is_word("TYPE"))
    };
    if !anonymous(cursor) {
        name = cursor.name("the name of an index or (")?;
    }
    let mut index_type = IndexInfo::BTREE;
    using(cursor, &mut index_type)?;
    let columns = split_commas(cursor.group()?)
        .into_iter()
        .map(|part| key_part(Cursor::new(part)))
        .collect::<Result<_, _>>()?;
    while cursor.peek().is_some() {
        if !using(cursor, &mut index_type)? {
            cursor.next();
        }
    }
    if primary {
        Key::PRIMARY.clone_into(&mut name);
    }
    Ok(Some(Some(Key {
        name,
        primary,
        unique,
        index_type,
        columns,
    })))
}

/// `USING …`; how the index is built.
fn using(cursor: &mut Cursor<'_>, index_type: &mut i64) -> Result<bool, ReadError> {
    if !cursor.any_word(&["USING", "TYPE"]) {
        return Ok(false);
    }
    *index_type = if cursor.word("BTREE") {
        IndexInfo::BTREE
    } else if cursor.word("HASH") {
        IndexInfo::HASH
    } else if cursor.word("RTREE") {
        IndexInfo::RTREE
    } else {
        return Err(cursor.error("BTREE, HASH or RTREE"));
    };
    Ok(true)
}

/// A column with its prefix length; the direction says nothing to the comparison.
fn key_part(mut cursor: Cursor<'_>) -> Result<(String, Option<i64>), ReadError> {
    let name = cursor.name("the column of a key")?;
    let mut length = None;
    if cursor.peek().is_some_and(|t| t.is_punct("(")) {
        let number = whole_number(&mut Cursor::new(cursor.group()?))?;
        length = Some(i64::try_from(number).unwrap_or(i64::MAX));
    }
    cursor.any_word(&["ASC", "DESC"]);
    match cursor.peek() {
        None => Ok((name, length)),
        Some(_) => Err(cursor.error("the end of a key part")),
    }
}

/// The column of an index.
pub(super) fn column(column: &ColumnInfo, offset: usize, length: Option<i64>) -> IndexColumn {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let length = length.unwrap_or(IndexColumn::WHOLE);
    IndexColumn::new(column.name.clone(), offset, length)
}

/// Rule B11: a key without a name takes that of its first column, with `_2`, `_3` … if that is taken.
pub(super) fn name_all(keys: &mut [Key]) -> Result<(), CreateTableError> {
    if keys.iter().filter(|key| key.primary).count() > 1 {
        return Err(CreateTableError::SeveralPrimaryKeys);
    }
    let mut taken = BTreeSet::new();
    for key in keys.iter_mut() {
        if key.primary {
            Key::PRIMARY.clone_into(&mut key.name);
        }
        if !key.name.is_empty() && !taken.insert(key.name.to_lowercase()) {
            return Err(CreateTableError::DuplicateKey(key.name.clone()));
        }
    }
    // No column may give a key the name of the primary key.
    taken.insert(Key::PRIMARY.to_lowercase());
    for key in keys.iter_mut().filter(|key| key.name.is_empty()) {
        let first = key.columns.first().map_or("", |(name, _)| name.as_str());
        let name = free_name(first, |name| taken.contains(&name.to_lowercase()));
        taken.insert(name.to_lowercase());
        key.name = name;
    }
    Ok(())
}

/// A name after the first column of a key, with a number if that is taken.
pub(super) fn free_name(first: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let is_primary = first.eq_ignore_ascii_case(Key::PRIMARY);
    let mut name = first.to_owned();
    let mut number = 2_u64;
    while is_taken(&name) || (is_primary && number == 2) {
        name = format!("{first}_{number}");
        number += 1;
    }
    name
}
