//! Item `table_schema`: whether the structure of each source table fits the target, and DM.

use std::collections::{BTreeMap, BTreeSet};

use dm_errors::List;
use dm_schema::Options;
use dm_schema::create_table::{Defaults, read_create_table};
use dm_schema::table_info::{TableInfo, flag};

use super::facts::{Definitions, Upstream};
use super::report::{Check, Finding, State};
use super::scope::TableName;

const FIX_KEYS: &str = "Give the table a primary key or a unique key of columns that are not NULL.";
const FIX_FOREIGN_KEYS: &str = "Foreign keys of the source are not kept in the target.";
const FIX_EXTENDED: &str =
    "Create the target table with the columns that the routes add, and without them in the source.";
const FIX_CHARSET: &str = "Use one character set and one collation on both sides.";
const FIX_INDEXES: &str = "Use the same primary and unique keys on both sides.";
const FIX_COLUMNS: &str =
    "Use the same columns on both sides, or give those of the target alone a default.";

/// A definition as text and as it is understood.
struct Read<'a> {
    text: &'a str,
    info: TableInfo,
}

/// Reads a definition.
///
/// # Errors
/// The text for the user when it is not understood.
pub(super) fn read(text: &str) -> Result<TableInfo, String> {
    read_create_table(text, &Options::default(), &Defaults::default())
        .map_err(|error| format!("statement {text}: {error}"))
}

/// Compares every table of the sources with its target.
pub(crate) fn table_schema(sources: &[Upstream], target: &Definitions) -> Check {
    let mut check = Check::new(
        "table structure compatibility check",
        "whether the structures of the tables fit the target",
    );
    let mut advice = BTreeSet::new();
    for source in sources {
        for (target_name, tables) in &source.scope.targets {
            let extended = source.scope.extended.get(target_name);
            let pair = Pair {
                target: target.get(target_name),
                target_name,
                extended: extended.map_or(&[][..], Vec::as_slice),
            };
            for table in tables {
                check = one_table(check, source, table, &pair, &mut advice);
            }
        }
    }
    let advice: Vec<&str> = advice.into_iter().collect();
    check.advise(&advice.join("; "))
}

/// Where a table goes.
struct Pair<'a> {
    target: Option<&'a super::report::Answer<Option<String>>>,
    target_name: &'a TableName,
    extended: &'a [String],
}

type Advice = BTreeSet<&'static str>;

fn one_table(
    mut check: Check,
    source: &Upstream,
    table: &TableName,
    pair: &Pair<'_>,
    advice: &mut Advice,
) -> Check {
    let text = match source.definitions.get(table) {
        Some(Ok(Some(text))) => text,
        // Dropped since it was listed.
        Some(Ok(None)) | None => return check,
        Some(Err(trouble)) => return check.troubled(trouble),
    };
    let info = match read(text) {
        Ok(info) => info,
        Err(why) => return check.found(State::Warn, Finding::warn(why)),
    };
    let own = Read { text, info };
    let mut found = alone(&own);
    match pair.target {
        Some(Err(trouble)) => check = check.troubled(trouble),
        Some(Ok(Some(text))) => match read(text) {
            Ok(info) => found.extend(compared(&own, &Read { text, info }, pair)),
            Err(why) => check = check.found(State::Warn, Finding::warn(why)),
        },
        Some(Ok(None)) | None if !pair.extended.is_empty() => found.push((
            State::Fail,
            format!(
                "upstream table {table} who has extended columns {} does not exist in downstream table",
                List(pair.extended)
            ),
            FIX_EXTENDED,
        )),
        Some(Ok(None)) | None => {}
    }
    for (state, text, what_to_do) in found {
        advice.insert(what_to_do);
        check = check.found(state, Finding::new(state, format!("table {table} {text}")));
    }
    check
}

type Found = (State, String, &'static str);

/// What the source table shows by itself.
fn alone(own: &Read<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = foreign_keys(own.text)
        .map(|name| {
            let text = format!("Foreign Key {name} is parsed but ignored by TiDB.");
            (State::Warn, text, FIX_FOREIGN_KEYS)
        })
        .collect();
    if !own.info.indexes.iter().any(|i| i.primary || i.unique) {
        let text = "primary/unique key does not exist".to_owned();
        found.push((State::Warn, text, FIX_KEYS));
    }
    found
}

/// Names of foreign keys. `SHOW CREATE TABLE` puts each on a line of its own.
fn foreign_keys(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("CONSTRAINT `")?;
        let (name, rest) = rest.split_once("` ")?;
        rest.starts_with("FOREIGN KEY").then_some(name)
    })
}

fn compared(own: &Read<'_>, target: &Read<'_>, pair: &Pair<'_>) -> Vec<Found> {
    let mut found = charsets(own, target, pair);
    found.extend(keys(&own.info, &target.info, pair.target_name));
    let extended = extended_columns(&own.info, &target.info, pair.extended);
    if extended.is_empty() {
        found.extend(columns(&own.info, &target.info, pair));
    }
    found.extend(extended);
    found
}

