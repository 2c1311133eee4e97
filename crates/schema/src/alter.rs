//! ALTER: split into its specifications, each a statement of its own.

use crate::column::{charset_of_collation, definition};
use crate::create::key_definition;
use crate::ddl::{Action, Change, Ddl, Piece, Placement, Statement};
use crate::lexer::{ReadError, Token};
use crate::reader::{
    Cursor, NOT_REPLICATED, canonical_key_name, kept, one, split_commas, with_table, words,
};
use crate::table::Key;

/// Behind ALTER.
pub(crate) fn statement(cursor: &mut Cursor<'_>) -> Result<Statement, ReadError> {
    if cursor.any_word(&["DATABASE", "SCHEMA"]) {
        return database(cursor);
    }
    while cursor.any_word(&["ONLINE", "OFFLINE", "IGNORE"]) {}
    if !cursor.word("TABLE") {
        let skipped = cursor
            .rest()
            .iter()
            .take(12)
            .any(|t| NOT_REPLICATED.iter().any(|kind| t.is_word(kind)));
        return if skipped {
            Ok(Statement::Ignored)
        } else {
            Err(cursor.error("DATABASE or TABLE"))
        };
    }
    cursor.words(&["IF", "EXISTS"]);
    let mut table = cursor.table()?;
    if cursor.word("WAIT") {
        cursor.next();
    }
    cursor.word("NOWAIT");
    let mut all = Vec::new();
    for part in specifications(cursor.rest()) {
        for (change, pieces) in specification(part)? {
            let mut whole = with_table("ALTER TABLE", &table);
            whole.extend(pieces);
            let renamed = match &change {
                Change::RenameTo(to) => Some(to.clone()),
                _ => None,
            };
            all.push(Ddl {
                action: Action::Alter {
                    table: table.clone(),
                    change,
                },
                pieces: whole,
            });
            // The specifications behind a RENAME concern the table under its new name.
            table = renamed.unwrap_or(table);
        }
    }
    if all.is_empty() {
        Ok(Statement::Ignored)
    } else {
        Ok(Statement::Ddl(all))
    }
}

fn database(cursor: &mut Cursor<'_>) -> Result<Statement, ReadError> {
    let options = [
        "DEFAULT",
        "CHARACTER",
        "CHARSET",
        "COLLATE",
        "COMMENT",
        "UPGRADE",
    ];
    let named = match cursor.peek() {
        Some(Token::Name(_)) => true,
        Some(Token::Word(word)) => !options.iter().any(|o| word.eq_ignore_ascii_case(o)),
        _ => false,
    };
    let name = if named {
        Some(cursor.name("a schema name")?)
    } else {
        None
    };
    let mut pieces = words("ALTER DATABASE");
    pieces.push(Piece::Schema(name.clone().unwrap_or_default()));
    pieces.extend(kept(cursor.rest())?);
    Ok(one(Action::AlterDatabase(name), pieces))
}

/// The parts that say something about the table, without those on how to do it. A list of partitions is one part.
fn specifications(tokens: &[Token]) -> Vec<&[Token]> {
    let mut parts = Vec::new();
    let mut from = 0;
    for part in split_commas(tokens) {
        let partitions = part.len() > 1 && part[1].is_word("PARTITION") && !part[0].is_word("ADD");
        if partitions {
            parts.push(&tokens[from..]);
            break;
        }
        from += part.len() + 1;
        let how = part
            .first()
            .is_none_or(|t| t.is_word("ALGORITHM") || t.is_word("LOCK"));
        if !how {
            parts.push(part);
        }
    }
    parts
}

type Specification = (Change, Vec<Piece>);

