//! Numbers and default values, the latter in the form in which TiDB keeps them (spec schemacmp 12, rule B10).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::expression;
use crate::lexer::{ReadError, Token};
use crate::reader::Cursor;
use crate::table_info::{FieldType, code};

/// A number without sign or fraction.
pub(super) fn whole_number(cursor: &mut Cursor<'_>) -> Result<u64, ReadError> {
    let error = cursor.error("a number");
    match cursor.next() {
        Some(Token::Number(number)) => number.parse().map_err(|_| error),
        _ => Err(error),
    }
}

/// What a DEFAULT clause says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Default {
    Null,
    Now,
    Text(String),
    /// A number with its sign.
    Number(String),
    /// A hexadecimal or bit literal.
    Bytes(Vec<u8>),
    /// Anything that has to be computed, as text.
    Expression(String),
}

/// Reads what follows DEFAULT.
pub(super) fn default(cursor: &mut Cursor<'_>) -> Result<Default, ReadError> {
    if cursor.word("NULL") {
        return Ok(Default::Null);
    }
    if cursor.word("TRUE") {
        return Ok(Default::Number("1".to_owned()));
    }
    if cursor.word("FALSE") {
        return Ok(Default::Number("0".to_owned()));
    }
    if begins_now(cursor) {
        now(cursor)?;
        return Ok(Default::Now);
    }
    let negative = cursor.punct("-");
    if !negative {
        cursor.punct("+");
    }
    let error = cursor.error("a default value");
    // The tokens of `.5` behind a word are those of a name behind a dot.
    let fraction = cursor.punct(".");
    match cursor.peek() {
        Some(Token::Number(number)) if fraction => {
            cursor.next();
            let sign = if negative { "-" } else { "" };
            Ok(Default::Number(format!("{sign}0.{number}")))
        }
        _ if fraction => Err(error),
        Some(Token::Number(number)) => {
            cursor.next();
            Ok(match bytes(number) {
                Some(bytes) => Default::Bytes(bytes),
                None if negative => Default::Number(format!("-{number}")),
                None => Default::Number(number.clone()),
            })
        }
        Some(Token::Text(text)) if !negative => {
            cursor.next();
            Ok(Default::Text(text.clone()))
        }
        Some(token) if token.is_punct("(") => Ok(Default::Expression(
            expression::restore(cursor.group()?).text,
        )),
        Some(Token::Word(word)) => {
            cursor.next();
            // An introducer, such as in `_utf8mb4'x'`.
            if word.starts_with('_')
                && let Some(Token::Text(text)) = cursor.peek()
            {
                cursor.next();
                return Ok(Default::Text(text.clone()));
            }
            if !cursor.peek().is_some_and(|t| t.is_punct("(")) {
                return Err(error);
            }
            let arguments = expression::restore(cursor.group()?).text;
            Ok(Default::Expression(format!(
                "{}({arguments})",
                word.to_lowercase()
            )))
        }
        _ => Err(error),
    }
}

const NOW: [&str; 4] = ["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"];

fn begins_now(cursor: &Cursor<'_>) -> bool {
    cursor
        .peek()
        .is_some_and(|t| NOW.iter().any(|word| t.is_word(word)))
}

/// Any way of writing the present time.
fn now(cursor: &mut Cursor<'_>) -> Result<(), ReadError> {
    if !cursor.any_word(&NOW) {
        return Err(cursor.error("CURRENT_TIMESTAMP"));
    }
    if cursor.peek().is_some_and(|t| t.is_punct("(")) {
        cursor.group()?;
    }
    Ok(())
}

/// What follows ON UPDATE: the present time (`true`), or the action of a foreign key.
pub(super) fn on_update(cursor: &mut Cursor<'_>) -> Result<bool, ReadError> {
    if cursor.any_word(&["CASCADE", "RESTRICT"])
        || cursor.words(&["SET", "NULL"])
        || cursor.words(&["SET", "DEFAULT"])
        || cursor.words(&["NO", "ACTION"])
    {
        return Ok(false);
    }
    now(cursor).map(|()| true)
}

