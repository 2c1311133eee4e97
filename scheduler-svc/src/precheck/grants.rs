//! What an account may do, read from the rows of `SHOW GRANTS`, and what it lacks.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::scope::TableName;

/// Privileges in the order in which a lack of them is told, with the names that servers print and the one that is
/// told.
const PRIVILEGES: [(Privilege, &str, &str); 13] = [
    (Privilege::Create, "CREATE", "Create"),
    (Privilege::Select, "SELECT", "Select"),
    (Privilege::Insert, "INSERT", "Insert"),
    (Privilege::Update, "UPDATE", "Update"),
    (Privilege::Delete, "DELETE", "Delete"),
    (Privilege::Super, "SUPER", "Super"),
    (Privilege::Drop, "DROP", "Drop"),
    (Privilege::Process, "PROCESS", "Process"),
    (Privilege::Alter, "ALTER", "Alter"),
    (Privilege::Index, "INDEX", "Index"),
    (Privilege::LockTables, "LOCK TABLES", "LOCK TABLES"),
    (Privilege::Reload, "RELOAD", "RELOAD"),
    (
        Privilege::ReplicationClient,
        "REPLICATION CLIENT",
        "REPLICATION CLIENT",
    ),
];
const REPLICATION_SLAVE: &str = "REPLICATION SLAVE";

/// A privilege that some check asks for, in the order in which lacks are told.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Privilege {
    Create,
    Select,
    Insert,
    Update,
    Delete,
    Super,
    Drop,
    Process,
    Alter,
    Index,
    LockTables,
    Reload,
    ReplicationClient,
    ReplicationSlave,
}

impl Privilege {
    fn told(self) -> &'static str {
        let known = PRIVILEGES.iter().find(|(own, _, _)| *own == self);
        known.map_or(REPLICATION_SLAVE, |(_, _, told)| told)
    }

    /// What a word of a grant gives. Some servers have split or renamed privileges.
    fn read(word: &str) -> Option<Self> {
        match word {
            REPLICATION_SLAVE => Some(Self::ReplicationSlave),
            "FLUSH_TABLES" => Some(Self::Reload),
            "BINLOG MONITOR" => Some(Self::ReplicationClient),
            _ => PRIVILEGES
                .iter()
                .find(|(_, printed, _)| *printed == word)
                .map(|(own, _, _)| *own),
        }
    }
}

/// What one row is about.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Level {
    Global,
    Schema(String),
    Table(String, String),
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Row {
    is_revoked: bool,
    level: Level,
    all: bool,
    privileges: BTreeSet<Privilege>,
}

/// All rows of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    rows: Vec<Row>,
}

