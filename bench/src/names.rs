//! The names that one run uses, so that it finds nothing of another one and can remove what it put.

use dm_keyspace::{SourceId, TaskName, WorkerName};

/// A run; all its names begin with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    tag: String,
}

impl Run {
    /// A run of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::new(&format!("bench{}", std::process::id()))
    }

    /// A run with a tag of at most 16 bytes, since a source id has 32 at most.
    #[must_use]
    pub fn new(tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
        }
    }

    /// What all names begin with.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// A source that a simulated worker serves.
    #[must_use]
    pub fn source(&self, number: usize) -> SourceId {
        format!("{}-source-{number}", self.tag).into()
    }

    /// A source that nobody serves: it is there to be a key.
    #[must_use]
    pub fn idle_source(&self, number: usize) -> SourceId {
        format!("{}-idle-{number}", self.tag).into()
    }

    /// A simulated worker.
    #[must_use]
    pub fn worker(&self, number: usize) -> WorkerName {
        format!("{}-worker-{number}", self.tag).into()
    }

    /// A task of a scenario.
    #[must_use]
    pub fn task(&self, scenario: &str, number: usize) -> TaskName {
        format!("{}-{scenario}-{number}", self.tag).into()
    }

    /// What keys begin with that no service looks at.
    #[must_use]
    pub fn prefix_outside_dm(&self) -> String {
        format!("/bench/{}/", self.tag)
    }

    /// What keys of a family whose first segment is one of these names begin with: hex keeps prefixes.
    #[must_use]
    pub fn prefix_in(&self, family: &str) -> String {
        format!("{family}{}", hex::encode(&self.tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_id_is_no_longer_than_dm_allows() {
        let longest = Run::new("bench4294967295").source(99_999);
        assert!(longest.as_str().len() <= 32, "{longest}");
    }

    #[test]
    fn every_key_of_a_run_begins_with_its_prefix() {
        let run = Run::new("bench7");
        let key = dm_keyspace::SubtaskKey {
            source: run.source(3),
            task: run.task("latency", 0),
        };
        let prefix = run.prefix_in(dm_keyspace::SubtaskKey::PREFIX);
        assert!(key.encode().starts_with(&prefix));
    }
}
