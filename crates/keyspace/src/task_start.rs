//! Operations on a task, or on relays, that take several transactions.

use serde_json::value::RawValue;

use crate::{
    KeyError, KeyFault, SourceId, TaskName,
    json::{Field, Mismatch, push_string},
    macros::record,
    own,
};

/// `/dm-master/task-start/{task}` -> what is being done to the task in several transactions: a start, a stop, a pause,
/// and so on. A key of our own: it comes with the first of the transactions and goes with the last one, so whoever
/// finds it knows that the operation is incomplete, and of which sources it is.
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

/// `/dm-master/relay-operation` -> the pause or resume of the relays of many sources, with a record of the same form.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RelayOperationKey;

impl RelayOperationKey {
    /// The only key.
    pub const KEY: &'static str = "/dm-master/relay-operation";

    /// Tells the key from all others.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        own::exactly(Self::KEY, key).map(|()| Self)
    }
}

record! {
    /// What is being done, to which sources, and who attends to it.
    TaskStart as "task start" {
        /// Revision of the key of the leader that attends to it; 0 when it is to be undone by whoever leads.
        term: i64 = "term",
        /// The number of sources that one transaction can carry on with.
        batch: i64 = "batch",
        /// What is being done.
        kind: OperationKind = "kind",
        /// All sources that it is of, in the order in which they are dealt with; of a start, those that it adds.
        sources: Vec<SourceId> = "sources",
        /// How validators are to compare, where they are being started; none leaves it as it is.
        mode: Option<String> = "mode",
        /// The time that validators are to begin at, likewise.
        start_time: Option<String> = "start-time",
    }
}

/// What is being done in several transactions. All but a start can be carried on from its record alone.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum OperationKind {
    /// Subtasks are being added; without its leader it is undone.
    #[default]
    Start,
    /// Subtasks are being removed.
    Stop,
    /// Subtasks, or relays, are being told to pause.
    Pause,
    /// Subtasks, or relays, are being told to run.
    Resume,
    /// Validators are being told to run.
    StartValidation,
    /// Validators are being told to stop.
    StopValidation,
}

impl OperationKind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Start, "start"),
        (Self::Stop, "stop"),
        (Self::Pause, "pause"),
        (Self::Resume, "resume"),
        (Self::StartValidation, "start-validation"),
        (Self::StopValidation, "stop-validation"),
    ];

    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, word)| word)
    }
}

impl Field for OperationKind {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        let mut word = self.as_str().to_owned();
        word.read(json)?;
        let known = Self::ALL.iter().find(|(_, known)| *known == word);
        *self = known
            .map(|(kind, _)| *kind)
            .ok_or(Mismatch("the name of an operation"))?;
        Ok(())
    }

    fn write(&self, out: &mut String) {
        push_string(out, self.as_str());
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
        assert!(RelayOperationKey::parse(RelayOperationKey::KEY.as_bytes()).is_ok());
        assert!(RelayOperationKey::parse(b"/dm-master/relay-operation/").is_err());
        for (kind, word) in OperationKind::ALL {
            let record = TaskStart {
                term: 7,
                batch: 24,
                kind,
                sources: vec!["s1".into(), "s\"2".into()],
                ..TaskStart::default()
            };
            let bytes = record.to_bytes();
            let expected =
                format!(r#"{{"term":7,"batch":24,"kind":"{word}","sources":["s1","s\"2"]}}"#);
            assert_eq!(String::from_utf8_lossy(&bytes), expected);
            assert_eq!(TaskStart::from_bytes(&bytes), Ok(record));
        }
        assert!(TaskStart::from_bytes(b"no").is_err());
        assert!(TaskStart::from_bytes(br#"{"kind":"dance"}"#).is_err());
        assert!(TaskStart::from_bytes(br#"{"sources":[1]}"#).is_err());
    }
}