impl Grants {
    /// Reads the rows.
    ///
    /// # Errors
    /// A text for the user when there is none, or one that is no grant.
    pub(crate) fn read(rows: &[String]) -> Result<Self, String> {
        if rows.is_empty() {
            return Err("there is no such grant defined for current user on host '%%'".to_owned());
        }
        let rows = rows
            .iter()
            .map(|row| read_row(row))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            rows: rows.into_iter().flatten().collect(),
        })
    }

    fn gives(&self, privilege: Privilege, covers: impl Fn(&Row) -> bool) -> bool {
        let implied = |row: &Row| {
            privilege == Privilege::ReplicationClient && row.privileges.contains(&Privilege::Super)
        };
        self.rows.iter().any(|row| {
            !row.is_revoked
                && covers(row)
                && (row.all || row.privileges.contains(&privilege) || implied(row))
        })
    }

    fn is_global(&self, privilege: Privilege) -> bool {
        self.gives(privilege, |row| row.level == Level::Global)
    }

    fn is_given_on(&self, privilege: Privilege, table: &TableName) -> bool {
        // Partial revokes name one schema, literally, and take from what is given globally.
        let is_revoked = self.rows.iter().any(|row| {
            let of_schema = matches!(&row.level, Level::Schema(schema) if *schema == table.schema);
            row.is_revoked && of_schema && (row.all || row.privileges.contains(&privilege))
        });
        let is_global = !is_revoked && self.is_global(privilege);
        is_global
            || self.gives(privilege, |row| match &row.level {
                Level::Global => false,
                Level::Schema(pattern) => schema_matches(pattern, &table.schema),
                Level::Table(schema, name) => *schema == table.schema && *name == table.table,
            })
    }

    /// What is lacking of privileges that are needed for everything; empty when nothing is.
    pub(crate) fn lack_globally(&self, needed: &[Privilege]) -> String {
        self.lack(needed, &[], &[])
    }

    /// What is lacking: `on_tables` is needed on each of the tables, `globally` everywhere.
    pub(crate) fn lack(
        &self,
        globally: &[Privilege],
        on_tables: &[Privilege],
        tables: &[TableName],
    ) -> String {
        let mut lacks: Vec<(Privilege, Option<Vec<&TableName>>)> = globally
            .iter()
            .filter(|privilege| !self.is_global(**privilege))
            .map(|privilege| (*privilege, None))
            .collect();
        for privilege in on_tables {
            let lacking = tables.iter().filter(|t| !self.is_given_on(*privilege, t));
            let lacking: Vec<_> = lacking.collect();
            if !lacking.is_empty() {
                lacks.push((*privilege, Some(lacking)));
            }
        }
        lacks.sort_by_key(|(privilege, _)| *privilege);
        lacks
            .into_iter()
            .map(|(privilege, tables)| told(privilege, tables))
            .collect()
    }
}

fn told(privilege: Privilege, tables: Option<Vec<&TableName>>) -> String {
    let Some(mut tables) = tables else {
        return format!("lack of {} global (*.*) privilege; ", privilege.told());
    };
    tables.sort();
    let mut text = format!("lack of {} privilege: {{", privilege.told());
    for (at, table) in tables.iter().enumerate() {
        let gap = match at.checked_sub(1).map(|before| &tables[before].schema) {
            None => "",
            Some(schema) if *schema == table.schema => ", ",
            Some(_) => "; ",
        };
        let _ = write!(text, "{gap}{table}");
    }
    text + "}; "
}

/// The roles in the rows, as they are written there, for `SHOW GRANTS … USING`.
pub(crate) fn roles(rows: &[String]) -> Vec<String> {
    let of_row = |row: &String| {
        let granted = row.strip_prefix("GRANT ")?;
        let (roles, rest) = split_outside_quotes(granted, " TO ")?;
        let is_role = split_outside_quotes(granted, " ON ").is_none()
            && !rest.is_empty()
            && roles.starts_with(['`', '\'', '"']);
        is_role.then(|| roles.to_owned())
    };
    rows.iter().filter_map(of_row).collect()
}

/// `None` for rows that give no privileges on data.
fn read_row(row: &str) -> Result<Option<Row>, String> {
    let no_grant = || format!("{row} is not grant statement");
    let text = row.trim();
    if text.to_uppercase().starts_with("SET DEFAULT ROLE") {
        return Ok(None);
    }
    let (is_revoked, rest) = match (text.get(..6), text.get(..7)) {
        (Some(word), _) if word.eq_ignore_ascii_case("GRANT ") => (false, &text[6..]),
        (_, Some(word)) if word.eq_ignore_ascii_case("REVOKE ") => (true, &text[7..]),
        _ => return Err(no_grant()),
    };
    let Some((privileges, rest)) = split_outside_quotes(rest, " ON ") else {
        // A role; its privileges are shown in rows of their own when the server was asked for them.
        return Ok(None);
    };
    if privileges.eq_ignore_ascii_case("PROXY") {
        return Ok(None);
    }
    let separator = if is_revoked { " FROM " } else { " TO " };
    let (level, _) = split_outside_quotes(rest, separator).ok_or_else(no_grant)?;
    let level = level.trim();
    if ["FUNCTION ", "PROCEDURE ", "PACKAGE "]
        .iter()
        .any(|kind| level.to_uppercase().starts_with(kind))
    {
        return Ok(None);
    }
    let level = read_level(level.strip_prefix("TABLE ").unwrap_or(level)).ok_or_else(no_grant)?;
    let words: Vec<String> = words_of(privileges);
    Ok(Some(Row {
        is_revoked,
        level,
        all: words
            .iter()
            .any(|word| word == "ALL PRIVILEGES" || word == "ALL"),
        privileges: words
            .iter()
            .filter_map(|word| Privilege::read(word))
            .collect(),
    }))
}

