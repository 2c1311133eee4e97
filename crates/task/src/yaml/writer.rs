//! YAML as DM writes it: keys in their given order, lists at the column of their key, text quoted only where a
//! reader of YAML 1.1 would take it for something else.

use std::fmt::Write;

use dm_errors::DmError;
use serde::Serialize;

use crate::text;

/// What can be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// The keys that a structure writes to TOML; what TOML leaves out is left out here, too.
    pub(crate) fn of(value: &impl Serialize) -> Result<Self, DmError> {
        text::to_table(value).map(|table| toml::Value::Table(table).into())
    }

    /// A mapping with these keys in this order.
    pub(crate) fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        let owned = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Self::Map(owned.collect())
    }

    /// A list of texts; none is written as an empty one.
    pub(crate) fn texts(texts: &Option<Vec<String>>) -> Self {
        let texts = texts.iter().flatten();
        Self::List(texts.map(|text| text.as_str().into()).collect())
    }

    /// Without the keys of a mapping that `keep` does not want.
    pub(crate) fn keeping(self, keep: impl Fn(&str, &Self) -> bool) -> Self {
        match self {
            Self::Map(entries) => Self::Map(
                entries
                    .into_iter()
                    .filter(|(key, value)| keep(key, value))
                    .collect(),
            ),
            other => other,
        }
    }

    /// The document.
    pub(crate) fn to_yaml(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Map(entries) if !entries.is_empty() => write_map(&mut out, entries, 0, false),
            Self::List(items) if !items.is_empty() => write_list(&mut out, items, 0),
            scalar => {
                out.push_str(&scalar.inline(0));
                out.push('\n');
            }
        }
        out
    }

    fn inline(&self, indent: usize) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(text) => scalar(text, indent),
            Self::List(_) => "[]".into(),
            Self::Map(_) => "{}".into(),
        }
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for Tree {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Tree {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<toml::Value> for Tree {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::Text(text),
            toml::Value::Integer(value) => Self::Int(value),
            toml::Value::Float(value) => Self::Float(value),
            toml::Value::Boolean(value) => Self::Bool(value),
            toml::Value::Datetime(value) => Self::Text(value.to_string()),
            toml::Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            toml::Value::Table(table) => Self::Map(
                table
                    .into_iter()
                    .map(|(key, value)| (key, value.into()))
                    .collect(),
            ),
        }
    }
}

/// `goes_on`: the first key follows a `- ` that is already there.
fn write_map(out: &mut String, entries: &[(String, Tree)], indent: usize, goes_on: bool) {
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 || !goes_on {
            pad(out, indent);
        }
        out.push_str(&scalar(key, indent));
        out.push(':');
        match value {
            Tree::Map(inner) if !inner.is_empty() => {
                out.push('\n');
                write_map(out, inner, indent + 2, false);
            }
            Tree::List(items) if !items.is_empty() => {
                out.push('\n');
                write_list(out, items, indent);
            }
            other => {
                out.push(' ');
                out.push_str(&other.inline(indent));
                out.push('\n');
            }
        }
    }
}

