//! Reading: which kind a statement is, and its parts.

use crate::ddl::{Action, Change, Ddl, Piece, Statement, TableRef, Transaction};
use crate::lexer::{Options, ReadError, Token, tokens};
use crate::table::Key;
use crate::{alter, create};

/// Reads the text of one query event.
pub fn read(text: &str, options: &Options) -> Result<Statement, ReadError> {
    let mut tokens = tokens(text, options)?;
    while tokens.last().is_some_and(|t| t.is_punct(";")) {
        tokens.pop();
    }
    let mut cursor = Cursor::new(&tokens);
    let Some(Token::Word(first)) = cursor.next() else {
        return match tokens.first() {
            None => Ok(Statement::Ignored),
            Some(_) => Err(ReadError::new("a statement", &tokens[0])),
        };
    };
    match first.to_ascii_uppercase().as_str() {
        "BEGIN" | "START" => Ok(Statement::Transaction(Transaction::Begin)),
        "COMMIT" => Ok(Statement::Transaction(Transaction::Commit)),
        "ROLLBACK" if cursor.word("TO") => Ok(Statement::Transaction(Transaction::Savepoint)),
        "ROLLBACK" => Ok(Statement::Transaction(Transaction::Rollback)),
        "SAVEPOINT" | "RELEASE" => Ok(Statement::Transaction(Transaction::Savepoint)),
        "XA" => Ok(Statement::Transaction(Transaction::Xa)),
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" => Ok(Statement::Dml),
        "FLUSH" | "OPTIMIZE" | "ANALYZE" | "REPAIR" | "CHECK" | "GRANT" | "REVOKE" | "SET"
        | "INSTALL" | "UNINSTALL" | "CALL" | "DO" => Ok(Statement::Ignored),
        "CREATE" => create::statement(&mut cursor),
        "ALTER" => alter::statement(&mut cursor),
        "DROP" => drop_statement(&mut cursor),
        "RENAME" => rename_statement(&mut cursor),
        "TRUNCATE" => {
            cursor.word("TABLE");
            let table = cursor.table()?;
            let pieces = with_table("TRUNCATE TABLE", &table);
            Ok(one(Action::TruncateTable(table), pieces))
        }
        _ => Err(ReadError::new("a known statement", &tokens[0])),
    }
}

/// Kinds of object that are not replicated, wherever CREATE, ALTER and DROP name them.
pub(crate) const NOT_REPLICATED: [&str; 12] = [
    "TRIGGER",
    "PROCEDURE",
    "FUNCTION",
    "VIEW",
    "EVENT",
    "TABLESPACE",
    "USER",
    "ROLE",
    "SERVER",
    "PACKAGE",
    "AGGREGATE",
    "SEQUENCE",
];

pub(crate) fn one(action: Action, pieces: Vec<Piece>) -> Statement {
    Statement::Ddl(vec![Ddl { action, pieces }])
}

fn drop_statement(cursor: &mut Cursor<'_>) -> Result<Statement, ReadError> {
    if cursor.word("TEMPORARY") || cursor.any_word(&NOT_REPLICATED) {
        return Ok(Statement::Ignored);
    }
    if cursor.any_word(&["DATABASE", "SCHEMA"]) {
        cursor.words(&["IF", "EXISTS"]);
        let name = cursor.name("a schema name")?;
        let mut pieces = words("DROP DATABASE IF EXISTS");
        pieces.push(Piece::Schema(name.clone()));
        return Ok(one(Action::DropDatabase(name), pieces));
    }
    if cursor.any_word(&["TABLE", "TABLES"]) {
        cursor.words(&["IF", "EXISTS"]);
        let mut all = Vec::new();
        loop {
            let table = cursor.table()?;
            let pieces = with_table("DROP TABLE IF EXISTS", &table);
            let action = Action::DropTable(table);
            all.push(Ddl { action, pieces });
            if !cursor.punct(",") {
                return Ok(Statement::Ddl(all));
            }
        }
    }
    if cursor.word("INDEX") {
        cursor.words(&["IF", "EXISTS"]);
        let name = cursor.name("an index name")?;
        cursor.expect_word("ON")?;
        let table = cursor.table()?;
        let mut pieces = words("DROP INDEX IF EXISTS");
        pieces.push(Piece::Token(Token::Name(name.clone())));
        pieces.extend(with_table("ON", &table));
        let change = Change::DropKey {
            name: canonical_key_name(name),
        };
        return Ok(one(Action::Alter { table, change }, pieces));
    }
    Err(cursor.error("DATABASE, TABLE or INDEX"))
}

