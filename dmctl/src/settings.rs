//! Connection settings: a flag wins over the environment, the environment over the file.
//!
//! DM's own tool reads the same file but then lays the defaults of its flags over it, so that most keys have no
//! effect there. Here every key works.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use dm_errors::{Code, DmError};
use dm_task::duration::GoDuration;
use serde::Deserialize;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::cli::Globals;
use crate::connection::Targets;
use crate::error::Error;

const DEFAULT_RPC_TIMEOUT: Duration = Duration::from_secs(600);

const NO_ADDRESS: &str = "--master-addr not provided, this parameter is required when interacting with the dm-master, \
you can also use environment variable 'DM_MASTER_ADDR' to specify the value. \
Use `dmctl --help` to see more help messages";

/// What a command needs before it can begin.
#[derive(Debug)]
pub struct Settings {
    /// Where the masters are.
    pub targets: Targets,
    /// Limit of calls that read.
    pub rpc_timeout: Duration,
}

/// The file of `--config`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    master_addr: Option<String>,
    rpc_timeout: Option<GoDuration>,
    ssl_ca: Option<PathBuf>,
    ssl_cert: Option<PathBuf>,
    ssl_key: Option<PathBuf>,
    ssl_ca_base64: Option<String>,
    ssl_cert_base64: Option<String>,
    ssl_key_base64: Option<String>,
    ssl_ca_bytes: Option<Vec<u8>>,
    ssl_cert_bytes: Option<Vec<u8>>,
    ssl_key_bytes: Option<Vec<u8>>,
}

impl Settings {
    /// Puts the sources of settings together and checks what can be checked without a connection.
    pub fn gather(globals: &Globals, env: &impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let file = match &globals.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let addresses = globals
            .master_addr
            .clone()
            .or_else(|| env("DM_MASTER_ADDR"))
            .or_else(|| file.master_addr.clone())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Error::Other(NO_ADDRESS.to_owned()))?;
        let rpc_timeout = globals
            .rpc_timeout
            .or_else(|| file.rpc_timeout.map(GoDuration::to_std))
            .unwrap_or(DEFAULT_RPC_TIMEOUT);
        if rpc_timeout.is_zero() {
            return Err(Error::Other(
                "rpc-timeout must be longer than nothing, such as 30s or 10m".to_owned(),
            ));
        }
        Ok(Self {
            targets: Targets::new(&addresses, file.tls(globals)?)?,
            rpc_timeout,
        })
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::Other(format!(
                "the current command parameter: --config is invalid or used incorrectly: {}: {why}",
                path.display()
            ))
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        toml::from_str(&text).map_err(|error| wrong(&error))
    }

    fn tls(&self, globals: &Globals) -> Result<Option<ClientTlsConfig>, Error> {
        let pem = |key: &str,
                   flag: &Option<PathBuf>,
                   path: &Option<PathBuf>,
                   base64: &Option<String>,
                   bytes: &Option<Vec<u8>>| {
            let path = flag.as_ref().or(path.as_ref());
            let from_path = path.map(|path| {
                std::fs::read(path)
                    .map_err(|e| invalid_tls(format!("{key} {}: {e}", path.display())))
            });
            let from_base64 = || {
                let engine = base64::engine::general_purpose::STANDARD;
                let decoded = base64.as_ref().map(|text| engine.decode(text));
                decoded.map(|bytes| bytes.map_err(|e| invalid_tls(format!("{key}-base64: {e}"))))
            };
            from_path
                .or_else(from_base64)
                .or_else(|| bytes.clone().map(Ok))
                .transpose()
        };
        let ca = pem(
            "ssl-ca",
            &globals.ssl_ca,
            &self.ssl_ca,
            &self.ssl_ca_base64,
            &self.ssl_ca_bytes,
        )?;
        let cert = pem(
            "ssl-cert",
            &globals.ssl_cert,
            &self.ssl_cert,
            &self.ssl_cert_base64,
            &self.ssl_cert_bytes,
        )?;
        let key = pem(
            "ssl-key",
            &globals.ssl_key,
            &self.ssl_key,
            &self.ssl_key_base64,
            &self.ssl_key_bytes,
        )?;
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some(Identity::from_pem(cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(invalid_tls("ssl-cert is given without ssl-key")),
            (None, Some(_)) => return Err(invalid_tls("ssl-key is given without ssl-cert")),
        };
        let Some(ca) = ca else {
            return match identity {
                Some(_) => Err(invalid_tls("ssl-cert and ssl-key are given without ssl-ca")),
                None => Ok(None),
            };
        };
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        Ok(Some(match identity {
            Some(identity) => tls.identity(identity),
            None => tls,
        }))
    }
}

/// Code 48002 with its reason.
pub(crate) fn invalid_tls(reason: impl std::fmt::Display) -> Error {
    DmError::new(Code::CTL_INVALID_TLS_CFG, &[])
        .cause(reason)
        .into()
}
