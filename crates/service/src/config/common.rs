//! The settings that every service has.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::values::{duration, endpoint, host_port, is_reachable};
use crate::config::{Error, Origins};
use crate::tls;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One line per event, for people.
    Text,
    /// One JSON object per event, for collectors.
    Json,
}

/// Addresses, etcd, TLS, telemetry and limits. The long flag of each field is also its key in the file and, in capitals after `DM_`, in the environment.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// TOML file with any of these settings; flags and environment override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of this replica, unique among those of its role [default: the advertised address]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub name: String,
    /// Address to serve gRPC and HTTP on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Address at which others reach this replica [default: the one of --listen]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port_or_nothing, default_value = "", hide_default_value = true)]
    pub advertise_addr: String,
    /// etcd client addresses, separated by commas
    #[arg(long, visible_alias = "endpoints", value_name = "LIST", value_delimiter = ',', value_parser = endpoint,
          default_value = "127.0.0.1:2379")]
    pub etcd_endpoints: Vec<String>,
    /// How long an etcd call may take
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub etcd_timeout: Duration,
    /// Lease of membership and leadership: how long a replica that vanished keeps its place (at least 2s)
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub lease_ttl: Duration,
    /// Operations that etcd accepts in one transaction (its --max-txn-ops)
    #[arg(long, default_value_t = 128)]
    pub max_txn_ops: u32,
    /// Log level, or directives such as info,dm_replica=debug
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Form of log lines
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// File to append the log to [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// OTLP/gRPC collector for traces, such as http://127.0.0.1:4317 [default: traces are not exported]
    #[arg(long, value_name = "URL", value_parser = otlp_url)]
    pub otlp_endpoint: Option<String>,
    /// Certificate authority that peers' certificates must come from; with --ssl-cert and --ssl-key turns TLS on everywhere
    #[arg(long, value_name = "PEM")]
    pub ssl_ca: Option<PathBuf>,
    /// Certificate chain of this service, as server and as client
    #[arg(long, value_name = "PEM")]
    pub ssl_cert: Option<PathBuf>,
    /// Private key of --ssl-cert
    #[arg(long, value_name = "PEM")]
    pub ssl_key: Option<PathBuf>,
    /// Common names that client certificates may have, separated by commas [default: any]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub cert_allowed_cn: Vec<String>,
    /// The most time that a request may take, also when its caller allows more
    #[arg(long, value_parser = duration, default_value = "10m")]
    pub request_timeout: Duration,
    /// How long a standby looks for a leader before it refuses a request
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub leader_wait: Duration,
    /// How long a connection to another service may take to open
    #[arg(long, value_parser = duration, default_value = "3s")]
    pub connect_timeout: Duration,
    /// At the end: how long requests under way may take to finish
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub drain_timeout: Duration,
    /// At the end: how long the whole shutdown may take
    #[arg(long, value_parser = duration, default_value = "15s")]
    pub shutdown_timeout: Duration,
}

const SHORTEST_LEASE: Duration = Duration::from_secs(2);

impl Common {
    /// The TLS files; `None` means plain text everywhere.
    pub fn tls(&self) -> Option<tls::Files> {
        Some(tls::Files {
            ca: self.ssl_ca.clone()?,
            cert: self.ssl_cert.clone()?,
            key: self.ssl_key.clone()?,
            allowed_cn: self.cert_allowed_cn.clone(),
        })
    }

    /// Fills in what depends on the port that was bound: the advertised address and the name.
    #[must_use]
    pub fn settled(mut self, bound_port: u16) -> Self {
        if self.advertise_addr.is_empty() {
            self.advertise_addr.clone_from(&self.listen);
        }
        if let Some((host, "0")) = self.advertise_addr.rsplit_once(':') {
            self.advertise_addr = format!("{host}:{bound_port}");
        }
        if self.name.is_empty() {
            self.name.clone_from(&self.advertise_addr);
        }
        self
    }

