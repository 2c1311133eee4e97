//! Generates messages, clients and servers from `proto/`, and the descriptor set that reflection,
//! the lenient codec and the JSON printer read.

use std::path::PathBuf;

const FILES: [&str; 9] = [
    "proto/dmmaster.proto",
    "proto/dmworker.proto",
    "proto/etcd.proto",
    "proto/kv.proto",
    "proto/dm/member/v1/member.proto",
    "proto/dm/election/v1/election.proto",
    "proto/dm/scheduler/v1/scheduler.proto",
    "proto/dm/pessimist/v1/pessimist.proto",
    "proto/dm/optimist/v1/optimist.proto",
];

/// Messages that carry configurations with passwords, a plain password or the key that protects them. Their
/// `Debug` is written by hand (`src/secret.rs`) and shows the name alone.
const SECRET: [&str; 15] = [
    "StartTaskRequest",
    "UpdateTaskRequest",
    "CheckTaskRequest",
    "OperateSourceRequest",
    "RegisterWorkerResponse",
    "GetSubTaskCfgResponse",
    "GetCfgResponse",
    "GetMasterCfgResponse",
    "GetWorkerCfgResponse",
    "EncryptRequest",
    "ListTaskConfigsResponse",
    "ListSourceConfigsResponse",
    "V1SubTaskMeta",
    "OperateV1MetaResponse",
    "CheckSubtasksCanUpdateRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names();
    prost.skip_debug(SECRET.map(|name| format!(".pb.{name}")));
    tonic_prost_build::configure()
        .codec_path("crate::codec::LossyCodec")
        .btree_map(".")
        .file_descriptor_set_path(out.join("dm.bin"))
        .compile_with_config(prost, &FILES, &["proto"])?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
