//! What the checks have found, and the text that says it: counts of all, details of as many as were asked for.

use dm_errors::{Class, Code, DmError};
use serde::Serialize;
use serde::ser::Serializer;
use serde_json::ser::PrettyFormatter;

/// Clients look for these words to print the rest as it is.
const HEADER: &str = "fail to check synchronization configuration with type";
const PASSED: &str = "pre-check is passed. ";

/// How a check went, the better the less.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Success,
    Warn,
    Fail,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// What the limits of a request count; the check's own state may differ.
    pub(crate) severity: State,
    pub(crate) short_error: String,
    #[serde(rename = "self", skip_serializing_if = "String::is_empty")]
    pub(crate) own: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) other: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) instruction: String,
}

impl Finding {
    pub(crate) fn new(severity: State, text: impl Into<String>) -> Self {
        Self {
            severity,
            short_error: text.into(),
            own: String::new(),
            other: String::new(),
            instruction: String::new(),
        }
    }

    pub(crate) fn fail(text: impl Into<String>) -> Self {
        Self::new(State::Fail, text)
    }

    pub(crate) fn warn(text: impl Into<String>) -> Self {
        Self::new(State::Warn, text)
    }
}

/// The result of one check.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Check {
    /// Its place among all checks of the task.
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) desc: &'static str,
    pub(crate) state: State,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Finding>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) instruction: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) extra: String,
}

impl Check {
    /// A check that has found nothing so far.
    pub(crate) fn new(name: impl Into<String>, desc: &'static str) -> Self {
        Self {
            id: 0,
            name: name.into(),
            desc,
            state: State::Success,
            errors: Vec::new(),
            instruction: String::new(),
            extra: String::new(),
        }
    }

    /// Says which server it is about.
    pub(crate) fn at(mut self, address: &str) -> Self {
        self.extra = format!("address of db instance - {address}");
        self
    }

    /// Adds a finding; the check is at least that bad.
    pub(crate) fn found(mut self, state: State, finding: Finding) -> Self {
        self.state = self.state.max(state);
        self.errors.push(finding);
        self
    }

    /// A question that was not answered fails the check, with what to do about it.
    pub(crate) fn troubled(self, trouble: &Trouble) -> Self {
        let failed = self.found(State::Fail, Finding::fail(trouble.text.clone()));
        match trouble.workaround.is_empty() {
            true => failed,
            false => failed.advise(&trouble.workaround),
        }
    }

    /// Sets what a user should do, if there is something to be done.
    pub(crate) fn advise(mut self, instruction: &str) -> Self {
        if self.state != State::Success {
            instruction.clone_into(&mut self.instruction);
        }
        self
    }
}

/// Why a question to a database has no answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) text: String,
    pub(crate) workaround: String,
}

impl Trouble {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            workaround: String::new(),
        }
    }
}

/// What a database has answered.
pub(crate) type Answer<T> = Result<T, Trouble>;

/// How many findings of each severity are shown; negative for all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Budget {
    pub(crate) errors: i64,
    pub(crate) warnings: i64,
}

impl Budget {
    /// What start-task and update-task show.
    pub(crate) const USUAL: Self = Self {
        errors: 10,
        warnings: 10,
    };

