//! One JSON object as it stood in its text: every member in its order, known or not, each with its own bytes.
//!
//! Typed members are read out of it and put back into it; a member whose value has not changed keeps its bytes, so that
//! writing what was read gives the same members, numbers and escapes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Why a text is no table info: the member at fault and what is wrong with it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("table info, member {member}: {problem}")]
pub struct JsonError {
    /// Path of the member, such as `cols[1].type.Tp`; `.` for the whole.
    pub member: String,
    /// What stands there instead.
    pub problem: String,
}

impl JsonError {
    pub(super) fn new(member: &str, problem: impl fmt::Display) -> Self {
        Self {
            member: member.to_owned(),
            problem: problem.to_string(),
        }
    }

    /// The same error seen from the object around it.
    pub(crate) fn inside(self, outer: &str) -> Self {
        let member = match self.member.as_str() {
            "." => outer.to_owned(),
            inner => format!("{outer}.{inner}"),
        };
        Self { member, ..self }
    }
}

/// Members in the order of their text. Names are matched without regard to case and the last of equal ones counts, as Go reads them
/// (spec schemacmp 10).
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(Vec<(String, String)>);

impl Members {
    /// Members as a writer starts with them, in the order given, each with its JSON text.
    pub(crate) fn of(zero: &[(&str, &str)]) -> Self {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Self(zero.iter().map(owned).collect())
    }

    /// Reads one object; `null` has no members.
    pub(crate) fn parse(text: &str) -> Result<Self, JsonError> {
        let members = in_order(text)?.into_iter();
        let owned = members.map(|(name, value)| (name.into_owned(), value.get().to_owned()));
        Ok(Self(owned.collect()))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0
            .iter()
            .rposition(|(member, _)| member.eq_ignore_ascii_case(name))
    }

    /// The text of a member, `None` if it is missing or null.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let (_, text) = &self.0[self.position(name)?];
        (text != "null").then_some(text)
    }

    /// The value of a member; zero if it is missing or null.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, JsonError> {
        let Some(text) = self.text(name) else {
            return Ok(T::default());
        };
        serde_json::from_str(text).map_err(|e| JsonError::new(name, e))
    }

    /// An object member by its own reader, which gets `null` if it is missing.
    pub(crate) fn object<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        read(self.text(name).unwrap_or("null")).map_err(|e| e.inside(name))
    }

    /// A list of objects by the reader of one of them; empty if it is missing or null.
    pub(crate) fn list<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, JsonError>,
    ) -> Result<Vec<T>, JsonError> {
        let text = self.text(name).unwrap_or("[]");
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|e| JsonError::new(name, e))?;
        let one = |at: usize, text: &str| {
            let found = match text {
                "null" => Err(JsonError::new(".", "is null")),
                text => read(text),
            };
            found.map_err(|e| e.inside(&format!("{name}[{at}]")))
        };
        let numbered = items.iter().enumerate();
        numbered.map(|(at, item)| one(at, item.get())).collect()
    }

    /// Puts a value into its member, unless that has it already.
    pub(crate) fn write<T>(&mut self, name: &str, value: &T)
    where
        T: Clone + Default + PartialEq + DeserializeOwned + Into<Value>,
    {
        if !self.read::<T>(name).is_ok_and(|present| present == *value) {
            self.write_text(name, value.clone().into().to_string());
        }
    }

    /// Puts a list of texts into its member; an empty list leaves a member that is null or missing alone.
    pub(crate) fn write_list(&mut self, name: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        if !items.is_empty() || self.text(name).is_some() {
            self.write_text(name, format!("[{}]", items.join(",")));
        }
    }

    /// Puts JSON text into a member, which keeps its place; a new one goes to the end.
    pub(crate) fn write_text(&mut self, name: &str, text: String) {
        match self.position(name) {
            Some(at) => self.0[at].1 = text,
            None => self.0.push((name.to_owned(), text)),
        }
    }
}

/// The object as JSON, without blanks between its members.
impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, text)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}:{text}", Value::from(name.as_str()))?;
        }
        f.write_str("}")
    }
}

/// The members of an object in the order of their text, not copied; `null` has none.
pub(super) fn in_order(text: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, JsonError> {
    if text.trim() == "null" {
        return Ok(Vec::new());
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = (&mut deserializer)
        .deserialize_map(InOrder)
        .map_err(|e| JsonError::new(".", e))?;
    deserializer.end().map_err(|e| JsonError::new(".", e))?;
    Ok(members)
}

/// Borrowed unless it has escapes.
#[derive(Deserialize)]
struct JsonName<'a>(#[serde(borrow)] Cow<'a, str>);

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((JsonName(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(members)
    }
}
