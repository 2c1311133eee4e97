//! Leaders of the roles that the scheduler calls, which note what they are asked.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use dm_keyspace::{Campaign, LeaderKey, Role};
use dm_proto::optimist::optimist_server::{Optimist, OptimistServer};
use dm_proto::pessimist::pessimist_server::{Pessimist, PessimistServer};
use dm_proto::{optimist, pb, pessimist};
use dm_store::Store;
use dm_testkit::memory::MemoryEtcd;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

/// One process that leads both roles.
pub(crate) struct Leaders {
    asked: Asked,
    _serving: DropGuard,
}

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Leaders {
    pub(crate) async fn start(etcd: &MemoryEtcd) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let until = stop.clone().cancelled_owned();
        let asked = Asked::default();
        let server = tonic::transport::Server::builder()
            .add_service(PessimistServer::new(asked.clone()))
            .add_service(OptimistServer::new(asked.clone()));
        tokio::spawn(async move {
            server
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), until)
                .await
        });
        let options = dm_store::Options {
            endpoints: vec![etcd.endpoint()],
            ..dm_store::Options::default()
        };
        let store = Store::connect(&options).await.unwrap();
        for role in [Role::Pessimist, Role::Optimist] {
            let lease = store
                .grant(std::time::Duration::from_secs(60))
                .await
                .unwrap()
                .id;
            let value = Campaign::new(role.as_str(), addr.as_str()).to_bytes();
            store
                .put(LeaderKey { role, lease }.encode(), value, Some(lease))
                .await
                .unwrap();
        }
        Self {
            asked,
            _serving: stop.drop_guard(),
        }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.0.lock().unwrap().clone()
    }
}

impl Asked {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

#[tonic::async_trait]
impl Pessimist for Asked {
    type WatchLocksStream =
        Pin<Box<dyn Stream<Item = Result<pessimist::WatchLocksResponse, Status>> + Send>>;

    async fn show_ddl_locks(
        &self,
        request: Request<pb::ShowDdlLocksRequest>,
    ) -> Result<Response<pessimist::ShowDdlLocksResponse>, Status> {
        let task = request.into_inner().task;
        self.note(format!("locks {task}"));
        let lock = pb::DdlLock {
            id: format!("{task}-`shop`.`orders`"),
            task,
            synced: vec!["s2".into()],
            unsynced: vec!["s1".into()],
            ..Default::default()
        };
        Ok(Response::new(pessimist::ShowDdlLocksResponse {
            locks: vec![lock],
            ..Default::default()
        }))
    }

    async fn unlock_ddl_lock(
        &self,
        _: Request<pb::UnlockDdlLockRequest>,
    ) -> Result<Response<pb::UnlockDdlLockResponse>, Status> {
        Err(Status::unimplemented("not asked in these tests"))
    }

    async fn remove_meta(
        &self,
        request: Request<pessimist::RemoveMetaRequest>,
    ) -> Result<Response<pessimist::RemoveMetaResponse>, Status> {
        self.note(format!("pessimist {}", request.into_inner().task));
        Ok(Response::new(Default::default()))
    }

    async fn watch_locks(
        &self,
        _: Request<pessimist::WatchLocksRequest>,
    ) -> Result<Response<Self::WatchLocksStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }
}

#[tonic::async_trait]
impl Optimist for Asked {
    type WatchLocksStream =
        Pin<Box<dyn Stream<Item = Result<optimist::WatchLocksResponse, Status>> + Send>>;

    async fn show_ddl_locks(
        &self,
        _: Request<pb::ShowDdlLocksRequest>,
    ) -> Result<Response<optimist::ShowDdlLocksResponse>, Status> {
        Err(Status::unimplemented("not asked in these tests"))
    }

    async fn unlock_ddl_lock(
        &self,
        _: Request<pb::UnlockDdlLockRequest>,
    ) -> Result<Response<pb::UnlockDdlLockResponse>, Status> {
        Err(Status::unimplemented("not asked in these tests"))
    }

    async fn remove_meta(
        &self,
        request: Request<optimist::RemoveMetaRequest>,
    ) -> Result<Response<optimist::RemoveMetaResponse>, Status> {
        self.note(format!("optimist {}", request.into_inner().task));
        Ok(Response::new(Default::default()))
    }

    async fn watch_locks(
        &self,
        _: Request<optimist::WatchLocksRequest>,
    ) -> Result<Response<Self::WatchLocksStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }
}
