//! A real MariaDB that writes a binlog of rows: own folder, own port, small and quick to start.
//!
//! A kill of the process loses nothing that was committed; a crash of the machine may, which no
//! test makes. There is one user, [`USER`], who may do everything over TCP.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use tempfile::TempDir;

use crate::process::{Process, Spec};
use crate::scratch::scratch_dir;
use crate::wait::wait_for;
use crate::{Error, Result, free_port};

/// Who connects.
pub const USER: &str = "dm";

/// The Debian package of both programs.
const PACKAGE: &str = "mariadb-server";
/// How long the system tables may take on a busy machine.
const INSTALL_LIMIT: Duration = Duration::from_secs(90);
/// How long a start may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a stop may take before it becomes a kill.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Settings of a server that tests vary.
#[derive(Clone)]
pub struct Options {
    /// Replication id; each server of a test needs its own.
    pub server_id: u32,
    /// The password of [`USER`].
    pub password: String,
    /// TCP port, when it must be a certain one.
    pub port: Option<u16>,
    /// A folder that keeps an initialised data folder to copy, made by the first server that
    /// names it; servers that share one start faster.
    pub template: Option<PathBuf>,
    /// Further flags of the server.
    pub args: Vec<String>,
    /// Whether Ctrl-C at the terminal is kept away from it.
    pub own_group: bool,
}

impl Options {
    /// A server with this replication id and a password fit for tests.
    pub fn new(server_id: u32) -> Self {
        Self {
            server_id,
            password: "dm-secret".to_owned(),
            port: None,
            template: None,
            args: Vec::new(),
            own_group: false,
        }
    }

    /// The same, with data copied from a template that all servers share whose tests name the same folder
    /// (`CARGO_TARGET_TMPDIR`, whatever the crate), as initialising a data folder takes long.
    pub fn sharing(folder: impl AsRef<Path>, server_id: u32) -> Self {
        Self {
            template: Some(folder.as_ref().join("mariadb-template")),
            ..Self::new(server_id)
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("server_id", &self.server_id)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A running server.
#[derive(Debug)]
pub struct MariaDb {
    name: String,
    process: Process,
    spec: Spec,
    port: u16,
    options: Options,
    // Last, so that the process ends before its folder goes.
    _scratch: Option<TempDir>,
}

impl MariaDb {
    /// Starts on the data in `dir`, which are made when there are none, and waits until it answers.
    pub async fn start(name: &str, dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::launch(name, dir.as_ref(), options, None).await
    }

    /// Starts with a folder that goes with the value.
    pub async fn start_temp(name: &str, options: Options) -> Result<Self> {
        let scratch = scratch_dir("mariadb")?;
        let dir = scratch.path().to_owned();
        Self::launch(name, &dir, options, Some(scratch)).await
    }

    async fn launch(
        name: &str,
        dir: &Path,
        options: Options,
        scratch: Option<TempDir>,
    ) -> Result<Self> {
        prepare(name, dir, &options).await?;
        let port = options.port.map_or_else(free_port, Ok)?;
        let spec = server_spec(name, dir, port, &options)?;
        let process = spec.spawn()?;
        let mut server = Self {
            name: name.to_owned(),
            process,
            spec,
            port,
            options,
            _scratch: scratch,
        };
        server.await_answer().await?;
        Ok(server)
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of [`USER`].
    pub fn password(&self) -> &str {
        &self.options.password
    }

    /// The process, to be paused, killed or asked for its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What a client needs to connect.
    pub fn opts(&self) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some(USER))
            .pass(Some(&self.options.password))
            .prefer_socket(false)
            .into()
    }

    /// A connection of the caller's own.
    pub async fn connect(&self) -> Result<Conn> {
        Conn::new(self.opts())
            .await
            .map_err(self.refused("connect"))
    }

    /// Runs statements, separated by semicolons, on a connection of their own.
    pub async fn exec(&self, sql: &str) -> Result<()> {
        let mut conn = self.connect().await?;
        conn.query_drop(sql).await.map_err(self.refused(sql))?;
        conn.disconnect().await.map_err(self.refused("disconnect"))
    }

    /// Runs a query on a connection of its own; values as the text protocol shows them, NULL as `None`.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut conn = self.connect().await?;
        let rows: Vec<Row> = conn.query(sql).await.map_err(self.refused(sql))?;
        conn.disconnect()
            .await
            .map_err(self.refused("disconnect"))?;
        Ok(rows
            .into_iter()
            .map(|row| row.unwrap().into_iter().map(text).collect())
            .collect())
    }

    /// Ends it in an orderly way; the data stay for [`Self::restart`].
    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop(STOP_LIMIT).await.map(drop)
    }

