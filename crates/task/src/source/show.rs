//! A source as its users see it: the whole of it for `config source`, a file to import again for `config export`.

use dm_errors::DmError;

use super::SourceConfig;
use crate::db::DbConfig;
use crate::filter::EventRule;
use crate::secret::Secret;
use crate::yaml::Tree;

impl SourceConfig {
    /// Every key in DM's order, the password as `******`, no key material.
    pub fn to_shown_yaml(&self) -> Result<String, DmError> {
        self.masked().tree().map(|tree| tree.to_yaml())
    }

    /// A file that makes the same source again: without keys that a file need not have, the password as given.
    pub fn to_exported_yaml(&self, password: Secret) -> Result<String, DmError> {
        let mut own = self.clone();
        own.from.password = password;
        let is_wanted = |key: &str, value: &Tree| match key {
            "auto-fix-gtid" | "meta-dir" | "enable" => false,
            "case-sensitive" => value != &Tree::Bool(false),
            "filters" => value != &Tree::List(Vec::new()),
            _ => true,
        };
        own.tree().map(|tree| tree.keeping(is_wanted).to_yaml())
    }

    fn tree(&self) -> Result<Tree, DmError> {
        let tracer = self.tracer.clone().unwrap_or_default();
        let filters = self.filters.iter().flatten();
        Ok(Tree::map([
            ("enable", self.enable.into()),
            ("enable-gtid", self.enable_gtid.into()),
            ("auto-fix-gtid", self.auto_fix_gtid.into()),
            ("relay-dir", self.relay_dir.as_str().into()),
            ("meta-dir", self.meta_dir.as_str().into()),
            ("flavor", self.flavor.as_str().into()),
            ("charset", self.charset.as_str().into()),
            ("enable-relay", self.enable_relay.into()),
            ("relay-binlog-name", self.relay_binlog_name.as_str().into()),
            ("relay-binlog-gtid", self.relay_binlog_gtid.as_str().into()),
            ("source-id", self.source_id.as_str().into()),
            ("from", self.from.tree()?),
            ("purge", Tree::of(&self.purge)?),
            ("checker", Tree::of(&self.checker)?),
            ("server-id", i64::from(self.server_id).into()),
            ("tracer", toml::Value::Table(tracer).into()),
            ("case-sensitive", self.case_sensitive.into()),
            (
                "filters",
                Tree::List(filters.map(EventRule::tree).collect()),
            ),
        ]))
    }
}

impl DbConfig {
    pub(crate) fn tree(&self) -> Result<Tree, DmError> {
        let session = self.session.iter().flatten();
        let session = session.map(|(name, value)| (name.clone(), value.as_str().into()));
        let security = match &self.security {
            None => Tree::Null,
            Some(security) => Tree::map([
                ("ssl-ca", security.ssl_ca.as_str().into()),
                ("ssl-cert", security.ssl_cert.as_str().into()),
                ("ssl-key", security.ssl_key.as_str().into()),
                ("cert-allowed-cn", Tree::texts(&security.cert_allowed_cn)),
                ("ssl-ca-bytes", bytes(&security.ssl_ca_bytes)),
                ("ssl-key-bytes", bytes(&security.ssl_key_bytes)),
                ("ssl-cert-bytes", bytes(&security.ssl_cert_bytes)),
                ("ssl-ca-base64", security.ssl_ca_base64.as_str().into()),
                ("ssl-key-base64", security.ssl_key_base64.as_str().into()),
                ("ssl-cert-base64", security.ssl_cert_base64.as_str().into()),
            ]),
        };
        Ok(Tree::map([
            ("host", self.host.as_str().into()),
            ("port", self.port.into()),
            ("user", self.user.as_str().into()),
            ("password", self.password.expose().into()),
            (
                "max-allowed-packet",
                self.max_allowed_packet.map_or(Tree::Null, Tree::Int),
            ),
            ("session", Tree::Map(session.collect())),
            ("security", security),
        ]))
    }
}

fn bytes(bytes: &Option<Vec<u8>>) -> Tree {
    let bytes = bytes.iter().flatten();
    Tree::List(bytes.map(|byte| Tree::Int(i64::from(*byte))).collect())
}

impl EventRule {
    pub(crate) fn tree(&self) -> Tree {
        Tree::map([
            ("schema-pattern", self.schema_pattern.as_str().into()),
            ("table-pattern", self.table_pattern.as_str().into()),
            ("events", Tree::texts(&self.events)),
            ("sql-pattern", Tree::texts(&self.sql_pattern)),
            ("action", self.action.as_str().into()),
        ])
    }
}
