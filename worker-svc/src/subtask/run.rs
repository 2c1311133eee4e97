//! One run of a subtask's units, from wherever the downstream says that the last one stopped.

use dm_keyspace::{LoadTask, LoadTaskKey};
use dm_store::KeyRange;
use dm_task::SubtaskConfig;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Surroundings, View};
use crate::downstream::connection;
use crate::downstream::meta::Records;
use crate::downstream::writer::Writer;
use crate::error::{Error, Result, downstream};
use crate::load::{self, State};
use crate::rules::Rules;
use crate::sync::engine::Engine;
use crate::sync::start;
use crate::unit::Context;

/// What the units of one run share.
pub fn context(
    view: &View,
    surroundings: &Surroundings,
    config: SubtaskConfig,
    cancel: CancellationToken,
) -> Result<Context> {
    let Surroundings {
        worker,
        source,
        from,
        bound_revision,
        store,
        permit,
        coordinator,
        steps,
        ..
    } = surroundings.clone();
    Ok(Context {
        rules: Rules::new(&config)?,
        records: Records::new(&config.meta_schema, view.task.as_str(), source.as_str()),
        task: view.task.clone(),
        source,
        worker,
        config,
        from,
        bound_revision,
        store,
        board: view.board.clone(),
        exceptions: view.exceptions.clone(),
        permit,
        cancel,
        coordinator,
        steps,
    })
}

/// Runs the units that the mode asks for. An answer without error means that all is done for good.
pub async fn units(unit: Context) -> Result<()> {
    loop {
        match Box::pin(once(unit.clone())).await {
            Err(error @ Error::Outdated { .. }) => {
                tracing::warn!(%error, "going on from what is written down")
            }
            done => return done,
        }
    }
}

async fn once(unit: Context) -> Result<()> {
    let span = |name: &'static str| {
        tracing::info_span!(
            "subtask",
            otel.name = name,
            dm.task = %unit.task,
            dm.source = %unit.source,
            dm.worker = %unit.worker,
            dm.mode = unit.config.mode,
        )
    };
    let opening = unit.guarded(open(&unit)).instrument(span("start_subtask"));
    let mut writer = opening.await?;
    if unit.config.loads() {
        let state = load::state(&unit, &mut writer).await?;
        if state != State::Finished {
            note_load(&unit).await?;
            let loading = load::run(&unit, &mut writer, state);
            loading.instrument(span("full_load")).await?;
        }
        // Again at each start: the answer to the last one may have been lost.
        forget_load(&unit).await?;
    }
    if !unit.config.syncs() {
        return Ok(());
    }
    let starting = start::state(&unit, &mut writer);
    let starting = unit.guarded(starting).instrument(span("start_replication"));
    let (progress, structures) = starting.await?;
    match Engine::new(unit, writer, progress, structures).run().await {
        Err(error) => Err(error),
        Ok(never) => match never {},
    }
}

/// Connects to the downstream and shuts out whoever wrote there before.
pub async fn open(unit: &Context) -> Result<Writer> {
    let mut conn = connection::writer(&unit.config.to)
        .await
        .map_err(downstream("connect"))?;
    unit.records.create(&mut conn).await?;
    let epoch = unit.records.claim(&mut conn, unit.bound_revision).await?;
    Ok(Writer::new(
        conn,
        unit.records.clone(),
        epoch,
        unit.permit.clone(),
    ))
}

fn load_key(unit: &Context) -> String {
    let key = LoadTaskKey {
        task: unit.task.clone(),
        source: unit.source.clone(),
    };
    key.encode()
}

/// While a load lasts, the scheduler leaves the source with this worker if it can.
async fn note_load(unit: &Context) -> Result<()> {
    let value = LoadTask {
        worker: unit.worker.clone(),
    };
    unit.permit.check()?;
    let put = unit.store.put(load_key(unit), value.to_bytes(), None);
    put.await.map(drop).map_err(commit_error)
}

async fn forget_load(unit: &Context) -> Result<()> {
    unit.permit.check()?;
    let delete = unit.store.delete(KeyRange::key(load_key(unit)));
    delete.await.map(drop).map_err(commit_error)
}

fn commit_error(error: dm_store::CommitError) -> Error {
    match error {
        dm_store::CommitError::Unknown(error) | dm_store::CommitError::Refused(error) => {
            Error::Store(error)
        }
        dm_store::CommitError::GuardFailed { .. } => Error::LeaseEnded,
    }
}
