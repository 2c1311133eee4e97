//! JSON as the reference prints it where it does not use the protobuf printer: Go's `encoding/json` with four
//! spaces of indent.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Prints a value as Go's `json.MarshalIndent` does: `<`, `>`, `&` and two line separators are escaped.
pub fn go_json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    if let Err(error) = value.serialize(&mut serializer) {
        return format!("cannot be printed: {error}");
    }
    // These letters stand only inside of strings, so the whole text can be gone through.
    let mut text = String::with_capacity(bytes.len());
    for letter in String::from_utf8_lossy(&bytes).chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _written = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text
}

/// A list as Go prints it with `%v`.
pub fn go_list(items: &[String]) -> String {
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_go_escapes_it() {
        let value = serde_json::json!({"a": "<b>&\u{2028}é\n", "l": [], "n": null});
        let wanted = "{\n    \"a\": \"\\u003cb\\u003e\\u0026\\u2028é\\n\",\n    \"l\": [],\n    \"n\": null\n}";
        assert_eq!(go_json(&value), wanted);
    }

    #[test]
    fn a_list_has_blanks_between_its_items() {
        assert_eq!(go_list(&["a".into(), "b".into()]), "[a b]");
        assert_eq!(go_list(&[]), "[]");
    }
}
