//! `binlog-schema list`, `update`, `delete`, and the older `operate-schema`.

use dm_proto::pb;

use super::task::all;
use super::{Job, read_file, task_name};
use crate::cli::{
    BinlogSchema, OperateSchema, SEE_OUTPUT, SchemaAction, UpdateSchema, wrong_arguments,
};
use crate::error::Error;

const IGNORED: &str = "[warn] the schema file is not used by get and remove";

/// That there are sources is left to the master to demand.
pub(super) async fn run(
    job: &mut Job<'_>,
    path: &[&str],
    schema: &BinlogSchema,
) -> Result<bool, Error> {
    let (op, args) = match &schema.action {
        None => return Ok(job.explain(path)),
        Some(SchemaAction::Update(of)) => return update(job, path, of).await,
        Some(SchemaAction::List(of)) => (pb::SchemaOp::GetSchema, &of.args),
        Some(SchemaAction::Delete(of)) => (pb::SchemaOp::RemoveSchema, &of.args),
    };
    match args.as_slice() {
        [task, database, table, ..] => send(job, request(op, task, database, table)).await,
        _ => Ok(job.explain(path)),
    }
}

async fn update(job: &mut Job<'_>, path: &[&str], update: &UpdateSchema) -> Result<bool, Error> {
    let (from_source, from_target) = (update.from_source, update.from_target);
    if from_source && from_target {
        return refuse("from-source and from-target can not be used together");
    }
    let is_taken = from_source || from_target;
    let (table, schema) = match (update.args.as_slice(), is_taken) {
        ([table @ .., file], false) if table.len() == 3 => (table, read_file(file)?),
        ([_, _, _, _], true) => {
            return refuse("can not set schema-file when use from-source or from-target");
        }
        (table @ [_, _, _], true) => (table, String::new()),
        _ => return Ok(job.explain(path)),
    };
    let [task, database, table] = table else {
        return Ok(job.explain(path));
    };
    let request = pb::OperateSchemaRequest {
        schema,
        flush: update.writing.flush,
        sync: update.writing.sync,
        from_source,
        from_target,
        ..request(pb::SchemaOp::SetSchema, task, database, table)
    };
    send(job, request).await
}

pub(super) async fn operate(
    job: &mut Job<'_>,
    path: &[&str],
    operate: &OperateSchema,
) -> Result<bool, Error> {
    let (word, task, file) = match operate.args.as_slice() {
        [word, task] => (word, task, None),
        [word, task, file] => (word, task, Some(file)),
        _ => return Err(wrong_arguments(path, SEE_OUTPUT)),
    };
    let (op, file) = match (word.as_str(), file) {
        ("get", file) => (pb::SchemaOp::GetSchema, file),
        ("remove", file) => (pb::SchemaOp::RemoveSchema, file),
        ("set", Some(file)) => (pb::SchemaOp::SetSchema, Some(file)),
        // The text is DM's.
        ("set", None) => return refuse("must sepcify schema file for 'set' operation"),
        _ => {
            return Err(Error::Other(format!(
                "invalid operate '{word}' on schema, expected get, set or remove"
            )));
        }
    };
    if job.sources.is_empty() {
        return refuse("must specify at least one source (`-s` / `--source`)");
    }
    if operate.database.is_empty() {
        return refuse("must specify 'database'");
    }
    if operate.table.is_empty() {
        return refuse("must specify 'table'");
    }
    let schema = match file {
        Some(file) if op == pb::SchemaOp::SetSchema => read_file(file)?,
        Some(_) => {
            job.streams.say(IGNORED);
            String::new()
        }
        None => String::new(),
    };
    let request = pb::OperateSchemaRequest {
        schema,
        flush: operate.writing.flush,
        sync: operate.writing.sync,
        ..request(op, task, &operate.database, &operate.table)
    };
    send(job, request).await
}

fn request(op: pb::SchemaOp, task: &str, database: &str, table: &str) -> pb::OperateSchemaRequest {
    pb::OperateSchemaRequest {
        op: op.into(),
        task: task_name(task),
        database: database.to_owned(),
        table: table.to_owned(),
        ..Default::default()
    }
}

async fn send(job: &mut Job<'_>, mut request: pb::OperateSchemaRequest) -> Result<bool, Error> {
    request.sources.clone_from(&job.sources);
    let answer = job
        .ask(request, |mut master, request| async move {
            master.operate_schema(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

fn refuse(text: &str) -> Result<bool, Error> {
    Err(Error::Other(text.to_owned()))
}
