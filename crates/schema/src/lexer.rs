//! Tokens of MySQL and MariaDB statements.
//!
//! Comments are dropped, except the executable ones (`/*! … */`, `/*M! … */`): their content is read as if it stood there.

use std::fmt;

/// How the session that wrote a statement read its own text; both come from the event's sql_mode.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// `"x"` is a name, not a text (ANSI_QUOTES).
    pub ansi_quotes: bool,
    /// A backslash in a text stands for itself (NO_BACKSLASH_ESCAPES).
    pub no_backslash_escapes: bool,
}

impl Options {
    const ANSI_QUOTES: u64 = 1 << 2;
    const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

    /// From the sql_mode bits that a query event carries in its status variables.
    pub fn from_sql_mode(bits: u64) -> Self {
        Self {
            ansi_quotes: bits & Self::ANSI_QUOTES != 0,
            no_backslash_escapes: bits & Self::NO_BACKSLASH_ESCAPES != 0,
        }
    }
}

/// Why a statement could not be read, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected {expected} at {at}")]
pub struct ReadError {
    /// What would have been understood.
    pub expected: String,
    /// The text that stood there, or `end of statement`.
    pub at: String,
}

impl ReadError {
    pub(crate) fn new(expected: impl Into<String>, at: impl fmt::Display) -> Self {
        Self {
            expected: expected.into(),
            at: at.to_string(),
        }
    }
}

/// One token. Texts and quoted names are held without their quotes and escapes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    /// An unquoted word: keyword, type, function, or name.
    Word(String),
    /// A name that was quoted, or that the reader knows to be a name.
    Name(String),
    /// A text literal.
    Text(String),
    /// A number, or a hexadecimal or bit literal, as written.
    Number(String),
    /// An operator or a separator.
    Punct(String),
}

impl Token {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(w) if w.eq_ignore_ascii_case(word))
    }

    pub(crate) fn is_punct(&self, punct: &str) -> bool {
        matches!(self, Token::Punct(p) if p == punct)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Token::Word(s) | Token::Name(s) | Token::Text(s) | Token::Number(s) | Token::Punct(s)) =
            self;
        write!(f, "`{s}`")
    }
}

/// All tokens of a text.
pub(crate) fn tokens(text: &str, options: &Options) -> Result<Vec<Token>, ReadError> {
    let mut lexer = Lexer {
        rest: text,
        options,
        out: Vec::new(),
        executable_comment: false,
    };
    while lexer.step()? {}
    Ok(lexer.out)
}

struct Lexer<'a> {
    rest: &'a str,
    options: &'a Options,
    out: Vec<Token>,
    executable_comment: bool,
}

