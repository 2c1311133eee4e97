//! The command line tool, run as a user runs it: the real program, against the addresses of all doors.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{Error, Result};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// How to call it.
#[derive(Clone, Debug)]
pub struct Dmctl {
    pub(crate) program: PathBuf,
    pub(crate) doors: String,
    pub(crate) otlp: Option<String>,
    pub(crate) dir: PathBuf,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The arguments, for messages.
    pub args: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What a user reads.
    pub stdout: String,
    /// Complaints.
    pub stderr: String,
}

impl Dmctl {
    /// Runs one command; its failure is an answer, not an error.
    pub async fn run<I, A>(&self, args: I) -> Result<Output>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let shown: Vec<_> = args
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let shown = shown.join(" ");
        let mut command = Command::new(&self.program);
        command.arg("--master-addr").arg(&self.doors).args(&args);
        if let Some(otlp) = &self.otlp {
            command.env("DM_OTLP_ENDPOINT", otlp);
        }
        command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = match timeout(PATIENCE, command.output()).await {
            Ok(output) => output.map_err(Error::io(format!("run {}", self.program.display())))?,
            Err(_) => {
                return Err(Error::Dmctl {
                    args: shown,
                    output: format!("no end within {PATIENCE:?}"),
                });
            }
        };
        Ok(Output {
            args: shown,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Output {
    /// The JSON that it printed.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).map_err(|_| self.failure())
    }

    /// Whether the answer says `"result": true`, for itself and for every source in it.
    pub fn is_success(&self) -> bool {
        let Ok(answer) = self.json() else {
            return false;
        };
        let is_true = |answer: &Value| answer["result"] == true;
        self.code == Some(0)
            && is_true(&answer)
            && answer["sources"]
                .as_array()
                .is_none_or(|all| all.iter().all(is_true))
    }

    /// The answer, when it is a success in the sense of [`Self::is_success`].
    pub fn success(self) -> Result<Value> {
        if self.is_success() {
            self.json()
        } else {
            Err(self.failure())
        }
    }

    /// Everything it printed, as an error.
    pub fn failure(&self) -> Error {
        let code = self.code.map_or("ended by a signal".to_owned(), |code| {
            format!("exit code {code}")
        });
        Error::Dmctl {
            args: self.args.clone(),
            output: format!("{code}\n{}{}", self.stdout, self.stderr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stdout: &str) -> Output {
        Output {
            args: "x".to_owned(),
            code: Some(0),
            stdout: stdout.to_owned(),
            stderr: String::new(),
        }
    }

    #[test]
    fn one_failed_source_makes_the_answer_a_failure() {
        assert!(output(r#"{"result": true, "msg": ""}"#).is_success());
        assert!(output(r#"{"result": true, "sources": [{"result": true}]}"#).is_success());
        assert!(
            !output(r#"{"result": true, "sources": [{"result": true}, {"result": false}]}"#)
                .is_success()
        );
        assert!(!output(r#"{"result": false, "msg": "no"}"#).is_success());
        assert!(!output("Error: cannot connect").is_success());
    }
}
