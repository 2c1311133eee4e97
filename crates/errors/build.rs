//! Turns `errors.csv` and `workarounds.csv` into a static table and one constant per code.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=errors.csv");
    println!("cargo::rerun-if-changed=workarounds.csv");
    let workarounds = workarounds()?;
    let mut entries = String::from("static ENTRIES: &[Entry] = &[\n");
    let mut consts = String::from("impl Code {\n");
    let mut used = 0;
    for row in csv::Reader::from_path("errors.csv")?.records() {
        let row = row?;
        let [code, name, class, scope, level, message] = row.deserialize::<[&str; 6]>(None)?;
        let code: u32 = code.parse()?;
        let workaround = workarounds.get(&code).map_or("", String::as_str);
        used += usize::from(!workaround.is_empty());
        writeln!(
            entries,
            "Entry {{ code: Code({code}), name: {name:?}, class: Class::{}, scope: Scope::{}, level: Level::{}, \
             message: {message:?}, workaround: {workaround:?} }},",
            camel(class),
            camel(scope),
            camel(level),
        )?;
        let first_line = message.lines().next().unwrap_or_default().replace('`', "'");
        let doc = match first_line.trim() {
            "" => format!("`{name}`, whose text is given by the caller."),
            text => format!("`{name}`: `{text}`"),
        };
        writeln!(
            consts,
            "#[doc = {doc:?}]\npub const {}: Self = Self({code});",
            screaming(name)
        )?;
    }
    if used != workarounds.len() {
        return Err("workarounds.csv names a code that errors.csv does not have".into());
    }
    entries.push_str("];\n");
    consts.push_str("}\n");
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("table.rs"), entries + &consts)?;
    Ok(())
}

fn workarounds() -> Result<BTreeMap<u32, String>, Box<dyn Error>> {
    let mut all = BTreeMap::new();
    for row in csv::Reader::from_path("workarounds.csv")?.deserialize() {
        let (code, text): (u32, String) = row?;
        if all.insert(code, text).is_some() {
            return Err(format!("workarounds.csv names {code} twice").into());
        }
    }
    Ok(all)
}

/// `dm-master` to `DmMaster`.
fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let (head, tail) = word.split_at(1);
            head.to_uppercase() + tail
        })
        .collect()
}

/// `ErrMasterLockNotFound` to `MASTER_LOCK_NOT_FOUND`; runs of capitals stay one word.
fn screaming(name: &str) -> String {
    let mut name = name.trim_start_matches("Err").to_owned();
    for (joined, plain) in [("MySQL", "Mysql"), ("MariaDB", "Mariadb"), ("URLs", "Urls")] {
        name = name.replace(joined, plain);
    }
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after_lower = i > 0 && !chars[i - 1].is_uppercase();
        let word_begins = i > 0
            && chars[i - 1].is_uppercase()
            && chars.get(i + 1).is_some_and(|n| n.is_lowercase());
        if c.is_uppercase() && (after_lower || word_begins) {
            out.push('_');
        }
        out.extend(c.to_uppercase());
    }
    out
}
