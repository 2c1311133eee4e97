//! Case 50: one trace from the client through the door to the leader of the role.

use dm_keyspace::Role;
use dm_service::telemetry::{self, Identity};
use dm_service::{Nothing, Settings, config};
use dm_testkit::otlp::{Collector, Span};

use crate::support::stub::Stub;
use crate::support::{Plan, leads, one_door, raw};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

// Telemetry is installed once for the process: the other tests' spans go the same way, in traces of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_50_trace_of_a_request_goes_on_at_the_leader_of_the_role() {
    let collector = Collector::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let endpoint = collector.endpoint();
    let args = [
        "test",
        "--otlp-endpoint",
        &endpoint,
        "--log-file",
        log.to_str().unwrap(),
    ];
    let settings: Settings<Nothing> =
        config::load("election-svc", 0, args.map(Into::into), |_| None).unwrap();
    let identity = Identity {
        service: "election-svc",
        instance: "traced".to_owned(),
    };
    let guard = telemetry::install(&identity, &settings.common, None).unwrap();

    let (etcd, door) = one_door().await;
    let stub = Stub::saying("");
    let plan = Plan::new("scheduler-1", &etcd.endpoint());
    let _scheduler = stub.start(Role::Scheduler, &plan).await;
    leads(&door, "scheduler", "scheduler-1").await;
    raw(
        &door.addr,
        "/pb.Master/StartTask",
        &[("traceparent", CALLER)],
        b"",
    )
    .await;
    let sent = stub.seen()[0].headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(sent.contains(TRACE), "{sent}");

    tokio::task::spawn_blocking(|| guard.flush()).await.unwrap();
    let spans = collector.spans(TRACE);
    let at = |service: &str, kind: &dyn Fn(&Span) -> bool| -> Span {
        let named = |s: &&Span| {
            s.attributes
                .get("rpc.service")
                .is_some_and(|v| v == service)
        };
        let found = spans.iter().filter(named).find(|s| kind(s));
        found
            .unwrap_or_else(|| panic!("no span of {service} in {spans:#?}"))
            .clone()
    };
    let door_span = at("pb.Master", &|s| {
        s.parent.as_deref() == Some("b7ad6b7169203331")
    });
    let call = at("dm.scheduler.v1.Scheduler", &|s| {
        s.parent.as_ref() == Some(&door_span.span_id)
    });
    let handled = at("dm.scheduler.v1.Scheduler", &|s| {
        s.parent.as_ref() == Some(&call.span_id)
    });
    assert!(
        sent.contains(&call.span_id),
        "{sent} names the span of the call"
    );
    assert_eq!(handled.attributes["rpc.method"], "StartTask");
}
