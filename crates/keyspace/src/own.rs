//! How keys of our own are read: `/dm-master/<kind>/<role>/<rest>`, the rest as it is, slashes included.

use crate::{KeyError, KeyFault, LeaseId, Role};

/// The text after a prefix.
pub(crate) fn after<'a>(prefix: &'static str, key: &'a [u8]) -> Result<&'a str, KeyError> {
    let rest = key
        .strip_prefix(prefix.as_bytes())
        .ok_or_else(|| KeyError::new(key, KeyFault::Prefix(prefix)))?;
    std::str::from_utf8(rest).map_err(|_| KeyError::new(key, KeyFault::NotUtf8(1)))
}

/// Nothing but this key.
pub(crate) fn exactly(expected: &'static str, key: &[u8]) -> Result<(), KeyError> {
    if key == expected.as_bytes() {
        return Ok(());
    }
    Err(KeyError::new(key, KeyFault::Prefix(expected)))
}

/// A role alone after the prefix.
pub(crate) fn role(prefix: &'static str, key: &[u8]) -> Result<Role, KeyError> {
    let word = after(prefix, key)?;
    word.parse()
        .map_err(|unknown| KeyError::new(key, KeyFault::Role(unknown)))
}

/// A role and what follows the slash behind it, which must not be nothing.
pub(crate) fn role_and_rest<'a>(
    prefix: &'static str,
    key: &'a [u8],
) -> Result<(Role, &'a str), KeyError> {
    let fail = |fault| KeyError::new(key, fault);
    let (role, rest) = after(prefix, key)?.split_once('/').ok_or_else(|| {
        fail(KeyFault::SegmentCount {
            found: 1,
            expected: 2,
        })
    })?;
    if rest.is_empty() {
        return Err(fail(KeyFault::EmptySegment(2)));
    }
    let role = role
        .parse()
        .map_err(|unknown| fail(KeyFault::Role(unknown)))?;
    Ok((role, rest))
}

/// A lease in the one form that `write` gives it; another spelling of the same number is another key.
pub(crate) fn lease(
    digits: &str,
    key: &[u8],
    write: impl Fn(LeaseId) -> String,
) -> Result<LeaseId, KeyError> {
    u64::from_str_radix(digits, 16)
        .ok()
        .map(|number| LeaseId(i64::from_ne_bytes(number.to_ne_bytes())))
        .filter(|&lease| write(lease) == digits)
        .ok_or_else(|| KeyError::new(key, KeyFault::Lease(digits.to_owned())))
}
