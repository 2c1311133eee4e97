//! A child process that cannot be forgotten: it has a folder of its own with its output in it,
//! is ended by its own id, and dies with the value that stands for it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::wait::wait_for;
use crate::{Error, Result};

/// How much of the end of each log a failure message shows.
const TAIL_BYTES: i64 = 6_000;

/// What to run, where, and with which arguments.
#[derive(Clone, Debug)]
pub struct Spec {
    name: String,
    program: PathBuf,
    package: Option<&'static str>,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: PathBuf,
    own_group: bool,
}

impl Spec {
    /// Describes a run of `program` under `dir`, which is made when it is missing; `name` is what
    /// messages and log files call it.
    pub fn new(name: &str, program: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            package: None,
            args: Vec::new(),
            envs: Vec::new(),
            dir: dir.into(),
            own_group: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = A>, A: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable of the child.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.push((key.into(), value.into()));
        self
    }

    /// Names the Debian package to install when the program is missing.
    #[must_use]
    pub fn from_package(mut self, package: &'static str) -> Self {
        self.package = Some(package);
        self
    }

    /// Puts the child into a process group of its own, so that Ctrl-C at a terminal reaches only
    /// the parent, which can then stop its children in order.
    #[must_use]
    pub fn own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// Starts the process; its output is appended to `<name>.stdout.log` and `<name>.stderr.log`.
    pub fn spawn(&self) -> Result<Process> {
        fs::create_dir_all(&self.dir).map_err(Error::io(format!("make {}", self.dir.display())))?;
        let stdout = self.dir.join(format!("{}.stdout.log", self.name));
        let stderr = self.dir.join(format!("{}.stderr.log", self.name));
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.envs.iter().map(|(key, value)| (key, value)))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(append(&stdout)?)
            .stderr(append(&stderr)?);
        if self.own_group {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|source| self.spawn_error(source))?;
        Ok(Process {
            name: self.name.clone(),
            child,
            stdout,
            stderr,
            ended: None,
        })
    }

    fn spawn_error(&self, source: std::io::Error) -> Error {
        match self.package {
            Some(package) if source.kind() == ErrorKind::NotFound => Error::MissingProgram {
                program: self.program.clone(),
                package,
            },
            _ => Error::Io {
                what: format!("start {}", self.program.display()),
                source,
            },
        }
    }
}

fn append(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io(format!("open {}", path.display())))
}

/// A running child, killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operating system's number for it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard output goes.
    pub fn stdout_path(&self) -> &Path {
        &self.stdout
    }

    /// Where its standard error goes.
    pub fn stderr_path(&self) -> &Path {
        &self.stderr
    }

    /// Its exit status, when it has ended, by itself or not.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Fails with the end of its log when it is not running any more.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => Err(Error::Exited {
                name: self.name.clone(),
                status: status.to_string(),
                log: self.log_tail(),
            }),
        }
    }

    /// Waits until it has ended by itself.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("process {} ({}) ends", self.name, self.id());
        wait_for(limit, &what, || std::future::ready(self.exit_status())).await
    }

    /// Asks it to end with SIGTERM, and makes it end with SIGKILL when `limit` has passed.
    pub async fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        match self.wait(limit).await {
            Err(Error::TimedOut { .. }) => self.kill9(),
            ended => ended,
        }
    }

    /// Ends it with SIGKILL, as a crash would, and reaps it.
    pub fn kill9(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.exit_status() {
            return Ok(status);
        }
        self.signal(Signal::SIGKILL)?;
        let status = self
            .child
            .wait()
            .map_err(Error::io(format!("reap {}", self.name)))?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Stops it in its tracks with SIGSTOP; its sockets stay open.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// The end of both of its logs, for failure messages.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        for path in [&self.stdout, &self.stderr] {
            let end = tail(path).unwrap_or_default();
            if !end.trim().is_empty() {
                text.push_str(&format!("--- {}\n{end}\n", path.display()));
            }
        }
        text
    }

    /// Sends a signal, unless the process has been reaped: its number may be another's by then.
    fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exit_status().is_some() {
            return Ok(());
        }
        let number = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        signal::kill(Pid::from_raw(number), signal)
            .map_err(|errno| Error::io(format!("send {signal} to {}", self.name))(errno.into()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failure leaves nothing to be done here: the process is gone or not ours.
        let _ended = self.kill9();
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
    file.seek(SeekFrom::End(-size.min(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::scratch_dir;
    use crate::wait::wait_until;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(dir: &Path, script: &str) -> Process {
        Spec::new("child", "/bin/sh", dir)
            .args(["-c", script])
            .spawn()
            .unwrap()
    }

    fn state(id: u32) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    #[tokio::test]
    async fn output_goes_to_log_files_and_into_the_tail() {
        let dir = scratch_dir("process").unwrap();
        let mut child = shell(dir.path(), "echo out; echo err >&2; exit 3");
        assert_eq!(child.wait(LIMIT).await.unwrap().code(), Some(3));
        let failed = child.ensure_running().unwrap_err().to_string();
        assert!(
            failed.contains("child ended by itself (exit status: 3)"),
            "{failed}"
        );
        assert!(
            failed.contains("out\n") && failed.contains("err\n"),
            "{failed}"
        );
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed_after_the_limit() {
        let dir = scratch_dir("process").unwrap();
        let mut child = shell(
            dir.path(),
            "trap '' TERM; echo ready; while :; do sleep 0.05; done",
        );
        let log = child.stdout_path().to_owned();
        wait_until(LIMIT, "the trap is set", || async {
            fs::read(&log).unwrap() == b"ready\n"
        })
        .await
        .unwrap();
        let status = child.stop(Duration::from_millis(100)).await.unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
    }

    #[tokio::test]
    async fn a_paused_process_stands_still_until_resumed() {
        let dir = scratch_dir("process").unwrap();
        let mut child = shell(dir.path(), "while :; do sleep 0.05; done");
        let id = child.id();
        child.pause().unwrap();
        wait_until(LIMIT, "the child is stopped", || async {
            state(id) == Some('T')
        })
        .await
        .unwrap();
        child.resume().unwrap();
        wait_until(LIMIT, "the child goes on", || async {
            state(id) != Some('T')
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn dropping_the_guard_ends_the_process() {
        let dir = scratch_dir("process").unwrap();
        let child = shell(dir.path(), "exec sleep 600");
        let id = child.id();
        assert!(state(id).is_some());
        drop(child);
        assert_eq!(state(id), None);
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let dir = scratch_dir("process").unwrap();
        let spec =
            Spec::new("x", "/usr/bin/no-such-program", dir.path()).from_package("etcd-server");
        let failed = spec.spawn().unwrap_err().to_string();
        assert!(
            failed.contains("install Debian's package `etcd-server`"),
            "{failed}"
        );
    }
}
