//! Spans reach a collector, named for the service and the replica, the last ones at the flush.
//!
//! One test in a file of its own, since telemetry is installed once for a process.

use dm_service::telemetry::{self, Identity};
use dm_service::{Nothing, Settings, config};
use dm_testkit::otlp::Collector;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_exports_the_last_span_of_a_trace_begun_elsewhere() {
    let collector = Collector::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let endpoint = collector.endpoint();
    let args = [
        "test",
        "--otlp-endpoint",
        &endpoint,
        "--log-format",
        "json",
        "--log-file",
        log.to_str().unwrap(),
    ];
    let settings: Settings<Nothing> =
        config::load("test-svc", 0, args.map(Into::into), |_| None).unwrap();
    let identity = Identity {
        service: "test-svc",
        instance: "t1".to_owned(),
    };
    let guard = telemetry::install(&identity, &settings.common, None).unwrap();
    assert!(telemetry::install(&identity, &settings.common, None).is_err());

    let span = dm_service::trace::span_under!(Some(CALLER), "bind_source", source = "s1");
    span.in_scope(|| tracing::info!("bound"));
    drop(span);
    tokio::task::spawn_blocking(|| guard.flush()).await.unwrap();

    let spans = collector.spans("0af7651916cd43dd8448eb211c80319c");
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(spans[0].name, "bind_source");
    assert_eq!(spans[0].service, "test-svc");
    assert_eq!(spans[0].parent.as_deref(), Some("b7ad6b7169203331"));
    assert_eq!(spans[0].attributes["source"], "s1");

    let line = std::fs::read_to_string(log).unwrap();
    let line: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["span_id"], spans[0].span_id.as_str());
}
