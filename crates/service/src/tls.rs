//! TLS from three PEM files, for servers and clients alike: certificate authority, own chain, own key. Both sides show a certificate.
//!
//! The files are read and parsed at the start, so that a wrong one stops the start with a reason, and not the first call.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// Paths as configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// Key `ssl-ca`.
    pub ca: PathBuf,
    /// Key `ssl-cert`.
    pub cert: PathBuf,
    /// Key `ssl-key`.
    pub key: PathBuf,
    /// Key `cert-allowed-cn`; empty allows any name.
    pub allowed_cn: Vec<String>,
}

/// Which file is wrong, and how.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Missing or not permitted.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Configuration key of the file.
        key: &'static str,
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Readable, but not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// Configuration key of the file.
        key: &'static str,
        /// As configured.
        path: PathBuf,
        /// What is missing in it.
        reason: String,
    },
}

impl Error {
    /// The configuration key whose file is wrong.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. } | Self::Malformed { key, .. } => key,
        }
    }
}

/// The contents of the files, in both forms that servers and clients need. Debug shows no key.
#[derive(Clone)]
pub struct Material {
    server: Arc<ServerConfig>,
    client: ClientTlsConfig,
    allowed_cn: Arc<[String]>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material")
            .field("allowed_cn", &self.allowed_cn)
            .finish_non_exhaustive()
    }
}

impl Material {
    /// Reads all three files and proves that they fit together.
    pub fn load(files: &Files) -> Result<Self, Error> {
        let ca_pem = read("ssl-ca", &files.ca)?;
        let cert_pem = read("ssl-cert", &files.cert)?;
        let key_pem = read("ssl-key", &files.key)?;
        let roots = roots(&files.ca, &ca_pem)?;
        let chain = certificates("ssl-cert", &files.cert, &cert_pem)?;
        let key = private_key(&files.key, &key_pem)?;
        let server = server_config(files, roots, chain, key)?;
        let client = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca_pem))
            .identity(Identity::from_pem(cert_pem, key_pem));
        Ok(Self {
            server: Arc::new(server),
            client,
            allowed_cn: files.allowed_cn.clone().into(),
        })
    }

    /// For the accept loop; asks for a client certificate and offers HTTP/2 and HTTP/1.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For channels; shows our certificate and trusts the configured authority only.
    pub fn client(&self) -> ClientTlsConfig {
        self.client.clone()
    }

    /// Judges a peer by the common name of its certificate; the refusal says what the name was.
    pub fn admits(&self, peer: Option<&[CertificateDer<'_>]>) -> Result<(), String> {
        if self.allowed_cn.is_empty() {
            return Ok(());
        }
        let name = peer.and_then(<[_]>::first).and_then(|c| common_name(c));
        match name {
            Some(name) if self.allowed_cn.contains(&name) => Ok(()),
            Some(name) => Err(format!("common name {name:?} is not in cert-allowed-cn")),
            None => Err("the certificate has no common name".to_owned()),
        }
    }
}

fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

fn malformed(key: &'static str, path: &Path, reason: impl ToString) -> Error {
    Error::Malformed {
        key,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = rustls_pemfile::certs(&mut &pem[..])
        .collect::<Result<_, _>>()
        .map_err(|e| malformed(key, path, e))?;
    if found.is_empty() {
        return Err(malformed(key, path, "no certificate in PEM form found"));
    }
    Ok(found)
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ssl-ca", path, pem)? {
        roots
            .add(certificate)
            .map_err(|e| malformed("ssl-ca", path, e))?;
    }
    Ok(roots)
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    rustls_pemfile::private_key(&mut &pem[..])
        .map_err(|e| malformed("ssl-key", path, e))?
        .ok_or_else(|| malformed("ssl-key", path, "no private key in PEM form found"))
}

fn server_config(
    files: &Files,
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    // Named, because a build with two providers has no default one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|e| malformed("ssl-ca", &files.ca, e))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| malformed("ssl-cert", &files.cert, e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| malformed("ssl-key", &files.key, format!("does not fit ssl-cert: {e}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
