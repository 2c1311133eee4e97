//! The downstream against the merge of the sources: the same columns, and row by row, ordered by primary key, every value the same.

use std::fmt;

use dm_testkit::mariadb::MariaDb;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use crate::orders::{self, Shard, TARGET};
use crate::{Error, Playground, Result};

/// One row as text, in the order of the compared columns; the first is the key.
type Cells = Vec<Option<Vec<u8>>>;

/// What the comparison found.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The compared columns, key first.
    pub columns: Vec<String>,
    /// Each shard with its number of rows.
    pub shards: Vec<(Shard, usize)>,
    /// The merge of the sources.
    pub sources: Side,
    /// The one table downstream.
    pub downstream: Side,
    /// Where they differ first, in the order of the key.
    pub difference: Option<Difference>,
}

/// One side in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Number of rows.
    pub rows: usize,
    /// Over all values of all rows, in order.
    pub checksum: u64,
}

/// The first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A shard's columns are not those of the downstream, so rows were not compared.
    Columns {
        /// Which shard.
        shard: String,
        /// Its columns with types, sorted.
        expected: Vec<String>,
        /// Those of the downstream.
        found: Vec<String>,
    },
    /// Two shards have a row of the same key: the merge is not defined.
    Twice {
        /// The key.
        key: String,
    },
    /// The downstream lacks a row.
    Missing {
        /// The row's key.
        key: String,
    },
    /// The downstream has a row that no source has.
    Unexpected {
        /// The row's key.
        key: String,
    },
    /// A value differs.
    Value {
        /// The row's key.
        key: String,
        /// The column.
        column: String,
        /// In the source.
        expected: String,
        /// In the downstream.
        found: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns {
                shard,
                expected,
                found,
            } => {
                write!(
                    f,
                    "the columns of {shard} are {}; those of the downstream are {}",
                    expected.join(", "),
                    found.join(", ")
                )
            }
            Self::Twice { key } => write!(f, "two shards have a row {key}"),
            Self::Missing { key } => write!(f, "row {key} is missing in the downstream"),
            Self::Unexpected { key } => {
                write!(f, "the downstream has a row {key} that no source has")
            }
            Self::Value {
                key,
                column,
                expected,
                found,
            } => {
                write!(
                    f,
                    "row {key}, column {column}: {expected} in the source, {found} in the downstream"
                )
            }
        }
    }
}

/// Reads both sides whole and compares them. Says something about one moment only while nobody writes.
pub async fn compare(playground: &Playground, shards: &[Shard]) -> Result<Comparison> {
    let target = playground.downstream();
    let columns = orders::columns(target, TARGET.0, TARGET.1).await?;
    let found = typed(&columns);
    let mut names: Vec<String> = columns.into_iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| (name != "id", name.clone()));
    let mut comparison = Comparison {
        columns: names,
        shards: Vec::new(),
        sources: side(&[]),
        downstream: side(&[]),
        difference: None,
    };
    for shard in shards {
        let server = playground.mariadb(shard.server);
        let expected = typed(&orders::columns(server, &shard.database(), &shard.table()).await?);
        if expected != found {
            comparison.difference = Some(Difference::Columns {
                shard: shard.to_string(),
                expected,
                found,
            });
            return Ok(comparison);
        }
    }
    let mut merged = Vec::new();
    for shard in shards {
        let rows = read(
            playground.mariadb(shard.server),
            &shard.to_string(),
            &comparison.columns,
        )
        .await?;
        comparison.shards.push((shard.clone(), rows.len()));
        merged.extend(rows);
    }
    merged.sort_by_key(number);
    let target = read(
        target,
        &format!("{}.{}", TARGET.0, TARGET.1),
        &comparison.columns,
    )
    .await?;
    comparison.sources = side(&merged);
    comparison.downstream = side(&target);
    comparison.difference = first_difference(&comparison.columns, &merged, &target);
    Ok(comparison)
}

/// Columns as `name type`, sorted: an added column may stand at different places.
fn typed(columns: &[(String, String)]) -> Vec<String> {
    let mut typed: Vec<String> = columns
        .iter()
        .map(|(name, kind)| format!("{name} {kind}"))
        .collect();
    typed.sort();
    typed
}

async fn read(server: &MariaDb, table: &str, columns: &[String]) -> Result<Vec<Cells>> {
    let sql = format!("SELECT {} FROM {table} ORDER BY id", columns.join(", "));
    let failed = || Error::sql(format!("{}: {sql}", server.name()));
    let mut conn = server.connect().await?;
    let rows: Vec<Row> = conn.query(&sql).await.map_err(failed())?;
    conn.disconnect().await.map_err(failed())?;
    Ok(rows
        .into_iter()
        .map(|row| row.unwrap().into_iter().map(cell).collect())
        .collect())
}

