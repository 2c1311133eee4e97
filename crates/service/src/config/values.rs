//! Value parsers that several settings share.

use std::time::Duration;

/// `90s`, `1500ms`, `10m`, `1h`, or a bare number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong =
        || format!("{text:?} is no duration; write a whole number with ms, s, m or h, such as 10s");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(wrong()),
    };
    millis.map(Duration::from_millis).ok_or_else(wrong)
}

/// `host:port`, `[v6]:port`, or `:port` for all interfaces (which becomes `0.0.0.0:port`). A scheme is refused: TLS is decided by the TLS keys.
pub fn host_port(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("{text:?} {why}; write host:port, such as 127.0.0.1:8261");
    if text.contains('/') {
        return Err(wrong("has a scheme or a path"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    port.parse::<u16>()
        .map_err(|_| wrong("has no port between 0 and 65535"))?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err(wrong("has an IPv6 address without brackets"));
    }
    Ok(if host.is_empty() {
        format!("0.0.0.0:{port}")
    } else {
        text.to_owned()
    })
}

/// Whether others can call this address: it names a host, and that is not "every interface".
pub(crate) fn is_reachable(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    !matches!(host, "" | "0.0.0.0" | "[::]")
}

/// An etcd endpoint: `host:port` with or without `http://` or `https://`.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let bare = text.trim().trim_end_matches('/');
    let address = bare
        .strip_prefix("http://")
        .or_else(|| bare.strip_prefix("https://"))
        .unwrap_or(bare);
    host_port(address)?;
    Ok(bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in [
            "",
            "s",
            "1.5s",
            "-1s",
            "10 s",
            "10d",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn addresses_have_a_host_a_port_and_no_scheme() {
        assert_eq!(host_port(":8261"), Ok("0.0.0.0:8261".to_owned()));
        assert_eq!(host_port("[::1]:8261"), Ok("[::1]:8261".to_owned()));
        for text in [
            "",
            "host",
            "host:",
            "host:99999",
            "http://host:1",
            "::1:8261",
        ] {
            assert!(host_port(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn an_address_of_all_interfaces_is_none_to_call() {
        assert!(is_reachable("door-1:8261"));
        assert!(!is_reachable("0.0.0.0:8261"));
        assert!(!is_reachable("[::]:8261"));
    }
}
