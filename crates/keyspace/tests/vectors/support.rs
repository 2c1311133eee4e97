//! Loading vector files and collecting what fails, so that one run shows every failure.

use std::{fmt::Write as _, path::PathBuf};

use serde_json::Value;

/// A vector file, with every failure and every case that was run.
pub(crate) struct Run {
    file: PathBuf,
    executed: usize,
    failures: String,
}

impl Run {
    /// Reads a file of the vectors' folder; no file means a failed test.
    pub(crate) fn load(file: &str) -> (Self, Value) {
        let file = dm_testkit::vectors().join(file);
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        let json = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{} is not JSON: {error}", file.display()));
        let run = Self {
            file,
            executed: 0,
            failures: String::new(),
        };
        (run, json)
    }

    /// Runs one case; an error is its expected and actual outcome.
    pub(crate) fn case(&mut self, id: &str, check: impl FnOnce() -> Result<(), String>) {
        self.executed += 1;
        if let Err(failure) = check() {
            let file = self.file.display();
            let _ = write!(self.failures, "\n{file}, case {id}\n{failure}\n");
        }
    }

    /// Fails unless every case has run and none has failed.
    pub(crate) fn finish(self, cases: usize) {
        assert!(cases > 0, "{} has no cases", self.file.display());
        assert_eq!(
            self.executed,
            cases,
            "not every case of {} was run",
            self.file.display()
        );
        assert!(self.failures.is_empty(), "{}", self.failures);
    }
}

/// The elements of an array, which must be one.
pub(crate) fn list(json: &Value) -> &[Value] {
    json.as_array()
        .unwrap_or_else(|| panic!("not a list: {json}"))
}

/// A member that must be there and a string.
pub(crate) fn text<'a>(case: &'a Value, member: &str) -> Result<&'a str, String> {
    case[member]
        .as_str()
        .ok_or_else(|| format!("  no text in member `{member}` of {case}"))
}

/// Compares, and shows both sides one above the other when they differ.
pub(crate) fn same<T: std::fmt::Debug + PartialEq>(
    what: &str,
    expected: &T,
    actual: &T,
) -> Result<(), String> {
    if expected == actual {
        return Ok(());
    }
    Err(format!(
        "  {what}\n    expected {expected:?}\n    actual   {actual:?}"
    ))
}