/// Privileges in capital letters; those on single columns are left out, as they are not enough for anything here.
fn words_of(list: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut depth, mut has_columns) = (String::new(), 0_u32, false);
    for c in list.chars().chain([',']) {
        match c {
            '(' => {
                depth += 1;
                has_columns = true;
            }
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                let done = std::mem::take(&mut word);
                if !has_columns {
                    words.push(done.trim().to_uppercase());
                }
                has_columns = false;
            }
            c if depth == 0 => word.push(c),
            _ => {}
        }
    }
    words
}

fn read_level(text: &str) -> Option<Level> {
    if text == "*.*" {
        return Some(Level::Global);
    }
    let (schema, rest) = name(text)?;
    let table = rest.strip_prefix('.')?;
    if table == "*" {
        return Some(Level::Schema(schema));
    }
    let (table, _) = name(table)?;
    // Only names of schemas are patterns where a whole schema is granted.
    Some(Level::Table(schema, table))
}

/// A name at the beginning, quoted or not, and what follows.
fn name(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    if !matches!(quote, '`' | '"' | '\'') {
        let end = text.find('.').unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    }
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            name.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
            name.push(quote);
            chars.next();
        } else {
            return Some((name, &text[at + quote.len_utf8()..]));
        }
    }
    None
}

fn split_outside_quotes<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '`' | '"' | '\'') => quote = Some(c),
            None => {
                let here = text.get(at..at + separator.len());
                if here.is_some_and(|here| here.eq_ignore_ascii_case(separator)) {
                    return Some((&text[..at], &text[at + separator.len()..]));
                }
            }
        }
    }
    None
}

/// `%` for any text, `_` for a character, `\` before one that is meant as it is.
fn schema_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where the pattern may stand after what has been read of the name.
    let mut places = closed(&pattern, BTreeSet::from([0]));
    for c in name {
        let mut next = BTreeSet::new();
        for at in places {
            match pattern.get(at) {
                Some('%') => {
                    next.insert(at);
                }
                Some('_') => {
                    next.insert(at + 1);
                }
                Some('\\') if pattern.get(at + 1) == Some(&c) => {
                    next.insert(at + 2);
                }
                Some(own) if *own == c => {
                    next.insert(at + 1);
                }
                _ => {}
            }
        }
        places = closed(&pattern, next);
    }
    places.contains(&pattern.len())
}