fn specification(part: &[Token]) -> Result<Vec<Specification>, ReadError> {
    let mut cursor = Cursor::new(part);
    let as_is = || Ok(vec![(Change::Other, kept(part)?)]);
    match part.first() {
        Some(t) if t.is_word("ADD") => {
            cursor.next();
            add(&mut cursor, part)
        }
        Some(t) if t.is_word("DROP") => {
            cursor.next();
            drop(&mut cursor, part)
        }
        Some(t) if t.is_word("MODIFY") || t.is_word("CHANGE") => {
            let keeps_name = t.is_word("MODIFY");
            cursor.next();
            change_column(&mut cursor, keeps_name)
        }
        Some(t) if t.is_word("RENAME") => {
            cursor.next();
            rename(&mut cursor)
        }
        Some(t) if t.is_word("ALTER") => {
            cursor.next();
            let mut pieces = words("ALTER");
            if cursor.any_word(&["INDEX", "KEY"]) {
                pieces.extend(words("INDEX"));
            } else {
                cursor.word("COLUMN");
                pieces.extend(words("COLUMN"));
            }
            cursor.words(&["IF", "EXISTS"]);
            pieces.push(name_piece(&cursor.name("a name")?));
            pieces.extend(kept(cursor.rest())?);
            Ok(vec![(Change::Other, pieces)])
        }
        Some(t) if t.is_word("CONVERT") => {
            let change = charset_option(part).map_or(Change::Other, Change::ConvertCharset);
            Ok(vec![(change, kept(part)?)])
        }
        Some(t)
            if ["DEFAULT", "CHARACTER", "CHARSET", "COLLATE"]
                .iter()
                .any(|w| t.is_word(w)) =>
        {
            let change = charset_option(part).map_or(Change::Other, Change::DefaultCharset);
            Ok(vec![(change, kept(part)?)])
        }
        _ => as_is(),
    }
}

fn charset_option(part: &[Token]) -> Option<String> {
    let mut cursor = Cursor::new(part);
    while cursor.peek().is_some() {
        if cursor.words(&["CHARACTER", "SET"]) || cursor.word("CHARSET") {
            return cursor.plain();
        }
        if cursor.word("COLLATE") {
            return cursor.plain().as_deref().map(charset_of_collation);
        }
        cursor.next();
    }
    None
}

fn add(cursor: &mut Cursor<'_>, part: &[Token]) -> Result<Vec<Specification>, ReadError> {
    if let Some((key, pieces)) = key_definition(cursor.rest())? {
        let change = match key {
            Some(mut key) => {
                key.name = canonical_key_name(key.name);
                Change::AddKey(key)
            }
            None => Change::Other,
        };
        let mut whole = words("ADD");
        whole.extend(pieces);
        return Ok(vec![(change, whole)]);
    }
    let special = |c: &Cursor<'_>| match c.rest() {
        [first, ..] if first.is_word("PARTITION") => true,
        [first, second, ..] => {
            (first.is_word("SYSTEM") && second.is_word("VERSIONING"))
                || (first.is_word("PERIOD") && second.is_word("FOR"))
        }
        _ => false,
    };
    if special(cursor) {
        return Ok(vec![(Change::Other, kept(part)?)]);
    }
    cursor.word("COLUMN");
    let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
    if cursor.peek().is_some_and(|t| t.is_punct("(")) {
        return split_commas(cursor.group()?)
            .into_iter()
            .map(|one| match key_definition(one)? {
                Some((key, pieces)) => {
                    let mut whole = words("ADD");
                    whole.extend(pieces);
                    Ok((key.map_or(Change::Other, Change::AddKey), whole))
                }
                None => added_column(one, if_not_exists),
            })
            .collect();
    }
    Ok(vec![added_column(cursor.rest(), if_not_exists)?])
}

fn added_column(tokens: &[Token], if_not_exists: bool) -> Result<Specification, ReadError> {
    let defined = defined_column(tokens)?;
    let mut pieces = words(if if_not_exists {
        "ADD COLUMN IF NOT EXISTS"
    } else {
        "ADD COLUMN"
    });
    pieces.extend(defined.pieces);
    let change = Change::AddColumn {
        column: defined.column,
        keys: defined.keys,
        placement: defined.placement,
        if_not_exists,
    };
    Ok((change, pieces))
}

struct Defined {
    column: crate::Column,
    keys: Vec<Key>,
    placement: Placement,
    pieces: Vec<Piece>,
}

/// A name, a definition and a placement.
fn defined_column(tokens: &[Token]) -> Result<Defined, ReadError> {
    let mut cursor = Cursor::new(tokens);
    let name = cursor.name("a column name")?;
    let (body, placement) = placed(cursor.rest());
    let (column, keys) = definition(&name, body)?;
    let mut pieces = vec![name_piece(&name)];
    pieces.extend(kept(body)?);
    match &placement {
        Placement::Unchanged => {}
        Placement::First => pieces.extend(words("FIRST")),
        Placement::After(other) => {
            pieces.extend(words("AFTER"));
            pieces.push(name_piece(other));
        }
    }
    Ok(Defined {
        column,
        keys,
        placement,
        pieces,
    })
}

pub(crate) fn placed(tokens: &[Token]) -> (&[Token], Placement) {
    match tokens {
        [body @ .., first] if first.is_word("FIRST") => (body, Placement::First),
        [body @ .., after, Token::Word(name) | Token::Name(name)] if after.is_word("AFTER") => {
            (body, Placement::After(name.clone()))
        }
        _ => (tokens, Placement::Unchanged),
    }
}

