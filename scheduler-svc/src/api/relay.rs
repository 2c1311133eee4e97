//! `OperateRelay` and `OperateWorkerRelayTask`.

use dm_errors::{Code, DmError};
use dm_keyspace::{SourceId, WorkerName};
use dm_proto::pb::{self, RelayOp, RelayOpV2};
use tonic::Status;
use tracing::instrument;

use super::verdict::Expected;
use super::wait::{Awaited, entry};
use super::{Api, Failure, sources};
use crate::machine::record::WorkerStage;
use crate::machine::request::Extent;
use crate::machine::{BoundWorker, Scheduler};

const OFFLINE: &str = "source relay is operated but the bound worker is offline";

impl Api {
    #[instrument(name = "operate_relay", skip_all, fields(dm.source = request.source, dm.operation = request.op().as_str_name()))]
    pub(super) async fn relay(
        &self,
        request: &pb::OperateRelayRequest,
    ) -> Result<pb::OperateRelayResponse, Failure> {
        let id = SourceId::from(request.source.as_str());
        let mut names: Vec<WorkerName> = request
            .worker
            .iter()
            .map(|name| name.as_str().into())
            .collect();
        names.sort();
        names.dedup();
        self.check_size(names.len())?;
        let op = request.op();
        let expected = match op {
            RelayOpV2::StartRelayV2 => Expected::RelayOn,
            RelayOpV2::StopRelayV2 => Expected::RelayOff,
            RelayOpV2::InvalidRelayOpV2 => {
                let text = format!(
                    "only support start-relay or stop-relay, op: {}",
                    op.as_str_name()
                );
                return Err(Status::unknown(text).into());
            }
        };
        let (source, workers) = (id.clone(), names.clone());
        self.handle
            .write(move |m| match op {
                RelayOpV2::StartRelayV2 => m.start_relay(&source, &workers),
                _ => m.stop_relay(&source, &workers),
            })
            .await?;
        let source = id.clone();
        let rows = self
            .handle
            .read(move |m, _| {
                names
                    .iter()
                    .map(|name| online(m, &source, name))
                    .collect::<Vec<_>>()
            })
            .await?;
        let mut entries = Vec::new();
        let mut awaited = Vec::new();
        for row in rows {
            match row {
                Ok(worker) => awaited.push(Awaited {
                    source: id.clone(),
                    worker: Some(worker),
                }),
                Err(name) => entries.push(entry(true, OFFLINE.to_owned(), &id, name.as_str())),
            }
        }
        entries.extend(self.wait_for(&expected, awaited).await?);
        entries.sort_by(|a, b| a.worker.cmp(&b.worker));
        Ok(pb::OperateRelayResponse {
            result: true,
            msg: String::new(),
            sources: entries,
        })
    }

    /// All workers of one command are told in one transaction.
    fn check_size(&self, workers: usize) -> Result<(), Failure> {
        // Two conditions of each, and those on the source and on our lead.
        let most = self.max_txn_ops.saturating_sub(3) / 2;
        if workers <= most {
            return Ok(());
        }
        Err(Failure::Answer(format!(
            "{workers} workers are named, and one command can take {most}; please use several"
        )))
    }

    #[instrument(name = "operate_worker_relay_task", skip_all, fields(dm.operation = request.op().as_str_name()))]
    pub(super) async fn relay_stage(
        &self,
        request: &pb::OperateWorkerRelayRequest,
    ) -> Result<pb::OperateWorkerRelayResponse, Failure> {
        let is_running = match request.op() {
            RelayOp::PauseRelay => false,
            RelayOp::ResumeRelay => true,
            other => {
                return Err(DmError::new(
                    Code::MASTER_INVALID_OPERATE_OP,
                    &[&other.as_str_name(), &"relay"],
                )
                .into());
            }
        };
        let mut ids = sources(&request.sources);
        ids.sort();
        ids.dedup();
        let (all, most) = (ids.clone(), self.max_txn_ops);
        let extent = self
            .handle
            .write(move |m| m.set_relay_stage(is_running, &all, most))
            .await?;
        if extent == Extent::InParts {
            let is_over = |m: &Scheduler| (!m.are_relays_in_operation()).then_some(());
            self.come_to_an_end("relays", is_over).await?;
        }
        let stage = if is_running {
            pb::Stage::Running
        } else {
            pb::Stage::Paused
        };
        let entries = self
            .wait_for(&Expected::RelayStage(stage), Awaited::all(ids))
            .await?;
        Ok(pb::OperateWorkerRelayResponse {
            op: request.op,
            result: true,
            msg: String::new(),
            sources: entries,
        })
    }
}

/// The named worker if it can be asked, else its name.
fn online(m: &Scheduler, source: &SourceId, name: &WorkerName) -> Result<BoundWorker, WorkerName> {
    let is_online = m
        .worker_stage(name)
        .is_some_and(|stage| stage != WorkerStage::Offline);
    let addr = m.worker_addr(name).filter(|_| is_online);
    addr.map(|addr| BoundWorker {
        source: source.clone(),
        worker: name.clone(),
        addr,
    })
    .ok_or_else(|| name.clone())
}