impl Lexer<'_> {
    /// Reads one token or skips one comment; `false` at the end.
    fn step(&mut self) -> Result<bool, ReadError> {
        self.rest = self
            .rest
            .trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
        let Some(first) = self.rest.chars().next() else {
            return Ok(false);
        };
        if self.comment()? {
            return Ok(true);
        }
        match first {
            '`' => {
                let name = self.quoted('`', false)?;
                self.out.push(Token::Name(name));
            }
            '"' if self.options.ansi_quotes => {
                let name = self.quoted('"', false)?;
                self.out.push(Token::Name(name));
            }
            '\'' | '"' => {
                let text = self.quoted(first, !self.options.no_backslash_escapes)?;
                self.out.push(Token::Text(text));
            }
            c if is_word_char(c) => self.word(),
            '.' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit())
                && !self.after_name() =>
            {
                self.word();
            }
            _ => self.punct(first),
        }
        Ok(true)
    }

    /// Skips `-- `, `#` and `/* */`; enters and leaves executable comments.
    fn comment(&mut self) -> Result<bool, ReadError> {
        let rest = self.rest;
        let dashes = rest.starts_with("--")
            && rest[2..]
                .chars()
                .next()
                .is_none_or(|c| c.is_whitespace() || c.is_control());
        if dashes || rest.starts_with('#') {
            self.rest = rest.split_once('\n').map_or("", |(_, after)| after);
            return Ok(true);
        }
        if self.executable_comment && rest.starts_with("*/") {
            self.executable_comment = false;
            self.rest = &rest[2..];
            return Ok(true);
        }
        for head in ["/*!", "/*M!"] {
            if let Some(after) = rest.strip_prefix(head) {
                self.executable_comment = true;
                self.rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
                return Ok(true);
            }
        }
        let Some(inside) = rest.strip_prefix("/*") else {
            return Ok(false);
        };
        let (_, after) = inside
            .split_once("*/")
            .ok_or_else(|| ReadError::new("the end of a comment", "end of statement"))?;
        self.rest = after;
        Ok(true)
    }

    fn quoted(&mut self, quote: char, escapes: bool) -> Result<String, ReadError> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                if chars.peek().is_some_and(|(_, next)| *next == quote) {
                    chars.next();
                    text.push(quote);
                    continue;
                }
                self.rest = &self.rest[at + quote.len_utf8()..];
                return Ok(text);
            }
            if c == '\\' && escapes {
                let Some((_, escaped)) = chars.next() else {
                    break;
                };
                push_unescaped(&mut text, escaped);
                continue;
            }
            text.push(c);
        }
        Err(ReadError::new(
            format!("a closing {quote}"),
            "end of statement",
        ))
    }

    fn word(&mut self) {
        let end = self.number_end().unwrap_or_else(|| {
            self.rest
                .find(|c| !is_word_char(c))
                .unwrap_or(self.rest.len())
        });
        let (word, after) = self.rest.split_at(end);
        let literal = matches!(word, "x" | "X" | "b" | "B" | "n" | "N");
        if literal && after.starts_with('\'') {
            self.rest = after;
            self.prefixed_literal(word.to_ascii_uppercase());
            return;
        }
        self.rest = after;
        let number = word.starts_with("0x") || word.starts_with("0b") || is_number(word);
        self.out.push(if number {
            Token::Number(word.to_owned())
        } else {
            Token::Word(word.to_owned())
        });
    }

    /// `X'…'`, `B'…'` as one number; `N'…'` as a text in the national character set.
    fn prefixed_literal(&mut self, prefix: String) {
        match self.quoted('\'', !self.options.no_backslash_escapes) {
            Ok(text) if prefix == "N" => self.out.push(Token::Text(text)),
            Ok(text) => self.out.push(Token::Number(format!("{prefix}'{text}'"))),
            Err(_) => {
                self.out.push(Token::Word(prefix));
                self.out
                    .push(Token::Text(std::mem::take(&mut self.rest).to_owned()));
            }
        }
    }

    /// The end of a number with a fraction or an exponent, if one begins here.
    fn number_end(&self) -> Option<usize> {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| {
            from + bytes[from..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
        };
        if !(bytes[0].is_ascii_digit() || bytes[0] == b'.') || self.after_dot() {
            return None;
        }
        let mut end = digits(0);
        if bytes.get(end) == Some(&b'.') {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent > end + 1 + sign {
                end = exponent;
            }
        }
        let ends = self.rest[end..]
            .chars()
            .next()
            .is_none_or(|c| !is_word_char(c));
        ends.then_some(end)
    }

    fn after_dot(&self) -> bool {
        self.out.last().is_some_and(|t| t.is_punct("."))
    }

    fn after_name(&self) -> bool {
        matches!(self.out.last(), Some(Token::Name(_) | Token::Word(_)))
    }

    fn punct(&mut self, first: char) {
        const LONG: [&str; 11] = [
            "->>", "<=>", "<=", ">=", "<>", "!=", "||", "&&", "<<", ">>", ":=",
        ];
        let punct = LONG
            .into_iter()
            .chain(["->"])
            .find(|p| self.rest.starts_with(p))
            .map_or_else(|| first.to_string(), str::to_owned);
        self.rest = &self.rest[punct.len()..];
        self.out.push(Token::Punct(punct));
    }
}

fn push_unescaped(text: &mut String, escaped: char) {
    match escaped {
        'n' => text.push('\n'),
        't' => text.push('\t'),
        'r' => text.push('\r'),
        'b' => text.push('\u{8}'),
        '0' => text.push('\0'),
        'Z' => text.push('\u{1a}'),
        // A pattern keeps its backslash, as the server does it.
        '%' | '_' => {
            text.push('\\');
            text.push(escaped);
        }
        other => text.push(other),
    }
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
        || (word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
        || (word.starts_with(|c: char| c.is_ascii_digit()) && word.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Token> {
        tokens(text, &Options::default()).unwrap()
    }

    #[test]
    fn quotes_and_escapes_are_taken_off() {
        assert_eq!(
            words(r"`a``b` 'it''s' 'x\ny' X'41' 1.5e3"),
            vec![
                Token::Name("a`b".into()),
                Token::Text("it's".into()),
                Token::Text("x\ny".into()),
                Token::Number("X'41'".into()),
                Token::Number("1.5e3".into()),
            ]
        );
    }

    #[test]
    fn the_sql_mode_decides_what_double_quotes_and_backslashes_mean() {
        let options = Options {
            ansi_quotes: true,
            no_backslash_escapes: true,
        };
        assert_eq!(
            tokens(r#""n" 'a\'"#, &options).unwrap(),
            vec![Token::Name("n".into()), Token::Text("a\\".into())]
        );
    }

    #[test]
    fn executable_comments_are_read_and_others_are_not() {
        let read = words("a /* no */ /*!50100 b */ c -- tail\n # more\nd");
        let expected: Vec<Token> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|w| Token::Word(w.to_owned()))
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_word_may_start_with_a_digit_and_a_name_may_follow_a_dot() {
        assert_eq!(
            words("1abc db.2t"),
            vec![
                Token::Word("1abc".into()),
                Token::Word("db".into()),
                Token::Punct(".".into()),
                Token::Word("2t".into()),
            ]
        );
    }

    #[test]
    fn an_open_quote_is_an_error_not_a_panic() {
        for text in ["'abc", "`x", "/* y", "x'", "'\\"] {
            let _ = tokens(text, &Options::default());
        }
        assert!(tokens("'abc", &Options::default()).is_err());
    }
}
