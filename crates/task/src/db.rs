//! A database connection in a configuration: `from` of a source, `target-database` of a task.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::yaml::Map;

/// Where a database is and how to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DbConfig {
    /// Name or address of the server.
    pub host: String,
    /// DM checks no range here.
    pub port: i64,
    /// Login name.
    pub user: String,
    /// In clear, also in etcd, where a worker reads it from.
    pub password: Secret,
    /// Deprecated; carried along, never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_allowed_packet: Option<i64>,
    /// Variables set on every connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<BTreeMap<String, String>>,
    /// Absent for a connection without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
}

impl DbConfig {
    pub(crate) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self::default();
        map.string("host", &mut own.host);
        map.int("port", &mut own.port);
        map.string("user", &mut own.user);
        map.text("password", &mut own.password);
        map.optional_int("max-allowed-packet", &mut own.max_allowed_packet);
        map.string_map("session", &mut own.session);
        own.security = map.table("security", "security.Security", Security::read);
        own
    }

    /// Sets a session variable, in place of one that has the same name in any case.
    pub(crate) fn set_session(&mut self, name: &str, value: &str) {
        let session = self.session.get_or_insert_default();
        let known = session
            .keys()
            .find(|key| key.eq_ignore_ascii_case(name))
            .cloned();
        session.insert(known.unwrap_or_else(|| name.to_owned()), value.to_owned());
    }
}

/// TLS material: paths, or the content of the files.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Security {
    /// Path of the certificate authority's file.
    pub ssl_ca: String,
    /// Path of the certificate.
    pub ssl_cert: String,
    /// Path of the private key.
    pub ssl_key: String,
    /// Common names that the other side may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_allowed_cn: Option<Vec<String>>,
    /// Content of `ssl-ca`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_ca_bytes: Option<Vec<u8>>,
    /// Content of `ssl-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_key_bytes: Option<Vec<u8>>,
    /// Content of `ssl-cert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_cert_bytes: Option<Vec<u8>>,
    /// Content of `ssl-ca` as base64.
    pub ssl_ca_base64: String,
    /// Content of `ssl-key` as base64.
    pub ssl_key_base64: String,
    /// Content of `ssl-cert` as base64.
    pub ssl_cert_base64: String,
}

impl Security {
    /// Keeps the paths only.
    pub(crate) fn forget_content(&mut self) {
        for bytes in [
            &mut self.ssl_ca_bytes,
            &mut self.ssl_key_bytes,
            &mut self.ssl_cert_bytes,
        ] {
            *bytes = None;
        }
        for text in [
            &mut self.ssl_ca_base64,
            &mut self.ssl_key_base64,
            &mut self.ssl_cert_base64,
        ] {
            text.clear();
        }
    }

    pub(crate) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self::default();
        map.string("ssl-ca", &mut own.ssl_ca);
        map.string("ssl-cert", &mut own.ssl_cert);
        map.string("ssl-key", &mut own.ssl_key);
        map.strings("cert-allowed-cn", &mut own.cert_allowed_cn);
        map.bytes("ssl-ca-bytes", &mut own.ssl_ca_bytes);
        map.bytes("ssl-key-bytes", &mut own.ssl_key_bytes);
        map.bytes("ssl-cert-bytes", &mut own.ssl_cert_bytes);
        map.string("ssl-ca-base64", &mut own.ssl_ca_base64);
        map.string("ssl-key-base64", &mut own.ssl_key_base64);
        map.string("ssl-cert-base64", &mut own.ssl_cert_base64);
        own
    }
}

/// Shows the paths only: the rest may be a private key.
impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Security")
            .field("ssl_ca", &self.ssl_ca)
            .field("ssl_cert", &self.ssl_cert)
            .field("ssl_key", &self.ssl_key)
            .field("cert_allowed_cn", &self.cert_allowed_cn)
            .finish_non_exhaustive()
    }
}
