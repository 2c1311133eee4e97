//! The writing half: strings, objects and the compact form of foreign JSON.

use std::borrow::Cow;

use super::{Extra, Field};

/// Appends a JSON string with quotes.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => push_raw(out, other),
        }
    }
    out.push('"');
}

/// Appends a character of a string, as an escape where Go wants one although JSON does not.
fn push_raw(out: &mut String, char: char) {
    match char {
        '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            out.push_str(&format!("\\u{:04x}", u32::from(char)));
        }
        other => out.push(other),
    }
}

/// Valid JSON without its white space and with Go's escapes; escapes that are there already stay.
pub(super) fn compact(json: &str) -> Cow<'_, str> {
    if is_compact(json.as_bytes()) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for char in json.chars() {
        if !in_string {
            in_string = char == '"';
            if !char.is_ascii_whitespace() {
                out.push(char);
            }
            continue;
        }
        push_raw(&mut out, char);
        in_string = escaped || char != '"';
        escaped = !escaped && char == '\\';
    }
    Cow::Owned(out)
}

/// Whether valid JSON surely has nothing to be taken out or escaped: what Go wrote. A look at each byte, since nearly all is.
fn is_compact(json: &[u8]) -> bool {
    let mut bytes = json.iter();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match (in_string, byte) {
            (false, b' ' | b'\n' | b'\r' | b'\t') => return false,
            // U+2028 and U+2029 begin with E2, like some others.
            (true, b'<' | b'>' | b'&' | 0xe2) => return false,
            (true, b'\\') => {
                bytes.next();
            }
            (_, b'"') => in_string = !in_string,
            _ => {}
        }
    }
    true
}

/// A JSON object while it is written, member by member.
#[derive(Default)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn member(&mut self, name: &str, value: &impl Field) {
        if !value.is_omitted() {
            self.name(name);
            value.write(&mut self.0);
        }
    }

    pub(crate) fn extra(&mut self, extra: &Extra) {
        for (name, json) in extra.iter() {
            self.name(name);
            self.0.push_str(json.get());
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.open_or_comma('}');
        self.0.into_bytes()
    }

    fn name(&mut self, name: &str) {
        self.open_or_comma(',');
        push_string(&mut self.0, name);
        self.0.push(':');
    }

    /// The first mark of an object is its brace; a comma is due only after a member.
    fn open_or_comma(&mut self, mark: char) {
        match (self.0.is_empty(), mark) {
            (true, '}') => self.0.push_str("{}"),
            (true, _) => self.0.push('{'),
            (false, _) => self.0.push(mark),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut out = String::new();
        push_string(
            &mut out,
            "<>&\u{2028}\u{2029}\u{8}\u{c}\n\r\t\u{1}\u{7f}/é\"\\",
        );
        let expected = r#""\u003c\u003e\u0026\u2028\u2029\b\f\n\r\t\u0001@/é\"\\""#;
        assert_eq!(out, expected.replace('@', "\u{7f}"));
    }

    #[test]
    fn foreign_json_loses_white_space_only() {
        let json =
            "{ \"a <\\\" b\" : [ 1.50 , 123456789012345678901234567890 ] , \"\\\\\" : \" \" }";
        let expected = r#"{"a \u003c\" b":[1.50,123456789012345678901234567890],"\\":" "}"#;
        assert_eq!(compact(json), expected);
        assert_eq!(compact(expected), expected);
    }

    #[test]
    fn what_go_wrote_is_not_copied() {
        let json = r#"{"a\u003c\" b":[1.50,"\\"],"é":" "}"#;
        assert!(matches!(compact(json), Cow::Borrowed(same) if same == json));
        for other in ["[1, 2]", "[\"<\"]", "[\"\u{2028}\"]", "[\"\\\\\" ]"] {
            assert!(matches!(compact(other), Cow::Owned(_)), "{other}");
        }
    }

    #[test]
    fn an_object_without_members_is_two_braces() {
        assert_eq!(Object::default().finish(), b"{}");
    }
}
