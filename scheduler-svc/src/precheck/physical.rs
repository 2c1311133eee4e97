//! Checks before a physical import: the target's cluster must be able to take files, and have the room.

use std::collections::BTreeMap;

use super::report::{Answer, Check, Finding, State, Trouble};
use super::scope::TableName;

/// The oldest version of each component that takes files.
const OLDEST: [u32; 3] = [4, 0, 0];
const EMPTY_REGIONS_WARN: u64 = 500;
const EMPTY_REGIONS_ERROR: u64 = 1000;
const REGIONS_PER_TABLE: u64 = 3;
/// With fewer regions the balance says nothing.
const REGIONS_TO_COMPARE: u64 = 1000;
const BALANCE_WARN: f64 = 0.75;
const BALANCE_ERROR: f64 = 0.5;

/// A store of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Store {
    pub(crate) id: u64,
    pub(crate) regions: u64,
    pub(crate) empty_regions: u64,
    pub(crate) capacity: u64,
    pub(crate) available: u64,
}

/// What else works on the cluster and cannot go with an import of files.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Mutex {
    pub(crate) log_tasks: Vec<String>,
    pub(crate) changefeeds: Vec<String>,
}

/// What the checks ask the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) stores: Answer<Vec<Store>>,
    /// Kind, address and version of each component.
    pub(crate) components: Answer<Vec<(String, String, String)>>,
    pub(crate) replicas: Answer<u64>,
    pub(crate) mutex: Answer<Mutex>,
    /// Which target tables have rows.
    pub(crate) filled: BTreeMap<TableName, Answer<bool>>,
}

fn check(name: &str, desc: &'static str) -> Check {
    Check::new(name, desc)
}

/// Item `empty_region`: a warning, whatever the number.
pub(crate) fn empty_region(stores: &Answer<Vec<Store>>, tables: usize) -> Check {
    let check = check(
        "lightning_empty_region",
        "whether the cluster has too many empty regions",
    );
    let stores = match stores {
        Ok(stores) => stores,
        Err(trouble) => return softly(check, trouble),
    };
    let by_tables = REGIONS_PER_TABLE * u64::try_from(tables).unwrap_or(0);
    let over = |limit: u64| -> Vec<String> {
        let over = stores.iter().filter(|store| store.empty_regions > limit);
        over.map(|store| store.id.to_string()).collect()
    };
    for limit in [EMPTY_REGIONS_ERROR, EMPTY_REGIONS_WARN] {
        let limit = limit.max(by_tables);
        let ids = over(limit);
        if !ids.is_empty() {
            let text = format!(
                "TiKV stores ({}) contains more than {limit} empty regions respectively, which will greatly affect the \
                 import speed and success rate",
                ids.join(", ")
            );
            return check
                .found(State::Warn, Finding::warn(text))
                .advise("Wait until the regions are merged, or change the cluster's settings so that they are.");
        }
    }
    check
}

/// Item `region_distribution`: a warning, whatever the ratio.
pub(crate) fn region_distribution(stores: &Answer<Vec<Store>>) -> Check {
    let check = check(
        "lightning_region_distribution",
        "whether regions are spread evenly",
    );
    let stores = match stores {
        Ok(stores) => stores,
        Err(trouble) => return softly(check, trouble),
    };
    let least = stores.iter().min_by_key(|store| (store.regions, store.id));
    let most = stores.iter().max_by_key(|store| (store.regions, store.id));
    let (Some(least), Some(most)) = (least, most) else {
        return check;
    };
    if stores.len() < 2 || most.regions <= REGIONS_TO_COMPARE {
        return check;
    }
    let as_number = |regions: u64| f64::from(u32::try_from(regions).unwrap_or(u32::MAX));
    let ratio = as_number(least.regions) / as_number(most.regions);
    let expected = match ratio {
        ratio if ratio < BALANCE_ERROR => BALANCE_ERROR,
        ratio if ratio < BALANCE_WARN => BALANCE_WARN,
        _ => return check,
    };
    let text = format!(
        "Region distribution is unbalanced, the ratio of the regions count of the store({}) with least regions({}) to \
         the store({}) with most regions({}) is {ratio}, but we expect it must not be less than {expected}",
        least.id, least.regions, most.id, most.regions
    );
    check
        .found(State::Warn, Finding::warn(text))
        .advise("Wait until the cluster has balanced its regions.")
}

