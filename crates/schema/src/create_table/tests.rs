//! What a text means, where the vectors compare two texts only.

use serde_json::json;

use super::{CreateTableError, Defaults, print_create_table, read_create_table};
use crate::Options;
use crate::lattice::Schema;
use crate::table_info::{ColumnInfo, FieldType, TableInfo, code, flag};

fn table(text: &str) -> Result<TableInfo, CreateTableError> {
    read_create_table(text, &Options::default(), &Defaults::default())
}

fn column(definition: &str) -> ColumnInfo {
    let text = format!("CREATE TABLE t ({definition})");
    let info = table(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
    info.columns[0].clone()
}

fn shape(ty: &FieldType) -> (u8, i64, i64, u64) {
    (ty.code, ty.flen, ty.decimal, ty.flags)
}

#[test]
fn types_have_the_codes_sizes_and_flags_of_tidb() {
    let unsigned = flag::UNSIGNED;
    let cases = [
        ("BOOL", (code::TINYINT, 1, 0, 0)),
        ("TINYINT UNSIGNED", (code::TINYINT, 3, 0, unsigned)),
        ("SMALLINT UNSIGNED", (code::SMALLINT, 5, 0, unsigned)),
        ("MEDIUMINT UNSIGNED", (code::MEDIUMINT, 8, 0, unsigned)),
        ("INTEGER UNSIGNED", (code::INT, 10, 0, unsigned)),
        (
            "INT(5) ZEROFILL",
            (code::INT, 5, 0, unsigned | flag::ZEROFILL),
        ),
        ("BIGINT UNSIGNED", (code::BIGINT, 20, 0, unsigned)),
        ("BIT", (code::BIT, 1, 0, unsigned)),
        ("YEAR(4)", (code::YEAR, 4, 0, unsigned | flag::ZEROFILL)),
        ("FLOAT", (code::FLOAT, 12, -1, 0)),
        ("FLOAT(24)", (code::FLOAT, 12, -1, 0)),
        ("FLOAT(25)", (code::DOUBLE, 22, -1, 0)),
        ("DOUBLE PRECISION (9, 3)", (code::DOUBLE, 9, 3, 0)),
        ("NUMERIC", (code::DECIMAL, 10, 0, 0)),
        ("DEC(5)", (code::DECIMAL, 5, 0, 0)),
        ("DATE", (code::DATE, 10, 0, flag::BINARY)),
        ("TIME(3)", (code::TIME, 14, 3, flag::BINARY)),
        ("DATETIME(0)", (code::DATETIME, 19, 0, flag::BINARY)),
        ("TIMESTAMP(6)", (code::TIMESTAMP, 26, 6, flag::BINARY)),
        ("JSON", (code::JSON, 4_294_967_295, 0, flag::BINARY)),
        ("CHAR", (code::CHAR, 1, 0, 0)),
        ("BINARY(7)", (code::CHAR, 7, 0, flag::BINARY)),
        ("CHARACTER VARYING (8)", (code::VARCHAR, 8, 0, 0)),
        ("VARBINARY(8)", (code::VARCHAR, 8, 0, flag::BINARY)),
        ("TEXT", (code::TEXT, 65_535, 0, 0)),
        ("TEXT(10)", (code::TINYTEXT, 255, 0, 0)),
        (
            "BLOB(70000)",
            (code::MEDIUMTEXT, 16_777_215, 0, flag::BINARY),
        ),
        ("LONG VARCHAR", (code::MEDIUMTEXT, 16_777_215, 0, 0)),
        ("ENUM('a','bcd  ')", (code::ENUM, 3, 0, 0)),
        ("SET('a','bcd')", (code::SET, 5, 0, 0)),
    ];
    for (definition, expected) in cases {
        let ty = column(&format!("c {definition}")).field_type;
        assert_eq!(shape(&ty), expected, "{definition}");
    }
}

#[test]
fn character_sets_come_from_the_column_then_its_collation_then_the_table() {
    let charset = |text: &str| {
        let info = table(text).unwrap();
        let ty = &info.columns[0].field_type;
        (ty.charset.clone(), ty.collate.clone())
    };
    let pair = |charset: &str, collate: &str| (charset.to_owned(), collate.to_owned());
    let cases = [
        ("CREATE TABLE t (c TEXT)", pair("utf8mb4", "utf8mb4_bin")),
        (
            "CREATE TABLE t (c TEXT) DEFAULT CHARACTER SET = latin1",
            pair("latin1", "latin1_bin"),
        ),
        (
            "CREATE TABLE t (c TEXT) COLLATE utf8mb3_general_ci",
            pair("utf8", "utf8_general_ci"),
        ),
        (
            "CREATE TABLE t (c TEXT CHARACTER SET UTF8MB3) CHARSET latin1",
            pair("utf8", "utf8_bin"),
        ),
        (
            "CREATE TABLE t (c TEXT COLLATE gbk_bin)",
            pair("gbk", "gbk_bin"),
        ),
        (
            "CREATE TABLE t (c VARCHAR(3) BINARY) COLLATE utf8mb4_general_ci",
            pair("utf8mb4", "utf8mb4_bin"),
        ),
        (
            "CREATE TABLE t (c INT) CHARSET latin1",
            pair("binary", "binary"),
        ),
        ("CREATE TABLE t (c NCHAR(2))", pair("utf8", "utf8_bin")),
    ];
    for (text, expected) in cases {
        assert_eq!(charset(text), expected, "{text}");
    }
}

#[test]
fn default_values_are_kept_in_one_form() {
    let cases = [
        ("c INT DEFAULT 007", json!("7")),
        ("c INT DEFAULT '2.8'", json!("3")),
        ("c INT DEFAULT -0", json!("0")),
        ("c INT DEFAULT 0x10", json!("16")),
        ("c TINYINT DEFAULT TRUE", json!("1")),
        (
            "c BIGINT UNSIGNED DEFAULT 18446744073709551615",
            json!("18446744073709551615"),
        ),
        ("c DOUBLE DEFAULT 1.50", json!("1.5")),
        ("c DOUBLE DEFAULT 1e3", json!("1000")),
        ("c DECIMAL(5,2) DEFAULT .50", json!("0.50")),
        ("c VARCHAR(9) DEFAULT 'it''s'", json!("it's")),
        ("c VARCHAR(9) DEFAULT _utf8mb4'x'", json!("x")),
        ("c VARCHAR(9) DEFAULT 5", json!("5")),
        ("c BINARY(3) DEFAULT 'a'", json!("a\0\0")),
        ("c ENUM('a','B') DEFAULT 'b'", json!("B")),
        ("c ENUM('a','B') DEFAULT 2", json!("B")),
        ("c SET('a','b','c') DEFAULT 'c,a'", json!("a,c")),
        ("c DATETIME DEFAULT NOW()", json!("CURRENT_TIMESTAMP")),
        (
            "c DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3)",
            json!("CURRENT_TIMESTAMP"),
        ),
        (
            "c DATETIME(2) DEFAULT '2020-01-02 03:04:05'",
            json!("2020-01-02 03:04:05.00"),
        ),
        (
            "c DATETIME DEFAULT '2020-01-02'",
            json!("2020-01-02 00:00:00"),
        ),
        ("c DATE DEFAULT 0", json!("0000-00-00")),
        ("c YEAR NOT NULL", json!("0000")),
        ("c BIT(8) DEFAULT b'101'", json!("\u{5}")),
        ("c BIT(16) DEFAULT X'FFFE'", json!("\u{fffd}\u{fffd}")),
        ("c CHAR(36) DEFAULT (uuid())", json!("uuid()")),
        ("c INT DEFAULT NULL", json!(null)),
    ];
    for (definition, expected) in cases {
        let default = column(definition).default.unwrap_or_default();
        assert_eq!(default, expected, "{definition}");
    }
    assert_eq!(
        column("c BIT(16) DEFAULT X'FFFE'").other::<String>("default_bit"),
        Some("//4=".to_owned())
    );
}

#[test]
fn an_insert_must_name_what_is_not_null_and_has_no_default() {
    let flags = |text: &str| column(text).field_type.flags;
    let must = flag::NOT_NULL | flag::NO_DEFAULT;
    assert_eq!(flags("c INT NOT NULL"), must);
    assert_eq!(flags("c INT NOT NULL DEFAULT 1"), flag::NOT_NULL);
    assert_eq!(flags("c INT DEFAULT NULL"), 0);
    assert_eq!(flags("c INT, PRIMARY KEY (C)"), must | flag::PRIMARY);
    assert_eq!(
        flags("c INT AUTO_INCREMENT UNIQUE"),
        flag::NOT_NULL | flag::AUTO_INCREMENT | flag::UNIQUE
    );
    assert_eq!(
        flags("c INT, d INT, UNIQUE (c, d), KEY (d)"),
        flag::MULTIPLE
    );
}

#[test]
fn keys_without_names_get_that_of_their_first_column() {
    let text = "CREATE TABLE t (a INT UNIQUE, b INT, KEY (a, b), UNIQUE KEY a_2 (b), CONSTRAINT u UNIQUE (b), PRIMARY KEY (b))";
    let info = table(text).unwrap();
    let names: Vec<&str> = info
        .indexes
        .iter()
        .map(|i| i.name.original.as_str())
        .collect();
    assert_eq!(names, ["a", "a_2", "u", "PRIMARY", "a_3"]);
}

#[test]
fn expressions_are_kept_in_one_form() {
    let expression = |text: &str| {
        let definition = format!("c INT GENERATED ALWAYS AS ({text})");
        column(&definition).generated_expression
    };
    assert_eq!(expression("A+1"), "`a` + 1");
    assert_eq!(expression("`a`   + 1"), "`a` + 1");
    assert_eq!(
        expression("CONCAT(a, '-' ,b)"),
        "concat(`a`, _utf8mb4'-', `b`)"
    );
    assert_eq!(expression("-a * (b - -1)"), "-`a` * (`b` - -1)");
    assert_eq!(
        expression("a IS NOT NULL AND b IN (1,2)"),
        "`a` is not null and `b` in (1, 2)"
    );
    assert_eq!(
        expression("CASE WHEN a > 1 THEN b ELSE 'x' END"),
        "case when `a` > 1 then `b` else _utf8mb4'x' end"
    );
    assert_eq!(expression("CAST(a AS CHAR)"), "cast(`a` as char)");
}

#[test]
fn what_the_comparison_does_not_know_is_passed_over() {
    let text = "CREATE TABLE IF NOT EXISTS db.t (
        a INT NOT NULL COMMENT 'x' CHECK (a > 0) REFERENCES p (id) ON DELETE SET NULL ON UPDATE CASCADE,
        b VARCHAR(10) INVISIBLE COLUMN_FORMAT FIXED,
        CONSTRAINT c CHECK (a < 5), FOREIGN KEY f (a) REFERENCES p (id), CHECK (b <> ''),
        FULLTEXT KEY ft (b) WITH PARSER ngram,
        KEY k (a) USING BTREE COMMENT 'y' /*!80000 INVISIBLE */
        ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='z' /*!50100 PARTITION BY HASH (a) PARTITIONS 4 */;";
    let plain = "CREATE TABLE t (a INT NOT NULL, b VARCHAR(10), KEY k (a))";
    assert_eq!(
        Schema::of(&table(text).unwrap()),
        Schema::of(&table(plain).unwrap())
    );
}

#[test]
fn what_is_no_table_is_an_error() {
    use CreateTableError as E;
    let duplicate = table("CREATE TABLE t (a INT, A INT)");
    assert!(matches!(duplicate, Err(E::DuplicateColumn(c)) if c == "A"));
    let unknown = table("CREATE TABLE t (a INT, KEY (b))");
    assert!(matches!(unknown, Err(E::UnknownColumn(c)) if c == "b"));
    let key = table("CREATE TABLE t (a INT, KEY k (a), UNIQUE K (a))");
    assert!(matches!(key, Err(E::DuplicateKey(k)) if k == "K"));
    let primary = table("CREATE TABLE t (a INT PRIMARY KEY, b INT, PRIMARY KEY (b))");
    assert!(matches!(primary, Err(E::SeveralPrimaryKeys)));
    for text in [
        "",
        "CREATE TABLE t",
        "CREATE TABLE t (",
        "CREATE TABLE t ()",
        "CREATE TABLE t (a)",
        "CREATE TABLE t (a WHATEVER)",
        "CREATE TABLE t (a INT WHATEVER)",
        "CREATE TABLE t (a INT DEFAULT)",
        "CREATE TABLE t (a ENUM(1))",
        "CREATE TABLE t (a INT, KEY ((a + 1)))",
        "CREATE TABLE t (a INT) AS SELECT 1",
        "CREATE TABLE t (PRIMARY KEY (a))",
        "ALTER TABLE t ADD a INT",
    ] {
        assert!(table(text).is_err(), "{text}");
    }
}

#[test]
fn what_was_built_reads_back_from_its_json_and_from_its_text() {
    let text = "CREATE TABLE `T` (
        id BIGINT UNSIGNED AUTO_INCREMENT, b BIT(9) NOT NULL DEFAULT 5, y YEAR NOT NULL, e ENUM('x','y') DEFAULT 'y' COLLATE utf8mb4_general_ci,
        d DATETIME(3) DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, g VARCHAR(20) AS (concat(e, 'x')) STORED,
        f FLOAT(7,2) UNSIGNED, n DECIMAL(8,3) DEFAULT 1.5, x BLOB, PRIMARY KEY (id), UNIQUE (b, y), KEY k USING HASH (g(4))
        ) CHARSET=utf8 AUTO_INCREMENT=7 SHARD_ROW_ID_BITS=3 PRE_SPLIT_REGIONS=2 COMPRESSION='zlib'";
    let info = table(text).unwrap();
    let schema = Schema::of(&info);
    let from_json = TableInfo::from_json(&info.to_json()).unwrap();
    assert_eq!(Schema::of(&from_json), schema);
    assert_eq!(from_json.to_json(), info.to_json());
    let printed = print_create_table(&info);
    assert_eq!(Schema::of(&table(&printed).unwrap()), schema, "{printed}");
}
