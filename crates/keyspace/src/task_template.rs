//! Task templates of DM's HTTP API. Nothing else reads them; they are kept as they are.

use std::fmt;

use crate::{OpaqueJson, TaskName, ValueError, ValueFault, json::read_value, macros::key_family};

key_family! {
    /// `/dm-master/openapi-task-template/<task>` -> a task as the HTTP API describes it.
    TaskTemplateKey = "/dm-master/openapi-task-template/", "OpenAPITaskTemplateKeyAdapter", Hex {
        /// The task that can be made from it.
        task: TaskName,
    }
}

/// A JSON object that this crate does not look into. It holds a password, so `Debug` shows nothing of it.
#[derive(Clone, Eq, PartialEq)]
pub struct TaskTemplate(OpaqueJson);

impl TaskTemplate {
    /// Takes any JSON object.
    pub fn from_bytes(value: &[u8]) -> Result<Self, ValueError> {
        const RECORD: &str = "task template";
        read_value::<Option<OpaqueJson>>(RECORD, value)?
            .map(Self)
            .ok_or(ValueError::new(RECORD, ValueFault::Kind("an object")))
    }

    /// The bytes to put into etcd.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.get().as_bytes().to_vec()
    }

    /// The content, password included.
    pub fn json(&self) -> &OpaqueJson {
        &self.0
    }
}

impl fmt::Debug for TaskTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskTemplate(..)")
    }
}
