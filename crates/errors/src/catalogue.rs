//! The table of all codes, built from `errors.csv` at compile time.

use std::fmt;

/// The number of an error in DM's catalogue. A value exists only for numbers that the catalogue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u32);

/// One row of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number, which is what clients compare.
    pub code: Code,
    /// The name DM's documents use, such as `ErrMasterLockNotFound`.
    pub name: &'static str,
    /// The component it is registered for; a live error may carry another.
    pub class: Class,
    /// The side it is registered for; a live error may carry another.
    pub scope: Scope,
    /// How bad it is.
    pub level: Level,
    /// The printf-like template of the message.
    pub message: &'static str,
    /// What the user can do, or empty.
    pub workaround: &'static str,
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = concat!("Written `", $text, "`.")] $variant),*
        }

        impl $name {
            /// The word used in the text form and in `pb::ProcessError`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// The component that an error belongs to.
    Class {
        Database = "database", Functional = "functional", Config = "config", BinlogOp = "binlog-op",
        Checkpoint = "checkpoint", TaskCheck = "task-check", SourceCheck = "source-check",
        RelayEventLib = "relay-event-lib", RelayUnit = "relay-unit", DumpUnit = "dump-unit",
        LoadUnit = "load-unit", SyncUnit = "sync-unit", DmMaster = "dm-master", DmWorker = "dm-worker",
        DmTracer = "dm-tracer", Validator = "validator", Ha = "ha", SchemaTracker = "schema-tracker",
        Scheduler = "scheduler", Dmctl = "dmctl", NotSet = "not-set", Openapi = "openapi",
    }
}

names! {
    /// The side of the migration on which an error arose.
    Scope { NotSet = "not-set", Upstream = "upstream", Downstream = "downstream", Internal = "internal" }
}

names! {
    /// How bad an error is.
    Level { Low = "low", Medium = "medium", High = "high" }
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));

impl Code {
    /// The code of this number, if the catalogue has it.
    pub fn from_number(number: u32) -> Option<Self> {
        let at = ENTRIES.binary_search_by_key(&number, |entry| entry.code.0);
        at.ok().map(|at| ENTRIES[at].code)
    }

    /// The bare number, as in `ProcessError.ErrCode`.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The row of the catalogue.
    pub fn entry(self) -> &'static Entry {
        let at = ENTRIES
            .binary_search_by_key(&self, |entry| entry.code)
            .unwrap_or(ENTRIES.len() - 1);
        &ENTRIES[at]
    }

    /// Every row, by ascending code.
    pub fn all() -> &'static [Entry] {
        ENTRIES
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_sorted() {
        assert_eq!(ENTRIES.len(), 593);
        assert!(ENTRIES.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(
            ENTRIES
                .iter()
                .all(|entry| Code::from_number(entry.code.0) == Some(entry.code))
        );
    }

    #[test]
    fn a_constant_has_the_number_and_name_of_its_row() {
        assert_eq!(Code::MASTER_LOCK_NOT_FOUND.number(), 38019);
        assert_eq!(
            Code::MASTER_LOCK_NOT_FOUND.entry().name,
            "ErrMasterLockNotFound"
        );
        assert_eq!(
            Code::CONFIG_MYSQL_INST_SAME_SOURCE_ID.entry().name,
            "ErrConfigMySQLInstSameSourceID"
        );
        assert_eq!(Code::NOT_SET.number(), 50000);
    }

    #[test]
    fn a_number_outside_the_table_is_no_code() {
        assert_eq!(Code::from_number(1), None);
    }
}
