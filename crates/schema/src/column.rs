//! Column definitions: what follows a column's name.

use crate::lexer::{ReadError, Token};
use crate::reader::Cursor;
use crate::table::{Column, Generated, Key};

const TEXT_KINDS: [&str; 8] = [
    "CHAR",
    "VARCHAR",
    "TINYTEXT",
    "TEXT",
    "MEDIUMTEXT",
    "LONGTEXT",
    "ENUM",
    "SET",
];

pub(crate) fn is_text(kind: &str) -> bool {
    TEXT_KINDS.contains(&kind)
}

/// Reads the tokens of one definition behind the name (a placement already taken off) and the keys that it declares inline.
pub(crate) fn definition(name: &str, tokens: &[Token]) -> Result<(Column, Vec<Key>), ReadError> {
    let mut cursor = Cursor::new(tokens);
    let mut column = data_type(name, &mut cursor)?;
    let mut keys = Vec::new();
    let mut collation = None;
    while let Some(token) = cursor.peek() {
        if token.is_punct("(") {
            cursor.group()?;
        } else if let Token::Word(word) = token.clone() {
            cursor.next();
            attribute(&word, &mut column, &mut keys, &mut collation, &mut cursor)?;
        } else {
            cursor.next();
        }
    }
    if let (None, Some(collation)) = (&column.charset, collation) {
        column.charset = Some(charset_of_collation(&collation));
    }
    if !is_text(&column.kind) {
        column.charset = None;
    }
    Ok((column, keys))
}

/// A collation is named for its character set.
pub(crate) fn charset_of_collation(collation: &str) -> String {
    let charset = collation.split('_').next().unwrap_or(collation);
    charset.to_ascii_lowercase()
}

fn attribute(
    word: &str,
    column: &mut Column,
    keys: &mut Vec<Key>,
    collation: &mut Option<String>,
    cursor: &mut Cursor<'_>,
) -> Result<(), ReadError> {
    match word.to_ascii_uppercase().as_str() {
        "UNSIGNED" | "ZEROFILL" => column.unsigned = true,
        "NOT" if cursor.word("NULL") => column.not_null = true,
        "CHARACTER" | "CHAR" if cursor.word("SET") => column.charset = cursor.plain(),
        "CHARSET" => column.charset = cursor.plain(),
        "ASCII" => column.charset = Some("latin1".to_owned()),
        "UNICODE" => column.charset = Some("ucs2".to_owned()),
        "COLLATE" => {
            cursor.punct("=");
            *collation = cursor.plain();
        }
        "PRIMARY" => {
            cursor.word("KEY");
            column.not_null = true;
            keys.push(inline_key(Key::PRIMARY, column));
        }
        "UNIQUE" => {
            cursor.word("KEY");
            keys.push(inline_key("", column));
        }
        // A bare KEY in a definition means the primary key.
        "KEY" => keys.push(inline_key(Key::PRIMARY, column)),
        "AS" if cursor.peek().is_some_and(|t| t.is_punct("(")) => {
            cursor.group()?;
            column.generated = Some(Generated::Virtual);
        }
        "STORED" | "PERSISTENT" if column.generated.is_some() => {
            column.generated = Some(Generated::Stored);
        }
        "DEFAULT" | "COMMENT" => {
            cursor.next();
        }
        "REFERENCES" => {
            cursor.table()?;
        }
        _ => {}
    }
    Ok(())
}

fn inline_key(name: &str, column: &Column) -> Key {
    Key {
        name: name.to_owned(),
        columns: vec![column.name.clone()],
        unique: true,
        partial: false,
    }
}

fn data_type(name: &str, cursor: &mut Cursor<'_>) -> Result<Column, ReadError> {
    let mut column = Column {
        name: name.to_owned(),
        kind: String::new(),
        length: None,
        unsigned: false,
        not_null: false,
        charset: None,
        generated: None,
    };
    let Some(Token::Word(word)) = cursor.next().cloned() else {
        return Err(cursor.error("a data type"));
    };
    let mut word = word.to_ascii_uppercase();
    if word == "NATIONAL" {
        column.charset = Some("utf8mb3".to_owned());
        word = match cursor.next() {
            Some(Token::Word(next)) => next.to_ascii_uppercase(),
            _ => return Err(cursor.error("CHAR or VARCHAR")),
        };
    }
    if matches!(word.as_str(), "NCHAR" | "NVARCHAR") {
        column.charset = Some("utf8mb3".to_owned());
        word.remove(0);
    }
    column.kind = kind(&word, cursor);
    if word == "SERIAL" {
        column.unsigned = true;
        column.not_null = true;
    }
    if cursor.peek().is_some_and(|t| t.is_punct("("))
        && let Some(Token::Number(number)) = cursor.group()?.first()
    {
        column.length = number.parse().ok();
    }
    Ok(column)
}

/// The one name of a type that has several.
fn kind(word: &str, cursor: &mut Cursor<'_>) -> String {
    let one = match word {
        "INTEGER" | "INT4" => "INT",
        "INT1" | "BOOL" | "BOOLEAN" => "TINYINT",
        "INT2" => "SMALLINT",
        "INT3" | "MIDDLEINT" => "MEDIUMINT",
        "INT8" | "SERIAL" => "BIGINT",
        "DEC" | "NUMERIC" | "FIXED" | "NUMBER" => "DECIMAL",
        "REAL" | "FLOAT8" => "DOUBLE",
        "FLOAT4" => "FLOAT",
        "DOUBLE" => {
            cursor.word("PRECISION");
            "DOUBLE"
        }
        "CHARACTER" | "CHAR" => {
            if cursor.word("VARYING") {
                "VARCHAR"
            } else {
                "CHAR"
            }
        }
        "VARCHARACTER" | "VARCHAR2" => "VARCHAR",
        "LONG" => {
            if cursor.word("VARBINARY") {
                "MEDIUMBLOB"
            } else {
                cursor.word("VARCHAR");
                "MEDIUMTEXT"
            }
        }
        other => other,
    };
    one.to_owned()
}
