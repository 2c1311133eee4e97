//! Row images: the values of one row, in the order of the table's columns.

use dm_schema::{Generated, Table};

use super::event::{Rows, RowsKind};
use super::reader::{DecodeError, Reader, bit};
use super::table_map::TableMap;
use super::value::{self, Value};

/// The values of one row, one for each column of the structure.
pub type Row = Vec<Value>;

/// One changed row.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new row.
    Insert(Row),
    /// A row before and after.
    Update {
        /// Before.
        old: Row,
        /// After.
        new: Row,
    },
    /// A row that is gone.
    Delete(Row),
}

/// Decodes all changes of a row event. The structure must be the one that the table had when the event was written.
pub fn changes(rows: &Rows, map: &TableMap, table: &Table) -> Result<Vec<Change>, DecodeError> {
    let layout = layout(rows, map, table)?;
    let mut reader = Reader::new(&rows.images);
    let mut changes = Vec::new();
    while !reader.is_empty() {
        let first = image(&rows.before, &layout, map, table, &mut reader)?;
        changes.push(match rows.kind {
            RowsKind::Insert => Change::Insert(first),
            RowsKind::Delete => Change::Delete(first),
            RowsKind::Update => Change::Update {
                old: first,
                new: image(&rows.after, &layout, map, table, &mut reader)?,
            },
        });
    }
    Ok(changes)
}

/// For each logged column the place of its column in the structure.
/// Computed columns that are not stored may be missing in the log.
fn layout(rows: &Rows, map: &TableMap, table: &Table) -> Result<Vec<usize>, DecodeError> {
    if rows.columns != map.columns.len() {
        return Err(DecodeError::Mismatch(format!(
            "{} columns in the rows, {} in the table map",
            rows.columns,
            map.columns.len()
        )));
    }
    let all: Vec<usize> = (0..table.columns.len()).collect();
    if all.len() == rows.columns {
        return Ok(all);
    }
    let stored: Vec<usize> = all
        .into_iter()
        .filter(|at| table.columns[*at].generated != Some(Generated::Virtual))
        .collect();
    if stored.len() == rows.columns {
        return Ok(stored);
    }
    Err(DecodeError::ColumnCount {
        columns: table.columns.len(),
        values: rows.columns,
    })
}

fn image(
    present: &[u8],
    layout: &[usize],
    map: &TableMap,
    table: &Table,
    reader: &mut Reader<'_>,
) -> Result<Row, DecodeError> {
    let missing = (0..layout.len())
        .any(|at| !bit(present, at) && table.columns[layout[at]].generated.is_none());
    if missing {
        return Err(DecodeError::Unsupported(
            "row images without all columns; set binlog_row_image to FULL".to_owned(),
        ));
    }
    let logged: Vec<usize> = (0..layout.len()).filter(|at| bit(present, *at)).collect();
    let nulls = reader.take(logged.len().div_ceil(8), "null bitmap")?;
    let mut row = vec![Value::Null; table.columns.len()];
    for (nth, at) in logged.into_iter().enumerate() {
        if !bit(nulls, nth) {
            let place = layout[at];
            row[place] = value::decode(map.columns[at], &table.columns[place], reader)?;
        }
    }
    Ok(row)
}
