//! Each statement leads to what the server would show of the table afterwards.

use super::FollowError;
use crate::create_table::{CreateTableError, Defaults, read_create_table};
use crate::lattice::Schema;
use crate::table_info::TableInfo;
use crate::{Options, Statement, read};

const BEFORE: &str = "CREATE TABLE t (id INT NOT NULL, v VARCHAR(20) DEFAULT 'x', n DECIMAL(6,2), e TEXT, PRIMARY KEY (id), KEY k (v(10), n), UNIQUE KEY u (n)) CHARSET=latin1";

fn defaults() -> Defaults {
    Defaults {
        is_mariadb: true,
        collations: [
            ("latin1", "latin1_swedish_ci"),
            ("utf8mb3", "utf8mb3_general_ci"),
        ]
        .map(|(charset, collate)| (charset.to_owned(), collate.to_owned()))
        .into(),
        ..Defaults::default()
    }
}

fn table(text: &str) -> TableInfo {
    read_create_table(text, &Options::default(), &defaults())
        .unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn followed(before: &str, statement: &str) -> Result<TableInfo, FollowError> {
    let mut info = table(before);
    let Ok(Statement::Ddl(ddls)) = read(statement, &Options::default()) else {
        panic!("{statement}");
    };
    for ddl in &ddls {
        info.apply(ddl, &defaults())?;
    }
    Ok(info)
}

#[test]
fn a_followed_table_is_the_one_that_would_be_created() {
    let columns = "id INT NOT NULL, v VARCHAR(20) DEFAULT 'x', n DECIMAL(6,2), e TEXT";
    let keys = "PRIMARY KEY (id), KEY k (v(10), n), UNIQUE KEY u (n)";
    let cases = [
        ("ALTER TABLE t ADD c INT NOT NULL UNIQUE AFTER id", format!("id INT NOT NULL, c INT NOT NULL, v VARCHAR(20) DEFAULT 'x', n DECIMAL(6,2), e TEXT, {keys}, UNIQUE KEY c (c)")),
        ("ALTER TABLE t ADD COLUMN (a INT, b JSON)", format!("{columns}, a INT, b LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, {keys}")),
        ("ALTER TABLE t ADD IF NOT EXISTS v INT, DROP IF EXISTS w", format!("{columns}, {keys}")),
        ("ALTER TABLE t DROP n", "id INT NOT NULL, v VARCHAR(20) DEFAULT 'x', e TEXT, PRIMARY KEY (id), KEY k (v(10))".to_owned()),
        ("ALTER TABLE t MODIFY id BIGINT FIRST", format!("id BIGINT NOT NULL, v VARCHAR(20) DEFAULT 'x', n DECIMAL(6,2), e TEXT, {keys}")),
        ("ALTER TABLE t MODIFY v VARCHAR(10)", "id INT NOT NULL, v VARCHAR(10), n DECIMAL(6,2), e TEXT, PRIMARY KEY (id), KEY k (v, n), UNIQUE KEY u (n)".to_owned()),
        ("ALTER TABLE t CHANGE n m DECIMAL(6,2) DEFAULT 1.5", "id INT NOT NULL, v VARCHAR(20) DEFAULT 'x', m DECIMAL(6,2) DEFAULT 1.50, e TEXT, PRIMARY KEY (id), KEY k (v(10), m), UNIQUE KEY u (m)".to_owned()),
        ("ALTER TABLE t RENAME COLUMN n TO m", "id INT NOT NULL, v VARCHAR(20) DEFAULT 'x', m DECIMAL(6,2), e TEXT, PRIMARY KEY (id), KEY k (v(10), m), UNIQUE KEY u (m)".to_owned()),
        ("ALTER TABLE t ADD INDEX (v), ADD UNIQUE KEY w (id, n)", format!("{columns}, {keys}, KEY v (v), UNIQUE KEY w (id, n)")),
        ("CREATE UNIQUE INDEX w ON t (v DESC)", format!("{columns}, {keys}, UNIQUE KEY w (v)")),
        ("CREATE INDEX w ON t (e(5))", format!("{columns}, {keys}, KEY w (e(5))")),
        ("DROP INDEX u ON t", format!("{columns}, PRIMARY KEY (id), KEY k (v(10), n)")),
        ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (n)", "id INT NOT NULL, v VARCHAR(20) DEFAULT 'x', n DECIMAL(6,2) NOT NULL, e TEXT, KEY k (v(10), n), UNIQUE KEY u (n), PRIMARY KEY (n)".to_owned()),
        ("ALTER TABLE t RENAME KEY u TO w", format!("{columns}, PRIMARY KEY (id), KEY k (v(10), n), UNIQUE KEY w (n)")),
        ("ALTER TABLE t ALTER v DROP DEFAULT, ALTER n SET DEFAULT 7, ALTER id SET DEFAULT 0", format!("id INT NOT NULL DEFAULT 0, v VARCHAR(20), n DECIMAL(6,2) DEFAULT 7.00, e TEXT, {keys}")),
        ("ALTER TABLE t COMMENT 'x', ENGINE=InnoDB, ADD CHECK (id > 0), ADD FULLTEXT KEY f (e), ORDER BY v", format!("{columns}, {keys}")),
    ];
    for (statement, expected) in cases {
        let after = followed(BEFORE, statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
        let expected = format!("CREATE TABLE t ({expected}) CHARSET=latin1");
        assert_eq!(
            Schema::of(&after),
            Schema::of(&table(&expected)),
            "{statement}"
        );
        let offsets: Vec<i64> = after
            .columns
            .iter()
            .filter_map(|c| c.other("offset"))
            .collect();
        assert!(
            offsets.iter().copied().eq(0..offsets.len() as i64),
            "{statement}"
        );
    }
}

#[test]
fn character_sets_change_for_columns_to_come_or_for_all() {
    let before = "CREATE TABLE t (v VARCHAR(3), e TEXT, b BLOB) CHARSET=latin1";
    let cases = [
        (
            "ALTER TABLE t DEFAULT CHARSET utf8mb4",
            "(v VARCHAR(3) CHARACTER SET latin1, e TEXT CHARACTER SET latin1, b BLOB) CHARSET=utf8mb4",
        ),
        (
            "ALTER TABLE t ENGINE=InnoDB COLLATE latin1_bin",
            "(v VARCHAR(3) COLLATE latin1_swedish_ci, e TEXT COLLATE latin1_swedish_ci, b BLOB) COLLATE=latin1_bin",
        ),
        (
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb3",
            "(v VARCHAR(3), e MEDIUMTEXT, b BLOB) CHARSET=utf8mb3",
        ),
        (
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            "(v VARCHAR(3), e MEDIUMTEXT, b BLOB) COLLATE=utf8mb4_unicode_ci",
        ),
    ];
    for (statement, expected) in cases {
        let after = followed(before, statement).unwrap();
        let expected = table(&format!("CREATE TABLE t {expected}"));
        assert_eq!(Schema::of(&after), Schema::of(&expected), "{statement}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let missing = |name: &str| Err(FollowError::MissingColumn(name.to_owned()));
    let cases = [
        ("ALTER TABLE t DROP x", missing("x")),
        ("ALTER TABLE t MODIFY x INT", missing("x")),
        ("ALTER TABLE t ADD c INT AFTER x", missing("x")),
        ("ALTER TABLE t ADD KEY (x)", missing("x")),
        (
            "ALTER TABLE t ADD v INT",
            Err(CreateTableError::DuplicateColumn("v".to_owned()).into()),
        ),
    ];
    for (statement, expected) in cases {
        assert_eq!(
            followed(BEFORE, statement).map(|_| ()),
            expected,
            "{statement}"
        );
    }
    let mut info = table("CREATE TABLE t (a INT)");
    let Ok(Statement::Ddl(ddls)) = read("ALTER TABLE t DROP a", &Options::default()) else {
        panic!("not read");
    };
    assert!(info.apply(&ddls[0], &defaults()).is_err());
    assert_eq!(info.columns.len(), 1);
}

#[test]
fn types_and_columns_of_mariadb_are_read() {
    let text = "CREATE TABLE t (u UUID DEFAULT uuid(), i INET4, j INET6 DEFAULT '::1', p POINT NOT NULL REF_SYSTEM_ID=0, s BIGINT UNSIGNED SERIAL DEFAULT VALUE, rs TIMESTAMP(6) GENERATED ALWAYS AS ROW START, re TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (rs, re)) WITH SYSTEM VERSIONING";
    let info = table(text);
    assert_eq!(info.columns.len(), 7);
    assert_eq!(info.indexes[0].name.original, "s");
}
