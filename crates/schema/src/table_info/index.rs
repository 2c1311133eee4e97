//! Indexes of a table info.

use serde_json::Value;

use super::members::{JsonError, Members};
use super::name::Name;

/// One index (spec schemacmp 10.4). The members that the comparison does not use are kept as they were read.
#[derive(Clone, Debug)]
pub struct IndexInfo {
    /// What it is called; the primary key is `PRIMARY`.
    pub name: Name,
    /// Its columns, in order.
    pub columns: Vec<IndexColumn>,
    /// No two rows have equal values, NULLs apart.
    pub unique: bool,
    /// The primary key.
    pub primary: bool,
    /// How it is built: 1 for a tree, 2 for a hash.
    pub index_type: i64,
    members: Members,
}

impl IndexInfo {
    /// Type number of a tree, which is what an index is unless told otherwise.
    pub const BTREE: i64 = 1;
    /// Type number of a hash.
    pub const HASH: i64 = 2;
    /// Type number of a spatial tree.
    pub const RTREE: i64 = 3;

    /// A public plain index without columns, with all members that TiDB writes.
    pub fn new(name: Name) -> Self {
        let members = Members::of(&[
            ("id", "0"),
            ("idx_name", "null"),
            ("tbl_name", r#"{"O":"","L":""}"#),
            ("idx_cols", "null"),
            ("state", "5"),
            ("backfill_state", "0"),
            ("comment", "\"\""),
            ("index_type", "0"),
            ("is_unique", "false"),
            ("is_primary", "false"),
            ("is_invisible", "false"),
            ("is_global", "false"),
            ("mv_index", "false"),
            ("vector_index", "null"),
            ("inverted_index", "null"),
            ("full_text_index", "null"),
            ("condition_expr_string", "\"\""),
        ]);
        Self {
            name,
            columns: Vec::new(),
            unique: false,
            primary: false,
            index_type: Self::BTREE,
            members,
        }
    }

    pub(super) fn from_json(text: &str) -> Result<Self, JsonError> {
        let members = Members::parse(text)?;
        Ok(Self {
            name: members.object("idx_name", Name::from_json)?,
            columns: members.list("idx_cols", IndexColumn::from_json)?,
            unique: members.read("is_unique")?,
            primary: members.read("is_primary")?,
            index_type: members.read("index_type")?,
            members,
        })
    }

    pub(super) fn to_json(&self) -> String {
        let mut members = self.members.clone();
        self.name.write(&mut members, "idx_name");
        members.write_list("idx_cols", self.columns.iter().map(IndexColumn::to_json));
        members.write("is_unique", &self.unique);
        members.write("is_primary", &self.primary);
        members.write("index_type", &self.index_type);
        members.to_string()
    }

    /// Puts JSON text into a member that the comparison does not use.
    pub(crate) fn set_other(&mut self, member: &str, value: impl Into<Value>) {
        self.members.write_text(member, value.into().to_string());
    }
}

/// One column of an index.
#[derive(Clone, Debug)]
pub struct IndexColumn {
    /// The column's name.
    pub name: Name,
    /// Its place among the columns of the table.
    pub offset: i64,
    /// How many of its characters count, or [`WHOLE`](Self::WHOLE).
    pub length: i64,
    members: Members,
}

impl IndexColumn {
    /// Length that stands for the whole column.
    pub const WHOLE: i64 = -1;

    /// A column that counts up to `length`.
    pub fn new(name: Name, offset: i64, length: i64) -> Self {
        let members = Members::of(&[("name", "null"), ("offset", "0"), ("length", "0")]);
        Self {
            name,
            offset,
            length,
            members,
        }
    }

    fn from_json(text: &str) -> Result<Self, JsonError> {
        let members = Members::parse(text)?;
        Ok(Self {
            name: members.object("name", Name::from_json)?,
            offset: members.read("offset")?,
            length: members.read("length")?,
            members,
        })
    }

    fn to_json(&self) -> String {
        let mut members = self.members.clone();
        self.name.write(&mut members, "name");
        members.write("offset", &self.offset);
        members.write("length", &self.length);
        members.to_string()
    }
}