fn write_list(out: &mut String, items: &[Tree], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push_str("- ");
        match item {
            Tree::Map(inner) if !inner.is_empty() => write_map(out, inner, indent + 2, true),
            Tree::List(inner) if !inner.is_empty() => {
                // Lists of lists do not occur in DM's files; this form is as good as any.
                out.push('\n');
                write_list(out, inner, indent + 2);
            }
            other => {
                out.push_str(&other.inline(indent));
                out.push('\n');
            }
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(text: &str, indent: usize) -> String {
    if text.chars().any(is_special) {
        return escaped(text);
    }
    if text.contains('\n') {
        return literal(text, indent + 2);
    }
    if is_other_type(text) {
        return escaped(text);
    }
    if may_be_plain(text) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Characters that only a double-quoted scalar can hold.
fn is_special(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether the text alone, unquoted, would be read as something else than a text.
fn is_other_type(text: &str) -> bool {
    let is_null = matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let is_word = matches!(text, "<<" | "=")
        || [".nan", ".inf", "+.inf", "-.inf"].contains(&text.to_lowercase().as_str());
    let starts_like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    // Numbers to the base 60, times and dates are of these characters, too.
    let looks_like_a_number = starts_like_a_number
        && text
            .chars()
            .all(|c| c.is_ascii_hexdigit() || "+-._:xXoTZ ".contains(c))
        && text.contains(|c: char| c.is_ascii_digit())
        && is_number_like(text);
    is_null || is_word || super::parse_bool(text).is_some() || looks_like_a_number
}

fn is_number_like(text: &str) -> bool {
    let digits = text.replace('_', "");
    let is_base_60 = digits
        .trim_start_matches(['+', '-'])
        .split(':')
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || c == '.'))
        && digits.matches('.').count() <= 1;
    let is_date = digits.len() >= 8
        && digits.splitn(3, '-').count() == 3
        && digits
            .splitn(3, '-')
            .take(2)
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
    super::parse_int(text).is_some() || digits.parse::<f64>().is_ok() || is_base_60 || is_date
}

fn may_be_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let (first, second) = (chars.next(), chars.next());
    let is_indicator = first.is_some_and(|c| "#,[]{}&*!|>'\"%@`".contains(c));
    let is_marker = first.is_some_and(|c| "-?:".contains(c)) && second.is_none_or(|c| c == ' ');
    let has_separator = text.contains(": ") || text.contains(" #") || text.ends_with(':');
    let has_outer_space = text.starts_with(' ') || text.ends_with(' ');
    let is_document = text.starts_with("---") || text.starts_with("...");
    !(is_indicator || is_marker || has_separator || has_outer_space || is_document)
}

fn literal(text: &str, indent: usize) -> String {
    // Leading blanks would be taken for the indentation of the block.
    if text.starts_with([' ', '\n']) {
        return escaped(text);
    }
    let body = text.trim_end_matches('\n');
    let chomp = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let mut out = format!("|{chomp}");
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(&mut out, indent);
            out.push_str(line);
        }
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            special if is_special(special) => {
                // Writing into a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(special));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Value, parse};
    use super::*;

    #[test]
    fn text_is_quoted_only_where_it_must_be() {
        let cases = [
            ("******", "'******'"),
            ("", "\"\""),
            ("64", "\"64\""),
            ("yes", "\"yes\""),
            ("~", "\"~\""),
            ("1:30", "\"1:30\""),
            ("2026-01-01 00:00:00", "\"2026-01-01 00:00:00\""),
            ("5m0s", "5m0s"),
            ("~^t_[\\d]+", "~^t_[\\d]+"),
            ("t_*", "t_*"),
            ("a: b", "'a: b'"),
            ("it's #1", "'it''s #1'"),
            ("127.0.0.1", "127.0.0.1"),
            (
                "alter table .* add column aaa int",
                "alter table .* add column aaa int",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(scalar(text, 0), expected);
        }
    }

    #[test]
    fn nested_lists_and_maps_are_laid_out_as_dm_does() {
        let tree = Tree::map([
            ("a", Tree::Null),
            (
                "b",
                Tree::List(vec![Tree::map([
                    ("c", 1.into()),
                    ("d", Tree::List(vec![])),
                ])]),
            ),
            ("e", Tree::map([("f", Tree::List(vec!["x".into()]))])),
            ("g", Tree::Map(vec![])),
            ("h", Tree::Float(2.0)),
        ]);
        let expected = "a: null\nb:\n- c: 1\n  d: []\ne:\n  f:\n  - x\ng: {}\nh: 2\n";
        assert_eq!(tree.to_yaml(), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_as_the_same_text(text in "[ -~\n\t\u{85}é名]{0,24}") {
            let yaml = Tree::map([("k", Tree::List(vec![text.as_str().into()])), ("l", "z".into())]).to_yaml();
            let node = parse(&yaml).unwrap();
            let Value::Map(entries) = &node.value else { panic!("{yaml}") };
            let Value::List(items) = &entries[0].value.value else { panic!("{yaml}") };
            let Value::Scalar { text: read, plain } = &items[0].value else { panic!("{yaml}") };
            prop_assert_eq!(read, &text, "{}", yaml);
            prop_assert!(!(*plain && items[0].is_null()), "{}", yaml);
            prop_assert_eq!(entries.len(), 2, "{}", yaml);
        }
    }
}
