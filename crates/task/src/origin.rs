//! Where in a file a configuration came from, for errors that are found after it has been read.

use std::collections::BTreeMap;

use dm_errors::{Code, DmError};

use crate::yaml::{self, Issues, Map};

/// The name of a file and the line of each key in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    file: String,
    lines: BTreeMap<String, usize>,
}

impl Origin {
    /// Reads a whole file with `read`; all problems of form are one error of code 20003 with `title` as message.
    pub(crate) fn read<T: Default>(
        file: &str,
        text: &str,
        title: &str,
        type_name: &'static str,
        read: impl FnOnce(&mut Map<'_>) -> T,
    ) -> Result<(T, Self), DmError> {
        let broken = |cause: String| {
            let cause = if file.is_empty() {
                cause
            } else {
                format!("{file}: {cause}")
            };
            DmError::new(Code::CONFIG_YAML_TRANSFORM, &[&title]).cause(cause)
        };
        let root = yaml::parse(text).map_err(broken)?;
        let mut issues = Issues::default();
        let value = Map::read(&root, String::new(), type_name, &mut issues, read);
        match issues.report() {
            Some(report) => Err(broken(report)),
            None => Ok((
                value,
                Self {
                    file: file.to_owned(),
                    lines: issues.lines,
                },
            )),
        }
    }

    /// Adds to an error the place of a key: file, line and key, and what is wrong or allowed there. For a key
    /// that is not there, the line is that of the nearest key around it.
    pub(crate) fn at(&self, key: &str, what: &str, error: DmError) -> DmError {
        if self.file.is_empty() && self.lines.is_empty() {
            return error;
        }
        let place = match (self.file.as_str(), self.line(key)) {
            ("", None) => String::new(),
            ("", Some(line)) => format!("line {line}: "),
            (file, None) => format!("{file}: "),
            (file, Some(line)) => format!("{file}: line {line}: "),
        };
        let before = match error.raw_cause() {
            "" => String::new(),
            cause => format!(" ({cause})"),
        };
        error.cause(format!("{place}key `{key}`: {what}{before}"))
    }

    fn line(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }
}
