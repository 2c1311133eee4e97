//! The worker's own settings.

use std::time::Duration;

use clap::Args;
use dm_service::config::{Error, Origins, duration};
use dm_service::{Common, Section};

/// Beside what every service has. The worker reaches etcd through the masters it joins, so `etcd-endpoints` is not used.
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
    use super::*;

    #[test]
    fn schemes_and_blanks_are_taken_off() {
        let join = ["http://a:1".to_owned(), " b:2/ ".to_owned(), String::new()];
        assert_eq!(addresses(&join), ["a:1", "b:2"]);
    }
}
