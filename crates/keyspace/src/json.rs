//! JSON exactly as Go's standard encoder writes it and its decoder reads it; the only place that knows how.
//!
//! Writing: no white space, `<`, `>`, `&`, U+2028 and U+2029 escaped. Reading: bytes that are not UTF-8 and
//! halves of surrogate pairs become U+FFFD, names match without regard to case, null changes nothing.

mod field;
mod read;
mod write;

pub(crate) use field::{Field, Mismatch};
pub(crate) use read::{fold, members, read, read_value, text};
pub(crate) use write::{Object, push_string};

use std::{fmt, sync::Arc};

use serde_json::value::RawValue;

/// JSON that passes through untouched: numbers keep their digits, members their order.
#[derive(Clone, Eq, PartialEq)]
pub struct OpaqueJson(Arc<str>);

impl OpaqueJson {
    /// Takes any JSON text; white space outside of strings goes, nothing else changes in meaning.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::from)
    }

    /// The text as it is written into a value.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// The content, for those who look inside. Digits beyond what a double holds are lost there, not here.
    pub fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl From<&RawValue> for OpaqueJson {
    fn from(raw: &RawValue) -> Self {
        Self(write::compact(raw.get()).into())
    }
}

impl From<&serde_json::Value> for OpaqueJson {
    fn from(value: &serde_json::Value) -> Self {
        Self(write::compact(&value.to_string()).into())
    }
}

impl fmt::Debug for OpaqueJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Members of a record that this version does not know, in the order in which they were read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extra(Vec<(String, OpaqueJson)>);

impl Extra {
    /// Whether the record had known members only.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of one of them, by its exact name.
    pub fn get(&self, name: &str) -> Option<&OpaqueJson> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, json)| json)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OpaqueJson)> {
        self.0.iter().map(|(name, json)| (name.as_str(), json))
    }

    /// Keeps a member; of a repeated one the last value stays, at its first place.
    pub(crate) fn keep(&mut self, name: String, json: &RawValue) {
        let json = OpaqueJson::from(json);
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => *value = json,
            None => self.0.push((name, json)),
        }
    }
}