    /// Takes one unit; none is left when it says no.
    fn take(&mut self, severity: State) -> bool {
        let left = match severity {
            State::Success => return true,
            State::Warn => &mut self.warnings,
            State::Fail => &mut self.errors,
        };
        match *left {
            0 => return false,
            1.. => *left -= 1,
            _ => {}
        }
        true
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    passed: bool,
    total: usize,
    successful: usize,
    failed: usize,
    warning: usize,
}

#[derive(Debug, Serialize)]
struct Detail {
    results: Vec<Check>,
    summary: Summary,
}

/// The text of all results: an error when one of the checks failed. Results are numbered here.
pub(crate) fn verdict(mut checks: Vec<Check>, budget: Budget) -> Result<String, DmError> {
    for (id, check) in checks.iter_mut().enumerate() {
        check.id = id;
    }
    let count = |state| checks.iter().filter(|c| c.state == state).count();
    let (failed, warning) = (count(State::Fail), count(State::Warn));
    if failed + warning == 0 {
        return Ok(PASSED.to_owned());
    }
    let summary = Summary {
        passed: failed == 0,
        total: checks.len(),
        successful: count(State::Success),
        failed,
        warning,
    };
    let detail = as_go_prints(&Detail {
        results: trimmed(checks, budget),
        summary,
    });
    if failed == 0 {
        return Ok(format!(
            "{HEADER}: no errors but some warnings\n detail: {detail}"
        ));
    }
    let what = "check was failed, please see detail";
    let error = DmError::new(
        Code::TASK_CHECK_SYNC_CONFIG_ERROR,
        &[&HEADER, &what, &detail],
    );
    Err(error.class(Class::DmMaster))
}

/// 26005: nothing is known to be wrong, but nothing to be right either.
pub(super) fn too_long(limit: std::time::Duration) -> DmError {
    let what = "the checks have not come to an end";
    let detail = format!("no result within {limit:?}");
    DmError::new(
        Code::TASK_CHECK_SYNC_CONFIG_ERROR,
        &[&HEADER, &what, &detail],
    )
    .class(Class::DmMaster)
}

/// Without what went well, and cut to what is to be shown.
fn trimmed(checks: Vec<Check>, mut budget: Budget) -> Vec<Check> {
    let trim = |mut check: Check| {
        if check.state == State::Success {
            return None;
        }
        if check.errors.is_empty() {
            return budget.take(check.state).then_some(check);
        }
        check.errors.retain(|finding| budget.take(finding.severity));
        (!check.errors.is_empty()).then_some(check)
    };
    checks.into_iter().filter_map(trim).collect()
}

/// JSON as Go indents it for this text: by tabs, every line but the first one further in, and safe within HTML.
fn as_go_prints(detail: &Detail) -> String {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Texts and numbers always have a JSON form.
    if (&mut serializer)
        .collect_seq(std::iter::once(detail))
        .is_err()
    {
        return String::new();
    }
    // The list of one puts every line one step in, which is what the text wants; its brackets go.
    let text = String::from_utf8_lossy(&bytes);
    let inside = text.trim_start_matches('[').trim_end_matches(']').trim();
    inside
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(texts: &[&str]) -> Check {
        let check = Check::new("mysql_version", "d").at("h:1");
        texts.iter().fold(check, |check, text| {
            check.found(State::Warn, Finding::warn(*text))
        })
    }

    #[test]
    fn nothing_found_is_said_in_a_word() {
        let checks = vec![Check::new("a", "d"), Check::new("b", "d")];
        assert_eq!(
            verdict(checks, Budget::USUAL).unwrap(),
            "pre-check is passed. "
        );
    }

    #[test]
    fn warnings_are_a_text_with_the_details_as_go_prints_them() {
        let checks = vec![
            Check::new("ok", "d"),
            warned(&["a < b & \"c\""]).advise("do it"),
        ];
        let expected = "fail to check synchronization configuration with type: no errors but some warnings\n detail: {\n\
             \t\t\"results\": [\n\t\t\t{\n\t\t\t\t\"id\": 1,\n\t\t\t\t\"name\": \"mysql_version\",\n\t\t\t\t\"desc\": \"d\",\n\
             \t\t\t\t\"state\": \"warn\",\n\t\t\t\t\"errors\": [\n\t\t\t\t\t{\n\t\t\t\t\t\t\"severity\": \"warn\",\n\
             \t\t\t\t\t\t\"short_error\": \"a \\u003c b \\u0026 \\\"c\\\"\"\n\t\t\t\t\t}\n\t\t\t\t],\n\
             \t\t\t\t\"instruction\": \"do it\",\n\t\t\t\t\"extra\": \"address of db instance - h:1\"\n\t\t\t}\n\t\t],\n\
             \t\t\"summary\": {\n\t\t\t\"passed\": true,\n\t\t\t\"total\": 2,\n\t\t\t\"successful\": 1,\n\t\t\t\"failed\": 0,\n\
             \t\t\t\"warning\": 1\n\t\t}\n\t}";
        assert_eq!(verdict(checks, Budget::USUAL).unwrap(), expected);
    }

    #[test]
    fn a_failure_is_error_26005() {
        let check = Check::new("x", "d").found(State::Fail, Finding::fail("no"));
        let error = verdict(vec![check], Budget::USUAL).unwrap_err().to_string();
        let head = "[code=26005:class=dm-master:scope=internal:level=medium], Message: fail to check synchronization \
                    configuration with type: check was failed, please see detail\n detail: {\n\t\t\"results\": [";
        assert!(error.starts_with(head), "{error}");
    }

    #[test]
    fn findings_are_cut_by_severity_and_the_summary_keeps_the_true_counts() {
        let mixed = warned(&["w1", "w2"]).found(State::Fail, Finding::fail("f1"));
        let bare = Check {
            state: State::Warn,
            ..Check::new("bare", "d")
        };
        let shown = |errors, warnings| {
            let checks = vec![mixed.clone(), warned(&["w3"]), bare.clone()];
            let text = verdict(checks, Budget { errors, warnings })
                .unwrap_err()
                .message_text()
                .to_owned();
            assert!(
                text.contains("\"failed\": 1,\n\t\t\t\"warning\": 2"),
                "{text}"
            );
            let names = ["w1", "w2", "w3", "f1", "bare"];
            names
                .into_iter()
                .filter(|name| text.contains(&format!("\"{name}\"")))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(shown(10, 10), "w1 w2 w3 f1 bare");
        assert_eq!(shown(-1, -1), "w1 w2 w3 f1 bare");
        assert_eq!(shown(0, 0), "");
        assert_eq!(shown(1, 1), "w1 f1");
        assert_eq!(shown(0, 3), "w1 w2 w3");
    }
}
