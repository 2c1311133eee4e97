//! A real etcd: one member or several, loopback only, a data folder of its own, gone with the value.
//!
//! Debian's 3.4 cannot be told not to sync, so [`RealEtcd::start_temp`] keeps its data in memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Process, Spec};
use crate::scratch::scratch_dir;
use crate::wait::wait_for;
use crate::{Error, Result, free_port};

/// How long a start may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a stop may take before it becomes a kill.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// PEM files of a server.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Who signed the certificates of clients.
    pub ca: PathBuf,
    /// The server's own certificate, good for 127.0.0.1.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Settings of the server that tests vary.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program; looked for in `PATH` when it is a bare name.
    pub program: PathBuf,
    /// Operations allowed in one transaction.
    pub max_txn_ops: u32,
    /// Raft heartbeat; the shortest lease is one and a half election timeouts.
    pub heartbeat: Duration,
    /// Raft election timeout.
    pub election_timeout: Duration,
    /// TLS for its clients, who must show a certificate too.
    pub tls: Option<Tls>,
    /// Client port, when it must be a certain one.
    pub port: Option<u16>,
    /// Further flags.
    pub args: Vec<String>,
    /// Whether Ctrl-C at the terminal is kept away from it.
    pub own_group: bool,
}

impl Default for Options {
    /// etcd's own defaults.
    fn default() -> Self {
        Self {
            program: PathBuf::from("etcd"),
            max_txn_ops: 128,
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            tls: None,
            port: None,
            args: Vec::new(),
            own_group: false,
        }
    }
}

/// A running member of an etcd, most often the only one.
#[derive(Debug)]
pub struct RealEtcd {
    process: Process,
    spec: Spec,
    port: u16,
    health_port: u16,
    scheme: &'static str,
    // Last, so that the process ends before its folder goes.
    _scratch: Option<TempDir>,
}

impl RealEtcd {
    /// Starts on the data in `dir`, with etcd's default settings, and waits until it answers.
    pub async fn start(dir: impl AsRef<Path>) -> Result<Self> {
        Self::start_with(dir, Options::default()).await
    }

    /// Starts on the data in `dir` and waits until it answers.
    pub async fn start_with(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::launch(dir.as_ref(), &options, None).await
    }

    /// Starts with a folder that goes with the value.
    pub async fn start_temp() -> Result<Self> {
        Self::start_temp_with(Options::default()).await
    }

    /// Starts with a folder that goes with the value.
    pub async fn start_temp_with(options: Options) -> Result<Self> {
        let scratch = scratch_dir("etcd")?;
        let dir = scratch.path().to_owned();
        Self::launch(&dir, &options, Some(scratch)).await
    }

    async fn launch(dir: &Path, options: &Options, scratch: Option<TempDir>) -> Result<Self> {
        let seat = Seat {
            name: "testkit".to_owned(),
            port: options.port.map_or_else(free_port, Ok)?,
            peer_port: free_port()?,
            health_port: free_port()?,
        };
        let mut etcd = Self::spawn(dir, options, &seat, std::slice::from_ref(&seat), scratch)?;
        etcd.await_health().await?;
        Ok(etcd)
    }

    /// Starts the members of one cluster, each with a folder that goes with the value.
    pub async fn start_cluster(members: usize, options: &Options) -> Result<Vec<Self>> {
        let seat = |number| -> Result<Seat> {
            Ok(Seat {
                name: format!("testkit-{number}"),
                port: free_port()?,
                peer_port: free_port()?,
                health_port: free_port()?,
            })
        };
        let seats = (0..members).map(seat).collect::<Result<Vec<_>>>()?;
        let spawn = |seat: &Seat| {
            let scratch = scratch_dir("etcd")?;
            let dir = scratch.path().to_owned();
            Self::spawn(&dir, options, seat, &seats, Some(scratch))
        };
        // None is healthy before most of them run.
        let mut cluster = seats.iter().map(spawn).collect::<Result<Vec<_>>>()?;
        for etcd in &mut cluster {
            etcd.await_health().await?;
        }
        Ok(cluster)
    }

    fn spawn(
        dir: &Path,
        options: &Options,
        seat: &Seat,
        cluster: &[Seat],
        scratch: Option<TempDir>,
    ) -> Result<Self> {
        let spec = spec(dir, options, seat, cluster);
        Ok(Self {
            process: spec.spawn()?,
            spec,
            port: seat.port,
            health_port: options.tls.as_ref().map_or(seat.port, |_| seat.health_port),
            scheme: scheme(options),
            _scratch: scratch,
        })
    }

