//! Where a dump lies: a path of the worker's machine, or the URL of a store that several can reach.

/// Whether other machines cannot reach it.
pub(super) fn is_local(dir: &str) -> bool {
    dir.split_once("://")
        .is_none_or(|(scheme, _)| matches!(scheme, "file" | "local"))
}

/// The directory with a suffix to its path, once; what follows a `?` stays behind. None if it is neither a path nor a URL.
pub(super) fn with_suffix(dir: &str, suffix: &str) -> Option<String> {
    let is_url = dir.contains("://");
    let (path, query) = match is_url.then(|| dir.find('?')).flatten() {
        Some(at) => dir.split_at(at),
        None => (dir, ""),
    };
    let suffix = match is_url {
        true => url_escaped(suffix),
        false => suffix.to_owned(),
    };
    // A task's name need not be well-formed; what was appended to the path is therefore left out.
    if !is_readable(path.strip_suffix(&suffix).unwrap_or(path)) {
        return None;
    }
    let trimmed = path.trim_end_matches('/');
    Some(if dir.is_empty() || path.ends_with(&suffix) {
        dir.to_owned()
    } else if trimmed.ends_with(&suffix) {
        format!("{trimmed}{query}")
    } else {
        format!("{trimmed}{suffix}{query}")
    })
}

/// Whether Go's URL reader, which DM sends paths through as well, takes it: no control characters, whole escapes, and
/// a colon before the first slash only after a scheme.
fn is_readable(path: &str) -> bool {
    let first = path.split(['/', '?']).next().unwrap_or_default();
    let has_scheme = match first.split_once(':') {
        None => true,
        Some((scheme, _)) => {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        }
    };
    let has_host = path.split_once("://").is_none_or(|(_, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        !host.contains([' ', '\\', '^', '`', '{', '|', '}'])
            && host.rsplit_once(':').is_none_or(|(_, port)| {
                port.ends_with(']') || port.bytes().all(|b| b.is_ascii_digit())
            })
    });
    has_scheme
        && has_host
        && !path.chars().any(|c| c.is_ascii_control())
        && path.split('%').skip(1).all(starts_with_hex)
}

fn starts_with_hex(text: &str) -> bool {
    let digits = text.as_bytes().get(..2);
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// A text for the path of a URL, with its slashes.
fn url_escaped(text: &str) -> String {
    escaped(text, "/")
}

/// A text for one segment of a path.
pub(super) fn path_escaped(text: &str) -> String {
    escaped(text, "")
}

fn escaped(text: &str, also: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.~$&+:=@".contains(c) || also.contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_a_path_nor_a_url_is_told_from_the_rest() {
        for good in [
            "",
            "./d",
            "/a b/c",
            "./a:b",
            "s3://bucket/d?k=%",
            "s3://u:p@host:9000/d",
            "s3://[::1]/d",
            "./50%25",
            "größe",
        ] {
            assert!(with_suffix(good, ".t").is_some(), "{good}");
        }
        for bad in [
            "./50%",
            "s3://b/%zz",
            "./a\nb",
            ":/d",
            "1:a/d",
            "s3://a b/d",
            "s3://h:port/d",
        ] {
            assert_eq!(with_suffix(bad, ".t"), None, "{bad}");
        }
    }

    #[test]
    fn a_name_that_is_not_well_formed_can_be_read_again() {
        let once = with_suffix("./d", ".50%").unwrap();
        assert_eq!(once, "./d.50%");
        assert_eq!(with_suffix(&once, ".50%").as_deref(), Some("./d.50%"));
    }
}
