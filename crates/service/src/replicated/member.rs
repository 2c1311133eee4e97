//! `dm.member.v1.Member`: what each replica answers about itself, and how it is told to lead or not to.
//!
//! Evictions and transfers are keys in etcd, so they outlive the process and the caller; each member acts on
//! them when its own feed shows them. They are put without a fence, by whoever is asked: also a cluster
//! without any leader must be able to get one again.

use std::time::Duration;

use dm_keyspace::{Eviction, EvictionKey, MemberName, Role, Transfer, TransferKey};
use dm_proto::member as pb;
use dm_replica::{Handle, Machine, Status};
use dm_store::{KeyRange, Store};
use tokio::sync::watch;
use tonic::{Request, Response, Status as Refusal};

use crate::clock::Clock;

/// How long a caller waits for its order to show.
const SEEN_LIMIT: Duration = Duration::from_secs(10);

/// Answers for one replica.
pub(super) struct Service<M: Machine> {
    role: Role,
    status: watch::Receiver<Status>,
    handle: Handle<M>,
    store: Store,
    clock: Clock,
}

impl<M: Machine> Service<M> {
    pub(super) fn new(
        role: Role,
        status: watch::Receiver<Status>,
        handle: Handle<M>,
        store: Store,
        clock: Clock,
    ) -> Self {
        Self {
            role,
            status,
            handle,
            store,
            clock,
        }
    }

    fn eviction_key(&self) -> String {
        EvictionKey {
            role: self.role,
            name: self.name(),
        }
        .encode()
    }

    fn name(&self) -> MemberName {
        self.status.borrow().name.clone()
    }

    async fn until(
        &self,
        what: &str,
        condition: impl FnMut(&Status) -> bool,
    ) -> Result<Status, Refusal> {
        let mut status = self.status.clone();
        match tokio::time::timeout(SEEN_LIMIT, status.wait_for(condition)).await {
            Ok(Ok(status)) => Ok(status.clone()),
            Ok(Err(_)) => Err(Refusal::unavailable("this replica is stopping")),
            Err(_) => Err(Refusal::deadline_exceeded(format!(
                "the order is in etcd, but {what} within {SEEN_LIMIT:?}"
            ))),
        }
    }
}

/// The number under which the role goes in messages.
#[must_use]
pub fn role_to_proto(role: Role) -> pb::Role {
    match role {
        Role::Election => pb::Role::Election,
        Role::Scheduler => pb::Role::Scheduler,
        Role::Pessimist => pb::Role::Pessimist,
        Role::Optimist => pb::Role::Optimist,
    }
}

/// The role that a message names, if it names one.
#[must_use]
pub fn role_of_proto(role: i32) -> Option<Role> {
    Role::ALL
        .into_iter()
        .find(|r| role_to_proto(*r) as i32 == role)
}

fn leader(status: &Status) -> Option<pb::Leader> {
    let leader = status.leader.as_ref()?;
    Some(pb::Leader {
        role: role_to_proto(status.role).into(),
        name: leader.id.to_string(),
        addr: leader.addr.clone(),
        term: status.leads.as_ref().map(term),
    })
}

fn term(term: &dm_replica::Term) -> pb::Term {
    pb::Term {
        key: String::from_utf8_lossy(&term.key).into_owned(),
        create_revision: term.create_revision.0,
    }
}

fn unavailable(error: impl std::fmt::Display) -> Refusal {
    Refusal::unavailable(error.to_string())
}

#[tonic::async_trait]
impl<M: Machine> pb::member_server::Member for Service<M> {
    async fn describe(
        &self,
        _: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Refusal> {
        let status = self.status.borrow().clone();
        let position = status
            .line
            .iter()
            .position(|c| c.id == status.name)
            .map_or(0, |p| p + 1);
        let faults = status.faults.iter().map(|f| pb::Fault {
            key: f.key.clone(),
            reason: f.reason.clone(),
        });
        Ok(Response::new(pb::DescribeResponse {
            role: role_to_proto(status.role).into(),
            name: status.name.to_string(),
            addr: status.addr.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_leader: status.leads.is_some(),
            term: status.leads.as_ref().map(term),
            leader: leader(&status),
            applied_revision: status.applied.0,
            feed_lag_us: u64::try_from(status.stats.feed_lag.as_micros()).unwrap_or(u64::MAX),
            evicted: status.is_evicted,
            faults: faults.collect(),
            ready: status.is_ready(),
            not_ready_reasons: status.troubles.clone(),
            lease: status.lease.map_or(0, |l| l.0),
            uptime_ms: u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            position: u32::try_from(position).unwrap_or(u32::MAX),
        }))
    }

    async fn resign(
        &self,
        _: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Refusal> {
        let before = self.status.borrow().leads.clone();
        if before.is_some() {
            self.handle.resign().await.map_err(unavailable)?;
            self.until("this replica still leads by the same term", |s| {
                s.leads != before
            })
            .await?;
        }
        Ok(Response::new(pb::ResignResponse {
            was_leader: before.is_some(),
        }))
    }

    async fn evict(
        &self,
        _: Request<pb::EvictRequest>,
    ) -> Result<Response<pb::EvictResponse>, Refusal> {
        let changed = !self.status.borrow().is_evicted;
        self.store
            .put(
                self.eviction_key(),
                Eviction::new(self.name()).to_bytes(),
                None,
            )
            .await
            .map_err(unavailable)?;
        self.until("this replica is still in the line", |s| {
            s.is_evicted && s.line.iter().all(|c| c.id != s.name)
        })
        .await?;
        Ok(Response::new(pb::EvictResponse { changed }))
    }

    async fn cancel_evict(
        &self,
        _: Request<pb::CancelEvictRequest>,
    ) -> Result<Response<pb::CancelEvictResponse>, Refusal> {
        let changed = self.status.borrow().is_evicted;
        self.store
            .delete(KeyRange::key(self.eviction_key()))
            .await
            .map_err(unavailable)?;
        self.until("this replica is still evicted", |s| !s.is_evicted)
            .await?;
        Ok(Response::new(pb::CancelEvictResponse { changed }))
    }

    async fn transfer(
        &self,
        request: Request<pb::TransferRequest>,
    ) -> Result<Response<pb::TransferResponse>, Refusal> {
        let to = MemberName::from(request.into_inner().to);
        let line: Vec<String> = self
            .status
            .borrow()
            .line
            .iter()
            .map(|c| c.id.to_string())
            .collect();
        if !line.iter().any(|name| name == to.as_str()) {
            let message = format!(
                "no member {to} in the line of {}; in line are: {}",
                self.role,
                line.join(", ")
            );
            return Err(Refusal::not_found(message));
        }
        let key = TransferKey { role: self.role }.encode();
        self.store
            .put(key, Transfer::new(to.clone()).to_bytes(), None)
            .await
            .map_err(unavailable)?;
        let status = self
            .until("it does not lead yet", |s| {
                s.leader.as_ref().is_some_and(|l| l.id == to)
            })
            .await?;
        Ok(Response::new(pb::TransferResponse {
            leader: leader(&status),
        }))
    }
}