fn rename_statement(cursor: &mut Cursor<'_>) -> Result<Statement, ReadError> {
    if cursor.word("USER") {
        return Ok(Statement::Ignored);
    }
    if !cursor.any_word(&["TABLE", "TABLES"]) {
        return Err(cursor.error("TABLE"));
    }
    cursor.words(&["IF", "EXISTS"]);
    let mut all = Vec::new();
    loop {
        let from = cursor.table()?;
        if cursor.word("WAIT") {
            cursor.next();
        }
        cursor.word("NOWAIT");
        cursor.expect_word("TO")?;
        let to = cursor.table()?;
        let mut pieces = with_table("RENAME TABLE", &from);
        pieces.extend(with_table("TO", &to));
        all.push(Ddl {
            action: Action::RenameTable { from, to },
            pieces,
        });
        if !cursor.punct(",") {
            return Ok(Statement::Ddl(all));
        }
    }
}

pub(crate) fn canonical_key_name(name: String) -> String {
    if name.eq_ignore_ascii_case(Key::PRIMARY) {
        Key::PRIMARY.to_owned()
    } else {
        name
    }
}

pub(crate) fn words(text: &str) -> Vec<Piece> {
    text.split(' ')
        .map(|w| Piece::Token(Token::Word(w.to_owned())))
        .collect()
}

pub(crate) fn with_table(text: &str, table: &TableRef) -> Vec<Piece> {
    let mut pieces = words(text);
    pieces.push(Piece::Table(table.clone()));
    pieces
}

/// Tokens that are kept as they stand, except that in foreign keys the columns are names and the table referred to can be renamed.
pub(crate) fn kept(tokens: &[Token]) -> Result<Vec<Piece>, ReadError> {
    let mut cursor = Cursor::new(tokens);
    let mut pieces = Vec::new();
    while let Some(token) = cursor.next() {
        pieces.push(Piece::Token(token.clone()));
        if token.is_word("FOREIGN") && cursor.word("KEY") {
            pieces.extend(words("KEY"));
            if !cursor.peek().is_some_and(|t| t.is_punct("(")) {
                let name = cursor.name("a key name")?;
                pieces.push(Piece::Token(Token::Name(name)));
            }
            pieces.extend(key_columns(cursor.group()?).1);
        }
        if token.is_word("REFERENCES") {
            pieces.push(Piece::Table(cursor.table()?));
            if cursor.peek().is_some_and(|t| t.is_punct("(")) {
                pieces.extend(key_columns(cursor.group()?).1);
            }
        }
    }
    Ok(pieces)
}

/// The columns of an index, as names, and whether some of them count only in part; the pieces include the parentheses.
pub(crate) fn key_columns(inside: &[Token]) -> ((Vec<String>, bool), Vec<Piece>) {
    let mut columns = Vec::new();
    let mut partial = false;
    let mut pieces = vec![Piece::Token(Token::Punct("(".into()))];
    for (at, part) in split_commas(inside).into_iter().enumerate() {
        if at > 0 {
            pieces.push(Piece::Token(Token::Punct(",".into())));
        }
        match part.split_first() {
            Some((Token::Word(name) | Token::Name(name), rest)) => {
                partial |= rest.iter().any(|t| t.is_punct("("));
                columns.push(name.clone());
                pieces.push(Piece::Token(Token::Name(name.clone())));
                pieces.extend(rest.iter().cloned().map(Piece::Token));
            }
            _ => {
                partial = true;
                pieces.extend(part.iter().cloned().map(Piece::Token));
            }
        }
    }
    pieces.push(Piece::Token(Token::Punct(")".into())));
    ((columns, partial), pieces)
}

