//! The demo, a little smaller: what a new user sees is what is tested.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{alone, programs};
use playground::demo::{self, Verdict};
use playground::story::Story;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_with_a_downstream_that_is_the_merge_of_the_sources() {
    let _alone = alone().await;
    let options = demo::Options {
        bin_dir: Some(programs().to_owned()),
        rows: 50,
        pace: Duration::from_millis(25),
        ..demo::Options::default()
    };
    let kept = Kept::default();
    let played = demo::play(&options, &mut Story::new(kept.clone())).await;
    let text = kept.text();
    let verdict = played.unwrap_or_else(|e| panic!("{e}\nafter this story:\n{text}"));
    assert_eq!(verdict, Verdict::Equal, "{text}");
    for part in [
        "dmctl list-member",
        "dmctl query-status",
        "dmctl shard-ddl-lock",
        "kill -9",
        "has taken over",
        "EQUAL",
        "pessimist-svc",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}
