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

use dm_keyspace::{SourceId, TaskName};
use dm_store::Revision;
use serde_json::{Value, json};

use super::{LockKey, evidence::same_ddls};

/// `/dm-master/pessimist/round/<task>/<lock id>`, both as hex: outside of every prefix that DM scans.
pub(crate) const PREFIX: &str = "/dm-master/pessimist/round/";

pub(crate) fn prefix_of_task(task: &TaskName) -> String {
    format!("{PREFIX}{}/", hex::encode(task.as_str()))
}

pub(crate) fn encode(key: &LockKey) -> String {
    key.encode(PREFIX)
}

pub(crate) fn parse(key: &[u8]) -> Option<LockKey> {
    LockKey::parse(PREFIX, key)
}

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
        let first_seen = u64::try_from(self.first_seen.as_millis()).unwrap_or(u64::MAX);
        json!({
            "stage": self.stage.name(), "ddls": self.ddls, "owner": self.owner.as_str(), "members": members,
            "first-seen": first_seen,
        })
        .to_string()
        .into_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("not JSON: {e}"))?;
        let text = |name: &str| {
            let text = value.get(name).and_then(Value::as_str);
            text.ok_or_else(|| format!("member `{name}` must be a text"))
        };
        let stage = text("stage")?;
        let stage = Stage::ALL.iter().find(|(_, name)| *name == stage);
        let (stage, _) = stage.ok_or("member `stage` must be begun, resolving or finished")?;
        let first_seen = value.get("first-seen").and_then(Value::as_u64);
        Ok(Self {
            stage: *stage,
            ddls: texts(&value, "ddls")?,
            owner: text("owner")?.into(),
            members: texts(&value, "members")?
                .into_iter()
                .map(SourceId::from)
                .collect(),
            first_seen: Duration::from_millis(
                first_seen.ok_or("member `first-seen` must be a number of milliseconds")?,
            ),
        })
    }
}

/// The member of this name, which must be a list of texts.
pub(crate) fn texts(value: &Value, name: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("member `{name}` must be a list of texts");
    let list = value.get(name).and_then(Value::as_array);
    list.ok_or_else(wrong)?
        .iter()
        .map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_and_key_survive_a_round_trip() {
        let record = Record {
            stage: Stage::Resolving,
            ddls: vec!["ADD `x`".to_owned()],
            owner: "s1".into(),
            members: ["s1".into(), "s2".into()].into(),
            first_seen: Duration::from_millis(7),
        };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
        let key = LockKey {
            task: "t/1".into(),
            id: "t/1-`a`.`b`".to_owned(),
        };
        assert_eq!(parse(encode(&key).as_bytes()), Some(key));
        assert_eq!(parse(b"/dm-master/pessimist/round/zz/00"), None);
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
