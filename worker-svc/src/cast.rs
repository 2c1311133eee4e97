//! Who is on stage: the source and the subtasks of this worker, for those who ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dm_keyspace::SourceId;
use dm_proto::pb;
use dm_task::DbConfig;

use crate::subtask::View;

/// What is known at a moment.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// The source that is bound, and how to reach it.
    pub source: Option<(SourceId, DbConfig)>,
    /// Its subtasks, by name.
    pub subtasks: Vec<View>,
    /// What went wrong with the bound.
    pub error: Option<pb::ProcessError>,
}

/// Shared by the one who changes it and all who ask.
#[derive(Clone, Debug, Default)]
pub struct Cast(Arc<Mutex<Now>>);

impl Cast {
    /// A copy of what is known.
    pub fn now(&self) -> Now {
        self.lock().clone()
    }

    /// A source is bound.
    pub fn set_source(&self, source: SourceId, from: DbConfig) {
        *self.lock() = Now {
            source: Some((source, from)),
            ..Now::default()
        };
    }

    /// Its subtasks, sorted by name.
    pub fn set_subtasks(&self, subtasks: Vec<View>) {
        self.lock().subtasks = subtasks;
    }

    /// The bound could not be followed.
    pub fn set_error(&self, error: pb::ProcessError) {
        self.lock().error = Some(error);
    }

    /// No source any more.
    pub fn clear(&self) {
        *self.lock() = Now::default();
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