    /// The address that clients are given.
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// The client port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, to be paused, killed or asked for its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it in an orderly way; the data stay for [`Self::restart`].
    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop(STOP_LIMIT).await.map(drop)
    }

    /// Starts it again on the same data and the same port, after ending it if it still runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.process = self.spec.spawn()?;
        self.await_health().await
    }

    async fn await_health(&mut self) -> Result<()> {
        let port = self.health_port;
        let process = &mut self.process;
        let ended = wait_for(START_LIMIT, "etcd reports itself healthy", || {
            let running = process.ensure_running();
            async move {
                match running {
                    Err(ended) => Some(Err(ended)),
                    Ok(()) => is_healthy(port).await.then_some(Ok(())),
                }
            }
        })
        .await;
        ended.unwrap_or_else(|late| {
            let (name, log) = (self.process.name().to_owned(), self.process.log_tail());
            Err(Error::NotReady {
                name,
                log,
                source: Box::new(late),
            })
        })
    }
}

/// One member's place in a cluster.
#[derive(Debug)]
struct Seat {
    name: String,
    port: u16,
    peer_port: u16,
    /// For its health page when its clients speak TLS.
    health_port: u16,
}

impl Seat {
    fn peer(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }
}

fn spec(dir: &Path, options: &Options, seat: &Seat, cluster: &[Seat]) -> Spec {
    let client = format!("{}://127.0.0.1:{}", scheme(options), seat.port);
    let peer = seat.peer();
    let members = cluster.iter().map(|s| format!("{}={}", s.name, s.peer()));
    let members = members.collect::<Vec<_>>().join(",");
    let millis = |time: Duration| time.as_millis().to_string();
    let spec = Spec::new("etcd", &options.program, dir)
        .from_package("etcd-server")
        .arg("--data-dir")
        .arg(dir.join("data"))
        .args([
            "--name",
            &seat.name,
            "--logger",
            "zap",
            "--log-outputs",
            "stderr",
        ])
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .arg(format!("--initial-cluster={members}"))
        .arg(format!(
            "--heartbeat-interval={}",
            millis(options.heartbeat)
        ))
        .arg(format!(
            "--election-timeout={}",
            millis(options.election_timeout)
        ))
        .arg(format!("--max-txn-ops={}", options.max_txn_ops))
        .arg("--auto-compaction-retention=0")
        .args(options.tls.iter().flat_map(|tls| tls_flags(tls, seat)))
        .args(&options.args);
    if options.own_group {
        spec.own_group()
    } else {
        spec
    }
}

fn scheme(options: &Options) -> &'static str {
    if options.tls.is_some() {
        "https"
    } else {
        "http"
    }
}

fn tls_flags(tls: &Tls, seat: &Seat) -> [String; 5] {
    [
        format!("--cert-file={}", tls.cert.display()),
        format!("--key-file={}", tls.key.display()),
        format!("--trusted-ca-file={}", tls.ca.display()),
        "--client-cert-auth".to_owned(),
        // Its page of health without TLS, on a port of its own.
        format!(
            "--listen-metrics-urls=http://127.0.0.1:{}",
            seat.health_port
        ),
    ]
}

/// Asks etcd's own health page, which is false until there is a leader.
async fn is_healthy(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream
            .write_all(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.contains(r#""health":"true""#))
    };
    ask.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn etcd_starts_and_comes_back_on_the_same_data_and_port() {
        let mut etcd = RealEtcd::start_temp().await.unwrap();
        let endpoint = etcd.endpoint();
        etcd.process().kill9().unwrap();
        assert!(!is_healthy(etcd.port()).await);
        etcd.restart().await.unwrap();
        assert!(is_healthy(etcd.port()).await);
        assert_eq!(etcd.endpoint(), endpoint);
    }

    #[tokio::test]
    async fn an_etcd_that_refuses_its_flags_fails_with_its_own_words() {
        let options = Options {
            args: vec!["--no-such-flag".to_owned()],
            ..Options::default()
        };
        let failed = RealEtcd::start_temp_with(options)
            .await
            .unwrap_err()
            .to_string();
        assert!(failed.contains("no-such-flag"), "{failed}");
    }

    #[tokio::test]
    async fn a_missing_etcd_names_the_package() {
        let options = Options {
            program: "/nowhere/etcd".into(),
            ..Options::default()
        };
        let failed = RealEtcd::start_temp_with(options)
            .await
            .unwrap_err()
            .to_string();
        assert!(failed.contains("etcd-server"), "{failed}");
    }
}
