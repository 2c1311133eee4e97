//! The start of a task that takes several transactions.

use crate::{KeyError, KeyFault, TaskName, macros::record, own};

/// `/dm-master/task-start/{task}` -> who is starting the task. A key of our own: it comes with the first transaction
/// of the start and goes with the last one, so whoever finds it while its leader is gone knows that the start
/// is incomplete, and that every subtask of the task that is younger than the key is part of it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TaskStartKey {
    /// The task, its name as it is.
    pub task: TaskName,
}

impl TaskStartKey {
    /// What the keys of all tasks begin with.
    pub const PREFIX: &'static str = "/dm-master/task-start/";

    /// The key in etcd.
    pub fn encode(&self) -> String {
        format!("{}{}", Self::PREFIX, self.task)
    }

    /// Reads the task back; all after the prefix is its name.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        match own::after(Self::PREFIX, key)? {
            "" => Err(KeyError::new(key, KeyFault::EmptySegment(1))),
            name => Ok(Self { task: name.into() }),
        }
    }
}

record! {
    /// Who attends to the start, and how it can be undone.
    TaskStart as "task start" {
        /// Revision of the key of the leader that attends to it; 0 when it is to be undone by whoever leads.
        term: i64 = "term",
        /// The number of subtasks that one transaction can remove.
        batch: i64 = "batch",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_record_survive_a_round_trip() {
        let key = TaskStartKey { task: "a/b".into() };
        assert_eq!(key.encode(), "/dm-master/task-start/a/b");
        assert_eq!(TaskStartKey::parse(key.encode().as_bytes()), Ok(key));
        assert!(TaskStartKey::parse(b"/dm-master/task-start/").is_err());
        assert!(TaskStartKey::parse(b"/dm-master/task-starts").is_err());
        let record = TaskStart {
            term: 7,
            batch: 24,
            ..TaskStart::default()
        };
        let bytes = record.to_bytes();
        assert_eq!(bytes, br#"{"term":7,"batch":24}"#);
        assert_eq!(TaskStart::from_bytes(&bytes), Ok(record));
        assert!(TaskStart::from_bytes(b"no").is_err());
    }
}
