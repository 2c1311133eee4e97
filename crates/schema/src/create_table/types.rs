//! Types of columns: names and their synonyms, lengths, and what they are when none is given (spec schemacmp 11 and 12).

use super::charset::{Defaults, bytes_per_character, complete};
use super::literal::whole_number;
use crate::lexer::{ReadError, Token};
use crate::reader::{Cursor, split_commas};
use crate::table_info::{FieldType, code, flag};

/// A type as written, before the table's character set and the attributes behind it are known.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) code: u8,
    /// First and second number in parentheses.
    pub(super) numbers: (Option<i64>, Option<i64>),
    pub(super) elems: Vec<String>,
    pub(super) unsigned: bool,
    pub(super) zerofill: bool,
    /// BINARY, VARBINARY and the blobs.
    pub(super) bytes: bool,
    pub(super) charset: Option<String>,
    pub(super) collate: Option<String>,
    /// The attribute BINARY of a text type: the binary collation of its character set.
    pub(super) binary_collation: bool,
    /// SERIAL, which is more than a type.
    pub(super) serial: bool,
}

/// Reads the name of a type with what is in its parentheses.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Written, ReadError> {
    let mut written = Written {
        code: 0,
        numbers: (None, None),
        elems: Vec::new(),
        unsigned: false,
        zerofill: false,
        bytes: false,
        charset: None,
        collate: None,
        binary_collation: false,
        serial: false,
    };
    name(cursor, &mut written)?;
    if cursor.peek().is_some_and(|t| t.is_punct("(")) {
        let inside = split_commas(cursor.group()?);
        if matches!(written.code, code::ENUM | code::SET) {
            written.elems = inside.into_iter().map(elem).collect::<Result<_, _>>()?;
        } else {
            let mut numbers = inside.into_iter().map(|part| {
                let number = whole_number(&mut Cursor::new(part))?;
                Ok(i64::try_from(number).unwrap_or(i64::MAX))
            });
            // A width that was given for BOOL stays.
            written.numbers = (numbers.next().transpose()?, numbers.next().transpose()?);
        }
    }
    Ok(written)
}

/// The name of a type and its synonyms (rule B1).
fn name(cursor: &mut Cursor<'_>, written: &mut Written) -> Result<(), ReadError> {
    let error = cursor.error("a data type");
    let Some(Token::Word(word)) = cursor.next() else {
        return Err(error);
    };
    let word = word.to_ascii_uppercase();
    written.code = match word.as_str() {
        "BOOL" | "BOOLEAN" => {
            written.numbers.0 = Some(1);
            code::TINYINT
        }
        "TINYINT" | "INT1" => code::TINYINT,
        "SMALLINT" | "INT2" => code::SMALLINT,
        "MEDIUMINT" | "INT3" | "MIDDLEINT" => code::MEDIUMINT,
        "INT" | "INTEGER" | "INT4" => code::INT,
        "BIGINT" | "INT8" => code::BIGINT,
        "SERIAL" => {
            written.serial = true;
            written.unsigned = true;
            code::BIGINT
        }
        "FLOAT" | "FLOAT4" => code::FLOAT,
        "DOUBLE" | "REAL" | "FLOAT8" => {
            cursor.word("PRECISION");
            code::DOUBLE
        }
        "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" => code::DECIMAL,
        "BIT" => code::BIT,
        "DATE" => code::DATE,
        "TIME" => code::TIME,
        "DATETIME" => code::DATETIME,
        "TIMESTAMP" => code::TIMESTAMP,
        "YEAR" => code::YEAR,
        "JSON" => code::JSON,
        // TiDB has no such types; their values have these sizes.
        "UUID" | "INET6" => of_bytes(16, written),
        "INET4" => of_bytes(4, written),
        "VECTOR" => code::VECTOR,
        "ENUM" => code::ENUM,
        "SET" => code::SET,
        "GEOMETRY" | "POINT" | "LINESTRING" | "POLYGON" | "MULTIPOINT" | "MULTILINESTRING"
        | "MULTIPOLYGON" | "GEOMETRYCOLLECTION" | "GEOMCOLLECTION" => code::GEOMETRY,
        other => text_name(other, cursor, written).ok_or(error)?,
    };
    Ok(())
}

fn of_bytes(length: i64, written: &mut Written) -> u8 {
    written.numbers.0 = Some(length);
    written.bytes = true;
    code::CHAR
}

