//! Columns of a CREATE TABLE: what stands behind the name (spec schemacmp 12, rules B4 to B14).

use serde_json::{Map, Value};

use super::charset::Defaults;
use super::expression;
use super::key::Key;
use super::literal::{self, Default};
use super::types::{self, Written};
use crate::lexer::{ReadError, Token};
use crate::reader::Cursor;
use crate::table_info::{ColumnInfo, Name, code, flag};

/// A column before the keys of its table are known.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) info: ColumnInfo,
    /// There is a DEFAULT clause, be it NULL.
    has_default: bool,
    /// Bits of AUTO_RANDOM, which belong to the table.
    pub(super) auto_random: Option<u64>,
}

/// Attributes as they are read.
#[derive(Debug)]
struct Attributes {
    written: Written,
    flags: u64,
    default: Option<Default>,
    expression: Option<expression::Restored>,
    stored: bool,
    comment: Option<String>,
    primary: bool,
    unique: bool,
    auto_random: Option<u64>,
}

/// Reads a definition behind the name and the keys within it (rule B13); `table` has the table's character set and collation.
pub(super) fn read(
    name: &str,
    cursor: &mut Cursor<'_>,
    table: &Defaults,
) -> Result<(Definition, Vec<Key>), ReadError> {
    let written = types::read(cursor)?;
    let serial = written.serial;
    let mut attributes = Attributes {
        written,
        flags: 0,
        default: None,
        expression: None,
        stored: false,
        comment: None,
        primary: false,
        unique: serial,
        auto_random: None,
    };
    if serial {
        attributes.flags = flag::NOT_NULL | flag::AUTO_INCREMENT;
    }
    while cursor.peek().is_some() {
        attributes.read_one(cursor)?;
    }
    let mut keys = Vec::new();
    if attributes.primary {
        keys.push(Key::inline(name, true));
    }
    if attributes.unique {
        keys.push(Key::inline(name, false));
    }
    Ok((attributes.finish(name, table), keys))
}

