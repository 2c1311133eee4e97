//! Numbers and text as Go's `encoding/json` writes them.

use std::fmt::{Display, LowerExp, Write};

use prost_types::field_descriptor_proto::Type;

use crate::wire::{Malformed, Value};

/// What stands for a number that was not written: zero, in the wire type of its kind.
pub(super) fn zero(of: Type) -> Value<'static> {
    match of {
        Type::Double | Type::Fixed64 | Type::Sfixed64 => Value::Fixed64([0; 8]),
        Type::Float | Type::Fixed32 | Type::Sfixed32 => Value::Fixed32([0; 4]),
        _ => Value::Varint(0),
    }
}

/// The text of a number as its kind has it.
pub(super) fn number(of: Type, value: Value<'_>) -> Result<String, Malformed> {
    Ok(match (of, value) {
        (Type::Bool, Value::Varint(n)) => (n != 0).to_string(),
        (Type::Int32, Value::Varint(n)) => (n as i32).to_string(),
        (Type::Uint32, Value::Varint(n)) => (n as u32).to_string(),
        (Type::Sint32, Value::Varint(n)) => (unzigzag(n) as i32).to_string(),
        (Type::Int64, Value::Varint(n)) => quoted(n as i64),
        (Type::Uint64, Value::Varint(n)) => quoted(n),
        (Type::Sint64, Value::Varint(n)) => quoted(unzigzag(n)),
        (Type::Fixed32, Value::Fixed32(n)) => u32::from_le_bytes(n).to_string(),
        (Type::Sfixed32, Value::Fixed32(n)) => i32::from_le_bytes(n).to_string(),
        (Type::Fixed64, Value::Fixed64(n)) => quoted(u64::from_le_bytes(n)),
        (Type::Sfixed64, Value::Fixed64(n)) => quoted(i64::from_le_bytes(n)),
        (Type::Float, Value::Fixed32(n)) => float(f32::from_le_bytes(n)),
        (Type::Double, Value::Fixed64(n)) => float(f64::from_le_bytes(n)),
        _ => return Err(Malformed),
    })
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// 64-bit numbers are text, because JavaScript cannot hold them.
fn quoted(n: impl Display) -> String {
    format!("\"{n}\"")
}

/// The shortest digits that read back as the same number; an exponent only for the very small and very large.
fn float<T: Into<f64> + Display + LowerExp + Copy>(n: T) -> String {
    let value: f64 = n.into();
    if value.is_nan() {
        return "\"NaN\"".to_owned();
    }
    if value.is_infinite() {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("\"{sign}Infinity\"");
    }
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{n:e}");
        // Go writes the sign of a positive exponent.
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        };
    }
    n.to_string()
}

/// A JSON string. A byte that belongs to no character is written as `\ufffd`; so is U+FFFD itself, because it
/// came out of such a byte when the message was decoded.
pub(super) fn text(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            character(out, c);
        }
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}

fn character(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{fffd}' | '\0'..='\u{1f}' => {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let mut out = String::new();
        text(&mut out, bytes);
        out
    }

    #[test]
    fn text_is_escaped_as_go_does_it() {
        assert_eq!(shown(b"a<b>&\"\\"), r#""a\u003cb\u003e\u0026\"\\""#);
        assert_eq!(
            shown(b"\n\r\t\x08\x0c\x00\x1f\x7f"),
            "\"\\n\\r\\t\\b\\f\\u0000\\u001f\x7f\""
        );
        assert_eq!(
            shown("\u{2028}\u{2029}\u{20ac}".as_bytes()),
            "\"\\u2028\\u2029\u{20ac}\""
        );
        assert_eq!(shown(b"x\xff\xe2\x82y"), r#""x\ufffd\ufffd\ufffdy""#);
    }

    #[test]
    fn floats_are_written_as_go_does_it() {
        for (number, wanted) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1234.5, "1234.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-7"),
            (0.000_001, "0.000001"),
            (-2.5e300, "-2.5e+300"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(float(number), wanted);
        }
        assert_eq!(float(0.1_f32), "0.1");
    }

    #[test]
    fn each_kind_reads_its_own_wire_type_and_no_other() {
        assert_eq!(number(Type::Int32, Value::Varint(u64::MAX)).unwrap(), "-1");
        assert_eq!(
            number(Type::Int64, Value::Varint(u64::MAX)).unwrap(),
            "\"-1\""
        );
        assert_eq!(number(Type::Uint64, Value::Varint(7)).unwrap(), "\"7\"");
        assert_eq!(number(Type::Sint64, Value::Varint(3)).unwrap(), "\"-2\"");
        assert_eq!(number(Type::Bool, Value::Varint(1)).unwrap(), "true");
        assert_eq!(
            number(Type::Sfixed32, Value::Fixed32([0xff; 4])).unwrap(),
            "-1"
        );
        assert_eq!(number(Type::Int32, Value::Delimited(b"")), Err(Malformed));
    }
}
