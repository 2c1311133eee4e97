//! The two records about the cluster as a whole. Their keys have no names in them.

use crate::{ValueError, ValueFault, macros::record, own};

/// `/dm-cluster/version` -> the layout of the data. A cluster that starts with our services writes the current
/// one, so that a later master of DM's finds nothing to upgrade.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClusterVersionKey;

impl ClusterVersionKey {
    /// The key itself.
    pub const PREFIX: &'static str = "/dm-cluster/version";

    /// The key in etcd.
    pub fn encode(&self) -> String {
        Self::PREFIX.to_owned()
    }

    /// Takes this very key only.
    pub fn parse(key: &[u8]) -> Result<Self, crate::KeyError> {
        own::exactly(Self::PREFIX, key).map(|()| Self)
    }
}

record! {
    /// The layout's number and the release that wrote it.
    ClusterVersion as "cluster version" {
        /// The layout; only this number is compared.
        internal_no: u64 = "internal-no",
        /// Free text.
        release_ver: String = "release-ver",
    }
}

impl ClusterVersion {
    /// The layout that this crate describes.
    pub const CURRENT: u64 = 4;

    /// The current layout, written by the given release.
    pub fn current(release: impl Into<String>) -> Self {
        Self {
            internal_no: Self::CURRENT,
            release_ver: release.into(),
            ..Self::default()
        }
    }

    /// Whether this is what a missing record reads as.
    pub fn is_unset(&self) -> bool {
        self.internal_no == 0 && self.release_ver.is_empty()
    }
}

/// `/dm-cluster/id` -> the cluster's identity, written once.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClusterIdKey;

impl ClusterIdKey {
    /// The key itself.
    pub const PREFIX: &'static str = "/dm-cluster/id";

    /// The key in etcd.
    pub fn encode(&self) -> String {
        Self::PREFIX.to_owned()
    }

    /// Takes this very key only.
    pub fn parse(key: &[u8]) -> Result<Self, crate::KeyError> {
        own::exactly(Self::PREFIX, key).map(|()| Self)
    }
}

/// Unix seconds of the cluster's birth in the upper half, a random number in the lower; eight bytes, big endian.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClusterId(pub u64);

impl ClusterId {
    /// The identity of a cluster that begins now; the caller has clock and chance.
    pub const fn new(unix_seconds: u32, random: u32) -> Self {
        Self((unix_seconds as u64) << 32 | random as u64)
    }

    /// Any length other than eight is an error, with which DM's masters do not start.
    pub fn from_bytes(value: &[u8]) -> Result<Self, ValueError> {
        let fault = ValueFault::Length {
            found: value.len(),
            expected: 8,
        };
        let bytes = value
            .try_into()
            .map_err(|_| ValueError::new("cluster id", fault))?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }

    /// The bytes to put into etcd.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_of_another_length_is_refused() {
        let error = ClusterId::from_bytes(b"1234567").unwrap_err();
        assert_eq!(
            error.to_string(),
            "bad cluster id: the value has 7 bytes, want 8"
        );
    }

    #[test]
    fn a_missing_version_is_the_unset_one() {
        assert!(ClusterVersion::from_bytes(b"{}").unwrap().is_unset());
        assert!(!ClusterVersion::current("").is_unset());
    }
}
