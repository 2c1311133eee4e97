//! From arguments to exit code: configuration, telemetry, version line, port, service; then the end in order.
//!
//! Exit codes: 0 stopped as asked, 1 failed to start or failed later, 2 bad configuration.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::Channels;
use crate::clock::{Clock, Deadline};
use crate::config::{self, Common, Section, Settings};
use crate::context::{Context, Inner, STARTED};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::server::{Acceptor, Front, Status};
use crate::shutdown::{self, Failure, OnExit, Tasks};
use crate::telemetry::{self, Identity};
use crate::tls::Material;

/// Any error, on its way to the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

const FAILED: u8 = 1;
const BAD_CONFIGURATION: u8 = 2;

/// A whole process. `body` connects, spawns its loops and calls [`Context::serve`]; when it returns, the process ends.
pub fn main<S, F, Fut, E>(service: &'static str, default_port: u16, body: F) -> ExitCode
where
    S: Section,
    F: FnOnce(Settings<S>, Context) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    let settings = config::load::<S>(service, default_port, std::env::args_os(), |name| {
        std::env::var(name).ok()
    });
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return refused(service, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(service, &error.to_string()),
    };
    runtime.block_on(process(service, settings, body))
}

async fn process<S, F, Fut, E>(service: &'static str, settings: Settings<S>, body: F) -> ExitCode
where
    S: Section,
    F: FnOnce(Settings<S>, Context) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    let listener = match TcpListener::bind(&settings.common.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            return failed(
                service,
                &format!("cannot listen on {}: {error}", settings.common.listen),
            );
        }
    };
    let (settings, tls) = match settle(settings, &listener) {
        Ok(settled) => settled,
        Err(error) => return failed(service, &shutdown::chain(&*error)),
    };
    let identity = Identity {
        service,
        instance: settings.common.name.clone(),
    };
    let guard = match telemetry::install(&identity, &settings.common, tls.as_ref()) {
        Ok(guard) => guard,
        Err(error) => return failed(service, &error.to_string()),
    };
    let outcome = run(
        service,
        settings,
        listener,
        shutdown::asked_by_signal(),
        body,
    )
    .await;
    if let Err(failure) = &outcome {
        tracing::error!(error = shutdown::chain(failure), "failed");
    }
    // The exporter's channel lives in this runtime, so its last words must not block it.
    if let Err(error) = tokio::task::spawn_blocking(|| guard.flush()).await {
        tracing::warn!(%error, "telemetry was not flushed");
    }
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// Runs a service on a listener until `until` is done, a task fails for good, or `body` returns. What [`main`] does without
/// arguments, signals and telemetry; tests start services with it, on port 0.
pub async fn run<S, F, Fut, E>(
    service: &'static str,
    settings: Settings<S>,
    listener: TcpListener,
    until: impl Future<Output = ()>,
    body: F,
) -> Result<(), Failure>
where
    S: Section,
    F: FnOnce(Settings<S>, Context) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    let (settings, tls) = settle(settings, &listener).map_err(Failure::Service)?;
    let (ctx, acceptor) =
        prepare(service, &settings.common, tls).map_err(|e| Failure::Service(e.into()))?;
    tracing::info!(
        service,
        version = env!("CARGO_PKG_VERSION"),
        name = ctx.name(),
        addr = ctx.advertise_addr(),
        etcd = ?settings.common.etcd_endpoints,
        tls = settings.common.ssl_ca.is_some(),
        "starting"
    );
    let mirror = ctx.0.front.clone().mirror_health();
    ctx.spawn("health", OnExit::Log, mirror);
    let release = acceptor.release.clone();
    let mut server = tokio::spawn(acceptor.serve(listener));
    let limit = settings.common.shutdown_timeout;
    let mut body = tokio::spawn(body(settings, ctx.clone()));
    let mut body_ended = false;
    tokio::select! {
        () = until => {}
        () = ctx.0.stopping.cancelled() => {}
        ended = &mut body => {
            body_ended = true;
            report_body(&ctx, ended);
        }
    }
    ctx.0.stopping.cancel();
    let deadline = Deadline::after(limit);
    let mut port = None;
    shutdown::in_order(&ctx, async { port = (&mut server).await.ok() }, deadline).await;
    server.abort();
    release.cancel();
    if let Some(port) = port {
        drop(port.await);
    }
    if !body_ended {
        match tokio::time::timeout_at(deadline.instant(), &mut body).await {
            Ok(ended) => report_body(&ctx, ended),
            Err(_) => body.abort(),
        }
    }
    ctx.0.tasks.take_failure().map_or(Ok(()), Err)
}

fn report_body<E: Into<BoxError>>(
    ctx: &Context,
    ended: Result<Result<(), E>, tokio::task::JoinError>,
) {
    let failure = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    ctx.0.tasks.fail(Failure::Service(failure));
}

/// What is known only with the port: name and advertised address. TLS files are read here, once for both directions.
fn settle<S>(
    mut settings: Settings<S>,
    listener: &TcpListener,
) -> Result<(Settings<S>, Option<Material>), BoxError> {
    let port = listener.local_addr()?.port();
    settings.common = settings.common.settled(port);
    let tls = settings
        .common
        .tls()
        .map(|files| Material::load(&files))
        .transpose()?;
    Ok((settings, tls))
}

fn prepare(
    service: &'static str,
    common: &Common,
    tls: Option<Material>,
) -> Result<(Context, Acceptor), prometheus::Error> {
    let clock = Clock::system();
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    readiness.not_ready(STARTED, "not serving yet");
    let status = Status {
        service,
        name: common.name.clone(),
        advertise_addr: common.advertise_addr.clone(),
    };
    let (front, router) = Front::new(
        status,
        clock.clone(),
        metrics.clone(),
        readiness.clone(),
        common.request_timeout,
    )?;
    let stopping = CancellationToken::new();
    let acceptor = Acceptor {
        router,
        tls: tls.clone(),
        stop: stopping.clone(),
        drain: common.drain_timeout,
        release: CancellationToken::new(),
    };
    let ctx = Context(Arc::new(Inner {
        service,
        common: common.clone(),
        clock,
        metrics,
        readiness,
        channels: Channels::new(tls, common.connect_timeout, common.request_timeout),
        front,
        tasks: Tasks::new(stopping.clone()),
        hooks: Mutex::default(),
        stopping,
        drained: CancellationToken::new(),
    }));
    Ok((ctx, acceptor))
}

fn refused(service: &str, error: &config::Error) -> ExitCode {
    if let config::Error::Usage(usage) = error {
        let printed = usage.print();
        return if error.is_help() && printed.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(BAD_CONFIGURATION)
        };
    }
    say(service, &error.to_string());
    ExitCode::from(BAD_CONFIGURATION)
}

fn failed(service: &str, reason: &str) -> ExitCode {
    say(service, reason);
    ExitCode::from(FAILED)
}

/// Before there is a log.
fn say(service: &str, text: &str) {
    // Nobody is left to be told when standard error is closed.
    let _closed = writeln!(std::io::stderr(), "{service}: {text}");
}
