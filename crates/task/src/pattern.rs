//! Patterns for the names of schemas and tables: DM's wildcards, and regular expressions after a `~`.
//!
//! Wildcards: `*` for any rest (only as the last character), `?` for one character, `[ab]`, `[a-z]` and `[!a]` for
//! one character of a set. Characters, not bytes, are compared.

mod compare;

use regex::{Regex, RegexBuilder};

/// A pattern that is not valid, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Something follows a `*`.
    #[error("pattern {0} not valid: `*` is allowed only as the last character")]
    StarInside(String),
    /// The part after `~` is no regular expression.
    #[error("pattern {pattern} not valid: {reason}")]
    Regex {
        /// The pattern with its `~`.
        pattern: String,
        /// What the regular expression lacks.
        reason: String,
    },
}

/// A compiled pattern for one name.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Wildcard(Wildcard),
    Regex(Regex),
}

impl Pattern {
    /// Compiles a wildcard or, after `~`, a regular expression that is searched unanchored.
    pub(crate) fn new(text: &str, case_sensitive: bool) -> Result<Self, PatternError> {
        match text.strip_prefix('~') {
            None => Wildcard::new(text, case_sensitive).map(Self::Wildcard),
            Some(regex) => regex_of(regex, case_sensitive).map(Self::Regex),
        }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Wildcard(wildcard) => wildcard.matches(name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// A regular expression, without its `~`.
pub(crate) fn regex_of(text: &str, case_sensitive: bool) -> Result<Regex, PatternError> {
    RegexBuilder::new(text)
        .case_insensitive(!case_sensitive)
        .build()
        .map_err(|error| PatternError::Regex {
            pattern: format!("~{text}"),
            reason: error
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .to_owned(),
        })
}

/// Lower-cases a pattern whose names are compared in lower case. A regular expression keeps its text, since the
/// case of a letter class such as `\D` has a meaning; it is compiled to ignore case instead.
pub(crate) fn fold_case(pattern: &mut String) {
    if !pattern.starts_with('~') {
        *pattern = pattern.to_lowercase();
    }
}

/// A compiled wildcard.
#[derive(Clone, Debug)]
pub(crate) struct Wildcard {
    tokens: Vec<Token>,
    open_ended: bool,
    case_sensitive: bool,
}

#[derive(Clone, Debug)]
enum Token {
    Literal(char),
    Any,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Wildcard {
    pub(crate) fn new(text: &str, case_sensitive: bool) -> Result<Self, PatternError> {
        let folded = if case_sensitive {
            text.to_owned()
        } else {
            text.to_lowercase()
        };
        let mut tokens = Vec::new();
        let mut rest = folded.as_str();
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '*' if rest.is_empty() => {
                    return Ok(Self {
                        tokens,
                        open_ended: true,
                        case_sensitive,
                    });
                }
                '*' => return Err(PatternError::StarInside(text.to_owned())),
                '?' => tokens.push(Token::Any),
                '[' => match rest.split_once(']') {
                    Some((set, after)) => {
                        tokens.push(set_of(set));
                        rest = after;
                    }
                    None => tokens.push(Token::Literal('[')),
                },
                c => tokens.push(Token::Literal(c)),
            }
        }
        Ok(Self {
            tokens,
            open_ended: false,
            case_sensitive,
        })
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let folded;
        let name = match self.case_sensitive {
            true => name,
            false => {
                folded = name.to_lowercase();
                &folded
            }
        };
        let mut chars = name.chars();
        self.tokens
            .iter()
            .all(|token| chars.next().is_some_and(|c| token.accepts(c)))
            && (self.open_ended || chars.next().is_none())
    }
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Literal(own) => *own == c,
            Self::Any => true,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// The inside of `[...]`; a lone `!` is itself, nothing at all matches nothing.
fn set_of(text: &str) -> Token {
    let (negated, inside) = match text.strip_prefix('!') {
        Some("") => return Token::Literal('!'),
        Some(inside) => (true, inside),
        None => (false, text),
    };
    let chars: Vec<char> = inside.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if at + 2 < chars.len() && chars[at + 1] == '-' {
            ranges.push((chars[at], chars[at + 2]));
            at += 3;
        } else {
            ranges.push((chars[at], chars[at]));
            at += 1;
        }
    }
    Token::Set { negated, ranges }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern, true).unwrap().matches(name)
    }

