//! What the vectors do not say: joins of three and more, texts, and what comparing as equal means.

use std::cmp::Ordering;

use super::{Incompatible, Schema};
use crate::create_table::{Defaults, read_create_table};
use crate::{Options, table_info::TableInfo};

fn schema(columns: &str) -> Schema {
    let text = format!("CREATE TABLE t ({columns})");
    Schema::of(&read_create_table(&text, &Options::default(), &Defaults::default()).unwrap())
}

fn join(all: &[&Schema]) -> Result<Schema, Incompatible> {
    Schema::join_all(all.iter().copied()).map(|joined| joined.unwrap())
}

#[test]
fn a_default_of_a_third_table_is_seen_before_one_is_invented() {
    let (without, must, five) = (
        schema("a INT"),
        schema("a INT, c INT NOT NULL"),
        schema("a INT, c INT NOT NULL DEFAULT 5"),
    );
    for order in [
        [&must, &without, &five],
        [&must, &five, &without],
        [&five, &must, &without],
        [&without, &must, &five],
    ] {
        assert_eq!(join(&order).unwrap(), five);
    }
    assert!(must.join(&without).unwrap().join(&five).is_err());
}

#[test]
fn a_column_that_any_table_lets_be_null_needs_no_invented_default() {
    let tables = [
        &schema("a INT, c INT NOT NULL"),
        &schema("a INT"),
        &schema("a INT, c INT"),
    ];
    assert_eq!(join(&tables).unwrap(), schema("a INT, c INT"));
}

#[test]
fn one_table_is_its_own_join_and_none_has_none() {
    let table = schema("a INT AUTO_INCREMENT");
    assert_eq!(join(&[&table]).unwrap(), table);
    assert_eq!(Schema::join_all([]).unwrap(), None);
}

#[test]
fn an_index_stays_only_if_all_tables_agree_on_it() {
    let (unique, plain, other) = (
        schema("a INT, b INT, UNIQUE k (a)"),
        schema("a INT, b INT, KEY k (a)"),
        schema("a INT, b INT, KEY k (b)"),
    );
    assert_eq!(join(&[&unique, &plain, &unique]).unwrap(), plain);
    assert_eq!(
        join(&[&unique, &other, &unique]).unwrap(),
        schema("a INT, b INT")
    );
}

#[test]
fn errors_name_the_way_to_the_attribute() {
    let (number, text) = (schema("c INT"), schema("c VARCHAR(10)"));
    let expected = "at tuple index 2: at map key \"c\": at tuple index 3: at tuple index 0: \
                    incompatible mysql type (3 vs 15)";
    assert_eq!(number.compare(&text).unwrap_err().to_string(), expected);
    assert_eq!(number.join(&text).unwrap_err().to_string(), expected);
    let error = schema("b INT, a INT NOT NULL").compare(&schema("b INT"));
    assert_eq!(
        error.unwrap_err().to_string(),
        "at tuple index 2: at map key \"a\": column with no default value cannot be missing"
    );
    let auto = schema("a INT, n INT AUTO_INCREMENT UNIQUE").join(&schema("a INT"));
    assert_eq!(
        auto.unwrap_err().to_string(),
        "at map key \"n\": auto type but not defined as a key"
    );
    let sizes = schema("v VARCHAR(4), w VARCHAR(9)").compare(&schema("v VARCHAR(5), w VARCHAR(8)"));
    assert_eq!(
        sizes.unwrap_err().to_string(),
        "at tuple index 2: at map key \"w\": combining contradicting orders (-1 && 1)"
    );
}

#[test]
fn the_increment_base_can_be_left_out() {
    let table = |base| {
        let text =
            format!("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT={base}");
        Schema::of(&read_create_table(&text, &Options::default(), &Defaults::default()).unwrap())
    };
    assert_eq!(table(1).compare(&table(2)).unwrap(), Ordering::Less);
    assert_eq!(
        table(1).without_auto_increment_base(),
        table(2).without_auto_increment_base()
    );
}

#[test]
fn a_primary_key_that_only_its_column_tells_of_is_one() {
    let json = |index: &str| {
        let text = format!(
            r#"{{"cols":[{{"name":"A","type":{{"Tp":3,"Flag":4099}}}}],"index_info":{index}}}"#
        );
        Schema::of(&TableInfo::from_json(&text).unwrap())
    };
    let explicit = json(
        r#"[{"idx_name":{"O":"PRIMARY","L":"primary"},"idx_cols":[{"name":"A","offset":0,"length":-1}],
            "index_type":1,"is_unique":true,"is_primary":true}]"#,
    );
    assert_eq!(json("null"), explicit);
}

#[test]
fn a_default_as_number_is_not_the_one_as_text_but_equals_the_same_number() {
    let json = |default: &str| {
        let text = format!(r#"{{"cols":[{{"name":"a","default":{default},"type":{{"Tp":3}}}}]}}"#);
        Schema::of(&TableInfo::from_json(&text).unwrap())
    };
    assert!(json("5").compare(&json("\"5\"")).is_err());
    assert_eq!(json("5").compare(&json("5.0")).unwrap(), Ordering::Equal);
    assert_eq!(json("null").compare(&json("5")).unwrap(), Ordering::Less);
}

#[test]
fn columns_are_found_in_any_case() {
    let table = schema("`Name` VARCHAR(7)");
    assert!(table.has_column("NAME"));
    assert_eq!(table.column_length("nAME"), Some(7));
    assert_eq!(table.column_length("other"), None);
    assert_eq!(table.column_names().collect::<Vec<_>>(), ["name"]);
}

#[test]
fn the_text_form_shows_what_is_compared() {
    let table = schema(
        "id INT PRIMARY KEY, v VARCHAR(9) DEFAULT 'x', g INT AS (id+1) STORED, UNIQUE u USING HASH (v(3))",
    );
    assert_eq!(
        table.to_string(),
        "CREATE TABLE `tbl`(`g` INT(11) GENERATED ALWAYS AS (`id` + 1) STORED, `id` INT(11) NOT NULL, \
         `v` VARCHAR(9) CHARACTER SET UTF8MB4 COLLATE UTF8MB4_BIN DEFAULT x, PRIMARY KEY (`id`), \
         UNIQUE KEY `u` USING HASH (`v`(3))) CHARSET UTF8MB4 COLLATE UTF8MB4_BIN"
    );
}
