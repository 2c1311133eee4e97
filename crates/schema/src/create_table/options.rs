//! Options behind the columns of a CREATE TABLE.

use super::charset::{Defaults, complete};
use super::literal::whole_number;
use crate::lexer::{ReadError, Token};
use crate::reader::Cursor;
use crate::table_info::TableInfo;

/// A character set and a collation as they are named, lower-cased.
pub(super) type Named = (Option<String>, Option<String>);

/// Reads the options of a new table.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    defaults: &Defaults,
    info: &mut TableInfo,
) -> Result<(), ReadError> {
    let (charset, collate) = each(cursor, info)?;
    (info.charset, info.collate) = complete(charset.as_deref(), collate.as_deref(), defaults);
    Ok(())
}

/// Reads the options that the comparison knows and passes over the others; partitions end them.
pub(super) fn each(cursor: &mut Cursor<'_>, info: &mut TableInfo) -> Result<Named, ReadError> {
    let (mut charset, mut collate) = (None, None);
    while let Some(token) = cursor.peek() {
        if cursor.word("PARTITION") {
            break;
        }
        if token.is_word("SELECT") || token.is_word("AS") {
            return Err(cursor.error("a table without a query"));
        }
        if cursor.words(&["CHARACTER", "SET"]) || cursor.word("CHARSET") {
            charset = Some(named(cursor)?);
        } else if cursor.word("COLLATE") {
            collate = Some(named(cursor)?);
        } else if cursor.word("AUTO_INCREMENT") {
            let base = number(cursor)?;
            info.auto_inc_id = i64::try_from(base).unwrap_or(i64::MAX);
        } else if cursor.word("SHARD_ROW_ID_BITS") {
            info.shard_row_id_bits = number(cursor)?;
            info.set_other("max_shard_row_id_bits", info.shard_row_id_bits);
        } else if cursor.word("PRE_SPLIT_REGIONS") {
            info.pre_split_regions = number(cursor)?;
        } else if cursor.word("COMPRESSION") {
            info.compression = value(cursor)?;
        } else if cursor.word("COMMENT") {
            let comment = value(cursor)?;
            info.set_other("comment", comment);
        } else {
            cursor.next();
        }
    }
    Ok((charset, collate))
}

fn named(cursor: &mut Cursor<'_>) -> Result<String, ReadError> {
    cursor
        .plain()
        .ok_or_else(|| cursor.error("a character set or a collation"))
}

fn number(cursor: &mut Cursor<'_>) -> Result<u64, ReadError> {
    cursor.punct("=");
    whole_number(cursor)
}

fn value(cursor: &mut Cursor<'_>) -> Result<String, ReadError> {
    cursor.punct("=");
    match cursor.next() {
        Some(Token::Word(s) | Token::Name(s) | Token::Text(s)) => Ok(s.clone()),
        _ => Err(cursor.error("a value")),
    }
}