fn change_column(
    cursor: &mut Cursor<'_>,
    keeps_name: bool,
) -> Result<Vec<Specification>, ReadError> {
    cursor.word("COLUMN");
    let if_exists = cursor.words(&["IF", "EXISTS"]);
    let mut pieces = words(if keeps_name {
        "MODIFY COLUMN"
    } else {
        "CHANGE COLUMN"
    });
    if if_exists {
        pieces.extend(words("IF EXISTS"));
    }
    let old = if keeps_name {
        None
    } else {
        let old = cursor.name("a column name")?;
        pieces.push(name_piece(&old));
        Some(old)
    };
    let defined = defined_column(cursor.rest())?;
    pieces.extend(defined.pieces);
    let change = Change::ChangeColumn {
        old: old.unwrap_or_else(|| defined.column.name.clone()),
        column: defined.column,
        keys: defined.keys,
        placement: defined.placement,
    };
    Ok(vec![(change, pieces)])
}

fn drop(cursor: &mut Cursor<'_>, part: &[Token]) -> Result<Vec<Specification>, ReadError> {
    if cursor.words(&["PRIMARY", "KEY"]) {
        let change = Change::DropKey {
            name: Key::PRIMARY.to_owned(),
        };
        return Ok(vec![(change, words("DROP PRIMARY KEY"))]);
    }
    if cursor.any_word(&["INDEX", "KEY"]) {
        let mut pieces = words("DROP INDEX");
        if cursor.words(&["IF", "EXISTS"]) {
            pieces.extend(words("IF EXISTS"));
        }
        let name = cursor.name("an index name")?;
        pieces.push(name_piece(&name));
        let change = Change::DropKey {
            name: canonical_key_name(name),
        };
        return Ok(vec![(change, pieces)]);
    }
    for kind in ["FOREIGN", "CONSTRAINT", "CHECK"] {
        if !cursor.word(kind) {
            continue;
        }
        cursor.word("KEY");
        let mut pieces = words(if kind == "FOREIGN" {
            "DROP FOREIGN KEY"
        } else {
            "DROP CONSTRAINT"
        });
        if cursor.words(&["IF", "EXISTS"]) {
            pieces.extend(words("IF EXISTS"));
        }
        let name = cursor.name("a constraint name")?;
        pieces.push(name_piece(&name));
        // A unique key may be dropped as a constraint.
        let change = match kind {
            "CONSTRAINT" => Change::DropKey { name },
            _ => Change::Other,
        };
        return Ok(vec![(change, pieces)]);
    }
    let special = cursor.peek().is_some_and(|t| {
        ["PARTITION", "SYSTEM", "PERIOD"]
            .iter()
            .any(|w| t.is_word(w))
    });
    if special && part.len() > 2 {
        return Ok(vec![(Change::Other, kept(part)?)]);
    }
    cursor.word("COLUMN");
    let mut pieces = words("DROP COLUMN");
    if cursor.words(&["IF", "EXISTS"]) {
        pieces.extend(words("IF EXISTS"));
    }
    let name = cursor.name("a column name")?;
    pieces.push(name_piece(&name));
    Ok(vec![(Change::DropColumn { name }, pieces)])
}

fn rename(cursor: &mut Cursor<'_>) -> Result<Vec<Specification>, ReadError> {
    for kind in ["COLUMN", "INDEX", "KEY"] {
        if !cursor.word(kind) {
            continue;
        }
        let old = cursor.name("a name")?;
        cursor.expect_word("TO")?;
        let new = cursor.name("a name")?;
        let mut pieces = words(if kind == "COLUMN" {
            "RENAME COLUMN"
        } else {
            "RENAME INDEX"
        });
        pieces.push(name_piece(&old));
        pieces.extend(words("TO"));
        pieces.push(name_piece(&new));
        let change = if kind == "COLUMN" {
            Change::RenameColumn { old, new }
        } else {
            Change::RenameKey { old, new }
        };
        return Ok(vec![(change, pieces)]);
    }
    if !cursor.any_word(&["TO", "AS"]) {
        cursor.punct("=");
    }
    let to = cursor.table()?;
    let pieces = with_table("RENAME TO", &to);
    Ok(vec![(Change::RenameTo(to), pieces)])
}

fn name_piece(name: &str) -> Piece {
    Piece::Token(Token::Name(name.to_owned()))
}
