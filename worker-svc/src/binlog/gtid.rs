//! GTID sets of both flavours, as far as status and checkpoints show them. Reading itself goes by position.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The state of a MariaDB binlog: the last sequence number of each domain, with the server that wrote it.
/// Two sets are equal when their sequence numbers are; the server is informative.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MariaGtids {
    domains: BTreeMap<u32, (u32, u64)>,
}

impl MariaGtids {
    /// Notes that a transaction of a domain was reached.
    pub fn reach(&mut self, domain: u32, server: u32, sequence: u64) {
        self.domains.insert(domain, (server, sequence));
    }

    /// Whether both have reached the same transactions.
    pub fn same_as(&self, other: &Self) -> bool {
        let sequences = |set: &Self| -> Vec<(u32, u64)> {
            set.domains.iter().map(|(d, (_, seq))| (*d, *seq)).collect()
        };
        sequences(self) == sequences(other)
    }
}

/// Sorted by domain, which the server itself does not always do.
impl fmt::Display for MariaGtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (domain, (server, sequence))) in self.domains.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

/// A text that is no MariaDB GTID set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a MariaDB GTID set")]
pub struct NotAGtidSet;

impl FromStr for MariaGtids {
    type Err = NotAGtidSet;

    fn from_str(text: &str) -> Result<Self, NotAGtidSet> {
        let mut set = Self::default();
        for gtid in text.split(',').map(str::trim).filter(|g| !g.is_empty()) {
            let mut parts = gtid.splitn(3, '-');
            let mut part = || parts.next().ok_or(NotAGtidSet);
            let (domain, server, sequence) = (part()?, part()?, part()?);
            set.reach(
                domain.parse().map_err(|_| NotAGtidSet)?,
                server.parse().map_err(|_| NotAGtidSet)?,
                sequence.parse().map_err(|_| NotAGtidSet)?,
            );
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_domains_does_not_matter() {
        let a: MariaGtids = "7-1-1,0-1-33".parse().unwrap();
        let b: MariaGtids = "0-9-33, 7-1-1".parse().unwrap();
        assert!(a.same_as(&b));
        assert_eq!(a.to_string(), "0-1-33,7-1-1");
        assert!("0-1".parse::<MariaGtids>().is_err());
    }
}
