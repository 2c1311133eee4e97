//! The names that keys and records are made of, as types of their own so that they cannot be mixed up.

use std::{fmt, str::FromStr};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl $name {
            /// The name as text, as a user wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether there is no name at all; no key of such a thing can be read back.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A source database, by the `source-id` of its configuration (1 to 32 bytes).
    SourceId
}
name! {
    /// A worker process; by default its advertised address.
    WorkerName
}
name! {
    /// A migration task; together with a [`SourceId`] it names a subtask.
    TaskName
}
name! {
    /// A replica of one of our services.
    MemberName
}

/// An etcd lease; 0 means "no lease".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    /// Lower-case hex without padding, the way etcd's own tools print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The four services, each of which elects a leader of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// Members, leadership and the front door.
    Election,
    /// Sources, workers, bounds, subtasks and stages.
    Scheduler,
    /// Pessimistic shard DDL.
    Pessimist,
    /// Optimistic shard DDL.
    Optimist,
}

impl Role {
    /// Every role once, in the order in which they are shown.
    pub const ALL: [Self; 4] = [
        Self::Election,
        Self::Scheduler,
        Self::Pessimist,
        Self::Optimist,
    ];

    /// The word for the role in keys, flags and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Election => "election",
            Self::Scheduler => "scheduler",
            Self::Pessimist => "pessimist",
            Self::Optimist => "optimist",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names none of the four roles.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown role `{0}`, allowed are election, scheduler, pessimist and optimist")]
pub struct UnknownRole(
    /// The word that was found.
    pub String,
);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or_else(|| UnknownRole(word.to_owned()))
    }
}
