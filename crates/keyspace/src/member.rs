//! Replicas of our services that are there, active or not.

use crate::{KeyError, MemberName, Role, macros::record, own};

/// `/dm-master/member/{role}/{name}` -> where the replica listens. Put under the lease of its leader key, so that
/// both go together.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberKey {
    /// The service that the member is a replica of.
    pub role: Role,
    /// The member, as its operator named it.
    pub name: MemberName,
}

impl MemberKey {
    /// What the keys of all roles begin with.
    pub const PREFIX: &'static str = "/dm-master/member/";

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
    /// A replica and how to reach it.
    Member as "member" {
        /// The same name as in the key.
        name: MemberName = "name",
        /// The advertised `host:port` of gRPC and health alike.
        addr: String = "addr",
        /// The release that runs there.
        version: String = "version",
    }
}

impl Member {
    /// A record without members of others.
    pub fn new(
        name: impl Into<MemberName>,
        addr: impl Into<String>,
        version: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            addr: addr.into(),
            version: version.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_name_may_hold_slashes() {
        let key = MemberKey {
            role: Role::Scheduler,
            name: "a/b/".into(),
        };
        assert_eq!(key.encode(), "/dm-master/member/scheduler/a/b/");
        assert_eq!(MemberKey::parse(key.encode().as_bytes()), Ok(key));
    }

    #[test]
    fn a_member_without_a_name_is_refused() {
        for key in [
            "/dm-master/member/scheduler/",
            "/dm-master/member/scheduler",
        ] {
            assert!(MemberKey::parse(key.as_bytes()).is_err(), "{key}");
        }
    }
}
