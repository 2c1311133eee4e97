//! What a request does to the state: checked against the fold, answered by a guarded write or by DM's error.
//!
//! The guards say what the check has relied on, so that a plan made on a state that is no longer true fails as
//! a whole and is made again. Two requests that exclude each other always share a guarded key: adding a subtask
//! puts the source's configuration again as it is, because removing the source relies on that key being as it
//! was seen, and nothing else in etcd tells that a subtask has come.

mod relay;
mod sources;
mod tasks;
mod transfer;
mod validation;
mod workers;

use std::fmt::Display;

use dm_errors::{Code, DmError, List};

pub use sources::{NewSource, SourceRemoved};
pub use tasks::{CliArgs, Extent, NewSubtask, NewTask, SubtaskStage};
pub use transfer::{Begun, Outlook, cannot_pause, not_in_sync};
pub use validation::{NewValidation, Target};

/// An error about one name.
fn about(code: Code, name: impl Display) -> DmError {
    DmError::new(code, &[&name])
}

/// An error about a name and a list of names.
fn about_list<T: Display>(code: Code, name: impl Display, list: &[T]) -> DmError {
    DmError::new(code, &[&name, &List(list)])
}
