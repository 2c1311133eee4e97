//! Which checks a task gets, in the order in which they are numbered. Pure: facts in, results out.

use dm_task::SubtaskConfig;
use dm_task::subtask::Meta;

use super::facts::{Downstream, Upstream};
use super::items::Items;
use super::report::Check;
use super::scope::TableName;
use super::{dump_args, ghosts, physical, servers, shards, structure};

/// A source's part of the task, with what the scheduler knows of the source.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) subtask: SubtaskConfig,
    /// `mysql` or `mariadb`.
    pub(crate) flavor: String,
    pub(crate) enable_gtid: bool,
    /// Workers read relay logs instead of the source itself.
    pub(crate) uses_relay: bool,
}

impl Candidate {
    /// Whether the task's position is to be tried on the source.
    pub(crate) fn has_position(&self) -> bool {
        let Some(meta) = &self.subtask.meta else {
            return false;
        };
        let is_named = !meta.binlog_name.is_empty() && meta.binlog_name != Meta::AT_START_TIME;
        let is_gtid = self.enable_gtid && !meta.binlog_gtid.is_empty();
        !self.subtask.dumps() && !self.uses_relay && (is_named || is_gtid)
    }
}

/// Whether the tables of the sources are loaded as files.
pub(crate) fn imports_files(subtask: &SubtaskConfig) -> bool {
    subtask.loads() && subtask.loader.import_mode == "physical"
}

/// Whether tables that are merged have to be compared, if the task has not run before.
pub(crate) fn merges(items: &Items, subtask: &SubtaskConfig) -> bool {
    items.has("schema_of_shard_tables") && subtask.dumps() && !subtask.shard_mode.is_empty()
}

/// All results, for as many sources as there are candidates.
pub(crate) fn checks(
    items: &Items,
    candidates: &[Candidate],
    sources: &[Upstream],
    target: &Downstream,
) -> Vec<Check> {
    let Some(first) = candidates.first().map(|candidate| &candidate.subtask) else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    if items.has("conn_number") {
        checks.extend(connections(candidates, sources, target));
    }
    if items.has("target_privilege") {
        checks.push(servers::target_privilege(&target.server));
    }
    for (candidate, source) in candidates.iter().zip(sources) {
        checks.extend(one_source(items, candidate, source));
    }
    if items.has("table_schema") {
        checks.push(structure::table_schema(sources, &target.definitions));
    }
    if merges(items, first) {
        match &target.is_fresh {
            Ok(true) => {
                let subtasks: Vec<_> = candidates.iter().map(|c| c.subtask.clone()).collect();
                checks.extend(shards::shards(&subtasks, sources));
            }
            Ok(false) => {}
            Err(trouble) => {
                let desc = "whether the tables that go into one target have structures that fit";
                checks.push(
                    Check::new("sharding table consistency checking", desc).troubled(trouble),
                );
            }
        }
    }
    if let (true, Some(cluster)) = (imports_files(first), &target.cluster) {
        checks.extend(import(items, sources, cluster));
    }
    checks
}

fn connections<'a>(
    candidates: &'a [Candidate],
    sources: &'a [Upstream],
    target: &'a Downstream,
) -> impl Iterator<Item = Check> + 'a {
    let dumps = candidates.iter().zip(sources);
    let dumps = dumps.filter(|(candidate, _)| candidate.subtask.dumps());
    let dumps = dumps.map(|(candidate, source)| {
        servers::dumper_connections(&source.server, candidate.subtask.mydumper.threads)
    });
    let loads = candidates.first().is_some_and(|c| c.subtask.loads());
    let load = loads.then(|| {
        let sizes = candidates.iter().map(|c| c.subtask.loader.pool_size);
        servers::loader_connections(&target.server, sizes)
    });
    dumps.chain(load)
}

fn one_source(items: &Items, candidate: &Candidate, source: &Upstream) -> Vec<Check> {
    let (subtask, server) = (&candidate.subtask, &source.server);
    let mut checks = Vec::new();
    let mut add = |is_wanted: bool, check: &dyn Fn() -> Check| {
        if is_wanted {
            checks.push(check());
        }
    };
    add(items.has("version"), &|| servers::version(server));
    add(items.has("dump_privilege") && subtask.dumps(), &|| {
        let tables: Vec<TableName> = source.scope.tables().cloned().collect();
        // Arguments that do not read were refused before anything was asked.
        let consistency = dump_args::consistency(&subtask.mydumper.extra_args);
        servers::dump_privilege(server, &consistency.unwrap_or_default(), &tables)
    });
    if let (true, Some(position)) = (items.has("meta_position"), &source.position) {
        add(true, &|| servers::meta_position(server, position));
    }
    let syncs = subtask.syncs();
    add(syncs && items.has("server_id"), &|| {
        servers::server_id(server)
    });
    add(syncs && items.has("binlog_enable"), &|| {
        servers::binlog_enable(server)
    });
    add(syncs && items.has("binlog_format"), &|| {
        servers::binlog_format(server)
    });
    add(syncs && items.has("binlog_row_image"), &|| {
        servers::binlog_row_image(server)
    });
    add(syncs && items.has("replication_privilege"), &|| {
        servers::replication_privilege(server)
    });
    add(
        syncs && subtask.online_ddl && items.has("online_ddl"),
        &|| ghosts::online_ddl(subtask, &source.listing, &source.scope),
    );
    add(syncs && items.has("binlog_db"), &|| {
        let schemas = source.scope.schemas();
        servers::binlog_db(
            server,
            &source.binlog_filter,
            &schemas,
            subtask.case_sensitive,
        )
    });
    checks
}

fn import(items: &Items, sources: &[Upstream], cluster: &physical::Cluster) -> Vec<Check> {
    let mut checks = Vec::new();
    if items.has("free_space") {
        let sizes: Vec<_> = sources.iter().map(|source| &source.data_size).collect();
        checks.push(physical::free_space(
            &cluster.stores,
            &cluster.replicas,
            &sizes,
        ));
    }
    if items.has("empty_region") {
        checks.push(physical::empty_region(
            &cluster.stores,
            cluster.filled.len(),
        ));
    }
    if items.has("region_distribution") {
        checks.push(physical::region_distribution(&cluster.stores));
    }
    if items.has("downstream_version") {
        checks.push(physical::downstream_version(&cluster.components));
    }
    if items.has("downstream_mutex_features") {
        checks.push(physical::downstream_mutex_features(&cluster.mutex));
    }
    if items.has("downstream_table_empty") {
        checks.push(physical::downstream_table_empty(&cluster.filled));
    }
    checks
}

#[cfg(test)]
mod tests;
