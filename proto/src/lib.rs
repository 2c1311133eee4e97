//! Everything that goes over the wire: messages, clients and servers generated from `proto/`.
//!
//! - [`pb`]: DM's own `pb.Master` and `pb.Worker`, wire-identical.
//! - [`member`], [`election`], [`scheduler`], [`pessimist`], [`optimist`]: the services of this project
//!   (`dm.<role>.v1`), which take `pb` messages where DM has one for the job.
//! - [`etcdserverpb`], [`mvccpb`]: the part of etcd's API that a stand-in for etcd has to serve.
//! - [`codec`]: how messages are decoded (leniently, as to UTF-8); [`json`]: how `dmctl` prints them.
//! - [`FILE_DESCRIPTOR_SET`]: the description of all of it, for gRPC reflection.
//!
//! # Names that surprise
//!
//! The generator splits capitals by rules of its own: `DDLs` is `dd_ls`, `blockingDDLs` is `blocking_dd_ls`,
//! `peerURLs` is `peer_ur_ls`, `clientURLs` is `client_ur_ls`, `binlogGTID` is `binlog_gtid`,
//! `unresolvedDDLLockID` is `unresolved_ddl_lock_id`, `dumpIOTotalBytes` is `dump_io_total_bytes`, `ErrCode` is
//! `err_code`, `ID` is `id`, `type` is `r#type`. Types keep DM's letters except that `DDLLock` is
//! [`pb::DdlLock`], `ShowDDLLocksRequest` is [`pb::ShowDdlLocksRequest`] and so on. JSON has the original names.
//!
//! Enums are open: a field holds an `i32`, and a number without a name passes through unchanged.

pub mod codec;
mod descriptor;
pub mod json;
mod lossy;
mod secret;
mod wire;

#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated; the comments of the .proto files are kept where there are any"
)]
mod generated {
    pub mod pb {
        tonic::include_proto!("pb");
    }
    pub mod mvccpb {
        tonic::include_proto!("mvccpb");
    }
    pub mod etcdserverpb {
        tonic::include_proto!("etcdserverpb");
    }
    pub(crate) mod dm {
        pub(crate) mod member {
            pub mod v1 {
                tonic::include_proto!("dm.member.v1");
            }
        }
        pub(crate) mod election {
            pub mod v1 {
                tonic::include_proto!("dm.election.v1");
            }
        }
        pub(crate) mod scheduler {
            pub mod v1 {
                tonic::include_proto!("dm.scheduler.v1");
            }
        }
        pub(crate) mod pessimist {
            pub mod v1 {
                tonic::include_proto!("dm.pessimist.v1");
            }
        }
        pub(crate) mod optimist {
            pub mod v1 {
                tonic::include_proto!("dm.optimist.v1");
            }
        }
    }
}

pub use generated::dm::election::v1 as election;
pub use generated::dm::member::v1 as member;
pub use generated::dm::optimist::v1 as optimist;
pub use generated::dm::pessimist::v1 as pessimist;
pub use generated::dm::scheduler::v1 as scheduler;
pub use generated::{etcdserverpb, mvccpb, pb};

/// Encoded `google.protobuf.FileDescriptorSet` of every file in `proto/` and what they import.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("dm");