/// The text protocol gives bytes for everything that is not NULL.
fn cell(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        other => Some(other.as_sql(true).into_bytes()),
    }
}

fn number(row: &Cells) -> u64 {
    key(row).parse().unwrap_or(u64::MAX)
}

fn key(row: &Cells) -> String {
    shown(row.first().and_then(Option::as_ref))
}

fn shown(cell: Option<&Vec<u8>>) -> String {
    cell.map_or("NULL".to_owned(), |bytes| {
        String::from_utf8_lossy(bytes).into_owned()
    })
}

/// FNV-1a, 64 bits, over every value with its presence and length.
fn side(rows: &[Cells]) -> Side {
    let mut checksum = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            checksum = (checksum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for cell in rows.iter().flatten() {
        match cell {
            None => add(&[0]),
            Some(bytes) => {
                add(&[1]);
                add(&bytes.len().to_le_bytes());
                add(bytes);
            }
        }
    }
    Side {
        rows: rows.len(),
        checksum,
    }
}

/// Both sides in the order of their keys.
fn first_difference(columns: &[String], sources: &[Cells], target: &[Cells]) -> Option<Difference> {
    if let Some(pair) = sources
        .windows(2)
        .find(|pair| number(&pair[0]) == number(&pair[1]))
    {
        return Some(Difference::Twice { key: key(&pair[0]) });
    }
    let mut found = target.iter().peekable();
    for expected in sources {
        match found.peek() {
            Some(row) if number(row) < number(expected) => {
                return Some(Difference::Unexpected { key: key(row) });
            }
            Some(row) if number(row) == number(expected) => {
                if let Some(difference) = cell_difference(columns, expected, row) {
                    return Some(difference);
                }
                found.next();
            }
            _ => return Some(Difference::Missing { key: key(expected) }),
        }
    }
    found
        .next()
        .map(|row| Difference::Unexpected { key: key(row) })
}

fn cell_difference(columns: &[String], expected: &Cells, found: &Cells) -> Option<Difference> {
    let at = expected
        .iter()
        .zip(found)
        .position(|(expected, found)| expected != found)?;
    Some(Difference::Value {
        key: key(expected),
        column: columns.get(at).cloned().unwrap_or_default(),
        expected: shown(expected[at].as_ref()),
        found: shown(found[at].as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u64, value: Option<&str>) -> Cells {
        vec![
            Some(key.to_string().into_bytes()),
            value.map(|text| text.as_bytes().to_vec()),
        ]
    }

    fn difference(sources: &[Cells], target: &[Cells]) -> Option<String> {
        let columns = ["id".to_owned(), "remark".to_owned()];
        first_difference(&columns, sources, target).map(|difference| difference.to_string())
    }

    #[test]
    fn equal_rows_have_no_difference_and_one_checksum() {
        let rows = [row(9, Some("a")), row(10, None)];
        assert_eq!(difference(&rows, &rows), None);
        assert_eq!(side(&rows), side(&rows.clone()));
    }

    #[test]
    fn the_first_difference_in_the_order_of_the_key_is_named() {
        let both = [row(9, Some("a")), row(10, Some("b"))];
        let (nine, ten) = (&both[..1], &both[1..]);
        let name = |sources: &[Cells], target: &[Cells]| difference(sources, target).unwrap();
        assert_eq!(name(&both, ten), "row 9 is missing in the downstream");
        assert_eq!(name(&both, nine), "row 10 is missing in the downstream");
        assert_eq!(
            name(ten, &both),
            "the downstream has a row 9 that no source has"
        );
        assert_eq!(
            name(nine, &both),
            "the downstream has a row 10 that no source has"
        );
        assert_eq!(
            name(&[nine, nine].concat(), &both),
            "two shards have a row 9"
        );
        let changed = [nine[0].clone(), row(10, None)];
        assert_eq!(
            name(&both, &changed),
            "row 10, column remark: b in the source, NULL in the downstream"
        );
    }

    #[test]
    fn null_and_an_empty_text_are_not_the_same() {
        let (null, empty) = ([row(1, None)], [row(1, Some(""))]);
        assert!(difference(&null, &empty).is_some());
        assert_ne!(side(&null).checksum, side(&empty).checksum);
    }
}
