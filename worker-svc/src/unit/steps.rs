//! The steps of a DDL between which a process may die, as places that a test can stop at.
//!
//! Nothing in a configuration leads here: only who builds a subtask's surroundings in code can watch its steps. Without a watcher a step costs one look at an
//! empty option.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

/// A place between two effects that last. Named after what has just happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// All tables of the source have met the DDL, and that is written down; etcd has not heard of it.
    Met,
    /// The order that answers the report was seen.
    Ordered,
    /// It was an order to execute, and that is written down.
    Executing,
    /// What the downstream looked like before a statement is written down; the statement was not sent.
    Attempted,
    /// The statement was executed; nobody knows.
    Executed,
    /// The order was followed, and that is written down; etcd has not heard of it.
    Told,
    /// etcd has heard of it; that is not written down.
    Confirmed,
    /// That is written down, too; no held row was applied.
    Replaying,
    /// Some held rows were applied and written down.
    PartReplayed,
    /// All were applied; the last of them are not written down.
    Replayed,
    /// The DDL is behind the source, and that is written down.
    Resolved,
}

impl Step {
    /// All, in the order in which they come.
    pub const ALL: [Self; 11] = [
        Self::Met,
        Self::Ordered,
        Self::Executing,
        Self::Attempted,
        Self::Executed,
        Self::Told,
        Self::Confirmed,
        Self::Replaying,
        Self::PartReplayed,
        Self::Replayed,
        Self::Resolved,
    ];
}

/// Is told of each step, and may hold it up for as long as it likes.
pub trait Watcher: Send + Sync {
    /// A step was reached; the run goes on when the future is done.
    fn reached(&self, step: Step) -> BoxFuture<'static, ()>;
}

/// The watcher of a subtask's steps, if it has one.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Watcher>>);

impl Steps {
    /// Watched steps.
    pub fn watched_by(watcher: Arc<dyn Watcher>) -> Self {
        Self(Some(watcher))
    }

    /// Says that a step was reached.
    pub async fn reach(&self, step: Step) {
        if let Some(watcher) = &self.0 {
            watcher.reached(step).await;
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Steps").field(&self.0.is_some()).finish()
    }
}
