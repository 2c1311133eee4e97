//! What every reader of a subtask makes of it. Done on each read, so doing it twice changes nothing.

use dm_errors::{Code, DmError};
use regex::Regex;

use super::{SubtaskConfig, dir};
use crate::filter::EventRule;
use crate::route::RouteRule;
use crate::source::MAX_SOURCE_ID;

pub(crate) const SHADOW_RULE: &str = r"^_(.+)_(?:new|gho)$";
pub(crate) const TRASH_RULE: &str = r"^_(.+)_(?:ghc|del|old)$";

impl SubtaskConfig {
    /// Fills defaults, brings names into their stored form and refuses what no worker could run.
    pub fn adjust(&mut self) -> Result<(), DmError> {
        self.check_names()?;
        adjust_shard_mode(
            self.is_sharding,
            &mut self.shard_mode,
            self.strict_optimistic_shard_mode,
        )?;
        self.check_import_into()?;
        if !self.mapping_rule.is_empty() {
            return Err(DmError::new(Code::CONFIG_COLUMN_MAPPING_DEPRECATED, &[]));
        }
        self.adjust_online_ddl()?;
        if self.meta_schema.is_empty() {
            self.meta_schema = "dm_meta".into();
        }
        self.adjust_dirs()?;
        self.syncer.adjust()?;
        self.check_foreign_keys()?;
        if !self.timezone.is_empty() {
            self.from.set_session("time_zone", &self.timezone);
            self.to.set_session("time_zone", &self.timezone);
        }
        self.adjust_rules()?;
        self.loader.adjust()?;
        self.validator.adjust()
    }

    fn check_names(&self) -> Result<(), DmError> {
        if self.name.is_empty() {
            return Err(DmError::new(Code::CONFIG_TASK_NAME_EMPTY, &[]));
        }
        if self.source_id.is_empty() {
            return Err(DmError::new(Code::CONFIG_EMPTY_SOURCE_ID, &[]));
        }
        if self.source_id.len() > MAX_SOURCE_ID {
            return Err(DmError::new(Code::CONFIG_TOO_LONG_SOURCE_ID, &[]));
        }
        Ok(())
    }

    fn check_import_into(&self) -> Result<(), DmError> {
        if !self.loader.import_mode.eq_ignore_ascii_case("import-into") {
            return Ok(());
        }
        if !self.shard_mode.is_empty() {
            return Err(DmError::new(
                Code::CONFIG_IMPORT_INTO_SHARDING_NOT_SUPPORT,
                &[],
            ));
        }
        if dir::is_local(&self.loader.dir) {
            return Err(DmError::new(
                Code::CONFIG_IMPORT_INTO_REQUIRES_SHARED_STORAGE,
                &[&self.loader.dir],
            ));
        }
        Ok(())
    }

    fn adjust_online_ddl(&mut self) -> Result<(), DmError> {
        match self.online_ddl_scheme.as_str() {
            "" => {}
            "gh-ost" | "pt" => self.online_ddl = true,
            other => {
                return Err(DmError::new(
                    Code::CONFIG_ONLINE_SCHEME_NOT_SUPPORT,
                    &[&other],
                ));
            }
        }
        adjust_ghost_rules(
            "shadow-table-rules",
            &mut self.shadow_table_rules,
            SHADOW_RULE,
        )?;
        adjust_ghost_rules("trash-table-rules", &mut self.trash_table_rules, TRASH_RULE)
    }

    fn adjust_dirs(&mut self) -> Result<(), DmError> {
        if matches!(self.mode.as_str(), "all" | "full") {
            let dir = &mut self.loader.dir;
            let in_s3 = dir.starts_with("s3://");
            if in_s3 && self.loader.import_mode == "loader" {
                return Err(DmError::new(Code::CONFIG_LOADER_S3_NOT_SUPPORT, &[dir]));
            }
            let suffix = match in_s3 {
                true => format!("/{}.{}", self.name, self.source_id),
                false => format!(".{}", self.name),
            };
            *dir = dir::with_suffix(dir, &suffix)
                .ok_or_else(|| DmError::new(Code::CONFIG_LOADER_DIR_INVALID, &[dir]))?;
        }
        if self.loads() && self.loader.sorting_dir_physical.is_empty() {
            self.loader.sorting_dir_physical = match dir::is_local(&self.loader.dir) {
                true => format!("{}.sorting", self.loader.dir),
                false => format!("./sorting.{}", dir::path_escaped(&self.name)),
            };
        }
        Ok(())
    }

