//! Which family a key belongs to.

use crate::{
    BoundKey, ClusterIdKey, ClusterVersionKey, DmCampaignKey, EvictionKey, KeepAliveKey, KeyError,
    LastBoundKey, LeaderKey, LightningKey, LoadTaskKey, MemberKey, RelayStageKey, RelayStageV1Key,
    RelayWorkerKey, SourceConfigKey, SourceConfigV1Key, SubtaskKey, SubtaskStageKey,
    TaskCliArgsKey, TaskTemplateKey, TransferKey, ValidatorStageKey, WorkerInfoKey, optimism,
    pessimism,
};

macro_rules! families {
    (
        by_prefix { $( $(#[$doc:meta])* $variant:ident($key:ty), )+ }
        before { $( $(#[$special_doc:meta])* $special:ident($special_key:ty) if $is:expr, )+ }
    ) => {
        /// A key of the whole tree.
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Key {
            $( $(#[$doc])* $variant($key), )+
            $( $(#[$special_doc])* $special($special_key), )+
            /// A key that belongs to no family: somebody else's, or a left-over of an old version.
            Foreign(Vec<u8>),
        }

        impl Key {
            /// Reads any key. An error means that the key lies under the prefix of a family and is none of it.
            pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
                $(
                    if $is(key) {
                        return <$special_key>::parse(key).map(Self::$special);
                    }
                )+
                $(
                    if key.starts_with(<$key>::PREFIX.as_bytes()) {
                        return <$key>::parse(key).map(Self::$variant);
                    }
                )+
                Ok(Self::Foreign(key.to_vec()))
            }

            /// The key in etcd.
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $( Self::$variant(key) => key.encode().into_bytes(), )+
                    $( Self::$special(key) => key.encode().into_bytes(), )+
                    Self::Foreign(key) => key.clone(),
                }
            }
        }

        $(
            impl From<$key> for Key {
                fn from(key: $key) -> Self {
                    Self::$variant(key)
                }
            }
        )+
        $(
            impl From<$special_key> for Key {
                fn from(key: $special_key) -> Self {
                    Self::$special(key)
                }
            }
        )+
    };
}

families! {
    // No prefix begins with another one.
    by_prefix {
        /// A registered worker.
        WorkerInfo(WorkerInfoKey),
        /// A living worker.
        KeepAlive(KeepAliveKey),
        /// Who holds a dump.
        LoadTask(LoadTaskKey),
        /// Configuration of a source.
        SourceConfig(SourceConfigKey),
        /// The same in the old layout.
        SourceConfigV1(SourceConfigV1Key),
        /// Configuration of a subtask.
        Subtask(SubtaskKey),
        /// Who serves a source.
        Bound(BoundKey),
        /// Who served it last.
        LastBound(LastBoundKey),
        /// Who pulls a relay log.
        RelayWorker(RelayWorkerKey),
        /// What a relay shall do.
        RelayStage(RelayStageKey),
        /// The same in the old layout.
        RelayStageV1(RelayStageV1Key),
        /// What a subtask shall do.
        SubtaskStage(SubtaskStageKey),
        /// What a validator shall do.
        ValidatorStage(ValidatorStageKey),
        /// How far a physical import is.
        Lightning(LightningKey),
        /// Arguments from the command line.
        TaskCliArgs(TaskCliArgsKey),
        /// A task of the HTTP API.
        TaskTemplate(TaskTemplateKey),
        /// Pessimistic: a DDL that was met.
        PessimismInfo(pessimism::InfoKey),
        /// Pessimistic: an order.
        PessimismOperation(pessimism::OperationKey),
        /// Optimistic: the tables of a source.
        SourceTables(optimism::SourceTablesKey),
        /// Optimistic: a schema change that was met.
        OptimismInfo(optimism::InfoKey),
        /// Optimistic: an answer.
        OptimismOperation(optimism::OperationKey),
        /// Optimistic: a column on its way out.
        DroppedColumn(optimism::DroppedColumnKey),
        /// A place in the line for leadership.
        Leader(LeaderKey),
        /// A replica of ours.
        Member(MemberKey),
        /// A member that must not lead.
        Eviction(EvictionKey),
        /// A member that shall lead.
        Transfer(TransferKey),
    }
    // Fixed keys, and the one kind that shares its prefix with another.
    before {
        /// The layout of the data.
        ClusterVersion(ClusterVersionKey) if is_cluster_version,
        /// The cluster's identity.
        ClusterId(ClusterIdKey) if is_cluster_id,
        /// A master of DM's own in its line for leadership.
        DmCampaign(DmCampaignKey) if is_dm_campaign,
    }
}

fn is_cluster_version(key: &[u8]) -> bool {
    key == ClusterVersionKey::PREFIX.as_bytes()
}

fn is_cluster_id(key: &[u8]) -> bool {
    key == ClusterIdKey::PREFIX.as_bytes()
}

fn is_dm_campaign(key: &[u8]) -> bool {
    key.starts_with(DmCampaignKey::PREFIX.as_bytes()) && DmCampaignKey::parse(key).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_nobody_are_foreign() {
        let keys: [&[u8]; 6] = [
            b"",
            b"/dm-cluster/topology",
            b"/dm-cluster/identity",
            b"/dm-master/shardddl-optimism/init-schema/74",
            b"/dm-master/load-task",
            b"/dm-\xff",
        ];
        for key in keys {
            assert_eq!(Key::parse(key), Ok(Key::Foreign(key.to_vec())));
        }
    }

    #[test]
    fn a_bad_key_under_a_prefix_is_named() {
        let error = Key::parse(b"/dm-worker/r/zz").unwrap_err();
        assert_eq!(
            error.to_string(),
            "fail to decode etcd key: /dm-worker/r/zz"
        );
        assert_eq!(error.code(), 11110);
        let error = Key::parse(b"/dm-worker/r/ff").unwrap_err();
        assert_eq!(error.fault.to_string(), "segment 1 is not UTF-8");
        assert!(Key::parse(b"/dm-master/leader/nobody").is_err());
    }

    #[test]
    fn the_two_kinds_of_election_keys_are_told_apart() {
        let ours = Key::parse(b"/dm-master/leader/election/3ea98f2d1c0b7a05");
        assert!(matches!(ours, Ok(Key::Leader(_))), "{ours:?}");
        let dm = Key::parse(b"/dm-master/leader/3ea98f2d1c0b7a05");
        assert!(matches!(dm, Ok(Key::DmCampaign(_))), "{dm:?}");
    }
}
