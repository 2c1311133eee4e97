//! Two patterns beside each other: names that both match, and whether one matches all that the other does.
//!
//! Between wildcards both questions are answered exactly, since each place of a name has its own set of characters. Of
//! regular expressions only what is plain is told, so "no" means "not proven" there.

use super::{Pattern, Token, Wildcard};

/// Inclusive ranges of character codes, ascending and apart from each other.
type Ranges = Vec<(u32, u32)>;

const ALL: (u32, u32) = (0, char::MAX as u32);

impl Pattern {
    /// A name that both match, if one is found.
    pub(crate) fn common_name(&self, other: &Self) -> Option<String> {
        match (self, other) {
            (Self::Wildcard(one), Self::Wildcard(other)) => one.common_name(other),
            (Self::Wildcard(wildcard), Self::Regex(regex))
            | (Self::Regex(regex), Self::Wildcard(wildcard)) => wildcard
                .common_name(wildcard)
                .filter(|name| regex.is_match(name)),
            (Self::Regex(_), Self::Regex(_)) => None,
        }
    }

    /// Whether this one matches some name, and the other all that this one matches.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Wildcard(one), Self::Wildcard(other)) => one.is_within(other),
            (Self::Wildcard(one), Self::Regex(regex)) => {
                one.only_name().is_some_and(|name| regex.is_match(&name))
            }
            (Self::Regex(_), Self::Wildcard(other)) => other.open_ended && other.tokens.is_empty(),
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
        }
    }
}

impl Wildcard {
    fn common_name(&self, other: &Self) -> Option<String> {
        let length = self.shortest().max(other.shortest());
        let reaches = |own: &Self| own.open_ended || own.tokens.len() == length;
        if length == 0 || !reaches(self) || !reaches(other) {
            return None;
        }
        let at = |place: usize| match (self.tokens.get(place), other.tokens.get(place)) {
            (Some(Token::Literal(one)), Some(Token::Literal(other))) => {
                (one == other).then_some(*one)
            }
            (one, other) => self.any_of(&both(&ranges(one), &ranges(other))),
        };
        (0..length).map(at).collect()
    }

    fn is_within(&self, other: &Self) -> bool {
        let (own, others) = (self.shortest(), other.shortest());
        let has_room = match (self.open_ended, other.open_ended) {
            (_, true) => others <= own,
            (false, false) => others == own,
            (true, false) => false,
        };
        let fits = |place: usize| {
            let missing = without(
                &ranges(self.tokens.get(place)),
                &ranges(other.tokens.get(place)),
            );
            self.any_of(&missing).is_none()
        };
        has_room && self.common_name(self).is_some() && (0..own).all(fits)
    }

    /// Characters of the shortest name; no name is empty.
    fn shortest(&self) -> usize {
        self.tokens.len().max(usize::from(self.open_ended))
    }

    /// The name, if there is no other that matches.
    fn only_name(&self) -> Option<String> {
        let letter = |token: &Token| match token {
            Token::Literal(c) => Some(*c),
            _ => None,
        };
        let name = self.tokens.iter().map(letter).collect::<Option<String>>();
        name.filter(|_| !self.open_ended)
    }

    /// A character out of these that a name can have when it is compared, a common one if possible.
    fn any_of(&self, ranges: &Ranges) -> Option<char> {
        let is_folded = |c: &char| self.case_sensitive || c.to_lowercase().eq([*c]);
        let holds = |c: &char| {
            ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&u32::from(*c)))
        };
        let common = ('a'..='z').chain('0'..='9').chain(['_']).find(holds);
        let mut any = ranges
            .iter()
            .flat_map(|(low, high)| (*low..=*high).filter_map(char::from_u32));
        common.or_else(|| any.find(is_folded))
    }
}

/// What may stand at a place: the token's characters, or any beyond the last token.
fn ranges(token: Option<&Token>) -> Ranges {
    match token {
        None | Some(Token::Any) => vec![ALL],
        Some(Token::Literal(c)) => vec![(u32::from(*c), u32::from(*c))],
        Some(Token::Set { negated, ranges }) => {
            let mut all: Ranges = ranges
                .iter()
                .filter(|(low, high)| low <= high)
                .map(|(low, high)| (u32::from(*low), u32::from(*high)))
                .collect();
            all.sort_unstable();
            if *negated {
                without(&vec![ALL], &all)
            } else {
                all
            }
        }
    }
}

