//! Which character set and collation a definition means (spec schemacmp 12, rule B5).

/// What a schema gives to tables that name no character set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Defaults {
    /// The character set.
    pub charset: String,
    /// The collation.
    pub collate: String,
}

/// TiDB's own.
impl Default for Defaults {
    fn default() -> Self {
        Self {
            charset: "utf8mb4".to_owned(),
            collate: "utf8mb4_bin".to_owned(),
        }
    }
}

/// Completes what was written by what is around it: a collation brings its character set, a character set its default collation, and nothing
/// means the default.
pub(super) fn complete(
    charset: Option<&str>,
    collate: Option<&str>,
    default: (&str, &str),
) -> (String, String) {
    let collate = collate.map(canonical_collation);
    match (charset.map(canonical_charset), collate) {
        (Some(charset), Some(collate)) => (charset, collate),
        (Some(charset), None) => {
            let collate = default_collation(&charset);
            (charset, collate)
        }
        (None, Some(collate)) => {
            let charset = collate.split('_').next().unwrap_or_default();
            (charset.to_owned(), collate)
        }
        (None, None) => (default.0.to_owned(), default.1.to_owned()),
    }
}

/// Lower case, and `utf8` for `utf8mb3`.
fn canonical_charset(name: &str) -> String {
    match name.to_lowercase() {
        lower if lower == "utf8mb3" => "utf8".to_owned(),
        lower => lower,
    }
}

fn canonical_collation(name: &str) -> String {
    let lower = name.to_lowercase();
    match lower.strip_prefix("utf8mb3_") {
        Some(suffix) => format!("utf8_{suffix}"),
        None => lower,
    }
}

/// TiDB's default collation of a character set.
pub(super) fn default_collation(charset: &str) -> String {
    match charset {
        "binary" => "binary".to_owned(),
        "utf8mb4" | "utf8" | "latin1" | "ascii" => format!("{charset}_bin"),
        "gbk" | "gb18030" => format!("{charset}_chinese_ci"),
        other => format!("{other}_general_ci"),
    }
}

/// The most bytes that a character takes.
pub(super) fn bytes_per_character(charset: &str) -> i64 {
    match charset {
        "utf8mb4" | "gb18030" => 4,
        "utf8" => 3,
        "gbk" => 2,
        _ => 1,
    }
}
