//! The wish that a certain member shall lead next.

use crate::{KeyError, MemberName, Role, macros::record, own};

/// `/dm-master/transfer/{role}` -> who shall lead. Everybody before that member in the line queues behind it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TransferKey {
    /// What is handed over.
    pub role: Role,
}

impl TransferKey {
    /// What the keys of all roles begin with.
    pub const PREFIX: &'static str = "/dm-master/transfer/";

    /// The key in etcd.
    pub fn encode(&self) -> String {
        format!("{}{}", Self::PREFIX, self.role)
    }

    /// Reads the role back.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        own::role(Self::PREFIX, key).map(|role| Self { role })
    }
}

record! {
    /// Whom leadership is handed to.
    Transfer as "transfer" {
        /// The member that shall lead.
        to: MemberName = "to",
    }
}

impl Transfer {
    /// A record without members of others.
    pub fn new(to: impl Into<MemberName>) -> Self {
        Self {
            to: to.into(),
            ..Self::default()
        }
    }
}
