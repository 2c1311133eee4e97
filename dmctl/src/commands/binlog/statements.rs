//! Statements given as arguments.

use dm_schema::{Options, read};

use crate::error::Error;

/// The statements of the arguments, one text each. A shell may have torn them at blanks.
///
/// # Errors
/// When there is none, or one of them is no statement; the error shows what was read.
pub(super) fn of(args: &[String]) -> Result<Vec<String>, Error> {
    if args.is_empty() {
        return Err(Error::Other("args is empty".to_owned()));
    }
    let joined = args.join(" ");
    // Only a pair: a statement may end with a text in double quotes.
    let text = joined
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(&joined);
    let statements = split(text);
    if statements.is_empty() {
        return Err(Error::Other("no valid SQLs".to_owned()));
    }
    for statement in &statements {
        read(statement, &Options::default())
            .map_err(|error| Error::Other(format!("invalid sql '{text}': {error}")))?;
    }
    Ok(statements.into_iter().map(str::to_owned).collect())
}

/// Cuts at the semicolons that stand outside of quotes and comments; pieces of blanks are left out.
fn split(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        if letter == ';' {
            statements.push(&text[begin..at]);
            begin = at + 1;
        }
        at += match letter {
            '\'' | '"' | '`' => quoted(rest, letter),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '-' if is_line_comment(rest) => rest.find('\n').unwrap_or(rest.len()),
            letter => letter.len_utf8(),
        };
    }
    statements.push(&text[begin..]);
    statements.retain(|statement| !statement.trim().is_empty());
    statements.into_iter().map(str::trim).collect()
}

/// Two dashes begin a comment only before a blank.
fn is_line_comment(rest: &str) -> bool {
    rest.strip_prefix("--")
        .is_some_and(|behind| behind.is_empty() || behind.starts_with(char::is_whitespace))
}

/// How many bytes the quoted text is long that `rest` begins with. A doubled quote reads as two texts side by side.
fn quoted(rest: &str, quote: char) -> usize {
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && quote != '`' {
            letters.next();
        } else if letter == quote {
            return at + 1;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::of;

    fn statements(args: &[&str]) -> Result<Vec<String>, String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        of(&args).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_joined_and_cut_at_semicolons() {
        let both = ["alter table d.t add a int", "drop table d.u"].map(str::to_owned);
        for args in [
            &["alter table d.t add a int; drop table d.u"][..],
            &["\"alter table d.t add a int;", "drop table d.u;\""],
            &[
                "alter", "table", "d.t", "add", "a", "int;", "drop", "table", "d.u",
            ],
            &[";alter table d.t add a int; ;drop table d.u;"],
        ] {
            assert_eq!(statements(args).unwrap(), both, "{args:?}");
        }
    }

    #[test]
    fn a_semicolon_in_quotes_or_comments_is_no_end() {
        for text in [
            "alter table d.t add a varchar(9) default 'x;''y\\';'",
            "alter table d.`t;u` add a int",
            "alter table d.t /* ; */ add a int",
            "alter table d.t -- ;\n add a int",
            "alter table d.t # ;\n add a int",
            "alter table d.t add a varchar(9) comment \"é;\"",
        ] {
            assert_eq!(statements(&[text]).unwrap(), [text]);
        }
    }

    #[test]
    fn what_is_no_statement_is_shown() {
        assert_eq!(statements(&[]).unwrap_err(), "args is empty");
        assert_eq!(statements(&["\"\""]).unwrap_err(), "no valid SQLs");
        assert_eq!(statements(&[" ; "]).unwrap_err(), "no valid SQLs");
        let error = statements(&["alter", "tabel", "t"]).unwrap_err();
        assert!(
            error.starts_with("invalid sql 'alter tabel t': expected "),
            "{error}"
        );
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(statements(&["alter table d.t comment 'x; drop table d.u"]).is_err());
    }
}