    /// Starts it again on the same data and the same port, after ending it if it still runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.process = self.spec.spawn()?;
        self.await_answer().await
    }

    async fn await_answer(&mut self) -> Result<()> {
        let opts = self.opts();
        let process = &mut self.process;
        let answered = wait_for(START_LIMIT, "mariadb takes a connection", || {
            let (running, opts) = (process.ensure_running(), opts.clone());
            async move {
                match running {
                    Err(ended) => Some(Err(ended)),
                    Ok(()) => Conn::new(opts).await.is_ok().then_some(Ok(())),
                }
            }
        })
        .await;
        answered.unwrap_or_else(|late| {
            let (name, log) = (self.name.clone(), self.process.log_tail());
            Err(Error::NotReady {
                name,
                log,
                source: Box::new(late),
            })
        })
    }

    fn refused(&self, what: &str) -> impl FnOnce(mysql_async::Error) -> Error {
        let (name, what) = (self.name.clone(), what.chars().take(200).collect());
        |source| Error::Database { name, what, source }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

/// Makes the data folder unless it is there: from scratch, or as a copy of the template.
async fn prepare(name: &str, dir: &Path, options: &Options) -> Result<()> {
    let data = dir.join("data");
    if data.join("mysql").is_dir() {
        return Ok(());
    }
    let Some(template) = &options.template else {
        return install(name, dir, &data).await;
    };
    make_template(template).await?;
    copy_tree(template, &data).map_err(Error::io(format!("copy {}", template.display())))
}

/// Makes a data folder for servers to copy, unless it is there; for callers that start several at once.
pub async fn make_template(template: &Path) -> Result<()> {
    if template.join("mysql").is_dir() {
        return Ok(());
    }
    // Made aside and renamed, so that a half-made one is never copied.
    let aside =
        tempfile::tempdir_in(parent(template)?).map_err(Error::io("make a template folder"))?;
    let made = aside.path().join("data");
    install("mariadb", aside.path(), &made).await?;
    match std::fs::rename(&made, template) {
        Err(source) if !template.join("mysql").is_dir() => Err(Error::Io {
            what: format!("make {}", template.display()),
            source,
        }),
        // Somebody else may have been faster.
        _ => Ok(()),
    }
}

/// A folder for one server's temporary files: a MariaDB that starts removes what it takes for leftovers
/// in its own, and with a shared one those are files that another server is using.
fn temporary_folder(dir: &Path) -> Result<PathBuf> {
    let own = dir.join("tmp");
    std::fs::create_dir_all(&own).map_err(Error::io(format!("make {}", own.display())))?;
    Ok(own)
}

fn parent(path: &Path) -> Result<&Path> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io(format!("make {}", parent.display())))?;
    Ok(parent)
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, to) = (entry?, to);
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

async fn install(name: &str, dir: &Path, data: &Path) -> Result<()> {
    let spec = Spec::new(&format!("{name}-install"), "mariadb-install-db", dir)
        .from_package(PACKAGE)
        .env("TMPDIR", temporary_folder(dir)?)
        .args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ])
        .arg("--innodb-log-file-size=8M")
        .arg("--innodb-flush-method=fsync")
        .arg("--innodb-use-native-aio=0")
        .arg(path_flag("--datadir", data))
        .args(user_flag());
    let mut process = spec.spawn()?;
    if process.wait(INSTALL_LIMIT).await?.success() {
        Ok(())
    } else {
        process.ensure_running()
    }
}