/// Parts between commas outside of parentheses.
pub(crate) fn split_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_usize;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_punct("(") {
            depth += 1;
        } else if token.is_punct(")") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is_punct(",") {
            parts.push(&tokens[start..at]);
            start = at + 1;
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// A place in a list of tokens. The accepting functions move it only when they answer `true`.
pub(crate) struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    pub(crate) fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at);
        self.at += usize::from(token.is_some());
        token
    }

    pub(crate) fn rest(&self) -> &'a [Token] {
        &self.tokens[self.at..]
    }

    pub(crate) fn error(&self, expected: &str) -> ReadError {
        match self.peek() {
            Some(token) => ReadError::new(expected, token),
            None => ReadError::new(expected, "end of statement"),
        }
    }

    pub(crate) fn word(&mut self, word: &str) -> bool {
        self.words(&[word])
    }

    pub(crate) fn words(&mut self, words: &[&str]) -> bool {
        let rest = self.rest();
        let all =
            rest.len() >= words.len() && words.iter().zip(rest).all(|(w, token)| token.is_word(w));
        if all {
            self.at += words.len();
        }
        all
    }

    pub(crate) fn any_word(&mut self, words: &[&str]) -> bool {
        words.iter().any(|w| self.word(w))
    }

    pub(crate) fn expect_word(&mut self, word: &str) -> Result<(), ReadError> {
        if self.word(word) {
            Ok(())
        } else {
            Err(self.error(word))
        }
    }

    pub(crate) fn punct(&mut self, punct: &str) -> bool {
        let found = self.peek().is_some_and(|t| t.is_punct(punct));
        self.at += usize::from(found);
        found
    }

    pub(crate) fn name(&mut self, expected: &str) -> Result<String, ReadError> {
        match self.peek() {
            Some(Token::Word(name) | Token::Name(name)) => {
                self.at += 1;
                Ok(name.clone())
            }
            // A name may look like a number behind a dot, such as `db.1`.
            Some(Token::Number(name)) if self.at > 0 && self.tokens[self.at - 1].is_punct(".") => {
                self.at += 1;
                Ok(name.clone())
            }
            _ => Err(self.error(expected)),
        }
    }

    /// A word, name or text in lower case, such as the name of a character set; an equals sign before it is passed over.
    pub(crate) fn plain(&mut self) -> Option<String> {
        self.punct("=");
        match self.next() {
            Some(Token::Word(s) | Token::Name(s) | Token::Text(s)) => Some(s.to_ascii_lowercase()),
            _ => None,
        }
    }

    pub(crate) fn table(&mut self) -> Result<TableRef, ReadError> {
        let first = self.name("a table name")?;
        if self.punct(".") {
            let table = self.name("a table name")?;
            return Ok(TableRef::new(first, table));
        }
        Ok(TableRef {
            schema: None,
            table: first,
        })
    }

    /// What stands inside the parentheses that begin here.
    pub(crate) fn group(&mut self) -> Result<&'a [Token], ReadError> {
        if !self.punct("(") {
            return Err(self.error("("));
        }
        let start = self.at;
        let mut depth = 1_usize;
        while let Some(token) = self.next() {
            if token.is_punct("(") {
                depth += 1;
            } else if token.is_punct(")") {
                depth -= 1;
                if depth == 0 {
                    return Ok(&self.tokens[start..self.at - 1]);
                }
            }
        }
        Err(self.error(")"))
    }
}
