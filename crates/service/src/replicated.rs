//! A service that is one replica of a role: its etcd connection, its loop, its `dm.member.v1.Member`, and
//! how all of that shows in readiness, `/status`, `/metrics` and routing.
//!
//! Every one of the four services is `replicate(..)` plus its own machine and handlers.

mod changes;
mod member;
mod metrics;
mod mirror;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dm_keyspace::{Member, Role};
use dm_proto::member::member_server::MemberServer;
use dm_replica::{Handle, Machine, Replica, Settings};
use dm_store::{Options, Store, TlsFiles};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::Common;
use crate::context::{Context, OnExit};
use crate::process::BoxError;
use crate::server::App;

pub use changes::{Change, View, changes};
pub use member::role_of_proto;
pub use member::role_to_proto;

/// A replica that runs, and what is to be put on its port.
pub struct Replicated<M: Machine> {
    /// The way to the loop.
    pub handle: Handle<M>,
    /// The connection to etcd, for what is not the machine's business.
    pub store: Store,
    /// Member service, routing to the leader, reflection and status; the service adds its own API.
    pub app: App,
}

impl<M: Machine> std::fmt::Debug for Replicated<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicated").finish_non_exhaustive()
    }
}

/// Starts a replica of `role`. `summary` is what `/status` shows of the folded state, never secrets: counts, and under `faults` the
/// records that cannot be used, each with its `key`; those are counted in `dm_faults`.
pub async fn replicate<M: Machine>(
    ctx: &Context,
    role: Role,
    machine: M,
    summary: impl Fn(&M) -> Value + Clone + Send + Sync + 'static,
) -> Result<Replicated<M>, BoxError> {
    let store = Store::connect(&store_options(ctx.common())).await?;
    let member = Member::new(ctx.name(), ctx.advertise_addr(), env!("CARGO_PKG_VERSION"));
    let settings = Settings {
        lease_ttl: ctx.common().lease_ttl,
        ..Settings::new(role, member)
    };
    let replica = Replica::new(settings, store.clone(), machine)
        .observed_by(metrics::Commits::register(ctx.metrics())?);
    let handle = replica.handle();
    run_until_stopped(ctx, replica);

    let leader = mirror::leader(ctx, handle.status());
    mirror::readiness(ctx, handle.status());
    metrics::mirror(ctx, handle.status())?;
    let faults = metrics::Faults::register(ctx.metrics())?;
    let state = Arc::new(Mutex::new(Value::Null));
    mirror::summary(ctx, handle.clone(), summary, state.clone(), faults);
    let status = handle.status();
    let member = member::Service::new(
        role,
        handle.status(),
        handle.clone(),
        store.clone(),
        ctx.clock().clone(),
    );
    let endpoints = store.endpoints();
    let revision = {
        let status = handle.status();
        move || status.borrow().applied.0
    };
    let app = App::new()
        .leader(leader)
        .descriptors(dm_proto::FILE_DESCRIPTOR_SET)
        .revision(revision)
        .grpc_local(MemberServer::new(member))
        .status(move || {
            page(
                &status.borrow(),
                &endpoints.borrow(),
                &state.lock().unwrap_or_else(PoisonError::into_inner),
            )
        });
    Ok(Replicated { handle, store, app })
}

/// How the shared settings reach etcd.
#[must_use]
pub fn store_options(common: &Common) -> Options {
    Options {
        endpoints: common.etcd_endpoints.clone(),
        tls: common.tls().map(|files| TlsFiles {
            ca: files.ca,
            cert: files.cert,
            key: files.key,
        }),
        call_timeout: common.etcd_timeout,
        max_txn_ops: usize::try_from(common.max_txn_ops).unwrap_or(usize::MAX),
        ..Options::default()
    }
}

/// The loop ends by itself only when told to; the stop hook tells it, and waits for its last words.
fn run_until_stopped<M: Machine>(ctx: &Context, replica: Replica<M>) {
    let stop = CancellationToken::new();
    let ended = CancellationToken::new();
    ctx.on_stop("give up the lead", resigned(stop.clone(), ended.clone()));
    ctx.spawn("replica", OnExit::Fatal, async move {
        replica.run(stop.clone()).await;
        ended.cancel();
        if stop.is_cancelled() {
            // Asked for: the process goes on to stop its other loops.
            std::future::pending::<()>().await;
        }
    });
}

async fn resigned(stop: CancellationToken, ended: CancellationToken) {
    stop.cancel();
    ended.cancelled().await;
}

/// The page under `state` of `/status`.
fn page(status: &dm_replica::Status, etcd: &BTreeSet<String>, state: &Value) -> Value {
    let candidate = |c: &dm_keyspace::Campaign| json!({ "name": c.id.as_str(), "addr": c.addr });
    json!({
        "role": status.role.as_str(),
        "leads": status.leads.is_some(),
        "term": status.leads.as_ref().map(|t| t.create_revision.0),
        "leader": status.leader.as_ref().map(candidate),
        "line": status.line.iter().map(candidate).collect::<Vec<_>>(),
        "evicted": status.is_evicted,
        "applied": status.applied.0,
        "etcd": etcd,
        "troubles": status.troubles,
        "election-faults": status.faults.iter().map(|f| json!({ "key": f.key, "reason": f.reason })).collect::<Vec<_>>(),
        "loop": {
            "loads": status.stats.loads,
            "batches": status.stats.batches,
            "events": status.stats.events,
            "stale-events": status.stats.stale_events,
            "commits": status.stats.commits,
            "committed-proposals": status.stats.committed_proposals,
            "guard-failures": status.stats.guard_failures,
            "refused": status.stats.refused,
            "lost-replies": status.stats.lost_replies,
            "unknown": status.stats.unknown,
            "wanted": status.stats.wanted,
            "in-flight": status.stats.in_flight,
            "audits": status.stats.audits,
            "audit-differences": status.stats.audit_differences,
            "terms": status.stats.terms,
        },
        "machine": state,
    })
}
