//! What the TOML texts of sources and subtasks have in common.

use serde::Serialize;
use serde::de::DeserializeOwned;

use dm_errors::{Code, DmError};

/// The TOML of a configuration: scalars first, then tables, in the order of the fields.
pub(crate) fn to_toml(config: &impl Serialize) -> Result<String, DmError> {
    toml::to_string(config).map_err(|error| {
        DmError::new(Code::CONFIG_TOML_TRANSFORM, &[&"encode config"]).cause(error)
    })
}

/// The same as a table, to be put in another order.
pub(crate) fn to_table(config: &impl Serialize) -> Result<toml::Table, DmError> {
    toml::Table::try_from(config).map_err(|error| {
        DmError::new(Code::CONFIG_TOML_TRANSFORM, &[&"encode config"]).cause(error)
    })
}

/// Reads TOML; keys that the type does not have are skipped. The error shows no line of the text, which may hold
/// a password.
pub(crate) fn from_toml<T: DeserializeOwned>(text: &str, title: &str) -> Result<T, DmError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text[..span.start.min(text.len())].lines().count().max(1)
        });
        DmError::new(Code::CONFIG_TOML_TRANSFORM, &[&title])
            .cause(format!("toml: line {line}: {}", error.message()))
    })
}

/// Paths of keys that `given` has and `known` has not.
pub(crate) fn undecoded(given: &toml::Table, known: &toml::Table, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in given {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match (value, known.get(key)) {
            (_, None) => found.push(path),
            (toml::Value::Table(inner), Some(toml::Value::Table(known))) => {
                found.extend(undecoded(inner, known, &path))
            }
            (toml::Value::Array(items), Some(toml::Value::Array(known))) => {
                for pair in items.iter().zip(known) {
                    if let (toml::Value::Table(inner), toml::Value::Table(known)) = pair {
                        found.extend(undecoded(inner, known, &path));
                    }
                }
            }
            _ => {}
        }
    }
    found
}