    fn check_foreign_keys(&self) -> Result<(), DmError> {
        let on = self.to.session.iter().flatten().any(|(name, value)| {
            let value = value.trim_matches([' ', '\'', '"', '`']);
            name.eq_ignore_ascii_case("foreign_key_checks")
                && (value == "1" || value.eq_ignore_ascii_case("on"))
        });
        for (option, set) in [
            ("compact", self.syncer.compact),
            ("multiple-rows", self.syncer.multiple_rows),
        ] {
            if on && set {
                return Err(DmError::new(
                    Code::CONFIG_UNSUPPORTED_FOREIGN_KEY_CHECKS_OPTION,
                    &[&option],
                ));
            }
        }
        Ok(())
    }

    fn adjust_rules(&mut self) -> Result<(), DmError> {
        if self.block_allow_list.is_none() {
            self.block_allow_list = self.black_white_list.take();
        }
        if !self.case_sensitive {
            self.block_allow_list
                .iter_mut()
                .for_each(crate::block_allow::Rules::fold_case);
            self.route_rules.iter_mut().for_each(RouteRule::fold_case);
        }
        let case_sensitive = self.case_sensitive;
        self.filter_rules
            .iter_mut()
            .for_each(|rule: &mut EventRule| rule.normalise(case_sensitive));
        self.table_filter()?;
        self.router()
            .map_err(|error| DmError::new(Code::CONFIG_GEN_TABLE_ROUTER, &[]).cause(error))?;
        if self.mydumper.chunk_filesize.is_empty() {
            self.mydumper.chunk_filesize = "64".into();
        }
        self.mydumper.chunk_bytes().map(drop)
    }
}

/// The shard mode of a task or subtask: the old switch means pessimistic.
pub(crate) fn adjust_shard_mode(
    is_sharding: bool,
    mode: &mut String,
    strict: bool,
) -> Result<(), DmError> {
    if !matches!(mode.as_str(), "" | "pessimistic" | "optimistic") {
        return Err(DmError::new(Code::CONFIG_SHARD_MODE_NOT_SUPPORT, &[mode]));
    }
    if is_sharding && mode.is_empty() {
        *mode = "pessimistic".into();
    }
    match strict && mode != "optimistic" {
        true => Err(DmError::new(Code::CONFIG_STRICT_OPTIMISTIC_SHARD_MODE, &[])),
        false => Ok(()),
    }
}

