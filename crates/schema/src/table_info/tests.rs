//! Nothing that was read gets lost, and what has the wrong type is named.

use super::{Name, TableInfo, code, flag};

/// The example of spec schemacmp 10.6, with members nobody knows at each level.
const EXAMPLE: &str = r#"{"id":101,"name":{"O":"tbl","L":"tbl"},"charset":"utf8mb4","collate":"utf8mb4_bin","cols":[{"id":1,"name":{"O":"id","L":"id","x":1},"offset":0,"origin_default":null,"default":null,"default_bit":null,"generated_expr_string":"","generated_stored":false,"type":{"Tp":3,"Flag":4099,"Flen":11,"Decimal":0,"Charset":"binary","Collate":"binary","Elems":null,"ElemsIsBinaryLit":null,"Array":false,"Later":{"a":[1,2.50]}},"state":5,"later":1e400},{"id":2,"name":"V","offset":1,"default":"\u003cx\u003e","default_bit":"AQI=","type":{"Tp":15,"Flag":0,"Flen":10,"Decimal":0,"Charset":"utf8mb4","Collate":"utf8mb4_bin","Elems":[],"Array":false},"version":2}],"index_info":[{"id":1,"idx_name":{"O":"PRIMARY","L":"primary"},"idx_cols":[{"name":{"O":"id","L":"id"},"offset":0,"length":-1,"using_changing_type":true}],"state":5,"index_type":1,"is_unique":true,"is_primary":true,"newer":{}}],"fk_info":null,"auto_inc_id":9223372036854775807,"ShardRowIDBits":18446744073709551615,"auto_random_bits":0,"pre_split_regions":0,"compression":"","unknown":{"b":1,"a":2}}"#;

#[test]
fn what_was_read_is_written_byte_by_byte() {
    let info = TableInfo::from_json(EXAMPLE).unwrap();
    assert_eq!(info.to_json(), EXAMPLE);
}

#[test]
fn the_members_of_the_comparison_are_typed() {
    let info = TableInfo::from_json(EXAMPLE).unwrap();
    assert_eq!(info.columns[0].field_type.code, code::INT);
    assert!(
        info.columns[0]
            .field_type
            .has(flag::NOT_NULL | flag::PRIMARY | flag::NO_DEFAULT)
    );
    assert_eq!(info.columns[1].name, Name::new("V"));
    assert_eq!(info.column("v").unwrap().default, Some("<x>".into()));
    assert_eq!(info.indexes[0].columns[0].length, -1);
    assert!(info.indexes[0].primary && info.indexes[0].unique);
    assert_eq!(info.shard_row_id_bits, u64::MAX);
}

#[test]
fn a_change_shows_and_everything_else_stays() {
    let mut info = TableInfo::from_json(EXAMPLE).unwrap();
    info.columns[1].field_type.flen = 20;
    info.compression = "zlib".to_owned();
    let expected = EXAMPLE
        .replace(r#""Flen":10"#, r#""Flen":20"#)
        .replace(r#""compression":"""#, r#""compression":"zlib""#);
    assert_eq!(info.to_json(), expected);
}

#[test]
fn names_of_members_are_read_without_regard_to_case_and_missing_ones_are_zero() {
    let text = r#"{"NAME":"T","Cols":[{"name":"a","TYPE":{"tp":3}}],"shardrowidbits":4}"#;
    let info = TableInfo::from_json(text).unwrap();
    assert_eq!(info.columns[0].field_type.code, code::INT);
    assert_eq!(info.shard_row_id_bits, 4);
    assert!(info.indexes.is_empty());
    assert_eq!(info.to_json(), text);
}

#[test]
fn a_wrong_type_is_an_error_that_names_the_member() {
    let cases = [
        ("[]", "."),
        ("{", "."),
        (r#"{"charset":1}"#, "charset"),
        (r#"{"cols":{}}"#, "cols"),
        (r#"{"cols":[null]}"#, "cols[0]"),
        (r#"{"cols":[5]}"#, "cols[0]"),
        (r#"{"cols":[{"name":7}]}"#, "cols[0].name"),
        (r#"{"cols":[{"name":{"O":7}}]}"#, "cols[0].name.O"),
        (r#"{"cols":[{},{"type":{"Tp":256}}]}"#, "cols[1].type.Tp"),
        (r#"{"cols":[{"type":{"Flag":-1}}]}"#, "cols[0].type.Flag"),
        (r#"{"cols":[{"type":{"Elems":"a"}}]}"#, "cols[0].type.Elems"),
        (r#"{"cols":[{"type":[]}]}"#, "cols[0].type"),
        (
            r#"{"index_info":[{"idx_cols":[{"length":"1"}]}]}"#,
            "index_info[0].idx_cols[0].length",
        ),
        (
            r#"{"index_info":[{"is_unique":1}]}"#,
            "index_info[0].is_unique",
        ),
        (r#"{"auto_inc_id":1.5}"#, "auto_inc_id"),
        (r#"{"ShardRowIDBits":-1}"#, "ShardRowIDBits"),
    ];
    for (text, member) in cases {
        let error = TableInfo::from_json(text).unwrap_err();
        assert_eq!(error.member, member, "{text}: {error}");
    }
}

#[test]
fn a_new_table_has_every_member_that_a_go_reader_expects() {
    let text = TableInfo::new(Name::new("T")).to_json();
    assert!(
        text.starts_with(r#"{"id":0,"name":{"O":"T","L":"t"},"charset":"","#),
        "{text}"
    );
    assert!(text.contains(r#""ShardRowIDBits":0,"#), "{text}");
}
