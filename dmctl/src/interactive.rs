//! One command per line, from a terminal or a pipe, on one connection.

use tokio::io::AsyncBufReadExt;

use crate::Streams;
use crate::cli::{self, Parsed};
use crate::commands::Session;
use crate::error::Error;

const PROMPT: &str = "\u{1b}[31m» \u{1b}[0m";

/// Runs lines until `exit` or the end of the input. Errors are told on standard output, and the loop goes on.
pub(crate) async fn lines(session: &Session, streams: &mut Streams) {
    loop {
        if streams.is_terminal {
            let _closed = write!(streams.out, "{PROMPT}").and_then(|()| streams.out.flush());
        }
        let mut line = String::new();
        match streams.input.read_line(&mut line).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                streams.complain(&format!("Error: cannot read a line: {error}"));
                return;
            }
        }
        let line = line.trim();
        if line == "exit" {
            return;
        }
        let words = split(line).unwrap_or_else(|| vec![line.to_owned()]);
        if words.is_empty() {
            continue;
        }
        if let Err(error) = run(session, &words, streams).await {
            if let Some(usage) = error.usage() {
                streams.say(usage);
            }
            streams.say(&format!("fail to run: [{}]", words.join(" ")));
            streams.say(&format!("Error: {error}"));
        }
    }
}

async fn run(session: &Session, words: &[String], streams: &mut Streams) -> Result<(), Error> {
    match cli::parse_line(words) {
        Parsed::Help(text) => streams.say(text.trim_end()),
        Parsed::Refused(error) => return Err(error),
        Parsed::Cli(line) => {
            session
                .run(&line.command, line.sources.source, streams)
                .await?;
        }
    }
    Ok(())
}

/// Words as a shell splits them: blanks separate, quotes and backslashes keep together. Nothing if a quote is open.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => match letters.next()? {
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(letters.next()?),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let lock = r#"shard-ddl-lock unlock "t-`db`.`tbl`" -o 'a b'  x\ y "" "q\"\n""#;
        let words = [
            "shard-ddl-lock",
            "unlock",
            "t-`db`.`tbl`",
            "-o",
            "a b",
            "x y",
            "",
            "q\"\\n",
        ];
        assert_eq!(split(lock).unwrap(), words);
        assert_eq!(split("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_line_with_an_open_quote_cannot_be_split() {
        assert_eq!(split("a 'b"), None);
        assert_eq!(split("a \"b"), None);
        assert_eq!(split("a \\"), None);
    }
}