/// Item `downstream_version`.
pub(crate) fn downstream_version(components: &Answer<Vec<(String, String, String)>>) -> Check {
    let check = check(
        "lightning_cluster_version",
        "whether the cluster can take files",
    );
    let components = match components {
        Ok(components) => components,
        Err(trouble) => return check.troubled(trouble),
    };
    for kind in ["tidb", "pd", "tikv"] {
        let mut of_kind = components
            .iter()
            .filter(|(own, _, _)| own == kind)
            .peekable();
        let problem = if of_kind.peek().is_none() {
            Some(format!("the cluster has no {kind}"))
        } else {
            of_kind
                .find(|(_, _, version)| numbers(version).is_none_or(|n| n < OLDEST))
                .map(|(_, address, version)| {
                    format!("{kind} {address} has version {version}, at least 4.0.0 is needed")
                })
        };
        if let Some(problem) = problem {
            let text = format!("Cluster version check failed: {problem}");
            return check.found(State::Fail, Finding::fail(text)).advise(
                "Use a TiDB cluster of a version that takes files, or import-mode logical.",
            );
        }
    }
    check
}

/// `v7.5.0`, or TiDB's `5.7.25-TiDB-v7.5.0`.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let own = match version.to_lowercase().split_once("tidb-") {
        Some((_, own)) => own.to_owned(),
        None => version.to_lowercase(),
    };
    let own = own.trim_start_matches('v');
    let mut parts = own
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u32>().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

/// Item `free_space`. `size` is that of the source tables.
pub(crate) fn free_space(
    stores: &Answer<Vec<Store>>,
    replicas: &Answer<u64>,
    sizes: &[&Answer<u64>],
) -> Check {
    let mut check = check(
        "lightning_free_space",
        "whether the cluster has room for the data",
    );
    let mut size = 0_u64;
    for answer in sizes {
        match answer {
            Ok(bytes) => size = size.saturating_add(*bytes),
            Err(trouble) => check = check.troubled(trouble),
        }
    }
    let (stores, replicas) = match (stores, replicas) {
        (Ok(stores), Ok(replicas)) => (stores, *replicas),
        (Err(trouble), _) | (_, Err(trouble)) => return check.troubled(trouble),
    };
    let available: u64 = stores.iter().map(|store| store.available).sum();
    let wanted = size.saturating_mul(replicas).saturating_mul(2);
    let advice = "Give the cluster more space, or import less.";
    if available < size {
        let text = format!(
            "Downstream doesn't have enough space, available is {available}, but we need {size}"
        );
        return check.found(State::Fail, Finding::fail(text)).advise(advice);
    }
    if available < wanted {
        let text = format!(
            "Cluster may not have enough space, available is {available}, but we need {wanted}"
        );
        return check.found(State::Warn, Finding::warn(text)).advise(advice);
    }
    check
}

/// Item `downstream_mutex_features`.
pub(crate) fn downstream_mutex_features(mutex: &Answer<Mutex>) -> Check {
    let check = check(
        "lightning_downstream_mutex_features",
        "whether something else reads the changes of the cluster, which files do not show",
    );
    let mutex = match mutex {
        Ok(mutex) => mutex,
        Err(trouble) => return check.troubled(trouble),
    };
    let mut lines = Vec::new();
    for (what, names) in [
        ("PiTR log streaming task(s)", &mutex.log_tasks),
        ("CDC changefeed(s)", &mutex.changefeeds),
    ] {
        if !names.is_empty() {
            lines.push(format!("found {what}: [{}],", names.join(" ")));
        }
    }
    if lines.is_empty() {
        return check;
    }
    lines.push(
        "physical import mode is not compatible with them. Please switch to logical import mode then try again."
            .to_owned(),
    );
    check
        .found(State::Fail, Finding::fail(lines.join("\n")))
        .advise("Use import-mode logical, or stop them.")
}

/// Item `downstream_table_empty`.
pub(crate) fn downstream_table_empty(filled: &BTreeMap<TableName, Answer<bool>>) -> Check {
    let mut check = check(
        "lightning_downstream_empty_table",
        "whether the target tables are empty",
    );
    let mut names = Vec::new();
    for (table, answer) in filled {
        match answer {
            Ok(true) => names.push(table.to_string()),
            Ok(false) => {}
            Err(trouble) => check = check.troubled(trouble),
        }
    }
    if names.is_empty() {
        return check;
    }
    let text = format!("table(s) [{}] are not empty", names.join(", "));
    check
        .found(State::Fail, Finding::fail(text))
        .advise("Empty the tables, or use import-mode logical.")
}