impl Attributes {
    fn read_one(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ReadError> {
        if self.of_type(cursor)? || self.of_value(cursor)? || passed_over(cursor)? {
            return Ok(());
        }
        Err(cursor.error("an attribute of a column"))
    }

    /// Attributes that belong to the type.
    fn of_type(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, ReadError> {
        let named = |c: &mut Cursor<'_>| {
            c.plain()
                .ok_or_else(|| c.error("a character set or a collation"))
        };
        let written = &mut self.written;
        if cursor.word("UNSIGNED") {
            written.unsigned = true;
        } else if cursor.word("ZEROFILL") {
            written.zerofill = true;
        } else if cursor.words(&["CHARACTER", "SET"])
            || cursor.words(&["CHAR", "SET"])
            || cursor.word("CHARSET")
        {
            written.charset = Some(named(cursor)?);
        } else if cursor.word("COLLATE") {
            written.collate = Some(named(cursor)?);
        } else if cursor.word("ASCII") {
            written.charset = Some("latin1".to_owned());
        } else if cursor.word("BYTE") {
            written.bytes = true;
        } else if cursor.word("BINARY") {
            written.binary_collation = true;
        } else {
            return Ok(cursor.word("SIGNED"));
        }
        Ok(true)
    }

    /// Attributes that say which values the column takes.
    fn of_value(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, ReadError> {
        if cursor.words(&["NOT", "NULL"]) {
            self.flags |= flag::NOT_NULL;
        } else if cursor.word("NULL") {
            self.flags &= !flag::NOT_NULL;
        } else if cursor.words(&["SERIAL", "DEFAULT", "VALUE"]) {
            self.flags |= flag::AUTO_INCREMENT | flag::NOT_NULL;
            self.unique = true;
        } else if cursor.words(&["GENERATED", "ALWAYS", "AS", "ROW"]) {
            // A column of the history of a table with system versioning.
            if !cursor.any_word(&["START", "END"]) {
                return Err(cursor.error("START or END"));
            }
        } else if cursor.word("DEFAULT") {
            self.default = Some(literal::default(cursor)?);
        } else if cursor.words(&["ON", "UPDATE"]) {
            if literal::on_update(cursor)? {
                self.flags |= flag::ON_UPDATE_NOW;
            }
        } else if cursor.word("AUTO_INCREMENT") {
            // Rule B8.
            self.flags |= flag::AUTO_INCREMENT | flag::NOT_NULL;
        } else if cursor.word("AUTO_RANDOM") {
            self.auto_random = Some(auto_random(cursor)?);
        } else if cursor.words(&["PRIMARY", "KEY"]) || cursor.word("KEY") {
            self.primary = true;
        } else if cursor.word("UNIQUE") {
            cursor.word("KEY");
            self.unique = true;
        } else if cursor.words(&["GENERATED", "ALWAYS", "AS"]) || cursor.word("AS") {
            self.expression = Some(expression::restore(cursor.group()?));
        } else if cursor.any_word(&["STORED", "PERSISTENT"]) {
            self.stored = true;
        } else if cursor.word("COMMENT") {
            self.comment = match cursor.next() {
                Some(Token::Text(text)) => Some(text.clone()),
                _ => return Err(cursor.error("a comment")),
            };
        } else {
            return Ok(cursor.word("VIRTUAL"));
        }
        Ok(true)
    }

    fn finish(self, name: &str, table: &Defaults) -> Definition {
        let mut ty = self.written.finish(table);
        ty.flags |= self.flags;
        let mut info = ColumnInfo::new(Name::new(name), ty);
        if let Some(default) = &self.default {
            set_default(&mut info, default);
        }
        if let Some(expression) = self.expression {
            let used = expression.columns.into_iter();
            let used: Map<_, _> = used.map(|c| (c, Value::Object(Map::new()))).collect();
            info.set_other("dependences", used);
            info.generated_expression = expression.text;
            info.generated_stored = self.stored;
        }
        if let Some(comment) = self.comment {
            info.set_other("comment", comment);
        }
        Definition {
            info,
            has_default: self.default.is_some(),
            auto_random: self.auto_random,
        }
    }
}

impl Definition {
    /// Rule B9, once the keys have said which columns are NOT NULL.
    pub(super) fn finish(mut self) -> ColumnInfo {
        if !self.has_default {
            without_default(&mut self.info);
        }
        self.info
    }
}

/// Rule B9 for a column that has no DEFAULT clause.
pub(super) fn without_default(column: &mut ColumnInfo) {
    let ty = &mut column.field_type;
    if ty.has(flag::NOT_NULL) && !ty.has(flag::AUTO_INCREMENT) {
        ty.flags |= flag::NO_DEFAULT;
        if ty.code == code::YEAR {
            column.default = Some(Value::from("0000"));
        }
    }
}

/// Puts what a DEFAULT clause says into its column.
pub(super) fn set_default(column: &mut ColumnInfo, default: &Default) {
    let value = default.value(&column.field_type);
    if column.field_type.code == code::BIT {
        let bytes = value.as_ref().map(|v| Value::from(v.base64()));
        column.set_other("default_bit", bytes.unwrap_or_default());
    }
    let is_expression = value.is_some() && matches!(default, Default::Expression(_));
    column.set_other("default_is_expr", is_expression);
    column.default = value.map(|v| Value::from(v.text()));
}

/// `AUTO_RANDOM`, `AUTO_RANDOM(5)`, `AUTO_RANDOM(5, 64)`.
fn auto_random(cursor: &mut Cursor<'_>) -> Result<u64, ReadError> {
    const BITS_IF_NOT_GIVEN: u64 = 5;
    if cursor.peek().is_some_and(|t| t.is_punct("(")) {
        literal::whole_number(&mut Cursor::new(cursor.group()?))
    } else {
        Ok(BITS_IF_NOT_GIVEN)
    }
}

/// Attributes without meaning to the comparison.
fn passed_over(cursor: &mut Cursor<'_>) -> Result<bool, ReadError> {
    const ALONE: [&str; 7] = [
        "INVISIBLE",
        "VISIBLE",
        "COMPRESSED",
        "CLUSTERED",
        "NONCLUSTERED",
        "ENFORCED",
        "NO_ENFORCED",
    ];
    if cursor.any_word(&ALONE) || cursor.words(&["NOT", "ENFORCED"]) {
        return Ok(true);
    }
    if cursor.words(&["WITH", "SYSTEM", "VERSIONING"])
        || cursor.words(&["WITHOUT", "SYSTEM", "VERSIONING"])
    {
        return Ok(true);
    }
    if cursor.any_word(&["COLUMN_FORMAT", "STORAGE", "SRID", "REF_SYSTEM_ID"]) {
        cursor.punct("=");
        cursor.next();
        return Ok(true);
    }
    if cursor.word("CONSTRAINT") {
        if cursor.peek().is_some_and(|t| !t.is_word("CHECK")) {
            cursor.next();
        }
        return Ok(true);
    }
    if cursor.word("CHECK") {
        cursor.group()?;
        return Ok(true);
    }
    if cursor.word("REFERENCES") {
        cursor.table()?;
        if cursor.peek().is_some_and(|t| t.is_punct("(")) {
            cursor.group()?;
        }
        return Ok(true);
    }
    if cursor.words(&["ON", "DELETE"]) || cursor.word("MATCH") {
        cursor.any_word(&["SET", "NO"]);
        cursor.next();
        return Ok(true);
    }
    Ok(false)
}
