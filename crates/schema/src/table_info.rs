//! TableInfo: the JSON in which TiDB and DM keep the schema of a table, read and written without loss.
//!
//! The members that the comparison of schemas uses are typed; all others, also those that this version has never heard of, are kept with their
//! bytes and in their place. Nothing is derived or checked beyond the types of the typed members.

mod codes;
mod column;
mod counted;
mod index;
mod members;
mod name;
#[cfg(test)]
mod tests;

pub(crate) use codes::type_name;
pub use codes::{code, flag};
pub use column::{ColumnInfo, FieldType};
pub use counted::counted_text;
pub use index::{IndexColumn, IndexInfo};
pub use members::JsonError;
pub use name::Name;

use members::Members;
use serde_json::Value;

/// The schema of one table (spec schemacmp 10.1).
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// What it is called; without meaning to the comparison.
    pub name: Name,
    /// Character set of new text columns.
    pub charset: String,
    /// Collation of new text columns.
    pub collate: String,
    /// Columns in order.
    pub columns: Vec<ColumnInfo>,
    /// Indexes in order of their creation.
    pub indexes: Vec<IndexInfo>,
    /// The AUTO_INCREMENT base; 0 for none.
    pub auto_inc_id: i64,
    /// SHARD_ROW_ID_BITS.
    pub shard_row_id_bits: u64,
    /// AUTO_RANDOM.
    pub auto_random_bits: u64,
    /// PRE_SPLIT_REGIONS.
    pub pre_split_regions: u64,
    /// COMPRESSION; empty for none.
    pub compression: String,
    members: Members,
}

impl TableInfo {
    /// An empty public table, with all members that TiDB writes.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            charset: String::new(),
            collate: String::new(),
            columns: Vec::new(),
            indexes: Vec::new(),
            auto_inc_id: 0,
            shard_row_id_bits: 0,
            auto_random_bits: 0,
            pre_split_regions: 0,
            compression: String::new(),
            members: Members::of(ZERO_MEMBERS),
        }
    }

    /// Reads what TiDB or [`to_json`](Self::to_json) wrote.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        let members = Members::parse(text)?;
        Ok(Self {
            name: members.object("name", Name::from_json)?,
            charset: members.read("charset")?,
            collate: members.read("collate")?,
            columns: members.list("cols", ColumnInfo::from_json)?,
            indexes: members.list("index_info", IndexInfo::from_json)?,
            auto_inc_id: members.read("auto_inc_id")?,
            shard_row_id_bits: members.read("ShardRowIDBits")?,
            auto_random_bits: members.read("auto_random_bits")?,
            pre_split_regions: members.read("pre_split_regions")?,
            compression: members.read("compression")?,
            members,
        })
    }

    /// The JSON: members in the order in which they were read, those that have not changed with the bytes that they were read with.
    pub fn to_json(&self) -> String {
        let mut members = self.members.clone();
        self.name.write(&mut members, "name");
        members.write("charset", &self.charset);
        members.write("collate", &self.collate);
        members.write_list("cols", self.columns.iter().map(ColumnInfo::to_json));
        members.write_list("index_info", self.indexes.iter().map(IndexInfo::to_json));
        members.write("auto_inc_id", &self.auto_inc_id);
        members.write("ShardRowIDBits", &self.shard_row_id_bits);
        members.write("auto_random_bits", &self.auto_random_bits);
        members.write("pre_split_regions", &self.pre_split_regions);
        members.write("compression", &self.compression);
        members.to_string()
    }

    /// The column of that name, whatever the case of its letters.
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        let lower = name.to_lowercase();
        self.columns.iter().find(|c| c.name.lower == lower)
    }

    /// A member that the comparison does not use, `None` if it is missing, null or of another type.
    pub(crate) fn other<T: serde::de::DeserializeOwned>(&self, member: &str) -> Option<T> {
        serde_json::from_str(self.members.text(member)?).ok()
    }

    /// Puts JSON text into a member that the comparison does not use.
    pub(crate) fn set_other(&mut self, member: &str, value: impl Into<Value>) {
        self.members.write_text(member, value.into().to_string());
    }
}

/// What TiDB writes for a table without anything special, in its order.
const ZERO_MEMBERS: &[(&str, &str)] = &[
    ("id", "0"),
    ("name", "null"),
    ("charset", "\"\""),
    ("collate", "\"\""),
    ("cols", "null"),
    ("index_info", "null"),
    ("constraint_info", "null"),
    ("fk_info", "null"),
    ("state", "5"),
    ("pk_is_handle", "false"),
    ("is_common_handle", "false"),
    ("common_handle_version", "0"),
    ("comment", "\"\""),
    ("auto_inc_id", "0"),
    ("auto_id_cache", "0"),
    ("auto_rand_id", "0"),
    ("max_col_id", "0"),
    ("max_idx_id", "0"),
    ("max_fk_id", "0"),
    ("max_cst_id", "0"),
    ("update_timestamp", "0"),
    ("ShardRowIDBits", "0"),
    ("max_shard_row_id_bits", "0"),
    ("auto_random_bits", "0"),
    ("auto_random_range_bits", "0"),
    ("pre_split_regions", "0"),
    ("partition", "null"),
    ("compression", "\"\""),
    ("view", "null"),
    ("sequence", "null"),
    ("Lock", "null"),
    ("version", "5"),
    ("tiflash_replica", "null"),
    ("is_columnar", "false"),
    ("temp_table_type", "0"),
    ("cache_table_status", "0"),
    ("policy_ref_info", "null"),
    ("stats_options", "null"),
    ("exchange_partition_info", "null"),
    ("ttl_info", "null"),
    ("revision", "0"),
];
