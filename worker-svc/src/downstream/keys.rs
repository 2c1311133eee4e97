//! By which columns a row is found downstream. Pure.

use dm_schema::{Key, Table};

use crate::binlog::value::Value;

/// How a row is found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// By the columns at these places, which tell it from all others.
    ByKey(Vec<usize>),
    /// By all columns that are written, at these places: several rows may agree in them.
    ByAll(Vec<usize>),
}

/// How a row with these values is found. The keys are the downstream table's: two shards may share values of a key that only the upstream has.
pub fn identifying(keys: &[Key], source: &Table, row: &[Value]) -> Found {
    let places = |key: &Key| -> Option<Vec<usize>> {
        let found: Option<Vec<usize>> = key.columns.iter().map(|c| source.position(c)).collect();
        found.filter(|f| !f.is_empty() && f.iter().all(|at| *at < row.len()))
    };
    let without_null =
        |key: &&Key| places(key).is_some_and(|p| p.iter().all(|at| row[*at] != Value::Null));
    let usable = || keys.iter().filter(|k| k.unique && !k.partial);
    usable()
        .filter(|k| k.is_primary())
        .chain(usable())
        .find(without_null)
        .and_then(places)
        .map_or_else(|| Found::ByAll(written(source)), Found::ByKey)
}

/// Places of the columns that a statement may write: all but the computed ones.
pub fn written(source: &Table) -> Vec<usize> {
    (0..source.columns.len())
        .filter(|at| source.columns[*at].generated.is_none())
        .collect()
}

/// Whether rows of the table can be told apart by a key at all.
pub fn has_key(table: &Table) -> bool {
    table.keys.iter().any(|k| {
        k.unique
            && !k.partial
            && k.columns
                .iter()
                .all(|c| table.column(c).is_some_and(|c| c.not_null))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dm_schema::Column;

    fn table(columns: &[&str]) -> Table {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            kind: "INT".to_owned(),
            length: None,
            unsigned: false,
            not_null: false,
            charset: None,
            generated: None,
        };
        Table {
            columns: columns.iter().map(column).collect(),
            ..Table::default()
        }
    }

    fn key(name: &str, columns: &[&str]) -> Key {
        Key {
            name: name.to_owned(),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            unique: true,
            partial: false,
        }
    }

    #[test]
    fn the_primary_key_comes_first_and_nulls_identify_nothing() {
        let source = table(&["a", "b", "c"]);
        let keys = [key("u", &["b"]), key("PRIMARY", &["c"])];
        let row = [Value::Int(1), Value::Int(2), Value::Int(3)];
        assert_eq!(identifying(&keys, &source, &row), Found::ByKey(vec![2]));
        assert_eq!(
            identifying(&keys[..1], &source, &row),
            Found::ByKey(vec![1])
        );
        let null = [Value::Int(1), Value::Null, Value::Int(3)];
        assert_eq!(
            identifying(&keys[..1], &source, &null),
            Found::ByAll(vec![0, 1, 2])
        );
    }

    #[test]
    fn a_key_on_a_column_that_the_source_lacks_is_of_no_use() {
        let source = table(&["a"]);
        assert_eq!(
            identifying(
                &[key("PRIMARY", &["a", "shard"])],
                &source,
                &[Value::Int(1)]
            ),
            Found::ByAll(vec![0])
        );
    }
}
