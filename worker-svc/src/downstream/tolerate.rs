//! Errors of a DDL that mean: it was there before. Pure.

/// Server error numbers that a DDL may meet when it was executed before a crash, or when somebody prepared the downstream by hand:
/// database exists or not, table exists or not, column exists or not, index exists or not, partition exists or not, second primary key.
const ALREADY_SO: [u16; 13] = [
    1007, 1008, 1050, 1051, 1054, 1060, 1061, 1068, 1091, 1176, 1507, 1517, 1831,
];

/// Whether a DDL that failed with this number counts as executed.
pub fn is_already_so(number: u16) -> bool {
    ALREADY_SO.contains(&number)
}

/// Whether a transaction that failed with this number can simply be tried again: deadlock, lock wait, TiDB's write conflicts.
pub fn is_conflict(number: u16) -> bool {
    matches!(number, 1205 | 1213 | 8002 | 8022 | 8028 | 9007)
}