/// A `%` may also stand for nothing.
fn closed(pattern: &[char], mut places: BTreeSet<usize>) -> BTreeSet<usize> {
    let mut open: Vec<usize> = places.iter().copied().collect();
    while let Some(at) = open.pop() {
        if pattern.get(at) == Some(&'%') && places.insert(at + 1) {
            open.push(at + 1);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(rows: &[&str]) -> Grants {
        let rows: Vec<String> = rows.iter().map(|r| (*r).to_owned()).collect();
        Grants::read(&rows).unwrap()
    }

    fn table(schema: &str, table: &str) -> TableName {
        TableName::new(schema, table)
    }

    #[test]
    fn all_privileges_cover_their_level() {
        let root = grants(&[
            "GRANT ALL PRIVILEGES ON *.* TO `dm`@`%` IDENTIFIED BY PASSWORD '*A TO B' WITH GRANT OPTION",
        ]);
        let all = [
            Privilege::Select,
            Privilege::ReplicationSlave,
            Privilege::Super,
        ];
        assert_eq!(root.lack_globally(&all), "");
        let one = grants(&[
            "GRANT USAGE ON *.* TO 'u'@'%'",
            "GRANT ALL PRIVILEGES ON `a\\_b%`.* TO 'u'@'%'",
        ]);
        let tables = [
            table("a_b1", "t"),
            table("axb1", "t2"),
            table("axb1", "t1"),
            table("c", "t"),
        ];
        assert_eq!(
            one.lack(&[Privilege::Reload], &[Privilege::Select], &tables),
            "lack of Select privilege: {`axb1`.`t1`, `axb1`.`t2`; `c`.`t`}; lack of RELOAD global (*.*) privilege; "
        );
    }

    #[test]
    fn single_privileges_are_told_in_a_fixed_order() {
        let some = grants(&["GRANT INSERT, SELECT, Super ON *.* TO u@h"]);
        let needed = [
            Privilege::Index,
            Privilege::Select,
            Privilege::Create,
            Privilege::ReplicationClient,
        ];
        assert_eq!(
            some.lack_globally(&needed),
            "lack of Create global (*.*) privilege; lack of Index global (*.*) privilege; "
        );
    }

    #[test]
    fn grants_on_columns_and_routines_do_not_count_for_tables() {
        let rows = grants(&[
            "GRANT SELECT (a, b), INSERT ON `s`.`t` TO `u`@`%`",
            "GRANT EXECUTE ON FUNCTION `s`.`t` TO `u`@`%`",
            "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
            "SET DEFAULT ROLE `r` FOR `u`@`%`",
        ]);
        let tables = [table("s", "t")];
        assert_eq!(rows.lack(&[], &[Privilege::Insert], &tables), "");
        assert_eq!(
            rows.lack(&[], &[Privilege::Select], &tables),
            "lack of Select privilege: {`s`.`t`}; "
        );
    }

    #[test]
    fn partial_revokes_take_schemas_out_of_a_global_grant() {
        let rows = grants(&[
            "GRANT SELECT, RELOAD ON *.* TO `u`@`%`",
            "REVOKE SELECT ON `a_b`.* FROM `u`@`%`",
        ]);
        let tables = [table("a_b", "t"), table("axb", "t")];
        assert_eq!(
            rows.lack(&[Privilege::Reload], &[Privilege::Select], &tables),
            "lack of Select privilege: {`a_b`.`t`}; "
        );
    }

    #[test]
    fn renamed_and_split_privileges_count() {
        let rows = grants(&["GRANT FLUSH_TABLES, BINLOG MONITOR ON *.* TO `u`@`%`"]);
        assert_eq!(
            rows.lack_globally(&[Privilege::Reload, Privilege::ReplicationClient]),
            ""
        );
    }

    #[test]
    fn no_rows_and_rows_of_other_statements_are_named() {
        assert_eq!(
            Grants::read(&[]).unwrap_err(),
            "there is no such grant defined for current user on host '%%'"
        );
        let odd = Grants::read(&["DROP x".to_owned()]).unwrap_err();
        assert_eq!(odd, "DROP x is not grant statement");
        for text in [
            "",
            "GRANT",
            "GRANT SELECT ON",
            "GRANT SELECT ON `a TO b",
            "é ON",
        ] {
            let _ = Grants::read(&[text.to_owned()]);
        }
    }

    #[test]
    fn roles_are_found_as_they_are_written() {
        let rows = [
            "GRANT `a`@`%`,`b TO c`@`%` TO `u`@`%` WITH ADMIN OPTION",
            "GRANT SELECT ON *.* TO `u`@`%`",
        ];
        let rows: Vec<String> = rows.map(str::to_owned).into();
        assert_eq!(roles(&rows), ["`a`@`%`,`b TO c`@`%`"]);
    }
}
