//! Names as TiDB keeps them: as written, and in lower case for comparing.

use std::fmt;

use super::JsonError;
use super::members::Members;

/// A name in both of its spellings.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name {
    /// As written.
    pub original: String,
    /// In lower case; what names are compared by.
    pub lower: String,
}

impl Name {
    /// A name with the lower-case spelling derived.
    pub fn new(original: impl Into<String>) -> Self {
        let original = original.into();
        Self {
            lower: original.to_lowercase(),
            original,
        }
    }

    /// `{"O": …, "L": …}`, or a plain text from which both are derived (spec schemacmp 10).
    pub(crate) fn from_json(text: &str) -> Result<Self, JsonError> {
        if let Ok(plain) = serde_json::from_str::<String>(text) {
            return Ok(Self::new(plain));
        }
        let members = Members::parse(text)?;
        Ok(Self {
            original: members.read("O")?,
            lower: members.read("L")?,
        })
    }

    /// Puts the name into a member, unless that has it already.
    pub(crate) fn write(&self, members: &mut Members, member: &str) {
        if !members
            .object(member, Self::from_json)
            .is_ok_and(|present| present == *self)
        {
            members.write_text(member, self.to_json());
        }
    }

    /// `{"O": …, "L": …}`.
    pub(crate) fn to_json(&self) -> String {
        let mut members = Members::of(&[("O", "\"\""), ("L", "\"\"")]);
        members.write("O", &self.original);
        members.write("L", &self.lower);
        members.to_string()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.original)
    }
}
