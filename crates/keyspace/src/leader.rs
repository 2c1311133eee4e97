//! The election prefix: of the keys of a role, the one that was created first leads.

use crate::{KeyError, LeaseId, MemberName, Role, macros::record, own};

/// `/dm-master/leader/{role}/{lease id, 16 hex digits}` -> who stands in line. Put once under the member's
/// lease; the lowest create-revision of a role leads, and that revision fences its transactions.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaderKey {
    /// What is led.
    pub role: Role,
    /// The lease under which the key lives.
    pub lease: LeaseId,
}

impl LeaderKey {
    /// What the keys of all roles begin with.
    pub const PREFIX: &'static str = "/dm-master/leader/";

    /// What the keys of one role begin with.
    pub fn prefix_of_role(role: Role) -> String {
        format!("{}{role}/", Self::PREFIX)
    }

    /// The key in etcd.
    pub fn encode(&self) -> String {
        format!("{}{}/{:016x}", Self::PREFIX, self.role, self.lease.0)
    }

    /// Reads role and lease back; only the form with 16 lower-case digits is a key of this family.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        let (role, digits) = own::role_and_rest(Self::PREFIX, key)?;
        let lease = own::lease(digits, key, |lease| format!("{:016x}", lease.0))?;
        Ok(Self { role, lease })
    }
}

/// `/dm-master/leader/{lease id, hex}` -> a master of DM's own on the same etcd. Never written here.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DmCampaignKey {
    /// The lease of that master's session.
    pub lease: LeaseId,
}

impl DmCampaignKey {
    /// The prefix that DM's masters and our [`LeaderKey`] share.
    pub const PREFIX: &'static str = LeaderKey::PREFIX;

    /// The key in etcd; the lease without padding.
    pub fn encode(&self) -> String {
        format!("{}{}", Self::PREFIX, self.lease)
    }

    /// Reads the lease back.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        let digits = own::after(Self::PREFIX, key)?;
        own::lease(digits, key, |lease| lease.to_string()).map(|lease| Self { lease })
    }
}

record! {
    /// The value of a leader key, ours or DM's.
    Campaign as "election campaign" {
        /// The member's name. DM's clean-up deletes keys by it, so it must differ between all processes.
        id: MemberName = "id",
        /// The advertised `host:port`.
        addr: String = "addr",
    }
}

impl Campaign {
    /// A record without members of others.
    pub fn new(id: impl Into<MemberName>, addr: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            addr: addr.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leader_keys_are_read_back_whatever_the_lease() {
        for lease in [0, 1, 0x3ea9_8f2d_1c0b_7a05, i64::MAX, i64::MIN, -1] {
            let key = LeaderKey {
                role: Role::Pessimist,
                lease: LeaseId(lease),
            };
            assert_eq!(LeaderKey::parse(key.encode().as_bytes()), Ok(key));
        }
    }

    #[test]
    fn another_spelling_of_a_lease_is_no_leader_key() {
        for digits in [
            "1",
            "000000000000000G",
            "000000000000000A",
            "+00000000000000a",
            "",
            "00000000000000001",
        ] {
            let key = format!("/dm-master/leader/optimist/{digits}");
            assert!(LeaderKey::parse(key.as_bytes()).is_err(), "{key}");
        }
    }

    #[test]
    fn a_campaign_of_a_dm_master_is_not_one_of_ours() {
        let key = b"/dm-master/leader/3ea98f2d1c0b7a05";
        assert!(LeaderKey::parse(key).is_err());
        let campaign = DmCampaignKey::parse(key).unwrap();
        assert_eq!(campaign.encode().as_bytes(), key);
    }

    #[test]
    fn an_unknown_role_is_named() {
        let error = LeaderKey::parse(b"/dm-master/leader/cook/0000000000000001").unwrap_err();
        assert_eq!(
            error.fault.to_string(),
            "unknown role `cook`, allowed are election, scheduler, pessimist and optimist"
        );
    }
}
