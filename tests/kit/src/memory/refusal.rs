//! What etcd says when it refuses: clients branch on these codes and texts.

use tonic::{Code, Status};

/// A request that was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The revision asked for has been compacted away.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision asked for has not happened yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// A request without a key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// A put that keeps the old value or lease of a key that is not there.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A put that both keeps the old value and brings one.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A put that both keeps the old lease and brings one.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// More operations than the server allows in a transaction.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// A transaction that would change a key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A lease that has ended or never was.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A grant for an id that is in use.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A grant for longer than etcd's limit.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Compacted | Refusal::FutureRevision | Refusal::LeaseTtlTooLarge => {
                Code::OutOfRange
            }
            Refusal::LeaseNotFound => Code::NotFound,
            Refusal::LeaseExists => Code::FailedPrecondition,
            Refusal::EmptyKey
            | Refusal::KeyNotFound
            | Refusal::ValueProvided
            | Refusal::LeaseProvided
            | Refusal::TooManyOps
            | Refusal::DuplicateKey => Code::InvalidArgument,
        };
        Self::new(code, refusal.to_string())
    }
}
