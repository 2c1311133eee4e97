//! `extra-args` of the dump, as far as a check needs them: flags that do not exist, and the consistency.

/// Flags that take a value.
const VALUED: [&str; 19] = [
    "-B",
    "--database",
    "-T",
    "--tables-list",
    "-t",
    "--threads",
    "-F",
    "--filesize",
    "-s",
    "--statement-size",
    "--consistency",
    "--snapshot",
    "-r",
    "--rows",
    "--where",
    "-f",
    "--filter",
    "--ca",
    "--cert",
];
const VALUED_MORE: [&str; 1] = ["--key"];
/// Flags that are on by themselves, or off with `=false`.
const SWITCHES: [&str; 5] = [
    "-W",
    "--no-views",
    "--escape-backslash",
    "--no-locks",
    "--transactional-consistency",
];

/// The consistency that the arguments ask for.
///
/// # Errors
/// The text about an argument that the dump does not know.
pub(crate) fn consistency(extra_args: &str) -> Result<String, String> {
    let mut consistency = "auto".to_owned();
    let mut words = extra_args.split_whitespace();
    while let Some(word) = words.next() {
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (word, None),
        };
        if SWITCHES.contains(&flag) {
            continue;
        }
        if !VALUED.contains(&flag) && !VALUED_MORE.contains(&flag) {
            return Err(match flag.starts_with('-') {
                true => format!("unknown flag: {flag} in extra-args of the dump"),
                false => format!("unexpected argument: {flag} in extra-args of the dump"),
            });
        }
        let value = inline
            .or_else(|| words.next())
            .ok_or_else(|| format!("flag needs an argument: {flag} in extra-args of the dump"))?;
        if flag == "--consistency" {
            value.clone_into(&mut consistency);
        }
    }
    Ok(consistency)
}

#[cfg(test)]
mod tests {
    use super::consistency;

    #[test]
    fn the_consistency_is_the_one_asked_for_or_auto() {
        assert_eq!(consistency("").unwrap(), "auto");
        assert_eq!(consistency("-t 8 --consistency none -W").unwrap(), "none");
        assert_eq!(
            consistency("--consistency=lock --no-views=false").unwrap(),
            "lock"
        );
    }

    #[test]
    fn flags_that_do_not_exist_are_named() {
        for (args, named) in [
            ("--fast", "--fast"),
            ("-t 8 stray", "stray"),
            ("--where", "--where"),
        ] {
            let error = consistency(args).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
