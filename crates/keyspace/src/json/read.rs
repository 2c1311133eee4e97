//! The reading half: what Go's decoder lets pass, brought into a form that a strict parser takes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Field, Mismatch};
use crate::{ValueError, ValueFault};

/// A member: its name and its value, both in the text that they were read from, where that is possible.
pub(crate) type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The members of an object in the order in which they stand there, repeated ones included; null has none.
pub(crate) fn members<'a>(
    record: &'static str,
    text: &'a str,
) -> Result<Vec<Member<'a>>, ValueError> {
    if !text.trim_start().starts_with('{') {
        return match parse(record, text)?.get() {
            "null" => Ok(Vec::new()),
            _ => Err(ValueError::new(record, ValueFault::Kind("an object"))),
        };
    }
    serde_json::from_str::<Members<'a>>(text)
        .map(|members| members.0)
        .map_err(|error| syntax(record, &error))
}

/// Reads a value that is not an object into a field of the matching kind.
pub(crate) fn read_value<F: Field>(record: &'static str, value: &[u8]) -> Result<F, ValueError> {
    let mut field = F::default();
    match field.read(parse(record, &text(value))?) {
        Ok(()) => Ok(field),
        Err(Mismatch(expected)) => Err(ValueError::new(record, ValueFault::Kind(expected))),
    }
}

/// Reads one member, or says which one has the wrong kind.
pub(crate) fn read(
    record: &'static str,
    member: &'static str,
    field: &mut impl Field,
    json: &RawValue,
) -> Result<(), ValueError> {
    field.read(json).map_err(|Mismatch(expected)| {
        ValueError::new(record, ValueFault::Member { member, expected })
    })
}

/// A member's name in the form in which Go compares names: Unicode simple folding, as far as it reaches the
/// ASCII letters that members are named with (the long s and the Kelvin sign are the only ones outside).
pub(crate) fn fold(name: &str) -> String {
    let fold = |char| match char {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).collect()
}

fn parse<'a>(record: &'static str, text: &'a str) -> Result<&'a RawValue, ValueError> {
    serde_json::from_str(text).map_err(|error| syntax(record, &error))
}

fn syntax(record: &'static str, error: &serde_json::Error) -> ValueError {
    ValueError::new(record, ValueFault::Syntax(error.to_string()))
}

/// The bytes as text that a strict parser takes: one U+FFFD for each byte that is not part of a character, and for each escape
/// of half a surrogate pair. Nothing is copied where nothing is wrong.
pub(crate) fn text(value: &[u8]) -> Cow<'_, str> {
    match characters(value) {
        Cow::Borrowed(text) => pair_surrogates(text),
        Cow::Owned(text) => Cow::Owned(pair_surrogates(&text).into_owned()),
    }
}

fn characters(value: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(value) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// JSON text in which each `\u` escape of half a surrogate pair is replaced by the escape of U+FFFD.
fn pair_surrogates(json: &str) -> Cow<'_, str> {
    // Surrogates begin with D8 to DF.
    if !json.contains("\\ud") && !json.contains("\\uD") {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // The escaped character goes along, so that an escaped backslash begins no new escape.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The code unit of a `\uXXXX` escape at the beginning of the text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all_hex
        .then(|| u16::from_str_radix(digits, 16).ok())
        .flatten()
}

struct Members<'a>(Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((JsonName(name), json)) = map.next_entry()? {
                    members.push((name, json));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Borrowed unless it has escapes.
#[derive(Deserialize)]
struct JsonName<'a>(#[serde(borrow)] Cow<'a, str>);

/// The elements of an array and the members of an inner object, for fields that look inside.
pub(super) fn inner_members(json: &RawValue) -> Option<Vec<Member<'_>>> {
    serde_json::from_str::<Members<'_>>(json.get())
        .ok()
        .map(|inner| inner.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_as_in_go() {
        assert_eq!(fold("Source"), "source");
        assert_eq!(fold("\u{17f}ource"), "source");
        assert_eq!(fold("Tas\u{212a}"), "task");
        assert_eq!(fold("é"), "é");
    }

    #[test]
    fn every_bad_byte_becomes_one_replacement_character() {
        assert_eq!(text(b"a\xe4\xbdb\xff"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(text(b"\xff\\ud83d"), "\u{fffd}\\ufffd");
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        let cases = [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ude00\ud83dx""#, r#""\ufffd\ufffdx""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\u12"#, r#""\u12"#),
            ("\"\\é", "\"\\é"),
            ("\\", "\\"),
        ];
        for (json, expected) in cases {
            assert_eq!(pair_surrogates(json), expected);
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_without_its_content() {
        let error = members("source bound", "[\"secret\"]").unwrap_err();
        assert_eq!(
            error.to_string(),
            "bad source bound: the value must be an object"
        );
        let error = members("source bound", "{\"a\":secret}").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("bad source bound: not JSON: "),
            "{error}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
