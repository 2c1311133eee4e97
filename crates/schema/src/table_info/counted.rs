//! The members of a table info that the comparison of schemas uses, as texts: tables with the same texts have the same schema, and
//! need be read once only.

use super::JsonError;
use super::members::in_order;
use super::name::Name;

/// Members of which the schema is made, the AUTO_INCREMENT base apart.
const COUNTED: [&str; 8] = [
    "charset",
    "collate",
    "cols",
    "index_info",
    "ShardRowIDBits",
    "auto_random_bits",
    "pre_split_regions",
    "compression",
];
/// Stands between two of them; no JSON text has it.
const BETWEEN: char = '\u{1}';

/// What two tables of the same schema, the AUTO_INCREMENT base apart, have in common when the same program described them. Members that differ
/// from shard to shard are left out: ids, the name, the base, times.
///
/// Equal texts mean equal schemas, or that neither can be read; unequal ones mean nothing.
///
/// # Errors
/// For what is no JSON object, and for a name or a base that [`TableInfo::from_json`](super::TableInfo::from_json) would not read.
pub fn counted_text(table_info: &str) -> Result<String, JsonError> {
    let mut counted: [&str; COUNTED.len()] = Default::default();
    let (mut name, mut base) = ("null", "null");
    for (member, text) in in_order(table_info)? {
        // Of equal names the last counts.
        let is = |known: &str| member.eq_ignore_ascii_case(known);
        if let Some(at) = COUNTED.iter().position(|known| is(known)) {
            counted[at] = text.get();
        } else if is("name") {
            name = text.get();
        } else if is("auto_inc_id") {
            base = text.get();
        }
    }
    Name::from_json(name).map_err(|e| e.inside("name"))?;
    serde_json::from_str::<Option<i64>>(base).map_err(|e| JsonError::new("auto_inc_id", e))?;
    let length = counted.iter().map(|text| text.len() + 1).sum();
    let mut all = String::with_capacity(length);
    for text in counted {
        all.push_str(text);
        all.push(BETWEEN);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::TableInfo;
    use super::*;
    use crate::lattice::Schema;

    fn text(json: &str) -> String {
        counted_text(json).unwrap()
    }

    #[test]
    fn shards_of_one_schema_have_one_text() {
        let shard = |id: u32, base: u32| {
            format!(
                r#"{{"id":{id},"name":{{"O":"T{id}","L":"t{id}"}},"charset":"utf8mb4","cols":[],"auto_inc_id":{base},"update_timestamp":{id}}}"#
            )
        };
        assert_eq!(text(&shard(1, 5)), text(&shard(2, 7)));
        let other = shard(1, 5).replace("utf8mb4", "latin1");
        assert_ne!(text(&shard(1, 5)), text(&other));
    }

    #[test]
    fn texts_differ_where_schemas_do() {
        let of = |member: &str, value: &str| format!(r#"{{"{member}":{value}}}"#);
        let cases = [
            ("charset", "\"a\"", "\"b\""),
            ("collate", "\"a\"", "\"b\""),
            ("ShardRowIDBits", "1", "2"),
            ("shardrowidbits", "1", "2"),
            ("auto_random_bits", "1", "2"),
            ("pre_split_regions", "1", "2"),
            ("compression", "\"a\"", "\"b\""),
        ];
        let schema = |json: &str| Schema::of(&TableInfo::from_json(json).unwrap());
        for (member, one, other) in cases {
            let (one, other) = (of(member, one), of(member, other));
            assert_ne!(schema(&one), schema(&other), "{member}");
            assert_ne!(text(&one), text(&other), "{member}");
        }
        // A value in one member is not the same in the next.
        assert_ne!(text(&of("charset", "1")), text(&of("collate", "1")));
        // The last of two counts.
        let twice = r#"{"charset":"a","Charset":"b"}"#;
        assert_eq!(text(twice), text(&of("charset", "\"b\"")));
    }

    #[test]
    fn what_is_left_out_must_be_right_nevertheless() {
        for (json, member) in [
            (r#"{"name":5}"#, "name"),
            (r#"{"auto_inc_id":"x"}"#, "auto_inc_id"),
            ("[]", "."),
            ("{", "."),
        ] {
            let error = counted_text(json).unwrap_err();
            assert_eq!(error.member, member);
            assert_eq!(TableInfo::from_json(json).unwrap_err().member, member);
        }
        assert_eq!(text("null"), text("{}"));
    }
}
