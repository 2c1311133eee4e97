//! Members that must not lead until they are allowed to again.

use crate::{KeyError, MemberName, Role, macros::record, own};

/// `/dm-master/evicted/{role}/{name}` -> who is evicted. Without a lease: it outlives the member, until the eviction
/// is cancelled, that is the key deleted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EvictionKey {
    /// The service that the member is a replica of.
    pub role: Role,
    /// The member, as its operator named it.
    pub name: MemberName,
}

impl EvictionKey {
    /// What the keys of all roles begin with.
    pub const PREFIX: &'static str = "/dm-master/evicted/";

    /// What the keys of one role begin with.
    pub fn prefix_of_role(role: Role) -> String {
        format!("{}{role}/", Self::PREFIX)
    }

    /// The key in etcd; the name stands there as it is.
    pub fn encode(&self) -> String {
        format!("{}{}/{}", Self::PREFIX, self.role, self.name)
    }

    /// Reads role and name back; all after the role's slash is the name.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        let (role, name) = own::role_and_rest(Self::PREFIX, key)?;
        Ok(Self {
            role,
            name: name.into(),
        })
    }
}

record! {
    /// The key's existence says it all; the name is repeated for readers of raw values.
    Eviction as "eviction" {
        /// The same name as in the key.
        name: MemberName = "name",
    }
}

impl Eviction {
    /// A record without members of others.
    pub fn new(name: impl Into<MemberName>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}