    #[test]
    fn wildcards_match_as_documented() {
        let cases = [
            ("shop_*", "shop_", true),
            ("shop_*", "shop_12", true),
            ("shop_*", "shop", false),
            ("*", "", true),
            ("t?", "t1", true),
            ("t?", "t", false),
            ("t?", "t12", false),
            ("", "", true),
            ("", "a", false),
            ("t[0-3x]", "t2", true),
            ("t[0-3x]", "tx", true),
            ("t[0-3x]", "t4", false),
            ("t[!0-3]", "t4", true),
            ("t[!0-3]", "t0", false),
            ("t[", "t[", true),
            ("t[!]", "t!", true),
            ("t[]", "t", false),
            ("t[]", "ta", false),
            ("größe_*", "größe_1", true),
            ("~^a.c$", "abc", true),
            ("~b", "abc", true),
            ("~^b", "abc", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn bad_patterns_are_refused_with_the_reason() {
        let star = Pattern::new("a*b", true).unwrap_err();
        assert_eq!(
            star.to_string(),
            "pattern a*b not valid: `*` is allowed only as the last character"
        );
        assert!(
            Pattern::new("~(", true)
                .unwrap_err()
                .to_string()
                .starts_with("pattern ~( not valid: ")
        );
    }

    #[test]
    fn without_case_sensitivity_both_sides_are_folded_and_letter_classes_keep_their_meaning() {
        assert!(Pattern::new("Shop_?", false).unwrap().matches("sHOP_1"));
        let regex = Pattern::new("~^A\\D$", false).unwrap();
        assert!(regex.matches("ax") && !regex.matches("a1"));
    }

    /// Words of the pattern language, each with the regular expression that means the same.
    fn words() -> impl Strategy<Value = Vec<(String, String)>> {
        let same = |own: &str, regex: &str| Just((own.to_owned(), regex.to_owned()));
        let word = prop_oneof![
            "[a-dA-D_ß]".prop_map(|c| (c.clone(), c)),
            same(".", "\\."),
            same("!", "!"),
            same("?", "."),
            same("[!]", "!"),
            same("[]", "[a&&b]"),
            "[a-d_]{1,3}".prop_map(|set| (format!("[{set}]"), format!("[{set}]"))),
            "[a-d]{1,2}".prop_map(|set| (format!("[!{set}]"), format!("[^{set}]"))),
            ("[ab]", "[b-d]")
                .prop_map(|(low, high)| (format!("[{low}-{high}]"), format!("[{low}-{high}]"))),
            ("[ab]", "[b-d]")
                .prop_map(|(low, high)| (format!("[!{low}-{high}x]"), format!("[^{low}-{high}x]"))),
        ];
        proptest::collection::vec(word, 0..5)
    }

    proptest! {
        #[test]
        fn a_name_without_wildcards_matches_itself_and_its_prefix_with_a_star(name in "[a-zA-Zäß0-9_$]{1,12}", cut in 0_usize..12) {
            prop_assert!(matches(&name, &name));
            let prefix: String = name.chars().take(cut).collect();
            let open = format!("{prefix}*");
            prop_assert!(matches(&open, &name));
        }

        #[test]
        fn a_wildcard_matches_what_the_same_words_as_a_regular_expression_do(words in words(), open in any::<bool>(), fold in any::<bool>(), name in "[a-dA-D!\\[_.ß-]{0,5}") {
            let star = if open { "*" } else { "" };
            let text: String = words.iter().map(|(own, _)| own.as_str()).chain([star]).collect();
            let rest = if open { "(?s).*" } else { "" };
            let regex: String = words.iter().map(|(_, regex)| regex.as_str()).collect();
            let model = RegexBuilder::new(&format!("^(?s:{regex}){rest}$")).case_insensitive(fold).build().unwrap();
            prop_assert_eq!(Pattern::new(&text, !fold).unwrap().matches(&name), model.is_match(&name), "{} {}", text, model);
        }

        #[test]
        fn no_text_makes_the_compiler_panic(text in "[*?\\[\\]!~a-c(-]{0,10}", name in "[a-c!\\[]{0,4}") {
            if let Ok(pattern) = Pattern::new(&text, false) {
                pattern.matches(&name);
            }
        }
    }
}