/// The bytes of `0x…`, `X'…'`, `0b…` or `B'…'`.
fn bytes(number: &str) -> Option<Vec<u8>> {
    let quoted = |prefix: [char; 2]| {
        let inside = number.strip_prefix(prefix)?;
        inside.strip_prefix('\'')?.strip_suffix('\'')
    };
    let hex = number.strip_prefix("0x").or_else(|| quoted(['x', 'X']));
    let bits = number.strip_prefix("0b").or_else(|| quoted(['b', 'B']));
    let (digits, radix, per_byte) = match (hex, bits) {
        (Some(digits), _) => (digits, 16, 2),
        (_, Some(digits)) => (digits, 2, 8),
        _ => return None,
    };
    let digits: Option<Vec<u32>> = digits.chars().map(|c| c.to_digit(radix)).collect();
    let byte = |digits: &[u32]| {
        let value = digits.iter().fold(0, |sum, digit| sum * radix + digit);
        u8::try_from(value).ok()
    };
    let digits = digits?;
    // The first byte may have fewer digits.
    let (first, rest) = digits.split_at(digits.len() % per_byte);
    let first = (!first.is_empty()).then_some(first);
    first
        .into_iter()
        .chain(rest.chunks(per_byte))
        .map(byte)
        .collect()
}

/// A default value: its bytes, which need be no text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stored(Vec<u8>);

impl Stored {
    /// As JSON can hold it: bytes that are no text are lost, each for one replacement character, as a Go writer does it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for chunk in self.0.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        text
    }

    pub(super) fn base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

impl Default {
    /// The value in the form that it has in a column of that type; `None` for no value.
    pub(super) fn value(&self, ty: &FieldType) -> Option<Stored> {
        let text = match self {
            Self::Null => return None,
            Self::Now => "CURRENT_TIMESTAMP".to_owned(),
            Self::Expression(text) => text.clone(),
            Self::Bytes(bytes) => return Some(binary_value(bytes, ty)),
            Self::Number(number) => return Some(numeric_value(number, ty)),
            Self::Text(text) => return Some(text_value(text, ty)),
        };
        Some(Stored(text.into_bytes()))
    }
}

fn is_integer(code: u8) -> bool {
    matches!(
        code,
        code::TINYINT | code::SMALLINT | code::MEDIUMINT | code::INT | code::BIGINT
    )
}

fn binary_value(bytes: &[u8], ty: &FieldType) -> Stored {
    if is_integer(ty.code) {
        let number = bytes
            .iter()
            .fold(0_u64, |sum, byte| sum.wrapping_shl(8) | u64::from(*byte));
        return Stored(number.to_string().into_bytes());
    }
    padded(bytes.to_vec(), ty)
}

fn numeric_value(number: &str, ty: &FieldType) -> Stored {
    let text = match ty.code {
        code::BIT => {
            let value: u64 = number.parse().unwrap_or(0);
            let bytes = value.to_be_bytes();
            let leading = bytes.iter().take(7).take_while(|b| **b == 0).count();
            return Stored(bytes[leading..].to_vec());
        }
        code::ENUM => {
            let place: Option<usize> = number.parse().ok();
            let elem = place.and_then(|n| ty.elems.get(n.checked_sub(1)?));
            elem.map_or_else(|| number.to_owned(), Clone::clone)
        }
        code::SET => {
            let bits: u64 = number.parse().unwrap_or(0);
            let chosen = (0..64)
                .zip(&ty.elems)
                .filter(|(bit, _)| bits >> bit & 1 == 1);
            let chosen: Vec<&str> = chosen.map(|(_, elem)| elem.as_str()).collect();
            chosen.join(",")
        }
        code::DATE if is_zero(number) => "0000-00-00".to_owned(),
        code::DATETIME | code::TIMESTAMP if is_zero(number) => {
            return temporal("0000-00-00 00:00:00", ty);
        }
        code::TIME if is_zero(number) => return temporal("00:00:00", ty),
        _ => return text_value(&canonical_number(number), ty),
    };
    Stored(text.into_bytes())
}

fn is_zero(number: &str) -> bool {
    number.chars().all(|c| matches!(c, '0' | '-'))
}