fn charsets(own: &Read<'_>, target: &Read<'_>, pair: &Pair<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut compare = |what: &str, own_value: Option<&str>, other: Option<&str>, any_fits: bool| {
        let (Some(own_value), Some(other)) = (own_value, other) else {
            return;
        };
        if any_fits || own_value.eq_ignore_ascii_case(other) {
            return;
        }
        let text = format!(
            "{what} is not same, upstream: ({} {own_value}), downstream: ({} {other})",
            own.info.name.original, pair.target_name.table
        );
        found.push((State::Warn, text, FIX_CHARSET));
    };
    let (ours, theirs) = (
        option(own.text, "CHARSET="),
        option(target.text, "CHARSET="),
    );
    let takes_all = theirs.is_some_and(|charset| charset.eq_ignore_ascii_case("utf8mb4"));
    compare("charset", ours, theirs, takes_all);
    let (ours, theirs) = (
        option(own.text, "COLLATE="),
        option(target.text, "COLLATE="),
    );
    compare("collation", ours, theirs, false);
    found
}

/// The value of an option of the table, if it was written down.
fn option<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let options = text.lines().rfind(|line| line.starts_with(')'))?;
    let options = options.split(" COMMENT=").next()?;
    let (_, value) = options.split_once(name)?;
    value.split([' ', ';']).next().filter(|v| !v.is_empty())
}

/// Keys by which a row is found, as sets of columns.
fn row_keys(info: &TableInfo) -> BTreeMap<BTreeSet<&str>, &str> {
    let not_null = |name: &str| {
        info.column(name)
            .is_some_and(|column| column.field_type.has(flag::NOT_NULL))
    };
    let keys = info.indexes.iter().filter_map(|index| {
        let columns: BTreeSet<&str> = index
            .columns
            .iter()
            .map(|c| c.name.lower.as_str())
            .collect();
        let finds_rows =
            index.primary || (index.unique && columns.iter().all(|name| not_null(name)));
        finds_rows.then_some((columns, index.name.original.as_str()))
    });
    keys.collect()
}

fn keys(own: &TableInfo, target: &TableInfo, target_name: &TableName) -> Vec<Found> {
    let (ours, theirs) = (row_keys(own), row_keys(target));
    let list = |columns: &BTreeSet<&str>| {
        let columns: Vec<&str> = columns.iter().copied().collect();
        List(&columns).to_string()
    };
    let more = ours
        .iter()
        .filter(|(columns, _)| !theirs.contains_key(*columns));
    let more = more.map(|(columns, name)| {
        format!(
            "upstream has more PK or NOT NULL UK than downstream, index name: {name}, columns: {}",
            list(columns)
        )
    });
    let fewer = theirs
        .iter()
        .filter(|(columns, _)| !ours.contains_key(*columns));
    let fewer = fewer.map(|(columns, name)| {
        format!(
            "downstream has more PK or NOT NULL UK than upstream, table name: {}, index name: {name}, columns: {}",
            target_name.table,
            list(columns)
        )
    });
    more.chain(fewer)
        .map(|text| (State::Warn, text, FIX_INDEXES))
        .collect()
}

fn extended_columns(own: &TableInfo, target: &TableInfo, extended: &[String]) -> Vec<Found> {
    let mut found = Vec::new();
    for column in extended {
        if own.column(column).is_some() {
            let text = format!("upstream table must not contain extended column [{column}]");
            found.push((State::Fail, text, FIX_EXTENDED));
        }
    }
    let missing = extended.iter().filter(|c| target.column(c).is_none());
    let missing: Vec<&String> = missing.collect();
    if !missing.is_empty() {
        let text = format!(
            "downstream table must contain extended columns {}",
            List(&missing)
        );
        found.push((State::Fail, text, FIX_EXTENDED));
    }
    found
}

fn columns(own: &TableInfo, target: &TableInfo, pair: &Pair<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let names = own.columns.iter().map(|c| c.name.original.as_str());
    let more: Vec<&str> = names.filter(|name| target.column(name).is_none()).collect();
    if !more.is_empty() {
        let text = format!(
            "upstream has more columns than downstream, columns: {}",
            List(&more)
        );
        found.push((State::Warn, text, FIX_COLUMNS));
    }
    let is_extended = |name: &str| pair.extended.iter().any(|e| e.eq_ignore_ascii_case(name));
    let demanding = target.columns.iter().filter(|column| {
        let kind = &column.field_type;
        own.column(&column.name.lower).is_none()
            && !is_extended(&column.name.lower)
            && kind.has(flag::NOT_NULL)
            && column.default.is_none()
            && !kind.has(flag::AUTO_INCREMENT)
            && column.generated_expression.is_empty()
    });
    let demanding: Vec<&str> = demanding.map(|c| c.name.original.as_str()).collect();
    if !demanding.is_empty() {
        let text = format!(
            "downstream has more columns than upstream that require values to insert records, table name: {}, columns: {}",
            pair.target_name.table,
            List(&demanding)
        );
        found.push((State::Warn, text, FIX_COLUMNS));
    }
    found
}

#[cfg(test)]
mod tests;