fn both(one: &Ranges, other: &Ranges) -> Ranges {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    pairs
        .map(|(a, b)| (a.0.max(b.0), a.1.min(b.1)))
        .filter(|(low, high)| low <= high)
        .collect()
}

/// What of the first is not in the second, whose ranges are ascending.
fn without(from: &Ranges, taken: &Ranges) -> Ranges {
    let mut left = Vec::new();
    for &(low, high) in from {
        let mut low = low;
        for &(first, last) in taken {
            if first > low && low <= high {
                left.push((low, high.min(first - 1)));
            }
            low = low.max(last + 1);
        }
        if low <= high {
            left.push((low, high));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, true).unwrap()
    }

    #[test]
    fn names_in_common_are_found() {
        for (one, other, name) in [
            ("order_*", "order_1*", Some("order_1")),
            ("order_*", "user_*", None),
            ("a?", "[!a-y]b", None),
            ("a?", "?b", Some("ab")),
            ("a?", "abc", None),
            ("[]", "*", None),
            ("t[0-3]", "t[3-9]", Some("t3")),
            ("~^t\\d$", "t[0-9]", Some("t0")),
            ("~^t\\d$", "~t", None),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            assert_eq!(
                one.common_name(&other).as_deref(),
                name,
                "{one:?} {other:?}"
            );
        }
    }

    #[test]
    fn a_pattern_inside_another_is_known() {
        for (one, other, within) in [
            ("order_1", "order_*", true),
            ("order_*", "order_1", false),
            ("order_1*", "order_*", true),
            ("*", "?*", true),
            ("t[a-c]", "t[!d-z]", true),
            ("t[a-d]", "t[!d-z]", false),
            ("[]", "*", false),
            ("t1", "~^t\\d$", true),
            ("t?", "~^t", false),
            ("~^t", "*", true),
            ("~^t", "t*", false),
            ("~^t", "~^t", true),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            assert_eq!(one.is_within(&other), within, "{one:?} {other:?}");
        }
    }

    #[test]
    fn capitals_are_no_difference_where_names_are_folded() {
        let folded = |text: &str| Pattern::new(text, false).unwrap();
        assert!(folded("Shop_*").is_within(&folded("shop_*")));
        assert!(folded("[!a-z]").is_within(&folded("[!a-zA-Z]")));
        assert!(!pattern("[!a-z]").is_within(&pattern("[!a-zA-Z]")));
    }

    const WILDCARD: &str = "(a|b|\\?|\\[ab\\]|\\[!a\\]|\\[b-c\\]|\\[\\]){0,4}\\*?";

    proptest! {
        #[test]
        fn a_common_name_matches_both_and_is_found_whenever_there_is_one(one in WILDCARD, other in WILDCARD, name in "[abcd]{1,5}") {
            let (one, other) = (pattern(&one), pattern(&other));
            let found = one.common_name(&other);
            prop_assert_eq!(&found, &other.common_name(&one));
            match found {
                Some(found) => prop_assert!(one.matches(&found) && other.matches(&found), "{}", found),
                None => prop_assert!(!one.matches(&name) || !other.matches(&name)),
            }
        }

        #[test]
        fn within_agrees_with_every_short_name(one in WILDCARD, other in WILDCARD) {
            let (one, other) = (pattern(&one), pattern(&other));
            let names = names(5);
            let mut own = names.iter().filter(|name| one.matches(name)).peekable();
            // Five letters are longer than any pattern, and `d` stands for every letter that none names.
            let expected = own.peek().is_some() && own.all(|name| other.matches(name));
            prop_assert_eq!(one.is_within(&other), expected);
        }
    }

    /// Every name of up to so many of four letters.
    fn names(longest: usize) -> Vec<String> {
        let mut all = Vec::new();
        let mut last = vec![String::new()];
        for _ in 0..longest {
            last = last
                .iter()
                .flat_map(|name| "abcd".chars().map(move |c| format!("{name}{c}")))
                .collect();
            all.extend(last.iter().cloned());
        }
        all
    }
}
