//! What must hold in a source, in the order in which DM looks.

use dm_errors::{Class, Code, DmError};

use super::SourceConfig;
use crate::duration::GoDuration;
use crate::origin::Origin;
use crate::task::rules::{EVENTS, check_events};

/// The longest source id: it becomes part of column values and file names.
pub(crate) const MAX_SOURCE_ID: usize = 32;

impl SourceConfig {
    /// Verifies what can be verified without the server.
    pub(super) fn verify(&self, origin: &Origin) -> Result<(), DmError> {
        self.verify_id(origin)?;
        self.verify_relay(origin)?;
        if self.checker.backoff_max < GoDuration::from_secs(1) {
            let args: [&dyn std::fmt::Display; 2] =
                [&self.checker.backoff_max, &self.checker.backoff_min];
            let error = DmError::new(Code::CONFIG_CHECKER_MAX_TOO_SMALL, &args);
            return Err(origin.at("checker.backoff-max", "it must be 1s or more", error));
        }
        Ok(())
    }

    /// The flavor a file gives. DM looks at it only when the server id is left out; a record of etcd is taken with
    /// any, since a Go master may have written it.
    pub(super) fn verify_flavor(&self, origin: &Origin) -> Result<(), DmError> {
        if !matches!(self.flavor.as_str(), "" | "mysql" | "mariadb") {
            let error = DmError::new(Code::NOT_SUPPORTED_FLAVOR, &[&self.flavor]);
            return Err(origin.at("flavor", "allowed are mysql and mariadb", error));
        }
        Ok(())
    }

    /// Event filters of a file. DM takes bad ones, and fails when a subtask of the source begins; a record of etcd is taken
    /// with any, since a Go master may have written it.
    pub(super) fn verify_filters(&self, origin: &Origin) -> Result<(), DmError> {
        let rules = self.filters.as_deref().unwrap_or_default();
        check_events(rules, self.case_sensitive)
            .map_err(|error| origin.at("filters", EVENTS, error))
    }

    fn verify_id(&self, origin: &Origin) -> Result<(), DmError> {
        if self.source_id.is_empty() {
            let error = DmError::new(Code::WORKER_NEED_SOURCE_ID, &[]);
            return Err(origin.at("source-id", "it is required, 1 to 32 bytes", error));
        }
        if self.source_id.len() > MAX_SOURCE_ID {
            let error = DmError::new(
                Code::WORKER_TOO_LONG_SOURCE_ID,
                &[&self.source_id, &MAX_SOURCE_ID],
            );
            return Err(origin.at("source-id", "1 to 32 bytes are allowed", error));
        }
        Ok(())
    }

    fn verify_relay(&self, origin: &Origin) -> Result<(), DmError> {
        if !self.relay_binlog_name.is_empty() && !is_binlog_name(&self.relay_binlog_name) {
            let error = DmError::new(Code::WORKER_RELAY_BINLOG_NAME, &[&self.relay_binlog_name]);
            return Err(origin.at(
                "relay-binlog-name",
                "a name such as mysql-bin.000001 is allowed",
                error,
            ));
        }
        let gtid = self.relay_binlog_gtid.as_str();
        let valid = match self.flavor.as_str() {
            "mariadb" => is_mariadb_gtid(gtid),
            "mysql" => is_mysql_gtid(gtid),
            _ => is_mysql_gtid(gtid) || is_mariadb_gtid(gtid),
        };
        if !gtid.is_empty() && !valid {
            let error = DmError::new(Code::PARSE_GTID, &[&gtid]).class(Class::DmWorker);
            let error = error.annotate(format!("relay-binlog-gtid {gtid}"));
            return Err(origin.at(
                "relay-binlog-gtid",
                "a GTID set of the source's flavor is allowed",
                error,
            ));
        }
        Ok(())
    }
}

/// `base.NNN` with one dot and a positive number.
fn is_binlog_name(name: &str) -> bool {
    name.split_once('.').is_some_and(|(base, number)| {
        !base.is_empty()
            && number.chars().all(|c| c.is_ascii_digit())
            && number.parse::<u64>().is_ok_and(|number| number > 0)
    })
}

/// `uuid:1-5:7,uuid:3`.
fn is_mysql_gtid(set: &str) -> bool {
    set.split(',').all(|part| {
        let mut pieces = part.trim().split(':');
        let uuid = pieces.next().is_some_and(|uuid| {
            let hex = uuid
                .split('-')
                .map(|group| (group.len(), group.chars().all(|c| c.is_ascii_hexdigit())));
            hex.eq([(8, true), (4, true), (4, true), (4, true), (12, true)])
        });
        let mut intervals = pieces.peekable();
        uuid && intervals.peek().is_some() && intervals.all(is_interval)
    })
}

fn is_interval(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    matches!((first.trim().parse::<u64>(), last.trim().parse::<u64>()), (Ok(first), Ok(last)) if first > 0 && first <= last)
}

/// `domain-server-sequence`, separated by commas.
fn is_mariadb_gtid(set: &str) -> bool {
    set.split(',').all(|gtid| {
        let pieces: Vec<&str> = gtid.trim().split('-').collect();
        matches!(pieces[..], [domain, server, sequence]
            if domain.parse::<u32>().is_ok() && server.parse::<u32>().is_ok() && sequence.parse::<u64>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binlog_names_and_gtid_sets_are_told_from_other_texts() {
        assert!(is_binlog_name("mysql-bin.000004"));
        assert!(
            !["mysql-bin", "a.b.1", ".1", "a.0", "a.-1", "a."]
                .into_iter()
                .any(is_binlog_name)
        );
        let uuid = "3ccc475b-2343-11e7-be21-6c0b84d59f30";
        assert!(is_mysql_gtid(&format!("{uuid}:1-14:16,{uuid}:20")));
        assert!(
            ![
                uuid.to_string(),
                format!("{uuid}:"),
                format!("{uuid}:5-3"),
                "0-1-2".into()
            ]
            .iter()
            .any(|s| is_mysql_gtid(s))
        );
        assert!(
            is_mariadb_gtid("0-1-2,1-2-3") && !is_mariadb_gtid("0-1") && !is_mariadb_gtid("a-1-2")
        );
    }
}
