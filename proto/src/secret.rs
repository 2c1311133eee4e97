//! `Debug` of the messages that carry passwords or the key that protects them: the name and nothing else, so
//! that no log line and no error text can show one by accident.

use std::fmt;

use crate::pb;

macro_rules! opaque {
    ($($name:ident),* $(,)?) => {$(
        impl fmt::Debug for pb::$name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(
    StartTaskRequest,
    UpdateTaskRequest,
    CheckTaskRequest,
    OperateSourceRequest,
    RegisterWorkerResponse,
    GetSubTaskCfgResponse,
    GetCfgResponse,
    GetMasterCfgResponse,
    GetWorkerCfgResponse,
    EncryptRequest,
    ListTaskConfigsResponse,
    ListSourceConfigsResponse,
    V1SubTaskMeta,
    OperateV1MetaResponse,
    CheckSubtasksCanUpdateRequest,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_task_shows_no_password() {
        let request = pb::StartTaskRequest {
            task: "target-database: {password: s3cret}".into(),
            ..Default::default()
        };
        assert_eq!(format!("{request:?}"), "StartTaskRequest { .. }");
    }

    #[test]
    fn debug_of_a_registration_shows_no_key() {
        let response = pb::RegisterWorkerResponse {
            secret_key: vec![42; 32],
            ..Default::default()
        };
        assert!(!format!("{response:?}").contains("42"));
    }
}
