//! What a new user sees: the demo, a little smaller, and the cluster that stays up, with the commands that it prints.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{alone, programs};
use playground::demo::{self, Verdict};
use playground::migration::LIMIT;
use playground::orders::ShardMode;
use playground::story::Story;
use playground::up;
use playground::wait::wait_for;
use tokio::process::Command;

/// The story, kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn told(mode: ShardMode, parts: &[&str]) {
    let _alone = alone().await;
    let options = demo::Options {
        bin_dir: Some(programs().to_owned()),
        rows: 50,
        pace: Duration::from_millis(25),
        mode,
        ..demo::Options::default()
    };
    let kept = Kept::default();
    let played = demo::play(&options, &mut Story::new(kept.clone())).await;
    let text = kept.text();
    let verdict = played.unwrap_or_else(|e| panic!("{e}\nafter this story:\n{text}"));
    assert_eq!(verdict, Verdict::Equal, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_with_a_downstream_that_is_the_merge_of_the_sources() {
    let parts = [
        "dmctl list-member",
        "dmctl query-status",
        "dmctl shard-ddl-lock",
        "kill -9",
        "has taken over",
        "EQUAL",
        "pessimist-svc",
    ];
    told(ShardMode::Pessimistic, &parts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_the_demo_in_optimistic_mode() {
    let parts = [
        "Nobody waited",
        "waits for the other shards",
        "are redirected",
        "blockDDLOwner: mysql-02-`shop_2`.`orders_4`",
        "-a skip",
        "EQUAL",
        "optimist-svc",
    ];
    told(ShardMode::Optimistic, &parts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_that_up_prints_works() {
    let _alone = alone().await;
    let kept = Kept::default();
    let options = up::Options {
        dir: None,
        bin_dir: Some(programs().to_owned()),
        otlp: None,
        sources: 1,
        workers: 1,
        replicas: 1,
    };
    let tried = async {
        let text = wait_for(LIMIT, "the commands are printed", async || {
            Some(kept.text()).filter(|text| text.contains("Ctrl-C"))
        })
        .await;
        let text = text.unwrap();
        let lines = text.lines().map(str::trim);
        let doors = lines
            .clone()
            .find_map(|line| line.strip_prefix("export DM_MASTER_ADDR="))
            .unwrap();
        let commands: Vec<&str> = lines.filter(|line| line.contains("/dmctl ")).collect();
        assert_eq!(commands.len(), 4, "{text}");
        for command in commands {
            let shell = Command::new("/bin/sh")
                .args(["-c", command])
                .env("DM_MASTER_ADDR", doors)
                .output()
                .await
                .unwrap();
            let said = String::from_utf8_lossy(&shell.stdout);
            assert!(
                shell.status.success() && said.contains("\"result\": true"),
                "{command}: {shell:?}"
            );
        }
    };
    up::run(options, &mut Story::new(kept.clone()), tried)
        .await
        .unwrap();
    assert!(kept.text().contains("Stopping."));
}
