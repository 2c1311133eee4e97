//! Expressions of computed columns in the form in which TiDB keeps them (spec schemacmp 12, rule B14): names in backquotes and lower case, key
//! words and functions in lower case, blanks around operators.

use crate::lexer::Token;
use crate::print::{quoted, text_literal};

/// An expression and the columns it uses.
#[derive(Clone, Debug)]
pub(super) struct Restored {
    pub(super) text: String,
    /// In lower case, in the order of their use.
    pub(super) columns: Vec<String>,
}

const KEY_WORDS: [&str; 23] = [
    "and", "as", "between", "case", "div", "else", "end", "escape", "false", "in", "interval",
    "is", "like", "mod", "not", "null", "or", "regexp", "rlike", "then", "true", "when", "xor",
];

/// The normal form of an expression's tokens.
pub(super) fn restore(tokens: &[Token]) -> Restored {
    let mut restored = Restored {
        text: String::new(),
        columns: Vec::new(),
    };
    let mut operand_before = false;
    for (at, token) in tokens.iter().enumerate() {
        let called = tokens.get(at + 1).is_some_and(|t| t.is_punct("("));
        let after_operand = operand_before;
        operand_before = true;
        match token {
            Token::Word(word) => {
                let lower = word.to_lowercase();
                // Behind AS stands a type.
                let cast = at > 0 && tokens[at - 1].is_word("AS");
                if cast || is_key_word(token) {
                    let value = matches!(lower.as_str(), "null" | "true" | "false" | "end");
                    operand_before = value;
                    restored.push(&lower, after_operand || restored.ends_with_word());
                } else if called {
                    restored.push(&lower, restored.ends_with_word());
                } else if lower.starts_with('_') && next_is_text(tokens, at) {
                    // The introducer of a text is printed with it.
                    operand_before = after_operand;
                } else {
                    restored.column(lower);
                }
            }
            Token::Name(name) => restored.column(name.to_lowercase()),
            Token::Text(text) => {
                let text = format!("_utf8mb4{}", text_literal(text));
                restored.push(&text, restored.ends_with_word());
            }
            Token::Number(number) => restored.push(number, restored.ends_with_word()),
            Token::Punct(punct) => {
                operand_before = punct == ")";
                let behind_key_word = at > 0 && is_key_word(&tokens[at - 1]);
                if punct == "(" && behind_key_word {
                    restored.text.push(' ');
                }
                restored.punct(punct, after_operand);
            }
        }
    }
    restored
}

fn is_key_word(token: &Token) -> bool {
    KEY_WORDS.iter().any(|word| token.is_word(word))
}

fn next_is_text(tokens: &[Token], at: usize) -> bool {
    matches!(tokens.get(at + 1), Some(Token::Text(_)))
}

impl Restored {
    fn ends_with_word(&self) -> bool {
        self.text
            .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '`' | '\'' | ')' | '_'))
    }

    fn push(&mut self, text: &str, blank: bool) {
        if blank && !self.text.is_empty() && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
        self.text.push_str(text);
    }

    fn column(&mut self, name: String) {
        let blank = self.ends_with_word();
        self.push(&quoted(&name), blank);
        if !self.columns.contains(&name) {
            self.columns.push(name);
        }
    }

    fn punct(&mut self, punct: &str, after_operand: bool) {
        match punct {
            "(" | ")" | "." => self.text.push_str(punct),
            "," => self.text.push_str(", "),
            sign if !after_operand => self.text.push_str(sign),
            operator => {
                self.push(operator, true);
                self.text.push(' ');
            }
        }
    }
}
