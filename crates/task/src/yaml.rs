//! YAML as DM reads it: a tree of nodes that know their line and keep the text of every scalar, because what a
//! scalar means depends on the field that takes it (YAML 1.1 booleans, numbers taken as text, null as zero).

mod reader;
mod writer;

use std::collections::HashMap;
use std::rc::Rc;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError};

pub(crate) use reader::{Issues, Map};
pub(crate) use writer::Tree;

/// Deeper nesting than this is refused; the deepest documented key lies at level 5.
const MAX_DEPTH: usize = 64;

/// One node of a document.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Value {
    /// The text, and whether its notation leaves its type open (plain and without a tag).
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Rc<Node>,
}

impl Node {
    /// Whether the node is `null`, in any of its spellings.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The node as DM's messages describe it.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::List(_) => "!!seq".into(),
            Value::Map(_) => "!!map".into(),
            Value::Scalar { text, .. } => {
                let kind = if self.is_null() {
                    "!!null"
                } else {
                    self.scalar_kind()
                };
                format!("{kind} `{}`", shortened(text))
            }
        }
    }

    fn scalar_kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { text, plain: true } if parse_bool(text).is_some() => "!!bool",
            Value::Scalar { text, plain: true } if parse_int(text).is_some() => "!!int",
            Value::Scalar { text, plain: true } if text.parse::<f64>().is_ok() => "!!float",
            _ => "!!str",
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(10) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// The booleans of YAML 1.1.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "y" | "Y" | "on" | "On" | "ON" => {
            Some(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "n" | "N" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// The integers of YAML 1.1: decimal, `0x`, `0b`, `0o`, octal by a leading zero, with `_` between digits; also a
/// decimal number without a fraction.
pub(crate) fn parse_int(text: &str) -> Option<i128> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let size = match digits.split_at_checked(2) {
        Some(("0x", hex)) => radix(hex, 16),
        Some(("0b", bits)) => radix(bits, 2),
        Some(("0o", octal)) => radix(octal, 8),
        _ if digits.len() > 1 && digits.starts_with('0') && !digits.contains('.') => {
            radix(&digits[1..], 8)
        }
        _ => radix(digits, 10).or_else(|| whole_float(digits)),
    }?;
    Some(if negative { -size } else { size })
}

fn radix(digits: &str, radix: u32) -> Option<i128> {
    if digits.starts_with(['+', '-']) {
        None
    } else {
        i128::from_str_radix(digits, radix).ok()
    }
}

fn whole_float(digits: &str) -> Option<i128> {
    let number: f64 = digits.parse().ok()?;
    let whole = format!("{number:.0}").parse().ok()?;
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(whole)
}

/// The first document of the text; an empty text is an empty mapping. The error is a sentence with its line.
pub(crate) fn parse(text: &str) -> Result<Rc<Node>, String> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| broken(&error))?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.event(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or_else(|| {
        Rc::new(Node {
            line: 1,
            value: Value::Map(Vec::new()),
        })
    }))
}

fn broken(error: &ScanError) -> String {
    format!("yaml: line {}: {}", error.marker().line(), error.info())
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
}

/// A collection whose end has not been read.
struct Open {
    line: usize,
    anchor: usize,
    items: Vec<Rc<Node>>,
    is_map: bool,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain,
                };
                self.place(Rc::new(Node { line, value }), anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.begin(line, anchor, false)?,
            Event::MappingStart(_, anchor, _) => self.begin(line, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let value = if open.is_map {
                        Value::Map(entries(&open.items)?)
                    } else {
                        Value::List(open.items)
                    };
                    self.place(
                        Rc::new(Node {
                            line: open.line,
                            value,
                        }),
                        open.anchor,
                    );
                }
            }
            Event::Alias(id) => {
                let target = self.anchors.get(&id).cloned();
                let target = target
                    .ok_or_else(|| format!("yaml: line {line}: an anchor contains itself"))?;
                self.place(target, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, is_map: bool) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!(
                "yaml: line {line}: nested deeper than {MAX_DEPTH} levels"
            ));
        }
        self.open.push(Open {
            line,
            anchor,
            items: Vec::new(),
            is_map,
        });
        Ok(())
    }

    fn place(&mut self, node: Rc<Node>, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
    }
}

/// Keys and values in turn, with merge keys (`<<`) resolved: an own key wins over a merged one.
fn entries(items: &[Rc<Node>]) -> Result<Vec<Entry>, String> {
    let mut own = Vec::new();
    let mut merged = Vec::new();
    for pair in items.chunks_exact(2) {
        let Value::Scalar { text, plain } = &pair[0].value else {
            return Err(format!(
                "yaml: line {}: a key must be a plain word",
                pair[0].line
            ));
        };
        if *plain && text == "<<" {
            merge(&pair[1], &mut merged)?;
        } else {
            own.push(Entry {
                key: text.clone(),
                line: pair[0].line,
                value: Rc::clone(&pair[1]),
            });
        }
    }
    for entry in merged {
        if !own.iter().any(|known| known.key == entry.key) {
            own.push(entry);
        }
    }
    Ok(own)
}

fn merge(source: &Node, into: &mut Vec<Entry>) -> Result<(), String> {
    match &source.value {
        Value::Map(entries) => into.extend(entries.iter().cloned()),
        Value::List(sources) => {
            for source in sources {
                merge(source, into)?;
            }
        }
        Value::Scalar { .. } => {
            return Err(format!(
                "yaml: line {}: map merge requires map or sequence of maps as the value",
                source.line
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        match &parse(text).unwrap().value {
            Value::Map(entries) => entries.iter().map(|entry| entry.key.clone()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved_and_own_keys_win() {
        let text = "base: &b {x: 1, y: 2}\nderived:\n  <<: *b\n  y: 3\n";
        let root = parse(text).unwrap();
        let Value::Map(entries) = &root.value else {
            panic!()
        };
        let Value::Map(derived) = &entries[1].value.value else {
            panic!()
        };
        let read: Vec<_> = derived
            .iter()
            .map(|entry| (entry.key.as_str(), entry.value.describe()))
            .collect();
        assert_eq!(
            read,
            [("y", "!!int `3`".to_owned()), ("x", "!!int `1`".to_owned())]
        );
    }

    #[test]
    fn only_the_first_document_counts_and_empty_text_is_an_empty_map() {
        assert_eq!(keys("a: 1\n---\nb: 2\n"), ["a"]);
        assert!(keys("").is_empty());
    }

    #[test]
    fn broken_text_names_its_line() {
        let error = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.starts_with("yaml: line "), "{error}");
        for deep in ["[".repeat(100_000), "- ".repeat(1000)] {
            assert!(parse(&deep).unwrap_err().starts_with("yaml: line 1: "));
        }
    }

    #[test]
    fn integers_have_the_forms_of_yaml_1_1() {
        let cases = [
            ("010", Some(8)),
            ("0x1f", Some(31)),
            ("0b11", Some(3)),
            ("4_000", Some(4000)),
            ("4000.0", Some(4000)),
            ("-5", Some(-5)),
            ("1.5", None),
            ("x", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_int(text), expected, "{text}");
        }
    }
}
