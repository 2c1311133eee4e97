//! What can go wrong with etcd, sorted by what the caller can do about it.

use std::time::Duration;

use crate::types::Revision;

/// A request that etcd did not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wrong settings: an address, a TLS file.
    #[error("etcd settings: {0}")]
    Settings(String),
    /// No answer within the deadline.
    #[error("etcd did not answer {call} within {limit:?}")]
    Timeout {
        /// The call.
        call: &'static str,
        /// The deadline that passed.
        limit: Duration,
    },
    /// The revision to read or watch from is no longer kept.
    #[error("etcd has compacted revision {asked}")]
    Compacted {
        /// The revision that was asked for.
        asked: Revision,
    },
    /// The lease is not known any more.
    #[error("etcd does not know the lease")]
    LeaseGone,
    /// The request itself is not acceptable (too many operations, too large).
    #[error("etcd refused {call}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// etcd's words.
        message: String,
    },
    /// etcd is unreachable, without a leader, or overloaded.
    #[error("etcd is not available for {call}: {message}")]
    Unavailable {
        /// The call.
        call: &'static str,
        /// The cause in etcd's or the connection's words.
        message: String,
    },
}

impl Error {
    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unavailable { .. })
    }

    /// Sorts a client error of `call`.
    pub(crate) fn from_client(call: &'static str, error: etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => Self::from_status(call, &status),
            etcd_client::Error::InvalidArgs(m) => Self::Settings(m),
            etcd_client::Error::InvalidUri(e) => Self::Settings(e.to_string()),
            etcd_client::Error::EndpointError(m) => Self::Settings(m),
            other => Self::Unavailable {
                call,
                message: other.to_string(),
            },
        }
    }

    fn from_status(call: &'static str, status: &tonic::Status) -> Self {
        use tonic::Code;
        let message = status.message().to_owned();
        match status.code() {
            Code::NotFound if message.contains("lease not found") => Self::LeaseGone,
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented => Self::Refused { call, message },
            // "database space exceeded" and "too many requests" share this code and may pass.
            _ => Self::Unavailable { call, message },
        }
    }
}

/// Why a transaction did not, or perhaps did, take effect.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A guard did not hold; nothing was written.
    #[error("a guard of the transaction did not hold at revision {revision}")]
    GuardFailed {
        /// The store's revision when the guards were looked at.
        revision: Revision,
    },
    /// The reply was lost: the transaction may or may not have been applied.
    #[error("the outcome of the transaction is not known")]
    Unknown(#[source] Error),
    /// etcd refused the transaction; nothing was written.
    #[error("the transaction was refused")]
    Refused(#[source] Error),
}
