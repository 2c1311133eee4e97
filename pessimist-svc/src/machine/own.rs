//! Records of our own about a lock: where they lie, and how what stands in them is read and written.

use std::time::Duration;

use dm_keyspace::TaskName;
use serde_json::Value;

use super::LockKey;

/// Records of one kind: `<prefix><task>/<lock id>`, both as hex, outside of every prefix that DM scans.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family(&'static str);

impl Family {
    /// What a round leaves; see [`super::record`].
    pub(crate) const ROUND: Self = Self("/dm-master/pessimist/round/");
    /// Requests to unlock; see [`super::unlock`].
    pub(crate) const UNLOCK: Self = Self("/dm-master/pessimist/unlock/");

    pub(crate) fn contains(self, key: &[u8]) -> bool {
        key.starts_with(self.0.as_bytes())
    }

    /// What the keys of one task begin with.
    pub(crate) fn prefix_of_task(self, task: &TaskName) -> String {
        format!("{}{}/", self.0, hex::encode(task.as_str()))
    }

    /// Where the record of a lock lies.
    pub(crate) fn encode(self, lock: &LockKey) -> String {
        self.prefix_of_task(&lock.task) + &hex::encode(&lock.id)
    }

    /// The lock whose record lies there.
    pub(crate) fn parse(self, key: &[u8]) -> Result<LockKey, &'static str> {
        self.lock_of(key).ok_or("the key names no lock")
    }

    fn lock_of(self, key: &[u8]) -> Option<LockKey> {
        let text = std::str::from_utf8(key).ok()?.strip_prefix(self.0)?;
        let (task, id) = text.split_once('/')?;
        let name = |hex: &str| String::from_utf8(hex::decode(hex).ok()?).ok();
        Some(LockKey {
            task: name(task)?.into(),
            id: name(id)?,
        })
    }
}

/// What stands in a record.
pub(crate) fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|e| format!("not JSON: {e}"))
}

/// The member of this name, which must be a text.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    let text = value.get(name).and_then(Value::as_str);
    text.ok_or_else(|| format!("member `{name}` must be a text"))
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

/// A time, as milliseconds since the beginning of 1970.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The member of this name, if it is a time.
pub(crate) fn time(value: &Value, name: &str) -> Option<Duration> {
    value.get(name)?.as_u64().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_a_round_trip_and_are_told_apart() {
        let lock = LockKey {
            task: "t/1".into(),
            id: "t/1-`a`.`b`".to_owned(),
        };
        for (family, other) in [
            (Family::ROUND, Family::UNLOCK),
            (Family::UNLOCK, Family::ROUND),
        ] {
            let key = family.encode(&lock);
            assert!(key.starts_with(&family.prefix_of_task(&lock.task)));
            assert!(family.contains(key.as_bytes()) && !other.contains(key.as_bytes()));
            assert_eq!(family.parse(key.as_bytes()), Ok(lock.clone()));
            assert!(other.parse(key.as_bytes()).is_err());
        }
        assert!(
            Family::ROUND
                .parse(b"/dm-master/pessimist/round/zz/00")
                .is_err()
        );
    }
}
