//! From settings to a running worker.

use dm_keyspace::{JoinTime, WorkerName};
use dm_proto::pb::worker_server::WorkerServer;
use dm_service::replicated::store_options;
use dm_service::{App, BoxError, Context, OnExit, Settings};
use dm_store::{Options, Store};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::cast::Cast;
use crate::join::register;
use crate::metrics;
use crate::settings::{Join, addresses};
use crate::worker::Worker;

/// The condition of readiness that an open session fulfils.
const SESSION: &str = "session";

/// Joins, then serves until the process is asked to stop.
pub async fn serve(settings: Settings<Join>, ctx: Context) -> Result<(), BoxError> {
    ctx.readiness().not_ready(SESSION, "not joined yet");
    let join = addresses(&settings.own.join);
    let stopping = ctx.stopping();
    let waiting = |reason| ctx.readiness().not_ready(SESSION, reason);
    let joining = register(
        ctx.channels(),
        &join,
        ctx.name(),
        ctx.advertise_addr(),
        waiting,
    );
    let Some(secret) = stopping.run_until_cancelled(joining).await else {
        return Ok(());
    };
    let store = Store::connect(&Options {
        endpoints: join,
        // The masters that a worker once joined through may all be replaced.
        follow_members: true,
        ..store_options(ctx.common())
    })
    .await?;
    let cast = Cast::default();
    let worker = Worker {
        name: WorkerName::from(ctx.name()),
        store,
        ttl: settings.own.keepalive_ttl,
        secret,
        cast: cast.clone(),
    };
    metrics::mirror(&ctx, cast.clone())?;
    live(&ctx, worker);
    let api = Api::new(ctx.name().to_owned(), shown(&settings, &ctx), cast.clone());
    let app = App::new()
        .grpc_local(WorkerServer::new(api))
        .descriptors(dm_proto::FILE_DESCRIPTOR_SET)
        .status(move || page(&cast));
    ctx.serve(app).await
}

/// Runs the sessions; at the end the subtasks finish first, and then the lease is given back.
fn live(ctx: &Context, worker: Worker) {
    let stop = CancellationToken::new();
    let ended = CancellationToken::new();
    let (stopping, over) = (stop.clone(), ended.clone());
    ctx.on_stop("give up the source", async move {
        stopping.cancel();
        over.cancelled().await;
    });
    let (clock, readiness) = (ctx.clock().clone(), ctx.readiness().clone());
    ctx.spawn("worker", OnExit::Fatal, async move {
        let joined = || JoinTime::since_epoch(clock.unix());
        let changed = |session: Result<(), String>| match session {
            Ok(()) => readiness.ready(SESSION),
            Err(reason) => readiness.not_ready(SESSION, reason),
        };
        worker.run(stop, joined, changed).await;
        ended.cancel();
        // The process goes on to stop its other loops.
        std::future::pending::<()>().await;
    });
}

/// What GetWorkerCfg answers: the settings under DM's keys.
fn shown(settings: &Settings<Join>, ctx: &Context) -> String {
    let common = &settings.common;
    let path = |p: &Option<std::path::PathBuf>| {
        p.as_ref()
            .map(|p| p.display().to_string())
            .unwrap_or_default()
    };
    let lines = [
        ("name", ctx.name().to_owned()),
        ("log-level", common.log_level.clone()),
        ("join", settings.own.join.join(",")),
        ("worker-addr", common.listen.clone()),
        ("advertise-addr", ctx.advertise_addr().to_owned()),
        ("ssl-ca", path(&common.ssl_ca)),
        ("ssl-cert", path(&common.ssl_cert)),
        ("ssl-key", path(&common.ssl_key)),
    ];
    let mut text: String = lines
        .iter()
        .map(|(key, value)| format!("{key} = {}\n", serde_json::Value::from(value.as_str())))
        .collect();
    text.push_str(&format!(
        "keepalive-ttl = {}\n",
        settings.own.keepalive_ttl.as_secs()
    ));
    text
}

fn page(cast: &Cast) -> serde_json::Value {
    let now = cast.now();
    let subtasks: Vec<serde_json::Value> = now
        .subtasks
        .iter()
        .map(|view| {
            let told = view.told();
            let figures = view.board.read();
            serde_json::json!({
                "task": view.task.as_str(),
                "stage": told.stage.as_str_name(),
                "unit": format!("{:?}", figures.unit),
                "errors": told.errors.iter().map(|e| e.message.clone()).collect::<Vec<_>>(),
                "applied": figures.applied.to_string(),
                "rows": figures.rows,
                "tables-without-key": figures.keyless,
            })
        })
        .collect();
    serde_json::json!({
        "source": now.source.map(|(id, _)| id.to_string()),
        "error": now.error.map(|e| e.message),
        "subtasks": subtasks,
    })
}
