//! The MariaDB servers, each with a folder of its own for temporary files too.
//!
//! A MariaDB that starts removes what it takes for leftovers in its folder for temporary files. In a folder that several servers share, and
//! `/tmp` is one by default, it removes those that another one is using: an initialisation under way then fails.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_testkit::mariadb::{MariaDb, Options};
use dm_testkit::process::Spec;
use futures::future::try_join_all;

use crate::{Error, Result};

/// How long the system tables may take on a busy machine.
const INSTALL_LIMIT: Duration = Duration::from_secs(120);
/// The replication id of the downstream, out of the way of those of the sources.
const DOWNSTREAM_ID: u32 = 100;

/// Starts the servers to migrate from, and the one to migrate into.
pub(crate) async fn start(root: &Path, sources: usize) -> Result<(Vec<MariaDb>, MariaDb)> {
    let template = initialise(root).await?;
    let start = |name: String, server_id: u32| {
        let (dir, template) = (root.join(&name), template.clone());
        async move {
            let own = temporary_folder(&dir)?;
            let options = Options {
                template: Some(template),
                own_group: true,
                args: vec![format!("--tmpdir={}", own.display())],
                ..Options::new(server_id)
            };
            Ok::<_, Error>(MariaDb::start(&name, dir, options).await?)
        }
    };
    let sources = (1..)
        .take(sources)
        .map(|id| start(format!("source-{id}"), id));
    let sources = try_join_all(sources);
    tokio::try_join!(sources, start("downstream".to_owned(), DOWNSTREAM_ID))
}

fn temporary_folder(dir: &Path) -> Result<PathBuf> {
    let own = dir.join("tmp");
    std::fs::create_dir_all(&own).map_err(Error::io(format!("make {}", own.display())))?;
    Ok(own)
}

/// Makes a data folder for all servers to copy.
async fn initialise(root: &Path) -> Result<PathBuf> {
    let dir = root.join("mariadb-template");
    let data = dir.join("data");
    if data.join("mysql").is_dir() {
        return Ok(data);
    }
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let spec = Spec::new("mariadb-install-db", "mariadb-install-db", &dir)
        .from_package("mariadb-server")
        .own_group()
        .env("TMPDIR", temporary_folder(&dir)?)
        .args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ])
        .args([
            "--innodb-log-file-size=8M",
            "--innodb-flush-method=fsync",
            "--innodb-use-native-aio=0",
        ])
        .arg(format!("--datadir={}", data.display()))
        .args(is_root.then_some("--user=root"));
    let mut process = spec.spawn()?;
    if !process.wait(INSTALL_LIMIT).await?.success() {
        process.ensure_running()?;
    }
    Ok(data)
}
