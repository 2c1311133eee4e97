//! Workers that were told by name to pull the relay log of a source.

use crate::{SourceId, ValueError, ValueFault, WorkerName, macros::key_family};

key_family! {
    /// `/dm-master/relay-worker/<worker>` -> the source whose relay log the worker pulls.
    RelayWorkerKey = "/dm-master/relay-worker/", "UpstreamRelayWorkerKeyAdapter", Hex {
        /// The worker that pulls.
        worker: WorkerName,
    }
}

/// The bare source id, the only value without any syntax around it: nothing can be added to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RelayWorker {
    /// Whose relay log is pulled.
    pub source: SourceId,
}

impl RelayWorker {
    /// Takes the bytes as they are; there is no quoting and no trimming.
    pub fn from_bytes(value: &[u8]) -> Result<Self, ValueError> {
        let source = std::str::from_utf8(value)
            .map_err(|_| ValueError::new("relay config", ValueFault::NotUtf8))?;
        Ok(Self {
            source: source.into(),
        })
    }

    /// The bytes to put into etcd.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.source.as_str().as_bytes().to_vec()
    }
}
