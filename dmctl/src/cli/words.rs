//! The words that make a command, without its arguments.

use super::{BinlogAction, Command, ConfigAction, LockAction, SchemaAction, ValidationAction};

impl Command {
    /// The name of the command and of what is chosen below it, such as `binlog skip`.
    pub fn words(&self) -> &'static str {
        match self {
            Self::StartTask(_) => "start-task",
            Self::CheckTask(_) => "check-task",
            Self::StopTask(_) => "stop-task",
            Self::PauseTask(_) => "pause-task",
            Self::ResumeTask(_) => "resume-task",
            Self::QueryStatus(_) => "query-status",
            Self::OperateSource(_) => "operate-source",
            Self::TransferSource(_) => "transfer-source",
            Self::StartRelay(_) => "start-relay",
            Self::StopRelay(_) => "stop-relay",
            Self::PauseRelay(_) => "pause-relay",
            Self::ResumeRelay(_) => "resume-relay",
            Self::PurgeRelay(_) => "purge-relay",
            Self::ShardDdlLock(lock) => match lock.action {
                None => "shard-ddl-lock",
                Some(LockAction::Unlock(_)) => "shard-ddl-lock unlock",
            },
            Self::ShowDdlLocks(_) => "show-ddl-locks",
            Self::UnlockDdlLock(_) => "unlock-ddl-lock",
            Self::Binlog(binlog) => binlog.action.as_ref().map_or("binlog", below_binlog),
            Self::HandleError(_) => "handle-error",
            Self::BinlogSchema(schema) => {
                let action = schema.action.as_ref();
                action.map_or("binlog-schema", below_schema)
            }
            Self::OperateSchema(_) => "operate-schema",
            Self::Validation(validation) => {
                let action = validation.action.as_ref();
                action.map_or("validation", below_validation)
            }
            Self::Config(config) => config.action.as_ref().map_or("config", below_config),
            Self::GetConfig(_) => "get-config",
            Self::GetTaskConfig(_) => "get-task-config",
            Self::Encrypt(_) => "encrypt",
            Self::ListMember(_) => "list-member",
            Self::OfflineMember(_) => "offline-member",
            Self::OperateLeader(_) => "operate-leader",
            Self::TransferLeader(_) => "transfer-leader",
        }
    }
}

fn below_binlog(action: &BinlogAction) -> &'static str {
    match action {
        BinlogAction::Skip(_) => "binlog skip",
        BinlogAction::Replace(_) => "binlog replace",
        BinlogAction::Inject(_) => "binlog inject",
        BinlogAction::Revert(_) => "binlog revert",
        BinlogAction::List(_) => "binlog list",
    }
}

fn below_config(action: &ConfigAction) -> &'static str {
    match action {
        ConfigAction::Task(task) if task.action.is_some() => "config task update",
        ConfigAction::Task(_) => "config task",
        ConfigAction::Source(source) if source.action.is_some() => "config source update",
        ConfigAction::Source(_) => "config source",
        ConfigAction::Master(_) => "config master",
        ConfigAction::Worker(_) => "config worker",
        ConfigAction::TaskTemplate(_) => "config task-template",
        ConfigAction::Export(_) => "config export",
        ConfigAction::Import(_) => "config import",
    }
}

fn below_validation(action: &ValidationAction) -> &'static str {
    match action {
        ValidationAction::Start(_) => "validation start",
        ValidationAction::Stop(_) => "validation stop",
        ValidationAction::Update(_) => "validation update",
        ValidationAction::Status(_) => "validation status",
        ValidationAction::ShowError(_) => "validation show-error",
        ValidationAction::IgnoreError(_) => "validation ignore-error",
        ValidationAction::ResolveError(_) => "validation resolve-error",
        ValidationAction::ClearError(_) => "validation clear-error",
    }
}

fn below_schema(action: &SchemaAction) -> &'static str {
    match action {
        SchemaAction::List(_) => "binlog-schema list",
        SchemaAction::Update(_) => "binlog-schema update",
        SchemaAction::Delete(_) => "binlog-schema delete",
    }
}
