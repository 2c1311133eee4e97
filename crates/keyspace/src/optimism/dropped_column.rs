//! Columns that some upstream tables have dropped and others not yet.

use crate::{
    SourceId, TaskName, ValueError,
    json::{Field, read_value},
    macros::key_family,
};

key_family! {
    /// `/dm-master/shardddl-optimism/dropped-columns/<lock>/<column>/<source>/<schema>/<table>` -> how far the
    /// drop is in that upstream table. Written and read by the optimist only.
    DroppedColumnKey = "/dm-master/shardddl-optimism/dropped-columns/", "ShardDDLOptimismDroppedColumnsKeyAdapter", Hex {
        /// The lock, see [`super::lock_id`].
        lock: String,
        /// The column that goes.
        column: String,
        /// The source that has the table.
        source: SourceId,
        /// The upstream schema.
        schema: String,
        /// The upstream table.
        table: String,
    }
}

impl DroppedColumnKey {
    /// What the keys of one lock begin with.
    pub fn prefix_of_lock(lock: &str) -> String {
        Self::ADAPTER.prefix(&[lock])
    }

    /// What the keys of one column begin with.
    pub fn prefix_of_column(lock: &str, column: &str) -> String {
        Self::ADAPTER.prefix(&[lock, column])
    }

    /// The task of the lock, as DM finds it in the lock id.
    pub fn task(&self) -> TaskName {
        super::task_of_lock_id(&self.lock).into()
    }
}

/// How far the drop of a column is; a bare JSON number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DropStage {
    /// 0, still there.
    NotDone,
    /// 1, dropped in this table and not downstream.
    PartiallyDone,
    /// 2, dropped downstream as well.
    Done,
    /// A number of another version; DM's readers take any.
    Unknown(i64),
}

impl DropStage {
    /// Reads the number.
    pub fn from_bytes(value: &[u8]) -> Result<Self, ValueError> {
        let number: i64 = read_value("dropped column", value)?;
        Ok(match number {
            0 => Self::NotDone,
            1 => Self::PartiallyDone,
            2 => Self::Done,
            other => Self::Unknown(other),
        })
    }

    /// The bytes to put into etcd.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        self.number().write(&mut out);
        out.into_bytes()
    }

    /// The number in the value.
    pub const fn number(&self) -> i64 {
        match *self {
            Self::NotDone => 0,
            Self::PartiallyDone => 1,
            Self::Done => 2,
            Self::Unknown(number) => number,
        }
    }
}