fn text_name(word: &str, cursor: &mut Cursor<'_>, written: &mut Written) -> Option<u8> {
    let bytes = |code| Some((code, true));
    let text = |code| Some((code, false));
    let (code, bytes) = match word {
        "BINARY" => bytes(code::CHAR),
        "VARBINARY" => bytes(code::VARCHAR),
        "TINYBLOB" => bytes(code::TINYTEXT),
        "BLOB" => bytes(code::TEXT),
        "MEDIUMBLOB" => bytes(code::MEDIUMTEXT),
        "LONGBLOB" => bytes(code::LONGTEXT),
        "TINYTEXT" => text(code::TINYTEXT),
        "TEXT" => text(code::TEXT),
        "MEDIUMTEXT" => text(code::MEDIUMTEXT),
        "LONGTEXT" => text(code::LONGTEXT),
        "LONG" if cursor.word("VARBINARY") => bytes(code::MEDIUMTEXT),
        "LONG" => {
            cursor.words(&["CHAR", "VARYING"]);
            cursor.word("VARCHAR");
            text(code::MEDIUMTEXT)
        }
        "VARCHAR" | "VARCHARACTER" => text(code::VARCHAR),
        "CHAR" | "CHARACTER" => text(char_or_varchar(cursor)),
        "NCHAR" | "NATIONAL" => {
            written.charset = Some("utf8".to_owned());
            let varchar = cursor.word("VARCHAR") || cursor.word("VARCHARACTER");
            if !varchar {
                cursor.any_word(&["CHAR", "CHARACTER"]);
            }
            text(if varchar {
                code::VARCHAR
            } else {
                char_or_varchar(cursor)
            })
        }
        "NVARCHAR" => {
            written.charset = Some("utf8".to_owned());
            text(code::VARCHAR)
        }
        _ => None,
    }?;
    written.bytes = bytes;
    Some(code)
}

fn char_or_varchar(cursor: &mut Cursor<'_>) -> u8 {
    if cursor.word("VARYING") {
        code::VARCHAR
    } else {
        code::CHAR
    }
}

/// An element of ENUM or SET; blanks at its end do not belong to it (rule B7).
fn elem(part: &[Token]) -> Result<String, ReadError> {
    match part {
        [Token::Text(text)] => Ok(text.trim_end_matches(' ').to_owned()),
        [] => Err(ReadError::new("an element", ")")),
        [other, ..] => Err(ReadError::new("an element", other)),
    }
}

/// Whether a key may have the first characters of a column of the type only.
pub(super) fn has_prefixes(code: u8) -> bool {
    is_string(code) && !matches!(code, code::ENUM | code::SET)
}

/// How many characters of a text MariaDB puts into a key that has no length; none for types that go in whole.
pub(super) fn longest_prefix(ty: &FieldType) -> Option<i64> {
    const MOST: i64 = 3072;
    is_text(ty.code).then(|| MOST / bytes_per_character(&ty.charset))
}

/// The TEXT and BLOB types.
pub(super) fn is_text(code: u8) -> bool {
    has_prefixes(code) && !matches!(code, code::CHAR | code::VARCHAR)
}

/// Whether values of the type are in a character set.
fn is_string(code: u8) -> bool {
    matches!(
        code,
        code::CHAR
            | code::VARCHAR
            | code::ENUM
            | code::SET
            | code::TINYTEXT
            | code::TEXT
            | code::MEDIUMTEXT
            | code::LONGTEXT
    )
}

impl Written {
    /// The type in a table with that character set and collation.
    pub(super) fn finish(mut self, table: &Defaults) -> FieldType {
        if self.code == code::JSON && table.is_mariadb {
            self.code = code::LONGTEXT;
            self.charset = Some("utf8mb4".to_owned());
            self.collate = Some("utf8mb4_bin".to_owned());
        }
        let (charset, collate) = self.charset_in(table);
        let (code, flen, decimal) = self.sizes(&charset);
        let mut ty = FieldType::new(code, flen, decimal);
        if self.unsigned || self.zerofill || matches!(code, code::BIT | code::YEAR) {
            ty.flags |= flag::UNSIGNED;
        }
        if self.zerofill || code == code::YEAR {
            ty.flags |= flag::ZEROFILL;
        }
        let temporal = matches!(
            code,
            code::DATE | code::TIME | code::DATETIME | code::TIMESTAMP
        );
        let bytes = is_string(code) && charset == "binary";
        if temporal || bytes || code == code::JSON || self.binary_collation {
            ty.flags |= flag::BINARY;
        }
        ty.charset = charset;
        ty.collate = collate;
        ty.elems = self.elems;
        ty
    }

