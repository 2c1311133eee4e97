//! Logs and traces of one process: `tracing` events as text or JSON lines, spans as OpenTelemetry spans over OTLP/gRPC.
//!
//! The OpenTelemetry layer is there with or without a collector: ids are in the log and go on to other processes either way; without one, nothing
//! is exported. Logs and spans are filtered apart, so a quiet log loses no trace.

mod format;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{Common, LogFormat};
use crate::tls::Material;

/// Libraries whose own spans and events are of no use in a trace, or would be made by exporting one.
const NOT_TRACED: [&str; 6] = [
    "h2",
    "hyper",
    "hyper_util",
    "tonic",
    "tower",
    "opentelemetry",
];

const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no telemetry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log level is no filter.
    #[error("log-level: {0}")]
    Level(String),
    /// The log file cannot be opened for appending.
    #[error("log-file {}: {source}", path.display())]
    File {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The exporter refuses its settings.
    #[error("otlp-endpoint: {0}")]
    Exporter(String),
    /// Another subscriber is installed already.
    #[error("telemetry is installed already")]
    Installed,
}

/// Says what is wrong with a log level, if anything.
pub(crate) fn check_level(level: &str) -> Result<(), String> {
    EnvFilter::try_new(level).map(drop).map_err(|e| {
        format!("{level:?}: {e}; write trace, debug, info, warn or error, or directives such as info,dm_replica=debug")
    })
}

/// What a process is called in logs, traces and metrics.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `service.name`, such as `scheduler-svc`.
    pub service: &'static str,
    /// `service.instance.id`: the replica's name.
    pub instance: String,
}

/// Keeps telemetry alive; [`flush`](Self::flush) is the last thing a process does.
#[derive(Debug)]
#[must_use]
pub struct Guard(SdkTracerProvider);

impl Guard {
    /// Exports what is waiting. Blocks up to a few seconds.
    pub fn flush(self) {
        if let Err(error) = self.0.shutdown_with_timeout(EXPORT_TIMEOUT) {
            tracing::warn!(%error, "last spans could not be exported");
        }
    }
}

/// Installs logs and traces for the whole process, as the settings ask. Needs a runtime, because the exporter's channel lives in it.
pub fn install(
    identity: &Identity,
    common: &Common,
    tls: Option<&Material>,
) -> Result<Guard, Error> {
    let writer = match &common.log_file {
        Some(path) => BoxMakeWriter::new(Mutex::new(open(path)?)),
        None => BoxMakeWriter::new(io::stderr),
    };
    let provider = provider(identity, common.otlp_endpoint.as_deref(), tls)?;
    let level = EnvFilter::try_new(&common.log_level).map_err(|e| Error::Level(e.to_string()))?;
    let ansi = false;
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(ansi)
        .with_writer(writer);
    let log: Box<dyn Layer<_> + Send + Sync> = match common.log_format {
        LogFormat::Text => log.event_format(format::Text).boxed(),
        LogFormat::Json => log
            .event_format(format::Json)
            .fmt_fields(format::json_fields())
            .boxed(),
    };
    subscriber(&provider)
        .with(log.with_filter(level))
        .try_init()
        .map_err(|_| Error::Installed)?;
    install_panic_hook();
    Ok(Guard(provider))
}

/// The registry with the span layer, which everything that wants to print trace ids is put on.
fn subscriber(
    provider: &SdkTracerProvider,
) -> impl tracing::Subscriber
+ for<'a> tracing_subscriber::registry::LookupSpan<'a>
+ Send
+ Sync
+ 'static {
    let traced = NOT_TRACED
        .iter()
        .fold(Targets::new().with_default(LevelFilter::INFO), |t, name| {
            t.with_target(*name, LevelFilter::OFF)
        });
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("dm"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    Registry::default().with(spans.with_filter(traced))
}

fn provider(
    identity: &Identity,
    endpoint: Option<&str>,
    tls: Option<&Material>,
) -> Result<SdkTracerProvider, Error> {
    let resource = Resource::builder()
        .with_service_name(identity.service)
        .with_attribute(KeyValue::new(
            "service.instance.id",
            identity.instance.clone(),
        ))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = endpoint else {
        return Ok(builder.build());
    };
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT);
    if let (true, Some(tls)) = (endpoint.starts_with("https://"), tls) {
        exporter = exporter.with_tls_config(tls.client());
    }
    let exporter = exporter
        .build()
        .map_err(|e| Error::Exporter(e.to_string()))?;
    Ok(builder.with_batch_exporter(exporter).build())
}

fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })
}

/// A panic goes into the log with its trace id, where it will be looked for, and not only to standard error.
fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(place, reason = text.unwrap_or("not a text"), "panic");
    }));
}

#[cfg(test)]
mod tests;
