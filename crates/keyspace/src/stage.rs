//! What a relay, a subtask or a validator is expected to do.

use serde_json::value::RawValue;

use crate::{
    SourceId, TaskName,
    json::{Field, Mismatch},
    macros::{key_family, record},
};

key_family! {
    /// `/dm-master/v2/stage/relay/<source>` -> what the relay of the source is expected to do.
    RelayStageKey = "/dm-master/v2/stage/relay/", "StageRelayKeyAdapter", Hex {
        /// The source whose log is relayed.
        source: SourceId,
    }
}

key_family! {
    /// `/dm-master/stage/relay/{source}` -> the same in clusters before version 3, name in plain text.
    RelayStageV1Key = "/dm-master/stage/relay/", "StageRelayKeyAdapterV1", Plain {
        /// The source whose log is relayed.
        source: SourceId,
    }
}

key_family! {
    /// `/dm-master/stage/subtask/<source>/<task>` -> what the subtask is expected to do. Its delete stops the
    /// subtask. The first stage must not be paused: a worker would make up a subtask without a name.
    SubtaskStageKey = "/dm-master/stage/subtask/", "StageSubTaskKeyAdapter", Hex {
        /// The source migrated from.
        source: SourceId,
        /// The task it belongs to.
        task: TaskName,
    }
}

impl SubtaskStageKey {
    /// What the keys of one source begin with.
    pub fn prefix_of_source(source: &SourceId) -> String {
        Self::ADAPTER.prefix(&[source.as_str()])
    }
}

key_family! {
    /// `/dm-master/stage/validator/<source>/<task>` -> what the validator of a subtask is expected to do.
    ValidatorStageKey = "/dm-master/stage/validator/", "StageValidatorKeyAdapter", Hex {
        /// The source migrated from.
        source: SourceId,
        /// The task it belongs to.
        task: TaskName,
    }
}

impl ValidatorStageKey {
    /// What the keys of one source begin with.
    pub fn prefix_of_source(source: &SourceId) -> String {
        Self::ADAPTER.prefix(&[source.as_str()])
    }
}

record! {
    /// The value of all three kinds of stage.
    StageRecord as "stage" {
        /// What is expected.
        expect: Stage = "expect",
        /// Of which source.
        source: SourceId = "source",
        /// Of which task; none for a relay.
        task: Option<TaskName> = "task",
    }
}

impl StageRecord {
    /// What the relay of a source is to do.
    pub fn relay(expect: Stage, source: impl Into<SourceId>) -> Self {
        Self {
            expect,
            source: source.into(),
            ..Self::default()
        }
    }

    /// What a subtask, or its validator, is to do.
    pub fn subtask(expect: Stage, source: impl Into<SourceId>, task: impl Into<TaskName>) -> Self {
        let task = Some(task.into()).filter(|task| !task.is_empty());
        Self {
            task,
            ..Self::relay(expect, source)
        }
    }
}

/// A stage, in etcd by the number of DM's protobuf enum and never by its name.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// 0, not a stage.
    #[default]
    Invalid,
    /// 1, created and not started.
    New,
    /// 2.
    Running,
    /// 3, can be resumed.
    Paused,
    /// 4, over.
    Stopped,
    /// 5, nothing left to do.
    Finished,
    /// 6, on the way to paused.
    Pausing,
    /// 7, on the way back to running.
    Resuming,
    /// 8, on the way to stopped.
    Stopping,
    /// A number of another version; DM's readers take any.
    Unknown(i32),
}

impl Stage {
    /// The stage of a protobuf number.
    pub const fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Invalid,
            1 => Self::New,
            2 => Self::Running,
            3 => Self::Paused,
            4 => Self::Stopped,
            5 => Self::Finished,
            6 => Self::Pausing,
            7 => Self::Resuming,
            8 => Self::Stopping,
            other => Self::Unknown(other),
        }
    }

    /// The protobuf number of the stage.
    pub const fn number(self) -> i32 {
        match self {
            Self::Invalid => 0,
            Self::New => 1,
            Self::Running => 2,
            Self::Paused => 3,
            Self::Stopped => 4,
            Self::Finished => 5,
            Self::Pausing => 6,
            Self::Resuming => 7,
            Self::Stopping => 8,
            Self::Unknown(number) => number,
        }
    }
}

impl Field for Stage {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        let mut number = self.number();
        number.read(json)?;
        *self = Self::from_number(number);
        Ok(())
    }

    fn write(&self, out: &mut String) {
        self.number().write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_stage_and_comes_back() {
        for number in -2..12 {
            assert_eq!(Stage::from_number(number).number(), number);
        }
    }

    #[test]
    fn a_relay_stage_has_no_task_member() {
        let stage = StageRecord::relay(Stage::Paused, "s");
        assert_eq!(stage.to_bytes(), br#"{"expect":3,"source":"s"}"#);
        assert_eq!(StageRecord::subtask(Stage::Paused, "s", ""), stage);
    }
}