/// For checks that only ever warn.
fn softly(check: Check, trouble: &Trouble) -> Check {
    check
        .found(State::Warn, Finding::warn(trouble.text.clone()))
        .advise(&trouble.workaround)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(id: u64, regions: u64, empty_regions: u64, available: u64) -> Store {
        Store {
            id,
            regions,
            empty_regions,
            available,
            capacity: available,
        }
    }

    fn first(check: &Check) -> (State, &str) {
        let text = check.errors.first().map_or("", |e| e.short_error.as_str());
        (check.state, text)
    }

    #[test]
    fn empty_regions_beyond_the_limit_are_a_warning_with_the_stores() {
        let stores = Ok(vec![
            store(1, 9, 501, 0),
            store(2, 9, 0, 0),
            store(3, 9, 700, 0),
        ]);
        let check = empty_region(&stores, 10);
        let expected = "TiKV stores (1, 3) contains more than 500 empty regions respectively, which will greatly affect \
                        the import speed and success rate";
        assert_eq!(first(&check), (State::Warn, expected));
        assert_eq!(empty_region(&stores, 300).state, State::Success);
    }

    #[test]
    fn uneven_regions_are_a_warning() {
        let stores = Ok(vec![store(1, 400, 0, 0), store(2, 1600, 0, 0)]);
        let (state, text) = {
            let check = region_distribution(&stores);
            (check.state, check.errors[0].short_error.clone())
        };
        assert_eq!(state, State::Warn);
        assert!(text.contains("the store(1) with least regions(400) to the store(2) with most regions(1600) is 0.25"), "{text}");
        assert!(text.ends_with("must not be less than 0.5"), "{text}");
        let few = Ok(vec![store(1, 1, 0, 0), store(2, 900, 0, 0)]);
        assert_eq!(region_distribution(&few).state, State::Success);
    }

    #[test]
    fn a_cluster_of_another_kind_or_too_old_fails() {
        let components = |tikv: &str| {
            let row =
                |kind: &str, version: &str| (kind.to_owned(), "h:1".to_owned(), version.to_owned());
            Ok(vec![
                row("tidb", "5.7.25-TiDB-v7.5.0"),
                row("pd", "7.5.0"),
                row("tikv", tikv),
            ])
        };
        assert_eq!(
            downstream_version(&components("7.5.0")).state,
            State::Success
        );
        let old = downstream_version(&components("3.0.0"));
        assert_eq!(
            first(&old),
            (
                State::Fail,
                "Cluster version check failed: tikv h:1 has version 3.0.0, at least 4.0.0 is needed"
            )
        );
        let none = downstream_version(&Ok(Vec::new()));
        assert_eq!(
            first(&none),
            (
                State::Fail,
                "Cluster version check failed: the cluster has no tidb"
            )
        );
    }

    #[test]
    fn space_is_compared_with_the_data_and_with_its_replicas() {
        let stores = Ok(vec![store(1, 0, 0, 60), store(2, 0, 0, 40)]);
        let check = |size| free_space(&stores, &Ok(3), &[&Ok(size)]);
        assert_eq!(check(16).state, State::Success);
        assert_eq!(
            first(&check(50)),
            (
                State::Warn,
                "Cluster may not have enough space, available is 100, but we need 300"
            )
        );
        assert_eq!(
            first(&check(101)),
            (
                State::Fail,
                "Downstream doesn't have enough space, available is 100, but we need 101"
            )
        );
    }

    #[test]
    fn log_backup_and_changefeeds_fail_by_lines() {
        let mutex = Mutex {
            log_tasks: vec!["b1".into()],
            changefeeds: vec!["c1".into(), "c2".into()],
        };
        let check = downstream_mutex_features(&Ok(mutex));
        let expected = "found PiTR log streaming task(s): [b1],\nfound CDC changefeed(s): [c1 c2],\nphysical import mode \
                        is not compatible with them. Please switch to logical import mode then try again.";
        assert_eq!(first(&check), (State::Fail, expected));
        assert_eq!(
            downstream_mutex_features(&Ok(Mutex::default())).state,
            State::Success
        );
    }

    #[test]
    fn target_tables_with_rows_fail() {
        let name = |table: &str| TableName::new("s", table);
        let filled = BTreeMap::from([
            (name("a"), Ok(true)),
            (name("b"), Ok(false)),
            (name("c"), Ok(true)),
        ]);
        let check = downstream_table_empty(&filled);
        assert_eq!(
            first(&check),
            (State::Fail, "table(s) [`s`.`a`, `s`.`c`] are not empty")
        );
    }

    #[test]
    fn a_target_that_cannot_be_asked_warns_where_the_item_only_warns() {
        let silent = Err(Trouble::new("no such table"));
        assert_eq!(
            first(&empty_region(&silent, 1)),
            (State::Warn, "no such table")
        );
        assert_eq!(region_distribution(&silent).state, State::Warn);
        assert_eq!(free_space(&silent, &Ok(1), &[&Ok(1)]).state, State::Fail);
    }
}
