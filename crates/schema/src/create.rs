//! CREATE: schemas, tables, indexes.

use crate::column::{charset_of_collation, definition};
use crate::ddl::{Action, Change, Piece, Statement};
use crate::lexer::{ReadError, Token};
use crate::reader::{
    Cursor, NOT_REPLICATED, canonical_key_name, kept, key_columns, one, split_commas, with_table,
    words,
};
use crate::table::{Key, Table};

/// Behind CREATE.
pub(crate) fn statement(cursor: &mut Cursor<'_>) -> Result<Statement, ReadError> {
    let replace = cursor.words(&["OR", "REPLACE"]);
    if cursor.any_word(&["DATABASE", "SCHEMA"]) {
        cursor.words(&["IF", "NOT", "EXISTS"]);
        let name = cursor.name("a schema name")?;
        let mut pieces = words("CREATE DATABASE IF NOT EXISTS");
        pieces.push(Piece::Schema(name.clone()));
        pieces.extend(kept(cursor.rest())?);
        return Ok(one(Action::CreateDatabase(name), pieces));
    }
    if cursor.word("TABLE") {
        return table(cursor, replace);
    }
    if cursor.word("TEMPORARY") {
        return Ok(Statement::Ignored);
    }
    if let Some(statement) = index(cursor)? {
        return Ok(statement);
    }
    // DEFINER = …, ALGORITHM = …, SQL SECURITY … stand before the kinds that are not replicated.
    let skipped = cursor
        .rest()
        .iter()
        .take(12)
        .any(|t| NOT_REPLICATED.iter().any(|kind| t.is_word(kind)));
    if skipped {
        Ok(Statement::Ignored)
    } else {
        Err(cursor.error("DATABASE, TABLE or INDEX"))
    }
}

fn table(cursor: &mut Cursor<'_>, replace: bool) -> Result<Statement, ReadError> {
    cursor.words(&["IF", "NOT", "EXISTS"]);
    let table = cursor.table()?;
    let mut pieces = with_table(
        if replace {
            "CREATE OR REPLACE TABLE"
        } else {
            "CREATE TABLE IF NOT EXISTS"
        },
        &table,
    );
    if let Some(like) = like(cursor)? {
        pieces.extend(with_table("LIKE", &like));
        let action = Action::CreateTable {
            table,
            structure: Table::default(),
            like: Some(like),
        };
        return Ok(one(action, pieces));
    }
    let mut structure = Table::default();
    if cursor.peek().is_some_and(|t| t.is_punct("(")) {
        pieces.push(Piece::Token(Token::Punct("(".into())));
        for (at, part) in split_commas(cursor.group()?).into_iter().enumerate() {
            if at > 0 {
                pieces.push(Piece::Token(Token::Punct(",".into())));
            }
            pieces.extend(element(part, &mut structure)?);
        }
        pieces.push(Piece::Token(Token::Punct(")".into())));
    }
    if cursor.rest().iter().any(|t| t.is_word("SELECT")) {
        return Err(ReadError::new(
            "a table without a query",
            "`SELECT` in CREATE TABLE",
        ));
    }
    structure.charset = table_charset(cursor.rest());
    structure.complete_charsets();
    pieces.extend(kept(cursor.rest())?);
    let action = Action::CreateTable {
        table,
        structure,
        like: None,
    };
    Ok(one(action, pieces))
}

fn like(cursor: &mut Cursor<'_>) -> Result<Option<crate::TableRef>, ReadError> {
    if cursor.word("LIKE") {
        return cursor.table().map(Some);
    }
    match cursor.rest() {
        [open, word, ..] if open.is_punct("(") && word.is_word("LIKE") => {
            let mut inside = Cursor::new(cursor.group()?);
            inside.word("LIKE");
            inside.table().map(Some)
        }
        _ => Ok(None),
    }
}

/// One column or key between the parentheses.
fn element(part: &[Token], structure: &mut Table) -> Result<Vec<Piece>, ReadError> {
    if let Some((key, pieces)) = key_definition(part)? {
        if let Some(key) = key {
            structure.add_key(&key);
        }
        return Ok(pieces);
    }
    let mut cursor = Cursor::new(part);
    let name = cursor.name("a column or a key")?;
    let (column, keys) = definition(&name, cursor.rest())?;
    structure.columns.push(column);
    keys.iter().for_each(|k| structure.add_key(k));
    let mut pieces = vec![Piece::Token(Token::Name(name))];
    pieces.extend(kept(cursor.rest())?);
    Ok(pieces)
}

/// A key as far as rows need it (none for foreign keys, checks and special indexes), and its text.
pub(crate) type KeyDefinition = (Option<Key>, Vec<Piece>);

