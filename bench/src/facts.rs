//! What the figures were measured on.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::World;
use crate::leader::{describe, members};

const PATIENCE: Duration = Duration::from_secs(3);

/// Names and values, for the head of the report.
pub async fn collect(world: &World) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    vec![
        fact("command", command()),
        fact("commit", commit()),
        fact(
            "bench",
            format!("{}, {} build", env!("CARGO_PKG_VERSION"), profile()),
        ),
        fact("master", master(world).await),
        fact(
            "etcd",
            etcd_version(world.etcd()).await.unwrap_or_else(unknown),
        ),
        fact("machine", machine()),
    ]
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// What was asked for, without the folder of the program.
fn command() -> String {
    let args = std::env::args().skip(1);
    std::iter::once("bench".to_owned())
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    }
}

/// The commit of the working directory, if it is one, and whether there are changes on top of it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return unknown();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => head,
        _ => format!("{head} with changes"),
    }
}

/// What the replicas say of themselves; a master of DM's own is only named.
async fn master(world: &World) -> String {
    let mut all = Vec::new();
    for role in dm_keyspace::Role::ALL {
        let replicas = members(world.store(0), role).await.unwrap_or_default();
        let Some(first) = replicas.first() else {
            continue;
        };
        let version = describe(&first.addr)
            .await
            .map_or_else(|_| unknown(), |me| me.version);
        all.push(format!("{role} {version} x {}", replicas.len()));
    }
    if all.is_empty() {
        "one that does not describe itself".to_owned()
    } else {
        all.join(", ")
    }
}

/// etcd says its version over plain HTTP on the client port.
async fn etcd_version(endpoint: &str) -> Option<String> {
    let addr = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let ask = async {
        let mut stream = TcpStream::connect(addr).await.ok()?;
        let request = format!("GET /version HTTP/1.0\r\nHost: {addr}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        version_in(&answer)
    };
    tokio::time::timeout(PATIENCE, ask).await.ok().flatten()
}

fn version_in(answer: &str) -> Option<String> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let version: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(version.get("etcdserver")?.as_str()?.to_owned())
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let model = value_in(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown);
    let memory = value_in(&read("/proc/meminfo"), "MemTotal").unwrap_or_else(unknown);
    let gib = memory
        .trim_end_matches(" kB")
        .parse::<u64>()
        .map_or(memory.clone(), |kib| format!("{} GiB", kib / (1024 * 1024)));
    format!("{cores} cores ({model}), {gib}, shared by all processes of the run and this one")
}

fn value_in(page: &str, name: &str) -> Option<String> {
    let line = page.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_etcd_answers() {
        let answer =
            "HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}";
        assert_eq!(version_in(answer).as_deref(), Some("3.4.23"));
        assert_eq!(version_in("HTTP/1.0 404 Not Found\r\n\r\nno"), None);
    }

    #[test]
    fn the_kernels_pages_have_names_before_a_colon() {
        assert_eq!(
            value_in(
                "processor\t: 0\nmodel name\t: Some CPU @ 2:1\n",
                "model name"
            )
            .as_deref(),
            Some("Some CPU @ 2:1")
        );
    }
}
