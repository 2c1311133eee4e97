//! The worker's own settings.

use std::time::Duration;

use clap::Args;
use dm_service::config::{Error, Origins, duration};
use dm_service::{Common, Section};

/// Beside what every service has. The worker reaches etcd through the masters it joins, has a lease of its own, and no standbys.
#[derive(Args, Clone, Debug)]
pub struct Join {
    /// Masters to join, separated by commas; each also passes etcd through
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "127.0.0.1:8261"
    )]
    pub join: Vec<String>,
    /// How long the cluster takes this worker for alive without hearing from it (at least 2s)
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub keepalive_ttl: Duration,
}

const SHORTEST_TTL: Duration = Duration::from_secs(2);

impl Section for Join {
    const WITHOUT_EFFECT: &'static [&'static str] =
        &["etcd-endpoints", "lease-ttl", "max-txn-ops", "leader-wait"];

    fn check(&self, _common: &Common, origins: &Origins) -> Result<(), Error> {
        if self.join.iter().all(|a| a.trim().is_empty()) {
            let reason = "must name at least one master as host:port";
            return Err(Error::invalid(origins, "join", reason));
        }
        if self.keepalive_ttl < SHORTEST_TTL {
            return Err(Error::invalid(
                origins,
                "keepalive-ttl",
                "must be at least 2s",
            ));
        }
        Ok(())
    }
}

/// Addresses as `host:port`: blanks and schemes off, empty ones out.
pub fn addresses(join: &[String]) -> Vec<String> {
    join.iter()
        .map(|a| {
            let a = a.trim();
            a.split_once("://").map_or(a, |(_, rest)| rest)
        })
        .map(|a| a.trim_end_matches('/').to_owned())
        .filter(|a| !a.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use dm_service::{Settings, config};

    use super::*;

    fn load(args: &[&str]) -> Result<Settings<Join>, Error> {
        let args = std::iter::once("worker-svc").chain(args.iter().copied());
        config::load("worker-svc", 8262, args.map(Into::into), |_| None)
    }

    /// The configuration file that is shipped.
    const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/worker-svc.toml");

    #[test]
    fn shipped_configuration_states_the_defaults() {
        let mut read = load(&["--config", SHIPPED]).unwrap();
        read.common.config = None;
        let defaults = load(&[]).unwrap();
        assert_eq!(format!("{read:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn shipped_configuration_names_every_key() {
        let wrong = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(wrong.path(), "no-such-key = 1\n").unwrap();
        let refused = load(&["--config", wrong.path().to_str().unwrap()]);
        let Err(Error::UnknownKey { allowed, .. }) = refused else {
            panic!("the key must be refused");
        };
        let text = std::fs::read_to_string(SHIPPED).unwrap();
        for key in allowed {
            let line = format!("{key} = ");
            let named = text
                .lines()
                .any(|l| l.trim_start_matches("# ").starts_with(&line));
            assert!(named, "{key} is missing");
        }
    }

    #[test]
    fn keys_without_effect_are_refused_by_name() {
        let values = ["127.0.0.1:2379", "10s", "128", "5s"];
        for (key, value) in Join::WITHOUT_EFFECT.iter().zip(values) {
            let text = load(&[&format!("--{key}={value}")])
                .map(drop)
                .unwrap_err()
                .to_string();
            let refusal = format!("flag --{key}: {key}: has no effect in worker-svc; leave it out");
            assert_eq!(text, refusal);
        }
    }

    #[test]
    fn schemes_and_blanks_are_taken_off() {
        let join = ["http://a:1".to_owned(), " b:2/ ".to_owned(), String::new()];
        assert_eq!(addresses(&join), ["a:1", "b:2"]);
    }
}
