//! What a round leaves in etcd for those who come later: the evidence does not show who was a member when it began, nor
//! that all were done once their operations are being deleted, nor that it has been at all once they are gone.
//!
//! ```text
//! stage       put                                            says
//! Begun       with the first order to execute                who belongs to the round; who joins later does so by reporting
//! Resolving   with the first of several deleting             every operation of these statements is over, and to be deleted
//!             transactions
//! Finished    with the last operation's deletion             who has done these statements last: a repetition can be told
//! ```
//!
//! One record for each lock. It goes with the next round, an unlock, or the removal of the task's metadata.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_keyspace::SourceId;
use dm_store::Revision;
use serde_json::json;

use super::evidence::same_ddls;
use super::own::{self, text, texts};

/// How far the round of a record has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Begun,
    Resolving,
    Finished,
}

impl Stage {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Begun, "begun"),
        (Self::Resolving, "resolving"),
        (Self::Finished, "finished"),
    ];

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find_map(|(stage, name)| (*stage == self).then_some(*name))
            .unwrap_or_default()
    }
}

/// What stands in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) stage: Stage,
    pub(crate) ddls: Vec<String>,
    pub(crate) owner: SourceId,
    /// Members when the round began; of one that is over, those that were done.
    pub(crate) members: BTreeSet<SourceId>,
    /// Since when the lock is known: time since the beginning of 1970.
    pub(crate) first_seen: Duration,
}

/// A record as it stands in etcd.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) record: Record,
    pub(crate) revision: Revision,
}

impl Record {
    pub(crate) fn is_of(&self, stage: Stage, ddls: &[String]) -> bool {
        self.stage == stage && same_ddls(&self.ddls, ddls)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let members: Vec<&str> = self.members.iter().map(SourceId::as_str).collect();
        json!({
            "stage": self.stage.name(), "ddls": self.ddls, "owner": self.owner.as_str(), "members": members,
            "first-seen": own::millis(self.first_seen),
        })
        .to_string()
        .into_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let value = own::json(bytes)?;
        let stage = text(&value, "stage")?;
        let stage = Stage::ALL.iter().find(|(_, name)| *name == stage);
        let (stage, _) = stage.ok_or("member `stage` must be begun, resolving or finished")?;
        let first_seen = own::time(&value, "first-seen");
        Ok(Self {
            stage: *stage,
            ddls: texts(&value, "ddls")?,
            owner: text(&value, "owner")?.into(),
            members: texts(&value, "members")?
                .into_iter()
                .map(SourceId::from)
                .collect(),
            first_seen: first_seen.ok_or("member `first-seen` must be a number of milliseconds")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_survives_a_round_trip() {
        let record = Record {
            stage: Stage::Resolving,
            ddls: vec!["ADD `x`".to_owned()],
            owner: "s1".into(),
            members: ["s1".into(), "s2".into()].into(),
            first_seen: Duration::from_millis(7),
        };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
    }

    #[test]
    fn what_is_wrong_with_a_record_is_named() {
        let wrong = |text: &str| Record::from_bytes(text.as_bytes()).expect_err("it is wrong");
        assert!(wrong("no").starts_with("not JSON"));
        assert_eq!(wrong("{}"), "member `stage` must be a text");
        let stage = wrong(r#"{"stage":"x"}"#);
        assert_eq!(stage, "member `stage` must be begun, resolving or finished");
    }
}
