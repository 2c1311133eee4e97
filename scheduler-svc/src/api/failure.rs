//! Why a request is not done, and in which form the caller hears it.

use dm_errors::{Class, Code, DmError};
use dm_replica::{Refused, WriteError};
use dm_service::layers::forward::NOT_LEADER;
use tonic::{Response, Status};

/// Either an answer that says no, or no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The text for `msg`.
    Answer(String),
    /// This replica cannot answer now.
    Status(Box<Status>),
}

impl Failure {
    /// The request's outcome as a response: `refuse` puts the text into a message of the right type.
    pub(super) fn answered<T>(
        outcome: Result<T, Self>,
        refuse: impl FnOnce(String) -> T,
    ) -> Result<Response<T>, Status> {
        match outcome {
            Ok(answer) => Ok(Response::new(answer)),
            Err(Self::Answer(text)) => {
                tracing::info!(reason = text, "request refused");
                Ok(Response::new(refuse(text)))
            }
            Err(Self::Status(status)) => Err(*status),
        }
    }
}

impl From<DmError> for Failure {
    fn from(error: DmError) -> Self {
        // What DM says without a code it says without the frame, too.
        let is_bare = error.code() == Code::NOT_SET && error.error_class() == Class::NotSet;
        Self::Answer(if is_bare && error.raw_cause().is_empty() {
            error.message_text().to_owned()
        } else {
            error.to_string()
        })
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Status::unavailable(format!("{NOT_LEADER}, RawCause: {refused}")).into()
    }
}

impl From<WriteError<DmError>> for Failure {
    fn from(error: WriteError<DmError>) -> Self {
        match error {
            WriteError::Rejected(error) => error.into(),
            WriteError::Refused(refused) => refused.into(),
            other @ (WriteError::Unacceptable(_) | WriteError::Contended | WriteError::Unknown) => {
                DmError::new(Code::HA_FAIL_TXN_OPERATION, &[&"nothing was written"])
                    .cause(other)
                    .into()
            }
        }
    }
}
