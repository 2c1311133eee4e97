//! The trace of a command: a root span named after it, under the span of `TRACEPARENT` if the caller is traced.
//!
//! Without a collector there are no spans at all: sending the id of a span that nobody exports would leave the
//! services' spans without their parent.

use dm_service::telemetry::{Guard, Identity, install};
use dm_service::tls::{Files, Material};
use dm_service::{Nothing, Settings, config};

use crate::cli::Globals;
use crate::error::Error;

/// Exports spans as long as it lives.
#[derive(Debug)]
#[must_use]
pub struct Telemetry(Option<Guard>);

impl Telemetry {
    /// Sets telemetry up for the process if a collector is named. Needs a runtime.
    ///
    /// # Errors
    /// When the address is none.
    pub fn install(
        globals: &Globals,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let named = globals.otlp_endpoint.clone();
        let Some(endpoint) = named.or_else(|| env("DM_OTLP_ENDPOINT")) else {
            return Ok(Self(None));
        };
        let args = [
            "dmctl",
            "--log-level",
            "error",
            "--otlp-endpoint",
            &endpoint,
        ];
        let settings: Settings<Nothing> = config::load("dmctl", 0, args.map(Into::into), |_| None)
            .map_err(|_| {
                Error::Other(format!(
                    "otlp-endpoint {endpoint:?} is no address of a collector, expected a form such as http://127.0.0.1:4317"
                ))
            })?;
        let identity = Identity {
            service: "dmctl",
            instance: format!("dmctl-{}", std::process::id()),
        };
        let material = material(globals, &endpoint)?;
        install(&identity, &settings.common, material.as_ref())
            .map(|guard| Self(Some(guard)))
            .map_err(|error| Error::Other(error.to_string()))
    }

    /// Sends what is left; takes a few seconds at most.
    pub async fn flush(self) {
        if let Some(guard) = self.0 {
            // The exporter's channel lives in this runtime, so its last words must not block it.
            let flushed = tokio::task::spawn_blocking(|| guard.flush()).await;
            if let Err(error) = flushed {
                tracing::warn!(%error, "telemetry was not flushed");
            }
        }
    }
}

fn material(globals: &Globals, endpoint: &str) -> Result<Option<Material>, Error> {
    let files = || {
        Some(Files {
            ca: globals.ssl_ca.clone()?,
            cert: globals.ssl_cert.clone()?,
            key: globals.ssl_key.clone()?,
            allowed_cn: Vec::new(),
        })
    };
    files()
        .filter(|_| endpoint.starts_with("https://"))
        .map(|files| Material::load(&files))
        .transpose()
        .map_err(|error| crate::settings::invalid_tls(format!("{}: {error}", error.key())))
}

/// The root span of a command, which is entered by the caller.
pub(crate) fn span_of(command: &str, traceparent: Option<&str>) -> tracing::Span {
    dm_trace::span_with_parent(&format!("dmctl {command}"), traceparent)
}