/// Anchors each rule; it must have one capture group.
fn adjust_ghost_rules(key: &str, rules: &mut Vec<String>, default: &str) -> Result<(), DmError> {
    if rules.is_empty() {
        rules.push(default.to_owned());
    }
    for rule in rules {
        if !rule.starts_with('^') {
            rule.insert(0, '^');
        }
        if !rule.ends_with('$') {
            rule.push('$');
        }
        let invalid = |reason: String| {
            DmError::new(
                Code::CONFIG_ONLINE_DDL_INVALID_REGEX,
                &[&key, &rule, &reason],
            )
        };
        let regex = Regex::new(rule).map_err(|error| {
            invalid(format!(
                "fail to compile: {}",
                error.to_string().lines().last().unwrap_or_default()
            ))
        })?;
        if regex.captures_len() != 2 {
            return Err(invalid("rule isn't contains exactly one submatch".into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subtask(mode: &str, dir: &str) -> SubtaskConfig {
        let mut own = SubtaskConfig {
            name: "t 1".into(),
            source_id: "s1".into(),
            mode: mode.into(),
            ..SubtaskConfig::default()
        };
        own.loader.dir = dir.into();
        own
    }

    #[test]
    fn dump_directories_get_their_suffix_once() {
        let cases = [
            ("./dumped_data", "./dumped_data.t 1"),
            ("./d/", "./d.t 1"),
            ("./d.t 1", "./d.t 1"),
            ("s3://b/d/?k=v", "s3://b/d/t%201.s1?k=v"),
            ("gs://b/d", "gs://b/d.t%201"),
        ];
        for (dir, expected) in cases {
            let mut own = subtask("all", dir);
            own.adjust().unwrap();
            assert_eq!(own.loader.dir, expected);
            let once = own.clone();
            own.adjust().unwrap();
            assert_eq!(own, once, "a second adjustment changes nothing");
        }
    }

    #[test]
    fn a_directory_that_nobody_could_use_is_refused_where_something_is_dumped() {
        let refused = |mode: &str, dir: &str, import_mode: &str| {
            let mut own = subtask(mode, dir);
            own.loader.import_mode = import_mode.into();
            own.adjust().err().map(|error| error.code())
        };
        let (s3, invalid) = (
            Code::CONFIG_LOADER_S3_NOT_SUPPORT,
            Code::CONFIG_LOADER_DIR_INVALID,
        );
        assert_eq!(refused("all", "s3://b/d", "loader"), Some(s3));
        assert_eq!(refused("load", "s3://b/d", "loader"), None);
        assert_eq!(refused("all", "./d", "loader"), None);
        assert_eq!(refused("all", "s3://b/d", "sql"), None);
        assert_eq!(refused("full", "s3://b/%zz", ""), Some(invalid));
        assert_eq!(refused("load&sync", "s3://b/%zz", ""), None);
    }

    #[test]
    fn the_sorting_directory_lies_beside_a_local_dump_only() {
        let mut local = subtask("load", "./d");
        local.adjust().unwrap();
        assert_eq!(local.loader.sorting_dir_physical, "./d.sorting");
        let mut shared = subtask("full", "s3://b/d");
        shared.adjust().unwrap();
        assert_eq!(shared.loader.sorting_dir_physical, "./sorting.t%201");
        let mut none = subtask("incremental", "./d");
        none.adjust().unwrap();
        assert_eq!(none.loader.sorting_dir_physical, "");
    }

    #[test]
    fn ghost_rules_are_anchored_and_have_one_group() {
        let mut own = subtask("all", "./d");
        own.shadow_table_rules = vec!["_(.+)_new".into()];
        own.adjust().unwrap();
        assert_eq!(own.shadow_table_rules, ["^_(.+)_new$"]);
        own.trash_table_rules = vec!["x".into()];
        assert_eq!(
            own.adjust().unwrap_err().code(),
            Code::CONFIG_ONLINE_DDL_INVALID_REGEX
        );
    }

    #[test]
    fn foreign_key_checks_and_merged_rows_exclude_each_other() {
        let mut own = subtask("all", "./d");
        own.to.set_session("Foreign_Key_Checks", "'ON'");
        own.adjust().unwrap();
        own.syncer.compact = true;
        assert_eq!(
            own.adjust().unwrap_err().code(),
            Code::CONFIG_UNSUPPORTED_FOREIGN_KEY_CHECKS_OPTION
        );
    }

    #[test]
    fn the_time_zone_goes_into_both_sessions_over_any_spelling() {
        let mut own = subtask("all", "./d");
        own.timezone = "+08:00".into();
        own.to.set_session("TIME_ZONE", "UTC");
        own.adjust().unwrap();
        assert_eq!(own.to.session.unwrap()["TIME_ZONE"], "+08:00");
        assert_eq!(own.from.session.unwrap()["time_zone"], "+08:00");
    }

    proptest! {
        #[test]
        fn adjusting_twice_is_adjusting_once(name in "[a-z .%/ß]{1,8}", dir in "(\\./|s3://b/|/)[a-z./?]{0,8}", mode in "all|full|load|incremental") {
            let mut own = subtask(&mode, &dir);
            own.name = name;
            own.adjust().unwrap();
            let once = own.clone();
            own.adjust().unwrap();
            prop_assert_eq!(own, once);
        }
    }
}
