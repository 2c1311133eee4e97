//! OperateSchema: the structures that a subtask tracks of its source's tables, shown and changed.

use std::time::Duration;

use dm_errors::{Code, DmError};
use dm_proto::pb;

use crate::error::Result;
use crate::names::TableName;
use crate::subtask::{View, not_paused};
use crate::tracked::{Change, Side, Subject};

/// The databases may take this long to answer what is asked of them.
const LIMIT: Duration = Duration::from_secs(20);

/// Follows a request. The answer is the text for the client.
pub(super) async fn operate(
    view: &View,
    subject: Subject,
    request: pb::OperateWorkerSchemaRequest,
) -> Result<String> {
    let stage = view.told().stage;
    let runs = stage == pb::Stage::Running && request.op() == pb::SchemaOp::ListMigrateTargets;
    if stage != pb::Stage::Paused && !runs {
        return Err(not_paused(stage).into());
    }
    match request.op() {
        pb::SchemaOp::SetSchema | pb::SchemaOp::RemoveSchema => {
            let change = limited(prepare(&subject, request)).await?;
            view.change(change).await?;
            Ok(String::new())
        }
        _ => limited(ask(&subject, request)).await,
    }
}

async fn limited<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| {
        let text = format!("no answer from the databases within {LIMIT:?}");
        Err(DmError::uncoded(text).into())
    })
}

async fn ask(subject: &Subject, request: pb::OperateWorkerSchemaRequest) -> Result<String> {
    match request.op() {
        pb::SchemaOp::GetSchema => {
            let table = TableName::new(request.database, request.table);
            subject.create_table(&table).await
        }
        pb::SchemaOp::ListSchema => subject.schemas().await,
        pb::SchemaOp::ListTable => subject.tables(&request.database).await,
        pb::SchemaOp::ListMigrateTargets => subject.targets(&request.schema, &request.table).await,
        other => {
            let op = other.as_str_name();
            Err(DmError::new(Code::SYNCER_UNIT_NOT_SUPPORTED_OPERATE, &[&op]).into())
        }
    }
}

/// What the request wants, as far as it can be said before the subtask's own records are touched.
async fn prepare(subject: &Subject, request: pb::OperateWorkerSchemaRequest) -> Result<Change> {
    // Refused before anything else while there is nothing to change.
    subject.structures().await?;
    let removes = request.op() == pb::SchemaOp::RemoveSchema;
    let table = TableName::new(request.database, request.table);
    let present = async |side| subject.definition(&table, side).await;
    let create = if removes && !subject.config.shard_mode.is_empty() {
        // A table of a shard group may meet a DDL before its next row, for which its structure would be asked for: it is taken now.
        present(Side::Source).await?
    } else if removes {
        None
    } else if request.from_source {
        let missing = || DmError::new(Code::SCHEMA_TRACKER_CANNOT_GET_TABLE, &[&table]);
        Some(present(Side::Source).await?.ok_or_else(missing)?)
    } else if request.from_target {
        let missing = || DmError::new(Code::SYNCER_DOWNSTREAM_TABLE_NOT_FOUND, &[&table]);
        Some(present(Side::Target).await?.ok_or_else(missing)?)
    } else {
        Some(request.schema)
    };
    let change = Change {
        sync: request.sync && !removes,
        table,
        create,
    };
    subject.check(&change)?;
    Ok(change)
}
