//! Which checks a task asks for. Names are those of `ignore-checking-items`.

use std::collections::BTreeSet;

use dm_task::task::CHECKING_ITEMS;

/// The word that ignores everything.
const ALL: &str = "all";
/// Known by name, never run on its own.
const NEVER: [&str; 1] = ["primary_key"];

/// The items that are not ignored.
#[derive(Clone, Debug)]
pub(crate) struct Items(BTreeSet<&'static str>);

impl Items {
    pub(crate) fn but(ignored: &[String]) -> Self {
        let is_ignored = |item: &str| ignored.iter().any(|name| name == item || name == ALL);
        let items = CHECKING_ITEMS.into_iter();
        Self(
            items
                .filter(|item| *item != ALL && !NEVER.contains(item) && !is_ignored(item))
                .collect(),
        )
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, item: &str) -> bool {
        self.0.contains(item)
    }

    pub(crate) fn has_any(&self, items: &[&str]) -> bool {
        items.iter().any(|item| self.has(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ignored_is_checked_and_all_ignores_everything() {
        let none = Items::but(&[]);
        assert_eq!(none.0.len(), 21);
        let some = Items::but(&["version".into(), "server_id".into()]);
        assert!(!some.has("version") && some.has("binlog_format") && some.0.len() == 19);
        assert!(some.has_any(&["version", "binlog_db"]) && !some.has_any(&["version"]));
        assert!(Items::but(&["version".into(), "all".into()]).is_empty());
    }
}
