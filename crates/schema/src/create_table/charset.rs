//! Which character set and collation a definition means (spec schemacmp 12, rule B5).

use std::collections::BTreeMap;

/// What a server and a schema give to definitions that leave something open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Defaults {
    /// The character set of tables that name none.
    pub charset: String,
    /// The collation of tables that name neither.
    pub collate: String,
    /// The server's default collations by character set, as it names both; TiDB's own where one is missing.
    pub collations: BTreeMap<String, String>,
    /// The server is MariaDB: JSON is another name for LONGTEXT, and a unique key over the whole of a text is a hash.
    pub is_mariadb: bool,
}

/// TiDB's own.
impl Default for Defaults {
    fn default() -> Self {
        Self {
            charset: "utf8mb4".to_owned(),
            collate: "utf8mb4_bin".to_owned(),
            collations: BTreeMap::new(),
            is_mariadb: false,
        }
    }
}

impl Defaults {
    /// What holds within a table: its character set and collation in place of the schema's.
    pub(crate) fn within(&self, charset: &str, collate: &str) -> Self {
        Self {
            charset: charset.to_owned(),
            collate: collate.to_owned(),
            ..self.clone()
        }
    }

    /// The collation of texts in a character set when none is named.
    pub(super) fn collation_of(&self, charset: &str) -> String {
        let named = self
            .collations
            .iter()
            .find(|(name, _)| canonical_charset(name) == charset);
        match named {
            Some((_, collate)) => canonical_collation(collate),
            None => default_collation(charset),
        }
    }
}

/// Completes what was written by what is around it: a collation brings its character set, a character set its default collation, and nothing
/// means the default.
pub(super) fn complete(
    charset: Option<&str>,
    collate: Option<&str>,
    defaults: &Defaults,
) -> (String, String) {
    let collate = collate.map(canonical_collation);
    let charset = charset.filter(|name| !name.eq_ignore_ascii_case("DEFAULT"));
    match (charset.map(canonical_charset), collate) {
        (Some(charset), Some(collate)) => (charset, collate),
        (Some(charset), None) => {
            let collate = defaults.collation_of(&charset);
            (charset, collate)
        }
        (None, Some(collate)) => {
            let charset = collate.split('_').next().unwrap_or_default();
            (charset.to_owned(), collate)
        }
        (None, None) => (
            canonical_charset(&defaults.charset),
            canonical_collation(&defaults.collate),
        ),
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
fn default_collation(charset: &str) -> String {
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
