//! How the databases of tasks and sources are reached, the same for all services: address, login, TLS, and the key of passwords.

pub mod tls;

use std::fmt::Display;
use std::path::Path;

use dm_errors::{Code, DmError};
use dm_task::DbConfig;
use dm_task::secret::SecretKey;
use mysql_async::OptsBuilder;

/// Why no connection is tried.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The number is not one of a port.
    #[error("{0} is no port")]
    Port(i64),
    /// 48003: TLS material that does not load.
    #[error(transparent)]
    Tls(#[from] DmError),
}

impl From<Unusable> for mysql_async::Error {
    fn from(unusable: Unusable) -> Self {
        Self::Other(Box::new(unusable))
    }
}

/// What the driver needs for a connection: the caller adds what its sessions need.
///
/// # Errors
/// When the configuration names something that cannot be used. What is named and does not load never means plain text.
pub async fn options(config: &DbConfig) -> Result<OptsBuilder, Unusable> {
    let port = u16::try_from(config.port).map_err(|_| Unusable::Port(config.port))?;
    let material = match &config.security {
        Some(security) => tls::load(security).await?,
        None => None,
    };
    Ok(OptsBuilder::default()
        .ip_or_hostname(config.host.clone())
        .tcp_port(port)
        .user(Some(config.user.clone()))
        .pass(Some(config.password.expose().to_owned()))
        // The socket would be that of this machine, not of the one that was named.
        .prefer_socket(false)
        .ssl_opts(material.map(tls::Material::into_options)))
}

/// The key that passwords may be encrypted with, if a file with one is named.
///
/// # Errors
/// 20067 when the file cannot be read or holds no key.
pub fn secret_key(path: Option<&Path>) -> Result<Option<SecretKey>, DmError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let refuse = |why: &dyn Display| {
        let why = format!("{}: {why}", path.display());
        DmError::new(Code::CONFIG_SECRET_KEY_PATH, &[&why])
    };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
    let key = SecretKey::from_hex(&text).map_err(|error| refuse(&error))?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_that_is_no_port_is_named() {
        let config = DbConfig {
            port: 65_536,
            ..DbConfig::default()
        };
        let error = options(&config).await.err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("65536 is no port"));
    }

    #[test]
    fn a_key_file_that_is_none_is_named() {
        assert!(secret_key(None).is_ok_and(|key| key.is_none()));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = secret_key(Some(&path)).err().map(|e| e.to_string());
        let error = error.unwrap_or_default();
        assert!(
            error.starts_with("[code=20067:") && error.contains("Cargo.toml: the key must be"),
            "{error}"
        );
    }
}
