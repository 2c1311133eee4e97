//! Printing: one form for all texts that mean the same.

use crate::ddl::{Piece, TableRef};
use crate::lexer::Token;

pub(crate) fn statement(pieces: &[Piece], rename: &mut dyn FnMut(&TableRef) -> TableRef) -> String {
    let mut printer = Printer::default();
    for piece in pieces {
        match piece {
            Piece::Table(table) => {
                let table = rename(table);
                let text = match &table.schema {
                    Some(schema) => format!("{}.{}", quoted(schema), quoted(&table.table)),
                    None => quoted(&table.table),
                };
                printer.push(&text, Kind::Table);
            }
            Piece::Schema(schema) => {
                let renamed = rename(&TableRef::new(schema.as_str(), ""));
                let schema = renamed.schema.as_deref().unwrap_or(schema);
                printer.push(&quoted(schema), Kind::Table);
            }
            Piece::Token(token) => printer.token(token),
        }
    }
    printer.out
}

pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub(crate) fn text_literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{1a}' => out.push_str("\\Z"),
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Kind {
    #[default]
    Start,
    Table,
    Word,
    Name,
    Value,
    Open,
    Close,
    Comma,
    Tight,
    Operator,
    Sign,
}

/// Puts single blanks between tokens, and none where SQL is usually written without: inside parentheses, before commas, around dots,
/// between a type, function or index name and its parenthesis, and in lists of numbers.
#[derive(Default)]
struct Printer {
    out: String,
    last: Kind,
}

impl Printer {
    fn token(&mut self, token: &Token) {
        match token {
            // The introducer of the default character set says nothing.
            Token::Word(word)
                if word.eq_ignore_ascii_case("_utf8mb4") || word.eq_ignore_ascii_case("_utf8") => {}
            Token::Word(word) => {
                // `@x`, `a.b`: what follows a dot or an at sign is a name whose case may matter.
                let text = if self.last == Kind::Tight {
                    word.clone()
                } else {
                    word.to_ascii_uppercase()
                };
                self.push(&text, Kind::Word);
            }
            Token::Name(name) => self.push(&quoted(name), Kind::Name),
            Token::Text(text) => self.push(&text_literal(text), Kind::Value),
            Token::Number(number) => self.push(number, Kind::Value),
            Token::Punct(punct) => {
                let kind = match punct.as_str() {
                    "(" => Kind::Open,
                    ")" => Kind::Close,
                    "," => Kind::Comma,
                    "." | "@" => Kind::Tight,
                    "-" | "+" if self.expects_operand() => Kind::Sign,
                    _ => Kind::Operator,
                };
                self.push(punct, kind);
            }
        }
    }

    fn expects_operand(&self) -> bool {
        matches!(
            self.last,
            Kind::Word | Kind::Open | Kind::Comma | Kind::Operator | Kind::Sign
        )
    }

    fn push(&mut self, text: &str, kind: Kind) {
        let tight = match (self.last, kind) {
            (Kind::Start | Kind::Open | Kind::Tight | Kind::Sign, _)
            | (_, Kind::Close | Kind::Comma)
            | (Kind::Word | Kind::Name, Kind::Open)
            | (Kind::Comma, Kind::Value) => true,
            (Kind::Name | Kind::Table | Kind::Word, Kind::Tight) => {
                text == "." || self.out.ends_with('@')
            }
            _ => false,
        };
        if !tight {
            self.out.push(' ');
        }
        self.out.push_str(text);
        self.last = kind;
    }
}