    pub(super) fn check(&self, origins: &Origins) -> Result<(), Error> {
        self.check_addresses(origins)?;
        self.check_limits(origins)?;
        self.check_tls(origins)?;
        if let Err(e) = crate::telemetry::check_level(&self.log_level) {
            return Err(Error::invalid(origins, "log-level", e));
        }
        Ok(())
    }

    fn check_addresses(&self, origins: &Origins) -> Result<(), Error> {
        if !self.advertise_addr.is_empty() && !is_reachable(&self.advertise_addr) {
            let reason = format!(
                "{:?} is no address that others can call",
                self.advertise_addr
            );
            return Err(Error::invalid(origins, "advertise-addr", reason));
        }
        if self.advertise_addr.is_empty() && !is_reachable(&self.listen) {
            let reason = format!(
                "must be given, since listen ({}) is no address that others can call",
                self.listen
            );
            return Err(Error::invalid(origins, "advertise-addr", reason));
        }
        if self.name.contains('/') {
            return Err(Error::invalid(origins, "name", "must not contain a slash"));
        }
        if self.etcd_endpoints.is_empty() {
            return Err(Error::invalid(
                origins,
                "etcd-endpoints",
                "must name at least one address",
            ));
        }
        let scheme = if self.ssl_ca.is_some() {
            "http://"
        } else {
            "https://"
        };
        if let Some(endpoint) = self.etcd_endpoints.iter().find(|e| e.starts_with(scheme)) {
            let reason =
                format!("{endpoint} contradicts the TLS keys: TLS is on everywhere or nowhere");
            return Err(Error::invalid(origins, "etcd-endpoints", reason));
        }
        Ok(())
    }

    fn check_limits(&self, origins: &Origins) -> Result<(), Error> {
        if self.lease_ttl < SHORTEST_LEASE {
            return Err(Error::invalid(origins, "lease-ttl", "must be at least 2s"));
        }
        if self.max_txn_ops < 8 {
            return Err(Error::invalid(origins, "max-txn-ops", "must be at least 8"));
        }
        for (key, value) in [
            ("etcd-timeout", self.etcd_timeout),
            ("request-timeout", self.request_timeout),
            ("connect-timeout", self.connect_timeout),
            ("shutdown-timeout", self.shutdown_timeout),
        ] {
            if value.is_zero() {
                return Err(Error::invalid(origins, key, "must be longer than nothing"));
            }
        }
        if self.drain_timeout > self.shutdown_timeout {
            return Err(Error::invalid(
                origins,
                "drain-timeout",
                "must not be longer than shutdown-timeout",
            ));
        }
        Ok(())
    }

    fn check_tls(&self, origins: &Origins) -> Result<(), Error> {
        let keys = [
            ("ssl-ca", &self.ssl_ca),
            ("ssl-cert", &self.ssl_cert),
            ("ssl-key", &self.ssl_key),
        ];
        let given = keys.iter().find(|(_, path)| path.is_some());
        let missing = keys.iter().find(|(_, path)| path.is_none());
        if let (Some((given, _)), Some((missing, _))) = (given, missing) {
            let reason = format!(
                "{missing} is missing: TLS needs ssl-ca, ssl-cert and ssl-key, all three or none"
            );
            return Err(Error::invalid(origins, given, reason));
        }
        let Some(files) = self.tls() else {
            if self.cert_allowed_cn.is_empty() {
                return Ok(());
            }
            return Err(Error::invalid(
                origins,
                "cert-allowed-cn",
                "needs ssl-ca, ssl-cert and ssl-key",
            ));
        };
        tls::Material::load(&files)
            .map(drop)
            .map_err(|e| Error::invalid(origins, e.key(), e.to_string()))
    }
}

fn otlp_url(text: &str) -> Result<String, String> {
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let address = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    match address {
        Some(address) => host_port(address.trim_end_matches('/')).map(|_| url.clone()),
        None => Err(format!("{text:?} is no http:// or https:// address")),
    }
}

/// Nothing stands for "derive it"; see [`Common::settled`].
fn host_port_or_nothing(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Ok(String::new())
    } else {
        host_port(text)
    }
}
