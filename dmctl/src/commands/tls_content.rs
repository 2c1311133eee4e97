//! TLS files of a database: the content is put into the configuration, because the files lie where dmctl runs
//! and not where the workers do.
//!
//! The rest of the text stays as its author wrote it, comments included.

use base64::Engine;
use dm_errors::{Code, DmError};
use dm_task::db::Security;

/// The text with the contents added below `security` of the top-level key `section`; nothing if there is nothing to add.
///
/// # Errors
/// Code 48003 when a file cannot be read or the place is not found.
pub(super) fn embed(
    text: &str,
    section: &str,
    security: Option<&Security>,
) -> Result<Option<String>, DmError> {
    let Some(security) = security else {
        return Ok(None);
    };
    let parts = [
        (
            "ssl-ca",
            &security.ssl_ca,
            &security.ssl_ca_base64,
            &security.ssl_ca_bytes,
        ),
        (
            "ssl-cert",
            &security.ssl_cert,
            &security.ssl_cert_base64,
            &security.ssl_cert_bytes,
        ),
        (
            "ssl-key",
            &security.ssl_key,
            &security.ssl_key_base64,
            &security.ssl_key_bytes,
        ),
    ];
    let mut lines = Vec::new();
    for (key, path, base64, known) in parts {
        if known.as_ref().is_some_and(|bytes| !bytes.is_empty()) {
            continue;
        }
        if let Some(content) = content(key, path, base64)? {
            let bytes: Vec<String> = content.iter().map(u8::to_string).collect();
            lines.push(format!("{key}-bytes: [{}]", bytes.join(", ")));
        }
    }
    if lines.is_empty() {
        return Ok(None);
    }
    place(text, section, &lines).map(Some).ok_or_else(|| {
        cannot_load(format!(
            "no place for the content of the TLS files in {section}.security"
        ))
    })
}

fn content(key: &str, path: &str, base64: &str) -> Result<Option<Vec<u8>>, DmError> {
    if !base64.is_empty() {
        let decoded = base64::engine::general_purpose::STANDARD.decode(base64);
        return decoded
            .map(Some)
            .map_err(|error| cannot_load(format!("{key}-base64: {error}")));
    }
    if path.is_empty() {
        return Ok(None);
    }
    std::fs::read(path)
        .map(Some)
        .map_err(|error| cannot_load(format!("{key} {path}: {error}")))
}

fn cannot_load(reason: String) -> DmError {
    DmError::new(Code::CTL_LOAD_TLS_CFG, &[]).cause(reason)
}

/// Adds entries to the mapping `section.security`, in its own style.
fn place(text: &str, section: &str, entries: &[String]) -> Option<String> {
    let begin = line_starts(text).find(|&at| {
        let rest = text[at..].strip_prefix(section);
        rest.is_some_and(|rest| rest.trim_start_matches(' ').starts_with(':'))
    })?;
    let key = security_key(text, begin + section.len())?;
    let after = key + text[key..].find(':')? + 1;
    let rest = &text[after..];
    let inline = rest.trim_start_matches(' ');
    if inline.starts_with('{') {
        let at = after + (rest.len() - inline.len()) + 1;
        let (before, behind) = text.split_at(at);
        let comma = if behind.trim_start().starts_with('}') {
            ""
        } else {
            ", "
        };
        return Some(format!("{before}{}{comma}{behind}", entries.join(", ")));
    }
    let first = line_starts(rest).skip(1).map(|at| after + at).find(|&at| {
        let line = text[at..].lines().next().unwrap_or_default().trim();
        !line.is_empty() && !line.starts_with('#')
    })?;
    let line = text[first..].lines().next()?;
    let indent = &line[..line.len() - line.trim_start().len()];
    let (before, behind) = text.split_at(first);
    let added: String = entries
        .iter()
        .map(|entry| format!("{indent}{entry}\n"))
        .collect();
    Some(format!("{before}{added}{behind}"))
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1))
}

/// Where the key `security` stands, before the next top-level key and outside of comments.
fn security_key(text: &str, begin: usize) -> Option<usize> {
    let mut at = begin;
    for line in text[begin..].split_inclusive('\n') {
        let is_next =
            at > begin && line.starts_with(|c: char| !c.is_whitespace() && c != '#' && c != '}');
        if is_next {
            return None;
        }
        let code = line.split('#').next().unwrap_or_default();
        let found = code.match_indices("security").find(|(within, word)| {
            let before = code[..*within].trim_end_matches(['"', '\'']);
            let behind = code[within + word.len()..].trim_start_matches(['"', '\'', ' ']);
            behind.starts_with(':')
                && (before.trim().is_empty() || before.trim_end().ends_with(['{', ',']))
        });
        if let Some((within, _)) = found {
            return Some(at + within);
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests;
