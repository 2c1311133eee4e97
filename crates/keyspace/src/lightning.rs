//! How far each source of a task is with a physical import.

use serde_json::value::RawValue;

use crate::{
    SourceId, TaskName, ValueError,
    json::{Field, Mismatch, push_string, read_value},
    macros::key_family,
};

key_family! {
    /// `/dm-master/lightning-coord/<task>/<source>` -> how far the source is. The scheduler writes the first
    /// state for all sources before the task starts; workers write the others and read those of the task.
    LightningKey = "/dm-master/lightning-coord/", "LightningCoordinationKeyAdapter", Hex {
        /// The task that imports.
        task: TaskName,
        /// The source imported from.
        source: SourceId,
    }
}

impl LightningKey {
    /// What the keys of one task begin with.
    pub fn prefix_of_task(task: &TaskName) -> String {
        Self::ADAPTER.prefix(&[task.as_str()])
    }
}

/// A JSON string that says how far an import is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lightning {
    /// Written before the task starts.
    NotReady,
    /// Dumped, waiting for the other sources.
    Ready,
    /// Imported.
    Finished,
    /// A word of another version; DM's readers take any.
    Other(String),
}

impl Lightning {
    /// The word in the value.
    pub fn as_str(&self) -> &str {
        match self {
            Self::NotReady => "not-ready",
            Self::Ready => "ready",
            Self::Finished => "finished",
            Self::Other(word) => word,
        }
    }

    /// Reads the string; its quotes belong to the value.
    pub fn from_bytes(value: &[u8]) -> Result<Self, ValueError> {
        read_value("lightning status", value)
    }

    /// The bytes to put into etcd, quotes included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out);
        out.into_bytes()
    }
}

impl From<String> for Lightning {
    fn from(word: String) -> Self {
        match word.as_str() {
            "not-ready" => Self::NotReady,
            "ready" => Self::Ready,
            "finished" => Self::Finished,
            _ => Self::Other(word),
        }
    }
}

impl Default for Lightning {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl Field for Lightning {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        let mut word = self.as_str().to_owned();
        word.read(json)?;
        *self = word.into();
        Ok(())
    }

    fn write(&self, out: &mut String) {
        push_string(out, self.as_str());
    }
}
