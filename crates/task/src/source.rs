//! The configuration of one source: the file given to `operate-source`, and its record in etcd.

mod show;
mod verify;

pub(crate) use verify::MAX_SOURCE_ID;

use std::collections::BTreeMap;

use dm_errors::{Code, DmError};
use serde::{Deserialize, Serialize};

use crate::db::DbConfig;
use crate::duration::GoDuration;
use crate::filter::EventRule;
use crate::origin::Origin;
use crate::secret::{MASK, Secret, SecretKey};
use crate::text;
use crate::yaml::{Map, Value};

/// A source. Fields are in the order of the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SourceConfig {
    /// Switched by the HTTP API; tasks of a disabled source do not start through it.
    pub enable: bool,
    /// Workers ask the source for events by GTID.
    pub enable_gtid: bool,
    /// Deprecated, always false.
    pub auto_fix_gtid: bool,
    /// Where a worker keeps relay logs, unless it has a directory of its own.
    pub relay_dir: String,
    /// Deprecated.
    pub meta_dir: String,
    /// `mysql` or `mariadb`; empty in a file means that the server is asked.
    pub flavor: String,
    /// Deprecated.
    pub charset: String,
    /// The worker bound to the source pulls relay logs.
    pub enable_relay: bool,
    /// Where relay begins.
    pub relay_binlog_name: String,
    /// Where relay begins, as a GTID set.
    pub relay_binlog_gtid: String,
    /// Name of the source in the cluster, 1 to 32 bytes.
    pub source_id: String,
    /// The id a worker shows to the source as a replica; 0 in a file means that one is chosen.
    pub server_id: u32,
    /// Names of the source are told apart by case.
    pub case_sensitive: bool,
    /// How to connect.
    pub from: DbConfig,
    /// When old relay logs go.
    pub purge: Purge,
    /// Automatic resume of paused tasks.
    pub checker: Checker,
    /// Deprecated: taken and kept, never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracer: Option<toml::Table>,
    /// Event filters for every task of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<EventRule>>,
}

/// When a worker removes old relay logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Purge {
    /// Seconds between two looks; 0 for never.
    pub interval: i64,
    /// Hours a file may grow old; 0 for any age.
    pub expires: i64,
    /// Gigabytes that must stay free; 0 for none.
    pub remain_space: i64,
}

/// How a worker resumes tasks that paused on an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Checker {
    /// Whether it resumes at all.
    pub check_enable: bool,
    /// After this time without an error the waiting time shrinks.
    pub backoff_rollback: GoDuration,
    /// The longest waiting time, one second at least.
    pub backoff_max: GoDuration,
    /// Always 5 s.
    pub check_interval: GoDuration,
    /// Always 1 s.
    pub backoff_min: GoDuration,
    /// Always on.
    pub backoff_jitter: bool,
    /// Always 2.
    pub backoff_factor: f64,
}

impl Checker {
    /// What a file means that does not mention it.
    fn unmentioned() -> Self {
        let minutes = GoDuration::from_secs(300);
        Self {
            check_enable: true,
            backoff_rollback: minutes,
            backoff_max: minutes,
            ..Self::default()
        }
    }

    /// Four values are not the user's to choose.
    fn fix(&mut self) {
        self.check_interval = GoDuration::from_secs(5);
        self.backoff_min = GoDuration::from_secs(1);
        self.backoff_jitter = true;
        self.backoff_factor = 2.0;
    }

    fn read(&mut self, map: &mut Map<'_>) {
        map.bool("check-enable", &mut self.check_enable);
        for (key, slot) in [
            ("backoff-rollback", &mut self.backoff_rollback),
            ("backoff-max", &mut self.backoff_max),
            ("check-interval", &mut self.check_interval),
            ("backoff-min", &mut self.backoff_min),
        ] {
            map.parsed(key, slot, str::parse);
        }
        map.bool("backoff-jitter", &mut self.backoff_jitter);
        map.float("backoff-factor", &mut self.backoff_factor);
    }
}

impl SourceConfig {
    /// Reads a source file strictly and verifies it. `file_name` is only for the error; it may be empty when the
    /// text came without one. Flavor, server id and relay directory stay empty if the file leaves them out: see
    /// [`SourceConfig::complete`].
    pub fn from_yaml(file_name: &str, text: &str) -> Result<Self, DmError> {
        let title = "decode source config";
        let (mut own, origin) =
            Origin::read(file_name, text, title, "config.SourceConfig", Self::read)?;
        own.settle();
        own.verify_flavor(&origin)?;
        own.verify(&origin)?;
        own.verify_filters(&origin)?;
        Ok(own)
    }

    /// Reads the id alone, strictly but without verifying the rest: what `stop` and `show` need of a file.
    pub fn id_from_yaml(file_name: &str, text: &str) -> Result<String, DmError> {
        let title = "decode source config";
        Origin::read(file_name, text, title, "config.SourceConfig", Self::read)
            .map(|(own, _)| own.source_id)
    }

