//! A downstream table as rows meet it: by what one of them is told from the others. Pure.

use std::collections::BTreeMap;

use dm_schema::create_table::Defaults;
use dm_schema::table_info::{ColumnInfo, code, flag};
use dm_schema::{Table, create_table};

use super::connection::text;
use crate::error::Result;
use crate::names::{TableName, quoted};
use crate::upstream;

/// Types whose defaults compare as they are written.
const PLAIN: [u8; 9] = [
    code::TINYINT,
    code::SMALLINT,
    code::MEDIUMINT,
    code::INT,
    code::BIGINT,
    code::DOUBLE,
    code::DECIMAL,
    code::VARCHAR,
    code::CHAR,
];

/// Columns and keys of a downstream table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// Its structure.
    pub structure: Table,
    /// By column name, in lower case: the condition that it has what a row gets that does not name it. Only where that can be said.
    unnamed: BTreeMap<String, String>,
}

impl Target {
    /// From the statement that creates it.
    pub fn described(name: &TableName, create: &str) -> Result<Self> {
        let structure = upstream::described(name, create)?.structure;
        // Where no character set is named only those of the columns would differ, which nothing here asks for.
        let options = dm_schema::Options::default();
        let info = create_table::read_create_table(create, &options, &Defaults::default());
        let columns = info.map(|info| info.columns).unwrap_or_default();
        let condition = |column: ColumnInfo| {
            let condition = is_unnamed(&column)?;
            Some((column.name.original.to_lowercase(), condition))
        };
        Ok(Self {
            structure,
            unnamed: columns.into_iter().filter_map(condition).collect(),
        })
    }

    /// Conditions that the columns which `source` does not have are as in a row of it.
    pub fn unnamed_by(&self, source: &Table) -> impl Iterator<Item = &str> {
        let absent = |name: &&String| source.position(name).is_none();
        let columns = self.structure.columns.iter().map(|c| &c.name);
        columns
            .filter(absent)
            .filter_map(|name| self.unnamed.get(&name.to_lowercase()))
            .map(String::as_str)
    }
}

fn is_unnamed(column: &ColumnInfo) -> Option<String> {
    let name = quoted(&column.name.original);
    let ty = &column.field_type;
    if !column.generated_expression.is_empty() || ty.has(flag::AUTO_INCREMENT) {
        return None;
    }
    match &column.default {
        None if ty.has(flag::NOT_NULL) => None,
        None => Some(format!("{name} IS NULL")),
        Some(_) if column.is_default_expression() || !PLAIN.contains(&ty.code) => None,
        Some(default) => {
            let default = default.as_str()?;
            Some(format!("{name} <=> {}", text(default)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_row_gets_that_does_not_name_a_column_is_known_for_plain_defaults() {
        let create = "CREATE TABLE `t` (`a` int(11) NOT NULL, `b` int(11) DEFAULT NULL, `C` varchar(9) DEFAULT 'x''', `d` int(11) NOT NULL DEFAULT 5, \
                      `e` timestamp NOT NULL DEFAULT current_timestamp(), `f` int(11) GENERATED ALWAYS AS (`a`) VIRTUAL, `g` int(11) NOT NULL)";
        let target = Target::described(&TableName::new("m", "t"), create).unwrap();
        let mut source = target.structure.clone();
        source.columns.truncate(1);
        let conditions: Vec<&str> = target.unnamed_by(&source).collect();
        assert_eq!(conditions, ["`b` IS NULL", "`C` <=> 'x'''", "`d` <=> '5'"]);
        assert_eq!(target.unnamed_by(&target.structure).count(), 0);
    }
}
