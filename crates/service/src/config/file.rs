//! The TOML file: keys and values with the lines they stand on. It knows no key names.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Error;

/// A value in the form that a flag takes.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(String),
    Boolean(bool),
    List(Vec<String>),
    /// A table, a date, a list of something else: no setting is of these types.
    Other(&'static str),
}

impl Value {
    /// How a complaint names what was found.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list of strings",
            Self::Other(kind) => kind,
        }
    }
}

/// One `key = value` and its line, counted from 1.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// Reads the file's top-level keys, in the order in which they stand.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let table = DeTable::parse(&text).map_err(|e| Error::Syntax {
        path: path.to_owned(),
        line: line_of(&text, e.span()),
        reason: e.message().to_owned(),
    })?;
    let mut entries: Vec<(usize, Entry)> = table
        .into_inner()
        .into_iter()
        .map(|(key, value)| {
            let start = key.span().start;
            let line = line_of(&text, Some(key.span()));
            (
                start,
                Entry {
                    key: key.into_inner().into_owned(),
                    line,
                    value: value_of(value.into_inner()),
                },
            )
        })
        .collect();
    entries.sort_by_key(|(start, _)| *start);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let end = span.map_or(0, |s| s.start).min(text.len());
    1 + text.as_bytes()[..end]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
}

fn value_of(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(number.to_string()),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Array(items) => items
            .into_iter()
            .map(|item: Spanned<DeValue<'_>>| match item.into_inner() {
                DeValue::String(text) => Some(text.into_owned()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map_or(
                Value::Other("a list with something else than strings in it"),
                Value::List,
            ),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}
