//! Items `schema_of_shard_tables` and `auto_increment_ID`: whether tables that go into one target can.

use std::collections::BTreeMap;

use dm_schema::lattice::Schema;
use dm_schema::table_info::{ColumnInfo, IndexInfo, TableInfo, flag};
use dm_task::SubtaskConfig;

use super::facts::Upstream;
use super::report::{Check, Finding, State};
use super::scope::TableName;
use super::structure::read;

const DESC: &str = "whether the tables that go into one target have structures that fit";
const SAME_STRUCTURE: &str = "please set same table structure for sharding tables";
const AUTO_INCREMENT: &str = "If happen conflict, please handle it by yourself. Keep the shards' ranges of values \
apart, or do not merge the column.";

/// A table of a source.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Shard<'a> {
    source: &'a str,
    table: &'a TableName,
}

impl std::fmt::Display for Shard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of source {}", self.table, self.source)
    }
}

/// One check for each target that more than one table goes into.
pub(crate) fn shards(subtasks: &[SubtaskConfig], sources: &[Upstream]) -> Vec<Check> {
    let mut targets: BTreeMap<&TableName, Vec<(Shard<'_>, &Upstream)>> = BTreeMap::new();
    for (subtask, source) in subtasks.iter().zip(sources) {
        for (target, tables) in &source.scope.targets {
            let shards = tables.iter().map(|table| Shard {
                source: &subtask.source_id,
                table,
            });
            let entry = targets.entry(target).or_default();
            entry.extend(shards.map(|shard| (shard, source)));
        }
    }
    let mode = subtasks.first().map_or("", |s| s.shard_mode.as_str());
    let merged = targets.into_iter().filter(|(_, shards)| shards.len() > 1);
    merged
        .map(|(target, shards)| one_target(mode, target, &shards))
        .collect()
}

fn one_target(mode: &str, target: &TableName, shards: &[(Shard<'_>, &Upstream)]) -> Check {
    let is_optimistic = mode == "optimistic";
    let name = match is_optimistic {
        true => format!("optimistic sharding table {target} consistency checking"),
        false => format!("sharding table {target} consistency checking"),
    };
    let mut check = Check::new(name, DESC);
    let mut infos = Vec::new();
    for (shard, source) in shards {
        match source.definitions.get(shard.table) {
            Some(Ok(Some(text))) => match read(text) {
                Ok(info) => infos.push((shard, info)),
                Err(why) => check = check.found(State::Warn, Finding::warn(why)),
            },
            Some(Ok(None)) | None => {}
            Some(Err(trouble)) => check = check.troubled(trouble),
        }
    }
    check = auto_increment(check, target, &infos);
    match is_optimistic {
        true => joined(check, &infos),
        false => equal(check, target, &infos),
    }
}

type Infos<'a> = [(&'a Shard<'a>, TableInfo)];

fn auto_increment(mut check: Check, target: &TableName, infos: &Infos<'_>) -> Check {
    let counts = |info: &TableInfo| {
        info.columns
            .iter()
            .any(|c| c.field_type.has(flag::AUTO_INCREMENT))
    };
    for (shard, _) in infos.iter().filter(|(_, info)| counts(info)) {
        let (id, table) = (shard.source, shard.table);
        let text = format!(
            "sourceID {id} table {{{} {}}} of sharding {target} have auto-increment key, please make sure them don't \
             conflict in target table!",
            table.schema, table.table
        );
        check = check.found(State::Warn, Finding::fail(text));
        check = check.advise(AUTO_INCREMENT);
        "auto-increment key checking".clone_into(&mut check.extra);
    }
    check
}

/// Every shard has the columns of the first.
fn equal(mut check: Check, target: &TableName, infos: &Infos<'_>) -> Check {
    let Some(((first, reference), others)) = infos.split_first() else {
        return check;
    };
    for (shard, info) in others {
        let Some((what, own, other)) = difference(info, reference) else {
            continue;
        };
        let mut finding = Finding::fail(what);
        finding.own = format!("{shard}: {own}");
        finding.other = format!("{first}: {other}");
        check = check.found(State::Fail, finding).advise(SAME_STRUCTURE);
        check.extra = format!("error on sharding {target}");
    }
    check
}

fn difference(own: &TableInfo, other: &TableInfo) -> Option<(String, String, String)> {
    let (ours, theirs) = (own.columns.len(), other.columns.len());
    if ours != theirs {
        let text = format!("column length mismatch (self: {ours} vs other: {theirs})");
        let names = |info: &TableInfo| {
            let names = info.columns.iter().map(|c| c.name.original.as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        return Some((text, names(own), names(other)));
    }
    let pairs = own.columns.iter().zip(&other.columns);
    let described = pairs.map(|(a, b)| (described(own, a), described(other, b)));
    let (a, b) = described.into_iter().find(|(a, b)| a != b)?;
    Some(("different column definition".to_owned(), a, b))
}

/// Name, type and keys of a column, as far as shards must agree on them. A character set counts where it is not the
/// table's own.
fn described(info: &TableInfo, column: &ColumnInfo) -> String {
    let kind = &column.field_type;
    let mut text = format!("{} type {}", column.name.lower, kind.code);
    if kind.flen >= 0 {
        text += &format!("({},{})", kind.flen, kind.decimal);
    }
    if !kind.elems.is_empty() {
        text += &format!(" of {:?}", kind.elems);
    }
    for (bit, word) in [(flag::UNSIGNED, " unsigned"), (flag::ZEROFILL, " zerofill")] {
        if kind.has(bit) {
            text += word;
        }
    }
    let is_text = kind.charset != "binary";
    if is_text && (kind.charset != info.charset || kind.collate != info.collate) {
        text += &format!(" {} {}", kind.charset, kind.collate);
    }
    let alone = |index: &&IndexInfo| matches!(index.columns.as_slice(), [only] if only.name.lower == column.name.lower);
    if info.indexes.iter().filter(alone).any(|i| i.primary) {
        text += " primary key";
    }
    if info
        .indexes
        .iter()
        .filter(alone)
        .any(|i| i.unique && !i.primary)
    {
        text += " unique key";
    }
    text
}

/// Every shard can be joined with those before it.
fn joined(mut check: Check, infos: &Infos<'_>) -> Check {
    let mut join: Option<(Schema, String)> = None;
    for (shard, info) in infos {
        let schema = Schema::of(info).without_auto_increment_base();
        let (before, names) = match &join {
            None => {
                join = Some((schema, shard.to_string()));
                continue;
            }
            Some(join) => join,
        };
        match before.join(&schema) {
            Ok(larger) => join = Some((larger, format!("{names}, {shard}"))),
            Err(conflict) => {
                let mut finding = Finding::fail(conflict.to_string());
                finding.own = shard.to_string();
                finding.other.clone_from(names);
                check = check.found(State::Fail, finding);
                check.extra = format!("fail to join table info {names} with {shard}");
            }
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use super::super::facts::Server;
    use super::super::report::Trouble;
    use super::super::scope::Scope;
    use super::*;

    /// One target, one source per text.
    fn told(mode: &str, texts: &[&str]) -> Vec<Check> {
        let target = TableName::new("b", "t");
        let mut subtasks = Vec::new();
        let mut sources = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            subtasks.push(SubtaskConfig {
                source_id: format!("s{at}"),
                shard_mode: mode.into(),
                ..SubtaskConfig::default()
            });
            let table = TableName::new("a", format!("t{at}"));
            let mut scope = Scope::default();
            scope.targets.insert(target.clone(), vec![table.clone()]);
            sources.push(Upstream {
                server: Server::new("h:1"),
                listing: BTreeMap::new(),
                scope,
                binlog_filter: Err(Trouble::new("not asked")),
                definitions: BTreeMap::from([(table, Ok(Some((*text).to_owned())))]),
                position: None,
                data_size: Ok(0),
            });
        }
        shards(&subtasks, &sources)
    }

    const PLAIN: &str =
        "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `c` varchar(8),\n  PRIMARY KEY (`id`)\n)";

    #[test]
    fn equal_shards_pass_and_a_target_of_one_table_is_not_checked() {
        let renamed = PLAIN.replace("`t`", "`u`").replace("`c`", "`C`");
        for (mode, name) in [
            ("pessimistic", "sharding table `b`.`t` consistency checking"),
            (
                "optimistic",
                "optimistic sharding table `b`.`t` consistency checking",
            ),
        ] {
            let checks = told(mode, &[PLAIN, &renamed]);
            assert_eq!((checks.len(), checks[0].state), (1, State::Success));
            assert_eq!(checks[0].name, name);
            assert!(told(mode, &[PLAIN]).is_empty());
        }
    }

    #[test]
    fn pessimistic_shards_must_have_the_same_columns() {
        let fewer = "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  PRIMARY KEY (`id`)\n)";
        let check = told("pessimistic", &[PLAIN, fewer]).remove(0);
        assert_eq!(check.state, State::Fail);
        assert_eq!(
            check.errors[0].short_error,
            "column length mismatch (self: 1 vs other: 2)"
        );
        assert_eq!(check.errors[0].own, "`a`.`t1` of source s1: id");
        assert_eq!(check.errors[0].other, "`a`.`t0` of source s0: id, c");
        assert_eq!(check.instruction, SAME_STRUCTURE);
        assert_eq!(check.extra, "error on sharding `b`.`t`");
        for other in [
            PLAIN.replace("varchar(8)", "varchar(9)"),
            PLAIN.replace("`id` int", "`id` int unsigned"),
            PLAIN.replace("PRIMARY KEY (`id`)", "UNIQUE KEY (`id`)"),
            "CREATE TABLE `t` (`c` varchar(8), `id` int NOT NULL PRIMARY KEY)".to_owned(),
        ] {
            let check = told("pessimistic", &[PLAIN, &other]).remove(0);
            assert_eq!(check.state, State::Fail, "{other}");
            assert_eq!(
                check.errors[0].short_error, "different column definition",
                "{other}"
            );
        }
    }

    #[test]
    fn optimistic_shards_must_have_a_join() {
        let wider = PLAIN.replace("  PRIMARY", "  `d` int,\n  PRIMARY");
        assert_eq!(
            told("optimistic", &[PLAIN, &wider]).remove(0).state,
            State::Success
        );
        let other = PLAIN.replace("varchar(8)", "int");
        let check = told("optimistic", &[PLAIN, &other]).remove(0);
        assert_eq!(check.state, State::Fail);
        assert!(!check.errors[0].short_error.is_empty());
        assert_eq!(
            check.extra,
            "fail to join table info `a`.`t0` of source s0 with `a`.`t1` of source s1"
        );
    }

    #[test]
    fn auto_increment_in_shards_is_a_warning_for_each() {
        let counting = PLAIN.replace("`id` int NOT NULL", "`id` int NOT NULL AUTO_INCREMENT");
        for mode in ["pessimistic", "optimistic"] {
            let check = told(mode, &[&counting, &counting]).remove(0);
            assert_eq!((check.state, check.errors.len()), (State::Warn, 2));
            assert_eq!(
                check.errors[0].short_error,
                "sourceID s0 table {a t0} of sharding `b`.`t` have auto-increment key, please make sure them don't \
                 conflict in target table!"
            );
            assert_eq!(check.errors[0].severity, State::Fail);
            assert_eq!(check.extra, "auto-increment key checking");
            assert!(
                check
                    .instruction
                    .starts_with("If happen conflict, please handle it by yourself.")
            );
        }
    }
}