fn text_value(text: &str, ty: &FieldType) -> Stored {
    let text = match ty.code {
        code if is_integer(code) => canonical_integer(text),
        code::FLOAT => match text.trim().parse::<f32>() {
            Ok(number) if number.is_finite() => number.to_string(),
            _ => text.to_owned(),
        },
        code::DOUBLE => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => number.to_string(),
            _ => text.to_owned(),
        },
        code::DECIMAL => with_scale(text.trim(), ty.decimal),
        code::DATETIME | code::TIMESTAMP | code::TIME => return temporal(text, ty),
        code::ENUM => {
            let trimmed = text.trim_end_matches(' ');
            let same = |elem: &&String| elem.to_lowercase() == trimmed.to_lowercase();
            let elem = ty.elems.iter().find(same);
            elem.map_or_else(|| text.to_owned(), Clone::clone)
        }
        code::SET => canonical_set(text, &ty.elems),
        _ => text.to_owned(),
    };
    padded(text.into_bytes(), ty)
}

/// Rounded to a whole number, without superfluous zeros; what is no number stays.
fn canonical_integer(text: &str) -> String {
    let text = text.trim();
    if let Ok(number) = text.parse::<i128>() {
        return number.to_string();
    }
    match text.parse::<f64>() {
        // Beyond that, a double is not exact, and no integer type that large.
        Ok(number) if number.abs() < 9e15 => format!("{:.0}", number.round() + 0.0),
        _ => text.to_owned(),
    }
}

/// Without superfluous zeros before the point, and without exponent.
fn canonical_number(number: &str) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    if digits.contains(['e', 'E']) {
        return number
            .parse::<f64>()
            .map_or_else(|_| number.to_owned(), |n| n.to_string());
    }
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    match fraction {
        Some(fraction) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{whole}"),
    }
}

/// A number with as many digits behind its point as its type has, zeros if need be; what has more digits than that, or is no number, stays.
fn with_scale(text: &str, decimals: i64) -> String {
    let decimals = usize::try_from(decimals).unwrap_or(0).min(38);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > decimals {
        return text.to_owned();
    }
    let is_zero = digits.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if text.starts_with('-') && !is_zero {
        "-"
    } else {
        ""
    };
    match decimals {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction:0<decimals$}"),
    }
}

/// Elements once each, in the order of the type; a text with others stays.
fn canonical_set(text: &str, elems: &[String]) -> String {
    let chosen: Vec<String> = text.split(',').map(str::to_lowercase).collect();
    let known = |c: &String| elems.iter().any(|elem| elem.to_lowercase() == *c);
    if text.is_empty() || !chosen.iter().all(known) {
        return text.to_owned();
    }
    let in_order = elems.iter().filter(|e| chosen.contains(&e.to_lowercase()));
    let in_order: Vec<&str> = in_order.map(String::as_str).collect();
    in_order.join(",")
}

/// With the time of day, and with as many digits of a second as the type has.
fn temporal(text: &str, ty: &FieldType) -> Stored {
    let mut text = text.to_owned();
    let plain = |t: &str| {
        !t.is_empty()
            && t.chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | ' ' | '.'))
    };
    if plain(&text) {
        if ty.code != code::TIME && !text.contains(':') && text.len() == "0000-00-00".len() {
            text += " 00:00:00";
        }
        let digits = usize::try_from(ty.decimal).unwrap_or(0).min(6);
        if text.contains(':') && digits > 0 {
            let given = text.split_once('.').map(|(_, fraction)| fraction.len());
            if given.is_none() {
                text.push('.');
            }
            text += &"0".repeat(digits.saturating_sub(given.unwrap_or(0)));
        }
    }
    Stored(text.into_bytes())
}

/// BINARY(n) is filled up with NUL.
fn padded(mut bytes: Vec<u8>, ty: &FieldType) -> Stored {
    if ty.code == code::CHAR && ty.charset == "binary" {
        // No BINARY column is longer than 255 bytes.
        let length = usize::try_from(ty.flen).unwrap_or(0).min(255);
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
    }
    Stored(bytes)
}
