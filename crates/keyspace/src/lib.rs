//! The keys of DM in etcd and the records under them, typed. Pure: no I/O, no clock, no etcd client.
//!
//! A *family* is one kind of key with one kind of value; each has a file of its own with the key type
//! (`PREFIX`, `encode`, `parse`) and the record (`from_bytes`, `to_bytes`). [`Key::parse`] tells the family
//! of any key. Segments in angle brackets are lower-case hex of the name's UTF-8 bytes, except below
//! `/dm-master/{leader,member,evicted,transfer,task-start}`, which are ours and hold names as they are.
//!
//! ```text
//! /dm-cluster/version                                              ClusterVersionKey    JSON
//! /dm-cluster/id                                                   ClusterIdKey         8 bytes
//! /dm-worker/r/<worker>                                            WorkerInfoKey        JSON
//! /dm-worker/a/<worker>                                            KeepAliveKey         JSON, leased
//! /dm-master/load-task/<task>/<source>                             LoadTaskKey          JSON string
//! /dm-master/v2/upstream/config/<source>                           SourceConfigKey      TOML
//! /dm-master/upstream/config/{source}                              SourceConfigV1Key    TOML, old layout, plain name
//! /dm-master/upstream/subtask/<source>/<task>                      SubtaskKey           TOML
//! /dm-master/bound-worker/<worker>                                 BoundKey             JSON
//! /dm-master/last-bound-worker/<worker>                            LastBoundKey         JSON
//! /dm-master/relay-worker/<worker>                                 RelayWorkerKey       plain text
//! /dm-master/v2/stage/relay/<source>                               RelayStageKey        JSON
//! /dm-master/stage/relay/{source}                                  RelayStageV1Key      JSON, old layout, plain name
//! /dm-master/stage/subtask/<source>/<task>                         SubtaskStageKey      JSON
//! /dm-master/stage/validator/<source>/<task>                       ValidatorStageKey    JSON
//! /dm-master/lightning-coord/<task>/<source>                       LightningKey         JSON string
//! /dm-master/task-cli-args/<task>/<source>                         TaskCliArgsKey       JSON
//! /dm-master/openapi-task-template/<task>                          TaskTemplateKey      JSON
//! /dm-master/shardddl-pessimism/info/<task>/<source>               pessimism::InfoKey       JSON
//! /dm-master/shardddl-pessimism/operation/<task>/<source>          pessimism::OperationKey  JSON
//! /dm-master/shardddl-optimism/source-tables/<task>/<source>       optimism::SourceTablesKey   JSON
//! /dm-master/shardddl-optimism/info/<task>/<source>/<schema>/<table>       optimism::InfoKey       JSON
//! /dm-master/shardddl-optimism/operation/<task>/<source>/<schema>/<table>  optimism::OperationKey  JSON
//! /dm-master/shardddl-optimism/dropped-columns/<lock>/<column>/<source>/<schema>/<table>
//!                                                                  optimism::DroppedColumnKey  JSON number
//! /dm-master/leader/{lease id, hex}                                DmCampaignKey        JSON, leased; DM's own masters
//! /dm-master/leader/{role}/{lease id, 16 hex digits}               LeaderKey            JSON, leased
//! /dm-master/member/{role}/{name}                                  MemberKey            JSON, leased
//! /dm-master/evicted/{role}/{name}                                 EvictionKey          JSON
//! /dm-master/transfer/{role}                                       TransferKey          JSON
//! /dm-master/task-start/{task}                                     TaskStartKey         JSON
//! /dm-master/relay-operation                                       RelayOperationKey    JSON
//! ```
//!
//! What must stay true:
//! - JSON goes out byte for byte as DM's own programs write it; a guard of DM's compares whole values.
//! - Members that a record does not know survive a read and a write, but never get into a *done* operation.
//! - Nothing here panics, whatever the bytes.

mod adapter;
mod bound;
mod cluster;
mod error;
mod eviction;
mod json;
mod keepalive;
mod key;
mod leader;
mod lightning;
mod load_task;
mod lock_id;
mod macros;
mod member;
mod names;
mod own;
mod relay;
mod source_config;
mod stage;
mod subtask;
mod task_cli_args;
mod task_start;
mod task_template;
mod transfer;
mod worker;

pub mod optimism;
pub mod pessimism;

pub use adapter::{Adapter, Spelling};
pub use bound::{Bound, BoundKey, LastBoundKey};
pub use cluster::{ClusterId, ClusterIdKey, ClusterVersion, ClusterVersionKey};
pub use error::{KeyError, KeyFault, ValueError, ValueFault};
pub use eviction::{Eviction, EvictionKey};
pub use json::{Extra, OpaqueJson};
pub use keepalive::{JoinTime, KeepAlive, KeepAliveKey};
pub use key::Key;
pub use leader::{Campaign, DmCampaignKey, LeaderKey};
pub use lightning::{Lightning, LightningKey};
pub use load_task::{LoadTask, LoadTaskKey};
pub use member::{Member, MemberKey};
pub use names::{LeaseId, MemberName, Role, SourceId, TaskName, UnknownRole, WorkerName};
pub use relay::{RelayWorker, RelayWorkerKey};
pub use source_config::{SourceConfigKey, SourceConfigV1Key};
pub use stage::{
    RelayStageKey, RelayStageV1Key, Stage, StageRecord, SubtaskStageKey, ValidatorStageKey,
};
pub use subtask::SubtaskKey;
pub use task_cli_args::{TaskCliArgs, TaskCliArgsKey};
pub use task_start::{OperationKind, RelayOperationKey, TaskStart, TaskStartKey};
pub use task_template::{TaskTemplate, TaskTemplateKey};
pub use transfer::{Transfer, TransferKey};
pub use worker::{WorkerInfo, WorkerInfoKey};
