//! Why a command failed, in the words that DM's own tool uses.

use dm_errors::DmError;
use tonic::{Code, Status};

/// What ends a command with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arguments that do not make sense: the usage goes to standard output, the reason to standard error.
    #[error("{reason}")]
    Usage {
        /// Usage of the command.
        usage: String,
        /// What is wrong.
        reason: String,
    },
    /// The command line itself cannot be read.
    #[error("{reason}")]
    CommandLine {
        /// What is wrong.
        reason: String,
        /// Where to look, if DM says so.
        hint: Option<String>,
    },
    /// An error with a code of DM.
    #[error(transparent)]
    Dm(#[from] DmError),
    /// The master refused the call, or did not answer it.
    #[error("rpc error: code = {} desc = {}", code_name(.0.code()), .0.message())]
    Rpc(#[from] Box<Status>),
    /// Anything else, such as a file that cannot be read.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// What goes to standard output before the error.
    pub fn usage(&self) -> Option<&str> {
        match self {
            Self::Usage { usage, .. } => Some(usage),
            _ => None,
        }
    }

    /// What stands below the error.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::CommandLine { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

/// The code as Go's gRPC prints it.
fn code_name(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_printed_as_go_prints_it() {
        let status = |code| Error::from(Box::new(Status::new(code, "why"))).to_string();
        assert_eq!(
            status(Code::DeadlineExceeded),
            "rpc error: code = DeadlineExceeded desc = why"
        );
        assert_eq!(
            status(Code::Cancelled),
            "rpc error: code = Canceled desc = why"
        );
    }
}