/// What a key or constraint definition amounts to (nothing for foreign keys and checks) and its pieces; `None` when the tokens define a column.
pub(crate) fn key_definition(part: &[Token]) -> Result<Option<KeyDefinition>, ReadError> {
    let mut cursor = Cursor::new(part);
    let mut pieces = Vec::new();
    let mut name = String::new();
    if cursor.word("CONSTRAINT") {
        pieces.extend(words("CONSTRAINT"));
        let named = cursor.peek().is_some_and(|t| {
            !["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]
                .iter()
                .any(|w| t.is_word(w))
        });
        if named {
            name = cursor.name("a constraint name")?;
            pieces.push(Piece::Token(Token::Name(name.clone())));
        }
    }
    let primary = cursor.words(&["PRIMARY", "KEY"]);
    let unique = !primary && cursor.word("UNIQUE");
    let special = !primary && !unique && cursor.any_word(&["FULLTEXT", "SPATIAL"]);
    if !primary && !unique && !special {
        if begins_other_constraint(&cursor) {
            pieces.extend(kept(cursor.rest())?);
            return Ok(Some((None, pieces)));
        }
        if !begins_index(&cursor) {
            return Ok(None);
        }
    }
    let kind = match (primary, unique, special) {
        (true, ..) => "PRIMARY KEY",
        (_, true, _) => "UNIQUE INDEX",
        (_, _, true) if part.iter().any(|t| t.is_word("SPATIAL")) => "SPATIAL INDEX",
        (_, _, true) => "FULLTEXT INDEX",
        _ => "INDEX",
    };
    pieces.extend(words(kind));
    if !primary {
        cursor.any_word(&["KEY", "INDEX"]);
    }
    cursor.words(&["IF", "NOT", "EXISTS"]);
    let using = |c: &Cursor<'_>| c.peek().is_some_and(|t| t.is_word("USING"));
    if !using(&cursor) && !cursor.peek().is_some_and(|t| t.is_punct("(")) {
        name = cursor.name("an index name or (")?;
        if !primary {
            pieces.push(Piece::Token(Token::Name(name.clone())));
        }
    }
    if using(&cursor) {
        cursor.next();
        cursor.next();
    }
    let ((columns, partial), listed) = key_columns(cursor.group()?);
    pieces.extend(listed);
    pieces.extend(kept(cursor.rest())?);
    let key = Key {
        name: if primary {
            Key::PRIMARY.to_owned()
        } else {
            name
        },
        columns,
        unique: primary || unique,
        partial,
    };
    Ok(Some(((!special).then_some(key), pieces)))
}

fn begins_other_constraint(cursor: &Cursor<'_>) -> bool {
    match cursor.rest() {
        [word, second, ..] => {
            (word.is_word("FOREIGN") && second.is_word("KEY"))
                || (word.is_word("CHECK") && second.is_punct("("))
                || (word.is_word("PERIOD") && second.is_word("FOR"))
        }
        _ => false,
    }
}

/// `KEY` and `INDEX` are reserved words, so an unquoted one is no column.
fn begins_index(cursor: &Cursor<'_>) -> bool {
    cursor
        .peek()
        .is_some_and(|t| t.is_word("KEY") || t.is_word("INDEX"))
}

/// The default character set among the options of a table.
pub(crate) fn table_charset(options: &[Token]) -> Option<String> {
    let mut cursor = Cursor::new(options);
    let mut collation = None;
    while cursor.peek().is_some() {
        if cursor.words(&["CHARACTER", "SET"]) || cursor.word("CHARSET") {
            return cursor.plain();
        }
        if cursor.word("COLLATE") {
            collation = cursor.plain();
        } else {
            cursor.next();
        }
    }
    collation.as_deref().map(charset_of_collation)
}

/// `CREATE [UNIQUE|FULLTEXT|SPATIAL] INDEX`, which changes a table as an ALTER does.
fn index(cursor: &mut Cursor<'_>) -> Result<Option<Statement>, ReadError> {
    cursor.any_word(&["ONLINE", "OFFLINE"]);
    let unique = cursor.word("UNIQUE");
    let special = ["FULLTEXT", "SPATIAL"].into_iter().find(|w| cursor.word(w));
    if !cursor.word("INDEX") {
        return Ok(None);
    }
    cursor.words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.name("an index name")?;
    let mut using = Vec::new();
    if cursor.word("USING") {
        using.extend(words("USING"));
        using.extend(cursor.next().cloned().map(Piece::Token));
    }
    cursor.expect_word("ON")?;
    let table = cursor.table()?;
    let ((columns, partial), listed) = key_columns(cursor.group()?);
    let mut pieces = match (unique, special) {
        (true, _) => words("CREATE UNIQUE INDEX"),
        (_, Some(kind)) => words(&format!("CREATE {kind} INDEX")),
        _ => words("CREATE INDEX"),
    };
    pieces.push(Piece::Token(Token::Name(name.clone())));
    pieces.extend(with_table("ON", &table));
    pieces.extend(listed);
    pieces.extend(using);
    pieces.extend(without_algorithm(cursor.rest())?);
    let change = match special {
        Some(_) => Change::Other,
        None => Change::AddKey(Key {
            name: canonical_key_name(name),
            columns,
            unique,
            partial,
        }),
    };
    Ok(Some(one(Action::Alter { table, change }, pieces)))
}

/// How the upstream was told to do the work says nothing to the downstream.
fn without_algorithm(options: &[Token]) -> Result<Vec<Piece>, ReadError> {
    let mut cursor = Cursor::new(options);
    let mut kept_tokens = Vec::new();
    while let Some(token) = cursor.next() {
        if token.is_word("ALGORITHM") || token.is_word("LOCK") {
            cursor.plain();
        } else {
            kept_tokens.push(token.clone());
        }
    }
    kept(&kept_tokens)
}
