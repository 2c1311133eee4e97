//! The TLS material of a configuration, loaded: content as bytes comes before base64, base64 before a path on this
//! machine. What is named and does not load is an error, never a connection in plain text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dm_errors::{Code, DmError};
use dm_store::TlsContent;
use dm_task::db::Security;
use mysql_async::{ClientIdentity, SslOpts};

/// An authority, and our own certificate with its key, as PEM or DER.
pub struct Material {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// One of the three parts, as it stands in a configuration.
struct Part<'a> {
    name: &'static str,
    bytes: Option<&'a [u8]>,
    base64: &'a str,
    path: &'a str,
}

/// The material; none when nothing is named.
///
/// # Errors
/// 48003 with the part that does not load.
pub async fn load(security: &Security) -> Result<Option<Material>, DmError> {
    let ca = Part {
        name: "ssl-ca",
        bytes: security.ssl_ca_bytes.as_deref(),
        base64: &security.ssl_ca_base64,
        path: &security.ssl_ca,
    };
    let cert = Part {
        name: "ssl-cert",
        bytes: security.ssl_cert_bytes.as_deref(),
        base64: &security.ssl_cert_base64,
        path: &security.ssl_cert,
    };
    let key = Part {
        name: "ssl-key",
        bytes: security.ssl_key_bytes.as_deref(),
        base64: &security.ssl_key_base64,
        path: &security.ssl_key,
    };
    let (ca, cert, key) = (ca.load().await?, cert.load().await?, key.load().await?);
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => return Err(failed("there is an ssl-cert and no ssl-key")),
        (None, Some(_)) => return Err(failed("there is an ssl-key and no ssl-cert")),
    };
    let is_named = ca.is_some() || identity.is_some();
    Ok(is_named.then_some(Material { ca, identity }))
}

impl Part<'_> {
    async fn load(&self) -> Result<Option<Vec<u8>>, DmError> {
        let wrong = |why: &dyn std::fmt::Display| failed(&format!("{}: {why}", self.name));
        let content = match (self.bytes, self.base64, self.path) {
            (Some(bytes), ..) if !bytes.is_empty() => bytes.to_vec(),
            (_, base64, _) if !base64.is_empty() => {
                let decoded = STANDARD.decode(base64.trim());
                decoded.map_err(|error| wrong(&format!("no base64: {error}")))?
            }
            (_, _, path) if !path.is_empty() => tokio::fs::read(path)
                .await
                .map_err(|error| wrong(&format!("{path}: {error}")))?,
            _ => return Ok(None),
        };
        // An empty or foreign file would count as "no authority", and so as any of those that everybody knows.
        let is_text = std::str::from_utf8(&content);
        if content.is_empty() || is_text.is_ok_and(|text| !text.contains("-----BEGIN ")) {
            return Err(wrong(&"no PEM in it"));
        }
        Ok(Some(content))
    }
}

impl Material {
    /// For a connection to a database.
    pub fn into_options(self) -> SslOpts {
        // DM checks the certificate against the authority, not the host's name.
        let options = SslOpts::default()
            .with_danger_skip_domain_validation(true)
            .with_disable_built_in_roots(self.ca.is_some())
            .with_root_certs(self.ca.into_iter().map(Into::into).collect());
        let identity = self.identity;
        options.with_client_identity(
            identity.map(|(cert, key)| ClientIdentity::new(cert.into(), key.into())),
        )
    }

    /// For a connection to an etcd.
    pub fn into_content(self) -> TlsContent {
        TlsContent {
            ca: self.ca,
            identity: self.identity,
        }
    }
}

fn failed(why: &str) -> DmError {
    DmError::new(Code::CTL_LOAD_TLS_CFG, &[]).cause(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    async fn cause(security: &Security) -> String {
        match load(security).await {
            Ok(_) => panic!("it loads"),
            Err(error) => {
                assert_eq!(error.code().number(), 48003);
                error.raw_cause().to_owned()
            }
        }
    }

    #[tokio::test]
    async fn content_comes_before_base64_and_base64_before_a_path() {
        let base64 = STANDARD.encode(PEM.replace("AAAA", "BBBB"));
        let mut security = Security {
            ssl_ca: "/there/is/no/such/file".into(),
            ssl_ca_base64: base64,
            ssl_ca_bytes: Some(PEM.into()),
            ..Security::default()
        };
        let ca = |material: Option<Material>| {
            String::from_utf8(material.and_then(|m| m.ca).unwrap_or_default()).unwrap()
        };
        assert_eq!(ca(load(&security).await.unwrap()), PEM);
        security.ssl_ca_bytes = None;
        assert!(ca(load(&security).await.unwrap()).contains("BBBB"));
        security.ssl_ca_base64.clear();
        let cause = cause(&security).await;
        assert!(
            cause.starts_with("ssl-ca: /there/is/no/such/file: "),
            "{cause}"
        );
    }

    #[tokio::test]
    async fn what_is_named_and_does_not_load_is_an_error() {
        let base64 = |text: &str| Security {
            ssl_ca_base64: text.into(),
            ..Security::default()
        };
        assert!(
            cause(&base64("***"))
                .await
                .starts_with("ssl-ca: no base64: ")
        );
        let empty = STANDARD.encode("\n");
        assert_eq!(cause(&base64(&empty)).await, "ssl-ca: no PEM in it");
        let half = Security {
            ssl_cert_bytes: Some(PEM.into()),
            ..Security::default()
        };
        assert_eq!(cause(&half).await, "there is an ssl-cert and no ssl-key");
        assert!(load(&Security::default()).await.unwrap().is_none());
    }
}
