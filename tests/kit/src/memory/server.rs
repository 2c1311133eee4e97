//! The model behind etcd's gRPC services: locks it, hands requests in, sends answers out.

mod kv;
mod lease;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dm_proto::etcdserverpb::cluster_server::{Cluster, ClusterServer};
use dm_proto::etcdserverpb::kv_server::KvServer;
use dm_proto::etcdserverpb::lease_server::LeaseServer;
use dm_proto::etcdserverpb::maintenance_server::{Maintenance, MaintenanceServer};
use dm_proto::etcdserverpb::watch_server::WatchServer;
use dm_proto::etcdserverpb::{
    Member, MemberListRequest, MemberListResponse, StatusRequest, StatusResponse,
};
use tokio::sync::watch as signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::core::{Core, MEMBER_ID, RAFT_TERM};
use super::faults::Faults;
use super::refusal::Refusal;
use super::{Clock, Options};

/// Answers that may wait in a stream before its client takes them.
const STREAM_BUFFER: usize = 64;

/// The model with everything around it that is not etcd's state.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Told of every request, so that streams look for new responses.
    changed: signal::Sender<()>,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    core: Core,
    faults: Faults,
    /// Where the runtime's time was when the model's time was what the second field says.
    epoch: Option<(Instant, Duration)>,
    cut: CancellationToken,
    endpoint: String,
}

impl State {
    fn follow_clock(&mut self) {
        if let Some((instant, time)) = self.epoch {
            self.core.advance_to(time + instant.elapsed());
        }
    }
}

impl Shared {
    pub(crate) fn new(options: &Options) -> Self {
        let state = State {
            core: Core::new(options.max_txn_ops, options.min_lease_ttl),
            faults: Faults::default(),
            epoch: None,
            cut: CancellationToken::new(),
            endpoint: String::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: signal::Sender::new(()),
            clock: options.clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the model behind the back of the services.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Core) -> T) -> T {
        let done = work(&mut self.lock().core);
        self.changed.send_replace(());
        done
    }

    pub(crate) fn with_faults<T>(&self, work: impl FnOnce(&mut Faults) -> T) -> T {
        work(&mut self.lock().faults)
    }

    /// Carries out one request of a client, unless a fault is planned.
    fn call<T>(
        &self,
        method: &str,
        work: impl FnOnce(&mut Core) -> Result<T, Refusal>,
    ) -> Result<T, Status> {
        let mut state = self.lock();
        state.faults.enter(method)?;
        state.follow_clock();
        let answer = work(&mut state.core)?;
        let kept = state.faults.leave(method);
        drop(state);
        self.changed.send_replace(());
        kept.map(|()| answer)
    }

    pub(crate) fn set_endpoint(&self, endpoint: &str) {
        endpoint.clone_into(&mut self.lock().endpoint);
    }

    pub(crate) fn is_refusing(&self) -> bool {
        self.lock().faults.is_refusing()
    }

    /// Cancelled at the next cut.
    pub(crate) fn cut_token(&self) -> CancellationToken {
        self.lock().cut.clone()
    }

    pub(crate) fn cut(&self) {
        let old = std::mem::take(&mut self.lock().cut);
        old.cancel();
    }
}

/// One of etcd's services; all of them are views of the same model.
#[derive(Clone, Debug)]
struct Service(Arc<Shared>);

/// Builds the services, and starts following the runtime's time when the model shall.
pub(crate) fn routes(shared: &Arc<Shared>) -> Routes {
    if shared.clock == Clock::Tokio {
        let mut state = shared.lock();
        state.epoch = Some((Instant::now(), state.core.now()));
        tokio::spawn(expire(Arc::downgrade(shared), shared.changed.subscribe()));
    }
    let service = Service(Arc::clone(shared));
    Routes::new(KvServer::new(service.clone()))
        .add_service(WatchServer::new(service.clone()))
        .add_service(LeaseServer::new(service.clone()))
        .add_service(ClusterServer::new(service.clone()))
        .add_service(MaintenanceServer::new(service))
}

/// Ends leases when their time comes, not only at the next request.
async fn expire(shared: Weak<Shared>, mut changed: signal::Receiver<()>) {
    while let Some(next) = next_expiry(&shared) {
        let due = async {
            match next {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            told = changed.changed() => if told.is_err() { return },
        }
    }
}

/// The time until the next lease runs out, after ending those that have; `None` without a model.
fn next_expiry(shared: &Weak<Shared>) -> Option<Option<Duration>> {
    let shared = shared.upgrade()?;
    let mut state = shared.lock();
    let before = state.core.revision();
    state.follow_clock();
    let left = state
        .core
        .next_deadline()
        .map(|at| at.saturating_sub(state.core.now()));
    let expired = state.core.revision() != before;
    drop(state);
    if expired {
        shared.changed.send_replace(());
    }
    Some(left)
}

#[tonic::async_trait]
impl Cluster for Service {
    async fn member_list(
        &self,
        _: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        let header = self.0.call("MemberList", |core| Ok(core.header()))?;
        let endpoint = self.0.lock().endpoint.clone();
        let member = Member {
            id: MEMBER_ID,
            name: "memory".to_owned(),
            peer_ur_ls: vec![endpoint.clone()],
            client_ur_ls: vec![endpoint],
            is_learner: false,
        };
        Ok(Response::new(MemberListResponse {
            header: Some(header),
            members: vec![member],
        }))
    }
}

#[tonic::async_trait]
impl Maintenance for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let header = self.0.call("Status", |core| Ok(core.header()))?;
        let index = header.revision.unsigned_abs();
        Ok(Response::new(StatusResponse {
            header: Some(header),
            version: "3.4.23".to_owned(),
            leader: MEMBER_ID,
            raft_index: index,
            raft_term: RAFT_TERM,
            raft_applied_index: index,
            ..StatusResponse::default()
        }))
    }
}
