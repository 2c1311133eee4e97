//! Registered workers.

use crate::{
    WorkerName,
    macros::{key_family, record},
};

key_family! {
    /// `/dm-worker/r/<worker>` -> where the worker listens. Written when it registers, no lease: it stays
    /// until the worker is taken offline for good.
    WorkerInfoKey = "/dm-worker/r/", "WorkerRegisterKeyAdapter", Hex {
        /// The worker that registered.
        worker: WorkerName,
    }
}

record! {
    /// A worker and its address.
    WorkerInfo as "worker info" {
        /// The same name as in the key.
        name: WorkerName = "name",
        /// The advertised `host:port`.
        addr: String = "addr",
    }
}

impl WorkerInfo {
    /// A record without members of others.
    pub fn new(name: impl Into<WorkerName>, addr: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            addr: addr.into(),
            ..Self::default()
        }
    }
}
