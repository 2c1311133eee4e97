//! `binlog skip`, `replace`, `inject`, `revert`, `list`, and the older `handle-error`.

mod statements;

use dm_errors::{Code, DmError};
use dm_proto::pb;

use super::task::all;
use super::{Job, task_name};
use crate::cli::{Binlog, BinlogAction, HandleError, SEE_OUTPUT, wrong_arguments};
use crate::error::Error;

pub(super) async fn run(job: &mut Job<'_>, path: &[&str], binlog: &Binlog) -> Result<bool, Error> {
    let Some(action) = &binlog.action else {
        return Ok(job.explain(path));
    };
    let (op, args) = match action {
        BinlogAction::Skip(of) => (pb::ErrorOp::Skip, &of.args),
        BinlogAction::Replace(of) => (pb::ErrorOp::Replace, &of.args),
        BinlogAction::Inject(of) => (pb::ErrorOp::Inject, &of.args),
        BinlogAction::Revert(of) => (pb::ErrorOp::Revert, &of.args),
        BinlogAction::List(of) => (pb::ErrorOp::List, &of.args),
    };
    let (task, sqls) = match (op, args.split_first()) {
        (pb::ErrorOp::Replace | pb::ErrorOp::Inject, Some((task, sqls))) if !sqls.is_empty() => {
            (task, statements::of(sqls)?)
        }
        // What stands behind the task is of no meaning here, but has never been refused either.
        (pb::ErrorOp::Revert, Some((task, _))) => (task, Vec::new()),
        (pb::ErrorOp::Skip | pb::ErrorOp::List, Some((task, []))) => (task, Vec::new()),
        _ => return Ok(job.explain(path)),
    };
    send(job, op, task, &binlog.binlog_pos, sqls).await
}

pub(super) async fn handle_error(
    job: &mut Job<'_>,
    path: &[&str],
    handle: &HandleError,
) -> Result<bool, Error> {
    let [task, word, sqls @ ..] = handle.args.as_slice() else {
        return Err(wrong_arguments(path, SEE_OUTPUT));
    };
    let refuse = |text: &str| Err(Error::Other(text.to_owned()));
    let (op, sqls) = match (word.as_str(), sqls) {
        ("skip", []) => (pb::ErrorOp::Skip, Vec::new()),
        ("revert", []) => (pb::ErrorOp::Revert, Vec::new()),
        ("skip" | "revert", _) => {
            return refuse("replace-sqls can not be used for 'skip/revert' operation");
        }
        ("replace", []) => return refuse("must specify the replace-sqls for replace operation"),
        ("replace", sqls) => (pb::ErrorOp::Replace, statements::of(sqls)?),
        _ => {
            return Err(Error::Other(format!(
                "invalid operation '{word}', please use `skip`, `replace` or `revert`"
            )));
        }
    };
    send(job, op, task, &handle.binlog_pos, sqls).await
}

async fn send(
    job: &mut Job<'_>,
    op: pb::ErrorOp,
    task: &str,
    at: &str,
    sqls: Vec<String>,
) -> Result<bool, Error> {
    let request = pb::HandleErrorRequest {
        op: op.into(),
        task: task_name(task),
        sources: job.sources.clone(),
        binlog_pos: position(at)?,
        sqls,
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.handle_error(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

/// The position to send; none is none.
fn position(text: &str) -> Result<String, DmError> {
    let bare = text.trim_matches('"');
    let is_position = bare
        .rsplit_once(':')
        .is_some_and(|(name, pos)| !name.is_empty() && pos.parse::<u32>().is_ok());
    if bare.is_empty() || is_position {
        return Ok(bare.to_owned());
    }
    let text = format!(
        "invalid --binlog-pos {bare} in handle-error operation: expected name:pos such as mysql-bin.000001:4"
    );
    Err(DmError::new(Code::VERIFY_HANDLE_ERROR_ARGS, &[]).message(text))
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn a_position_is_a_name_and_a_number() {
        assert_eq!(position("").unwrap(), "");
        assert_eq!(
            position("\"mysql-bin.000001:4\"").unwrap(),
            "mysql-bin.000001:4"
        );
        for bad in [
            "mysql-bin.000001",
            ":4",
            "mysql-bin.000001:",
            "b:4294967296",
            "b:-1",
        ] {
            let error = position(bad).unwrap_err().to_string();
            let start = format!(
                "[code=11118:class=functional:scope=internal:level=low], Message: invalid --binlog-pos {bad} in handle-error operation: "
            );
            assert!(error.starts_with(&start), "{error}");
        }
    }
}
