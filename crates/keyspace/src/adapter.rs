//! How names become keys and keys become names again, exactly as DM does it, on bytes.
//!
//! This layer reproduces DM with all its dangers (an empty name widens a key, a missing path is not noticed);
//! the key types above it use the stricter [`Adapter::names`] and [`Adapter::prefix`].

use crate::{KeyError, KeyFault};

/// How a name is spelled inside a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spelling {
    /// Lower-case hex of the name's bytes.
    Hex,
    /// The name itself; the layout of clusters before version 3.
    Plain,
}

/// The shape of one family of DM's keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Adapter {
    /// DM's name for it.
    pub name: &'static str,
    /// What every key begins with, closing slash included.
    pub path: &'static str,
    /// How many names make a whole key.
    pub segments: usize,
    /// How the names are written.
    pub spelling: Spelling,
}

impl Adapter {
    /// Every adapter of DM, for tools that walk the whole tree.
    pub const ALL: [Self; 22] = [
        crate::WorkerInfoKey::ADAPTER,
        crate::KeepAliveKey::ADAPTER,
        crate::LoadTaskKey::ADAPTER,
        crate::SourceConfigKey::ADAPTER,
        crate::BoundKey::ADAPTER,
        crate::LastBoundKey::ADAPTER,
        crate::RelayWorkerKey::ADAPTER,
        crate::SubtaskKey::ADAPTER,
        crate::RelayStageKey::ADAPTER,
        crate::SubtaskStageKey::ADAPTER,
        crate::ValidatorStageKey::ADAPTER,
        crate::LightningKey::ADAPTER,
        crate::pessimism::InfoKey::ADAPTER,
        crate::pessimism::OperationKey::ADAPTER,
        crate::optimism::SourceTablesKey::ADAPTER,
        crate::optimism::InfoKey::ADAPTER,
        crate::optimism::OperationKey::ADAPTER,
        crate::optimism::DroppedColumnKey::ADAPTER,
        crate::TaskTemplateKey::ADAPTER,
        crate::TaskCliArgsKey::ADAPTER,
        crate::SourceConfigV1Key::ADAPTER,
        crate::RelayStageV1Key::ADAPTER,
    ];

    pub(crate) const fn new(
        name: &'static str,
        path: &'static str,
        segments: usize,
        spelling: Spelling,
    ) -> Self {
        Self {
            name,
            path,
            segments,
            spelling,
        }
    }

    /// The adapter that DM calls `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|adapter| adapter.name == name)
    }

    /// The key of the given names, or, with fewer names than a whole key has, a prefix that ends in a slash.
    ///
    /// As in DM, an empty name vanishes together with its slash, so that `[""]` gives the prefix of the whole
    /// family; old plain names can even climb out of the path. Use [`Adapter::prefix`] for ranges.
    pub fn encode(&self, names: &[&str]) -> String {
        match self.spelling {
            Spelling::Hex => {
                let mut key = self.path.trim_end_matches('/').to_owned();
                for name in names.iter().filter(|name| !name.is_empty()) {
                    key.push('/');
                    key.push_str(&hex::encode(name));
                }
                if names.len() < self.segments {
                    key.push('/');
                }
                key
            }
            Spelling::Plain => join(self.path, names),
        }
    }

    /// The names in a key, as bytes, with everything that DM lets pass: upper-case hex, one closing slash, a
    /// missing path, bytes that are no text.
    pub fn decode(&self, key: &[u8]) -> Result<Vec<Vec<u8>>, KeyError> {
        let fail = |fault| KeyError::new(key, fault);
        let rest = match self.spelling {
            Spelling::Plain => key,
            Spelling::Hex if key.is_empty() => return Err(fail(KeyFault::Empty)),
            Spelling::Hex => key.strip_suffix(b"/").unwrap_or(key),
        };
        let rest = rest.strip_prefix(self.path.as_bytes()).unwrap_or(rest);
        let parts: Vec<&[u8]> = rest.split(|&byte| byte == b'/').collect();
        if parts.len() != self.segments {
            return Err(fail(KeyFault::SegmentCount {
                found: parts.len(),
                expected: self.segments,
            }));
        }
        if self.spelling == Spelling::Plain {
            return Ok(parts.into_iter().map(<[u8]>::to_vec).collect());
        }
        let unhex = |(at, part)| {
            hex::decode(part).map_err(|error| {
                fail(match error {
                    hex::FromHexError::OddLength => KeyFault::OddHex(at + 1),
                    _ => KeyFault::NotHex(at + 1),
                })
            })
        };
        parts.into_iter().enumerate().map(unhex).collect()
    }

    /// The names in a key of this family: the path must be there, and every name must be text and not empty.
    pub fn names(&self, key: &[u8]) -> Result<Vec<String>, KeyError> {
        if !key.starts_with(self.path.as_bytes()) {
            return Err(KeyError::new(key, KeyFault::Prefix(self.path)));
        }
        let text = |(at, name)| match String::from_utf8(name) {
            Ok(name) if name.is_empty() => Err(KeyError::new(key, KeyFault::EmptySegment(at + 1))),
            Ok(name) => Ok(name),
            Err(_) => Err(KeyError::new(key, KeyFault::NotUtf8(at + 1))),
        };
        self.decode(key)?
            .into_iter()
            .enumerate()
            .map(text)
            .collect()
    }

    /// The beginning of all keys with these first names. Unlike in DM an empty name gives a range in which no
    /// key lies, so that a delete by an empty task name deletes nothing.
    pub fn prefix(&self, names: &[&str]) -> String {
        let mut prefix = self.path.to_owned();
        for name in names {
            match self.spelling {
                Spelling::Hex => prefix.push_str(&hex::encode(name)),
                Spelling::Plain => prefix.push_str(name),
            }
            prefix.push('/');
        }
        prefix
    }
}

/// Joins a rooted path and further parts like a file path: empty parts and `.` go, `..` removes what is before it.
fn join(path: &str, parts: &[&str]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let all = std::iter::once(path).chain(parts.iter().copied());
    for part in all.flat_map(|part| part.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_adapter_is_listed_once_and_ends_in_a_slash() {
        for adapter in Adapter::ALL {
            assert_eq!(Adapter::by_name(adapter.name), Some(adapter));
            assert!(adapter.path.ends_with('/'), "{}", adapter.path);
        }
    }

    #[test]
    fn an_empty_name_in_a_prefix_covers_nothing() {
        let adapter = crate::LoadTaskKey::ADAPTER;
        assert_eq!(adapter.encode(&[""]), "/dm-master/load-task/");
        assert_eq!(adapter.prefix(&[""]), "/dm-master/load-task//");
        assert!(
            !adapter
                .encode(&["t", "s"])
                .starts_with(&adapter.prefix(&[""]))
        );
    }

    #[test]
    fn an_empty_key_is_an_error_and_not_a_panic() {
        for adapter in Adapter::ALL {
            assert!(adapter.names(b"").is_err());
        }
    }
}
