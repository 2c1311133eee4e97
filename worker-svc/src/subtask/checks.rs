//! What this worker does not do is refused when a subtask starts, not passed over. Pure.

use dm_errors::{Code, DmError};
use dm_task::SubtaskConfig;

use crate::condition::Filters;

/// Refuses a configuration that asks for something we would not do.
pub fn supported(config: &SubtaskConfig) -> Result<(), DmError> {
    if !matches!(config.mode.as_str(), "all" | "full" | "incremental") {
        return Err(
            DmError::new(Code::WORKER_NO_AVAIL_UNITS, &[&config.name, &config.mode])
                .workaround("Supported modes: all, full, incremental."),
        );
    }
    if !matches!(
        config.shard_mode.as_str(),
        "" | "pessimistic" | "optimistic"
    ) {
        return Err(
            DmError::new(Code::CONFIG_SHARD_MODE_NOT_SUPPORT, &[&config.shard_mode]).workaround(
                "This worker supports the shard modes `pessimistic` and `optimistic`, or none at all.",
            ),
        );
    }
    let extracts = config.route_rules.iter().any(|r| {
        r.extract_table.is_some() || r.extract_schema.is_some() || r.extract_source.is_some()
    });
    let refused = [
        (extracts, "extractors in route-rules"),
        (!config.mapping_rule.is_empty(), "mapping-rule"),
        (
            !matches!(config.loader.import_mode.as_str(), "" | "logical"),
            "an import-mode other than `logical`",
        ),
    ];
    match refused.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(DmError::uncoded(format!(
            "subtask {}: {what} is not supported by this worker",
            config.name
        ))
        .workaround("Remove it from the task's configuration.")),
        None => Filters::new(&config.expression_filters).map(drop),
    }
}

/// Whether both configurations take the same tables to the same places. While a shard DDL is open nothing else will do: tables would join or leave
/// in the middle of it.
pub fn same_tables(old: &SubtaskConfig, new: &SubtaskConfig) -> bool {
    old.shard_mode == new.shard_mode
        && old.case_sensitive == new.case_sensitive
        && old.route_rules == new.route_rules
        && old.block_allow_list == new.block_allow_list
        && old.filter_rules == new.filter_rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(mode: &str) -> SubtaskConfig {
        SubtaskConfig {
            mode: mode.to_owned(),
            ..SubtaskConfig::default()
        }
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        assert_eq!(supported(&config("all")), Ok(()));
        let error = supported(&config("dump")).unwrap_err();
        assert_eq!(error.code(), Code::WORKER_NO_AVAIL_UNITS);
        let sharded = |mode: &str| SubtaskConfig {
            shard_mode: mode.to_owned(),
            ..config("all")
        };
        assert_eq!(supported(&sharded("optimistic")), Ok(()));
        let error = supported(&sharded("hopeful")).unwrap_err();
        assert_eq!(error.code(), Code::CONFIG_SHARD_MODE_NOT_SUPPORT);
    }
}