    /// Reads the record of etcd: nothing has a default, a key that DM does not know is refused (a Go worker would
    /// refuse it, too), and the result is verified.
    pub fn from_toml(text: &str) -> Result<Self, DmError> {
        let mut own: Self = text::from_toml(text, "decode source config")?;
        if own
            .tracer
            .iter()
            .flatten()
            .any(|(_, value)| value.is_table())
        {
            own.tracer = None;
        }
        let given: toml::Table = text::from_toml(text, "decode source config")?;
        let known: toml::Table = text::from_toml(&own.to_toml()?, "decode source config")?;
        let unknown = text::undecoded(&given, &known, "").join(",");
        if !unknown.is_empty() {
            return Err(DmError::new(
                Code::WORKER_UNDECODED_ITEM_FROM_FILE,
                &[&unknown],
            ));
        }
        own.settle();
        own.verify(&Origin::default())?;
        Ok(own)
    }

    /// The record of etcd, with the password in clear.
    pub fn to_toml(&self) -> Result<String, DmError> {
        text::to_toml(self)
    }

    /// Fills in what only the server can tell, where the file left it open, and the default relay directory.
    pub fn complete(&mut self, flavor: &str, server_id: u32) {
        if self.flavor.is_empty() {
            self.flavor = flavor.to_owned();
        }
        if self.server_id == 0 {
            self.server_id = server_id;
        }
        if self.relay_dir.is_empty() {
            self.relay_dir = "relay-dir".into();
        }
    }

    /// Replaces an encrypted password by its clear text, which is what etcd holds.
    pub fn decrypt(&mut self, key: &SecretKey) {
        self.from.password = self.from.password.decrypted(key);
    }

    /// A copy to show to users: `******` for the password, no key material.
    pub fn masked(&self) -> Self {
        let mut shown = self.clone();
        shown.from.password = Secret::from(MASK);
        if let Some(security) = &mut shown.from.security {
            security.forget_content();
        }
        shown
    }

    fn settle(&mut self) {
        self.auto_fix_gtid = false;
        self.checker.fix();
        for rule in self.filters.iter_mut().flatten() {
            rule.normalise(self.case_sensitive);
        }
    }

    fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self {
            enable: true,
            purge: Purge {
                interval: 3600,
                expires: 0,
                remain_space: 15,
            },
            checker: Checker::unmentioned(),
            ..Self::default()
        };
        map.bool("enable", &mut own.enable);
        map.bool("enable-gtid", &mut own.enable_gtid);
        map.bool("auto-fix-gtid", &mut own.auto_fix_gtid);
        map.string("relay-dir", &mut own.relay_dir);
        map.string("meta-dir", &mut own.meta_dir);
        map.string("flavor", &mut own.flavor);
        map.string("charset", &mut own.charset);
        map.bool("enable-relay", &mut own.enable_relay);
        map.string("relay-binlog-name", &mut own.relay_binlog_name);
        map.string("relay-binlog-gtid", &mut own.relay_binlog_gtid);
        map.string("source-id", &mut own.source_id);
        map.section("from", "dbconfig.DBConfig", &mut own.from, |map, from| {
            *from = DbConfig::read(map)
        });
        map.section(
            "purge",
            "config.PurgeConfig",
            &mut own.purge,
            |map, purge| {
                map.int("interval", &mut purge.interval);
                map.int("expires", &mut purge.expires);
                map.int("remain-space", &mut purge.remain_space);
            },
        );
        map.section(
            "checker",
            "config.CheckerConfig",
            &mut own.checker,
            |map, checker| checker.read(map),
        );
        map.int("server-id", &mut own.server_id);
        own.tracer = read_tracer(map);
        map.bool("case-sensitive", &mut own.case_sensitive);
        own.filters = map.list("filters", "[]*filter.BinlogEventRule", EventRule::read);
        own
    }
}

/// The scalars of the deprecated free-form table. Deeper values are let go, since DM's workers would refuse them.
fn read_tracer(map: &mut Map<'_>) -> Option<toml::Table> {
    let node = map.raw("tracer")?;
    let Value::Map(entries) = &node.value else {
        if !node.is_null() {
            map.issues.add(
                node.line,
                format!(
                    "cannot unmarshal {} into map[string]interface {{}} (key tracer)",
                    node.describe()
                ),
            );
        }
        return None;
    };
    let scalars: BTreeMap<String, toml::Value> = entries
        .iter()
        .filter_map(|entry| match &entry.value.value {
            Value::Scalar { text, plain } => Some((entry.key.clone(), scalar(text, *plain))),
            _ => None,
        })
        .collect();
    Some(scalars.into_iter().collect())
}

fn scalar(text: &str, plain: bool) -> toml::Value {
    let number = || crate::yaml::parse_int(text).and_then(|n| i64::try_from(n).ok());
    match plain {
        true => crate::yaml::parse_bool(text)
            .map(toml::Value::Boolean)
            .or_else(|| number().map(toml::Value::Integer))
            .unwrap_or_else(|| toml::Value::String(text.to_owned())),
        false => toml::Value::String(text.to_owned()),
    }
}