fn server_spec(name: &str, dir: &Path, port: u16, options: &Options) -> Result<Spec> {
    let init = dir.join("init.sql");
    std::fs::write(&init, init_sql(&options.password))
        .map_err(Error::io(format!("write {}", init.display())))?;
    let spec = Spec::new(name, program(), dir)
        .from_package(PACKAGE)
        .arg("--no-defaults")
        .args(user_flag())
        .arg(path_flag("--datadir", &dir.join("data")))
        .arg(path_flag("--socket", &dir.join("s.sock")))
        .arg(path_flag("--pid-file", &dir.join("mariadbd.pid")))
        .arg(path_flag("--init-file", &init))
        .arg(path_flag("--tmpdir", &temporary_folder(dir)?))
        .arg(format!("--port={port}"))
        .arg(format!("--server-id={}", options.server_id))
        .args([
            "--skip-networking=0",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        ])
        .args([
            "--log-bin=mysql-bin",
            "--binlog-format=ROW",
            "--binlog-row-image=FULL",
        ])
        .args([
            "--gtid-strict-mode=1",
            "--log-slave-updates=1",
            "--sync-binlog=0",
        ])
        .args([
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_bin",
        ])
        .args([
            "--innodb-buffer-pool-size=24M",
            "--innodb-log-file-size=8M",
            "--innodb-log-buffer-size=2M",
        ])
        .args([
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-flush-method=fsync",
            "--innodb-use-native-aio=0",
        ])
        .args([
            "--performance-schema=0",
            "--key-buffer-size=1M",
            "--aria-pagecache-buffer-size=1M",
        ])
        .args(["--max-connections=200", "--thread-cache-size=8"])
        .args(&options.args);
    Ok(if options.own_group {
        spec.own_group()
    } else {
        spec
    })
}

/// Runs at each start; not into the binlog, which belongs to the test.
fn init_sql(password: &str) -> String {
    let password = password.replace('\\', "\\\\").replace('\'', "''");
    format!(
        "SET SESSION sql_log_bin = 0;\n\
         CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{password}';\n\
         ALTER USER '{USER}'@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
    )
}

/// Debian puts servers where a plain user's `PATH` does not look.
fn program() -> PathBuf {
    let usual = PathBuf::from("/usr/sbin/mariadbd");
    if usual.exists() {
        usual
    } else {
        PathBuf::from("mariadbd")
    }
}

fn path_flag(flag: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(flag);
    text.push("=");
    text.push(path);
    text
}

/// MariaDB refuses to run as root unless it is told to.
fn user_flag() -> Option<&'static str> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    is_root.then_some("--user=root")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(row: &[Option<String>]) -> Vec<&str> {
        row.iter()
            .map(|cell| cell.as_deref().unwrap_or("NULL"))
            .collect()
    }

    #[tokio::test]
    async fn a_server_replicates_rows_and_survives_a_kill() {
        let mut server = MariaDb::start_temp("source", Options::new(7))
            .await
            .unwrap();
        server
            .exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v TEXT)")
            .await
            .unwrap();
        server
            .exec("INSERT INTO d.t VALUES (1, NULL), (2, 'two')")
            .await
            .unwrap();
        server.process().kill9().unwrap();
        server.restart().await.unwrap();
        let rows = server
            .query("SELECT id, v FROM d.t ORDER BY id")
            .await
            .unwrap();
        assert_eq!(
            rows.iter().map(|row| cells(row)).collect::<Vec<_>>(),
            [["1", "NULL"], ["2", "two"]]
        );
        let format = server
            .query("SELECT @@log_bin, @@binlog_format, @@server_id")
            .await
            .unwrap();
        assert_eq!(cells(&format[0]), ["1", "ROW", "7"]);
        let events = server.query("SHOW BINLOG EVENTS").await.unwrap();
        assert!(
            !format!("{events:?}").contains("CREATE USER"),
            "the user came into the binlog"
        );
    }

    #[tokio::test]
    async fn servers_that_share_a_template_have_data_of_their_own() {
        let dir = scratch_dir("mariadb").unwrap();
        let options = |id| Options::sharing(dir.path(), id);
        let one = MariaDb::start("one", dir.path().join("one"), options(1))
            .await
            .unwrap();
        let two = MariaDb::start("two", dir.path().join("two"), options(2))
            .await
            .unwrap();
        one.exec("CREATE DATABASE only_here").await.unwrap();
        assert!(
            two.query("SHOW DATABASES LIKE 'only_here'")
                .await
                .unwrap()
                .is_empty()
        );
        let refused = two.exec("USE only_here").await.unwrap_err();
        assert!(matches!(refused, Error::Database { .. }));
    }
}
