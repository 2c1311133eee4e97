//! The keys of a task file.

use std::collections::BTreeMap;

use super::TaskConfig;
use super::instance::Instance;
use crate::block_allow;
use crate::db::DbConfig;
use crate::filter::EventRule;
use crate::route::RouteRule;
use crate::subtask::ExpressionFilter;
use crate::units::{Loader, Mydumper, Syncer, Validator};
use crate::yaml::Map;

impl TaskConfig {
    pub(super) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self {
            heartbeat_update_interval: 1,
            heartbeat_report_interval: 10,
            collation_compatible: "loose".into(),
            online_ddl: true,
            clean_dump_file: true,
            ..Self::default()
        };
        own.read_scalars(map);
        if let Some(target) = map.table("target-database", "dbconfig.DBConfig", DbConfig::read) {
            own.target_database = target;
            own.has_target = true;
        }
        own.mysql_instances = map
            .list("mysql-instances", "[]*config.MySQLInstance", Instance::read)
            .unwrap_or_default();
        map.strings("shadow-table-rules", &mut own.shadow_table_rules);
        map.strings("trash-table-rules", &mut own.trash_table_rules);
        own.read_rules(map);
        own.mydumpers = table_of(map, "mydumpers", "config.rawMydumperConfig", Mydumper::read);
        own.loaders = table_of(map, "loaders", "config.rawLoaderConfig", Loader::read);
        own.syncers = table_of(map, "syncers", "config.rawSyncerConfig", Syncer::read);
        own.validators = table_of(map, "validators", "config.ValidatorConfig", Validator::read);
        map.section(
            "experimental",
            "struct",
            &mut own.experimental,
            |map, experimental| {
                map.bool(
                    "async-checkpoint-flush",
                    &mut experimental.async_checkpoint_flush,
                );
            },
        );
        own
    }

    fn read_scalars(&mut self, map: &mut Map<'_>) {
        map.string("name", &mut self.name);
        map.string("task-mode", &mut self.task_mode);
        map.bool("is-sharding", &mut self.is_sharding);
        map.string("shard-mode", &mut self.shard_mode);
        map.bool(
            "strict-optimistic-shard-mode",
            &mut self.strict_optimistic_shard_mode,
        );
        map.strings("ignore-checking-items", &mut self.ignore_checking_items);
        map.string("meta-schema", &mut self.meta_schema);
        map.bool("enable-heartbeat", &mut false);
        map.int(
            "heartbeat-update-interval",
            &mut self.heartbeat_update_interval,
        );
        map.int(
            "heartbeat-report-interval",
            &mut self.heartbeat_report_interval,
        );
        map.string("timezone", &mut self.timezone);
        map.bool("case-sensitive", &mut self.case_sensitive);
        map.string("collation_compatible", &mut self.collation_compatible);
        map.bool("online-ddl", &mut self.online_ddl);
        map.string("online-ddl-scheme", &mut self.online_ddl_scheme);
        map.bool("clean-dump-file", &mut self.clean_dump_file);
        map.bool("ansi-quotes", &mut false);
        map.bool("remove-meta", &mut self.remove_meta);
    }

    fn read_rules(&mut self, map: &mut Map<'_>) {
        self.routes = table_of(map, "routes", "router.TableRule", RouteRule::read);
        self.filters = map
            .named(
                "filters",
                "map[string]*filter.BinlogEventRule",
                EventRule::read,
            )
            .unwrap_or_default();
        self.column_mappings =
            table_of(map, "column-mappings", "column.Rule", read_column_mapping).len();
        self.expression_filters = table_of(
            map,
            "expression-filter",
            "config.ExpressionFilter",
            read_expression,
        );
        let lists = "filter.MySQLReplicationRules";
        let old = table_of(map, "black-white-list", lists, block_allow::Rules::read);
        let new = table_of(map, "block-allow-list", lists, block_allow::Rules::read);
        self.block_allow_list = if new.is_empty() { old } else { new };
    }
}

fn table_of<T: Default>(
    map: &mut Map<'_>,
    key: &'static str,
    type_name: &'static str,
    read: impl Fn(&mut Map<'_>) -> T,
) -> BTreeMap<String, T> {
    let into = format!("map[string]*{type_name}");
    let all = map.named(key, &into, |node, path, issues| {
        Some(Map::read(node, path, type_name, issues, &read))
    });
    all.unwrap_or_default()
}

/// Column mappings are refused, but first they must be well-formed.
fn read_column_mapping(map: &mut Map<'_>) {
    for key in [
        "schema-pattern",
        "table-pattern",
        "source-column",
        "target-column",
        "expression",
        "create-table-query",
    ] {
        map.string(key, &mut String::new());
    }
    map.strings("arguments", &mut None);
}

fn read_expression(map: &mut Map<'_>) -> ExpressionFilter {
    let mut own = ExpressionFilter::default();
    map.string("schema", &mut own.schema);
    map.string("table", &mut own.table);
    map.string("insert-value-expr", &mut own.insert_value_expr);
    map.string("update-old-value-expr", &mut own.update_old_value_expr);
    map.string("update-new-value-expr", &mut own.update_new_value_expr);
    map.string("delete-value-expr", &mut own.delete_value_expr);
    own
}
