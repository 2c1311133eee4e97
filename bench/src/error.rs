//! Why there are no figures.

use std::time::Duration;

/// What ended a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process or a port could not be had.
    #[error(transparent)]
    Kit(#[from] dm_testkit::Error),
    /// etcd did not answer.
    #[error("{what}")]
    Etcd {
        /// What was being done.
        what: String,
        /// etcd's reason.
        #[source]
        source: dm_store::Error,
    },
    /// A transaction did not take effect.
    #[error("{what}")]
    Commit {
        /// What was being written.
        what: String,
        /// Why it was not.
        #[source]
        source: dm_store::CommitError,
    },
    /// A call to the master failed.
    #[error("{what}: {reason}")]
    Call {
        /// The call.
        what: String,
        /// The status or the refusal, in words.
        reason: String,
    },
    /// The master did something that DM's does not do: its speed is of no interest.
    #[error("wrong answer: {0}")]
    Wrong(String),
    /// Nothing happened.
    #[error("waited {limit:?} in vain for this: {what}")]
    Late {
        /// How long the wait was.
        limit: Duration,
        /// What did not happen.
        what: String,
    },
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
    /// The run cannot be done this way.
    #[error("{0}")]
    Usage(String),
}

/// Shorthand of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An adapter for `map_err` of reads and leases.
    pub(crate) fn etcd(what: impl Into<String>) -> impl FnOnce(dm_store::Error) -> Self {
        let what = what.into();
        move |source| Self::Etcd { what, source }
    }

    /// An adapter for `map_err` of transactions.
    pub(crate) fn commit(what: impl Into<String>) -> impl FnOnce(dm_store::CommitError) -> Self {
        let what = what.into();
        move |source| Self::Commit { what, source }
    }

    /// An adapter for `map_err` of calls.
    pub(crate) fn call<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |e| Self::Call {
            what,
            reason: e.to_string(),
        }
    }

    /// The error with its causes, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Waits for a future with a limit; `what` ends the sentence "waited in vain for this".
pub(crate) async fn within<T>(
    limit: Duration,
    what: impl FnOnce() -> String,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, future).await {
        Ok(done) => done,
        Err(_) => Err(Error::Late {
            limit,
            what: what(),
        }),
    }
}
