//! Names of tables, upstream and downstream alike.

use std::fmt;

use dm_schema::TableRef;
use serde::{Deserialize, Serialize};

/// A table with its schema. Its text form, `` `schema`.`table` ``, is also its form as a key in records.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    /// Name of the schema.
    pub schema: String,
    /// Name of the table.
    pub table: String,
}

impl TableName {
    /// A table in a schema.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            table: table.into(),
        }
    }
}

/// A name in backquotes.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quoted(&self.schema), quoted(&self.table))
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for TableName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("{text} is not `schema`.`table`");
        // A dot between two backquotes cannot be inside a name, where a backquote is doubled.
        let inner = text
            .strip_prefix('`')
            .and_then(|t| t.strip_suffix('`'))
            .ok_or_else(bad)?;
        let mut from = 0;
        while let Some(at) = inner[from..].find("`.`") {
            let at = from + at;
            let quotes_before = inner[..at].bytes().rev().take_while(|b| *b == b'`').count();
            if quotes_before % 2 == 0 {
                let plain = |s: &str| s.replace("``", "`");
                return Ok(Self::new(plain(&inner[..at]), plain(&inner[at + 3..])));
            }
            from = at + 1;
        }
        Err(bad())
    }
}

impl From<&TableName> for TableRef {
    fn from(name: &TableName) -> Self {
        TableRef::new(name.schema.as_str(), name.table.as_str())
    }
}

/// The schema must have been filled in; a missing one becomes empty.
impl From<&TableRef> for TableName {
    fn from(table: &TableRef) -> Self {
        Self::new(
            table.schema.clone().unwrap_or_default(),
            table.table.as_str(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_name_comes_back_from_its_text(schema in "[a`.]{1,6}", table in "[b`.]{1,6}") {
            let name = TableName::new(schema, table);
            prop_assert_eq!(TableName::try_from(name.to_string()), Ok(name));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "a.b", "`a`", "`a``.`b`"] {
            assert!(TableName::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
