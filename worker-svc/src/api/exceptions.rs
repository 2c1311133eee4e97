//! HandleError: an order for one statement of the log, by its place or for the one that has failed.

use dm_errors::{Code, DmError};
use dm_proto::pb;
use serde::Serialize;

use crate::binlog::position::Position;
use crate::error::{Error, Result};
use crate::exceptions::{self, Exception};
use crate::status::Unit;
use crate::subtask::View;

/// What a place that is no statement is answered with, in DM's words, since scripts look for them.
const ONLY_DDL: &str = "only support to handle ddl error currently, see https://docs.pingcap.com/tidb-data-migration/stable/error-handling for other errors";

/// Follows a request. The answer is the text for the client.
pub(super) async fn handle(
    view: &View,
    source: &str,
    request: &pb::HandleWorkerErrorRequest,
) -> Result<String> {
    let unit = match view.board.read().unit {
        Unit::Sync => None,
        Unit::Load => Some("Load"),
        Unit::None => Some(""),
    };
    if let Some(unit) = unit {
        return Err(DmError::new(Code::WORKER_OPER_SYNC_UNIT_ONLY, &[&unit]).into());
    }
    let named = (!request.binlog_pos.is_empty())
        .then(|| place(&request.binlog_pos))
        .transpose()?;
    if request.op() == pb::ErrorOp::List {
        return list(view, named.as_ref());
    }
    let place = match named {
        Some(place) => place,
        None => failed(view, source, request.op())?,
    };
    match request.op() {
        pb::ErrorOp::Revert => {
            if !view.exceptions.revert(&place) {
                return Err(DmError::new(Code::SYNCER_OPERATOR_NOT_EXIST, &[&place]).into());
            }
        }
        pb::ErrorOp::Skip => view.exceptions.set(place, Exception::Skip),
        pb::ErrorOp::Replace => {
            exceptions::read(&request.sqls)?;
            let exception = Exception::Replace(request.sqls.clone());
            view.exceptions.set(place, exception);
        }
        pb::ErrorOp::Inject => {
            exceptions::read(&request.sqls)?;
            let exception = Exception::Inject(request.sqls.clone());
            view.exceptions.set(place, exception);
        }
        pb::ErrorOp::InvalidErrorOp | pb::ErrorOp::List => {
            let op = request.op().as_str_name();
            return Err(DmError::new(Code::SYNCER_UNIT_NOT_SUPPORTED_OPERATE, &[&op]).into());
        }
    }
    if view.told().stage == pb::Stage::Paused {
        view.resume().await;
    }
    Ok(String::new())
}

/// Where the statement begins that the subtask stands still for.
fn failed(view: &View, source: &str, op: pb::ErrorOp) -> Result<Position> {
    let none = || DmError::uncoded(format!("source '{source}' has no error"));
    if view.told().errors.is_empty() {
        return Err(none().into());
    }
    let (place, is_statement) = view.board.read().failed.ok_or_else(none)?;
    if is_statement || op == pb::ErrorOp::Inject {
        Ok(place)
    } else {
        Err(DmError::uncoded(ONLY_DDL).into())
    }
}

/// `name:pos`.
fn place(text: &str) -> Result<Position> {
    let parsed = text
        .rsplit_once(':')
        .and_then(|(file, pos)| Some(Position::new(file, pos.parse().ok()?)));
    parsed.ok_or_else(|| {
        let text = format!("{text} is no position of the binlog: name:position is one");
        Error::Coded(DmError::uncoded(text))
    })
}

/// One order as the request that gave it.
#[derive(Serialize)]
struct Listed<'a> {
    op: i32,
    task: &'a str,
    #[serde(rename = "binlogPos")]
    binlog_pos: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sqls: Vec<String>,
}

fn list(view: &View, from: Option<&Position>) -> Result<String> {
    let all = view.exceptions.all(from);
    let all: Vec<Listed<'_>> = all
        .into_iter()
        .map(|(at, exception)| {
            let (op, sqls) = match exception {
                Exception::Skip => (pb::ErrorOp::Skip, Vec::new()),
                Exception::Replace(sqls) => (pb::ErrorOp::Replace, sqls),
                Exception::Inject(sqls) => (pb::ErrorOp::Inject, sqls),
            };
            Listed {
                op: op.into(),
                task: view.task.as_str(),
                binlog_pos: format!("{}:{}", at.file, at.pos),
                sqls,
            }
        })
        .collect();
    serde_json::to_string(&all).map_err(|e| DmError::uncoded(e.to_string()).into())
}