    /// Rules B4 to B6.
    fn charset_in(&self, table: &Defaults) -> (String, String) {
        const BINARY: &str = "binary";
        if self.bytes || !is_string(self.code) {
            return (BINARY.to_owned(), BINARY.to_owned());
        }
        let (charset, collate) = complete(self.charset.as_deref(), self.collate.as_deref(), table);
        if self.binary_collation && self.collate.is_none() && charset != BINARY {
            let collate = format!("{charset}_bin");
            return (charset, collate);
        }
        if collate.is_empty() {
            let collate = table.collation_of(&charset);
            return (charset, collate);
        }
        (charset, collate)
    }

    /// Code, length and decimals; for some types the length decides on the code (rules B1 to B3 and B7).
    fn sizes(&self, charset: &str) -> (u8, i64, i64) {
        let unsigned = i64::from(self.unsigned || self.zerofill);
        let given = |default: i64| self.numbers.0.unwrap_or(default);
        match self.code {
            code::TINYINT => (self.code, given(4 - unsigned), 0),
            code::SMALLINT => (self.code, given(6 - unsigned), 0),
            code::MEDIUMINT => (self.code, given(9 - unsigned), 0),
            code::INT => (self.code, given(11 - unsigned), 0),
            code::BIGINT => (self.code, given(20), 0),
            code::FLOAT | code::DOUBLE => self.floating(),
            code::DECIMAL => (self.code, given(10), self.numbers.1.unwrap_or(0)),
            code::DATE => (self.code, 10, 0),
            code::TIME => self.with_fraction(10),
            code::DATETIME | code::TIMESTAMP => self.with_fraction(19),
            code::YEAR => (self.code, 4, 0),
            code::BIT | code::CHAR => (self.code, given(1), 0),
            code::VARCHAR => (self.code, given(5), 0),
            code::ENUM => {
                let longest = self.elems.iter().map(|e| length(e)).max();
                (self.code, longest.unwrap_or(0), 0)
            }
            code::SET => {
                let all: i64 = self.elems.iter().map(|e| length(e)).sum();
                (self.code, all + (length_of(self.elems.len()) - 1).max(0), 0)
            }
            code::TINYTEXT => (self.code, TINY, 0),
            code::MEDIUMTEXT => (self.code, MEDIUM, 0),
            code::LONGTEXT | code::JSON => (self.code, LONG, 0),
            code::TEXT => match self.numbers.0 {
                None => (code::TEXT, PLAIN, 0),
                Some(length) => {
                    let bytes = length.saturating_mul(bytes_per_character(charset));
                    let (code, flen) = text_for(bytes);
                    (code, flen, 0)
                }
            },
            _ => (self.code, given(-1), 0),
        }
    }

    /// A single number is a precision, which only chooses between the two types (rule B1).
    fn floating(&self) -> (u8, i64, i64) {
        let code = match self.numbers {
            (Some(precision), None) if precision > 24 => code::DOUBLE,
            _ => self.code,
        };
        match self.numbers {
            (Some(digits), Some(decimals)) => (code, digits, decimals),
            _ if code == code::FLOAT => (code, 12, -1),
            _ => (code, 22, -1),
        }
    }

    /// Rule B3.
    fn with_fraction(&self, base: i64) -> (u8, i64, i64) {
        match self.numbers.0 {
            Some(digits) if digits > 0 => (self.code, (base + 1).saturating_add(digits), digits),
            _ => (self.code, base, 0),
        }
    }
}

/// The smallest of the TEXT types that has room for so many bytes, and its length.
fn text_for(bytes: i64) -> (u8, i64) {
    let steps = [
        (code::TINYTEXT, TINY),
        (code::TEXT, PLAIN),
        (code::MEDIUMTEXT, MEDIUM),
    ];
    steps
        .into_iter()
        .find(|(_, most)| bytes <= *most)
        .unwrap_or((code::LONGTEXT, LONG))
}

/// The text type whose values are converted to a character set: what may become longer gets a type that is large enough.
pub(super) fn convert(ty: &mut FieldType, charset: &str, collate: &str) {
    if !is_string(ty.code) || ty.charset == "binary" {
        return;
    }
    if is_text(ty.code) && charset != "binary" {
        let characters = ty.flen / bytes_per_character(&ty.charset);
        (ty.code, ty.flen) = text_for(characters.saturating_mul(bytes_per_character(charset)));
    }
    if charset == "binary" {
        ty.flags |= flag::BINARY;
    }
    charset.clone_into(&mut ty.charset);
    collate.clone_into(&mut ty.collate);
}

const TINY: i64 = 255;
const PLAIN: i64 = 65_535;
const MEDIUM: i64 = 16_777_215;
const LONG: i64 = 4_294_967_295;

/// Length of an element in characters.
fn length(elem: &str) -> i64 {
    length_of(elem.chars().count())
}

fn length_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
