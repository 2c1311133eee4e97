//! Traces of the cluster: one trace in lines, waiting for a whole one, and passing spans on to a second collector.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use dm_testkit::otlp::{Collector, Node, Span};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::wait::wait_for;
use crate::{Error, Result};

/// Attributes that a line shows.
const SHOWN: [&str; 6] = [
    "dm.source",
    "dm.worker",
    "dm.lock",
    "dm.task",
    "db.query.summary",
    "rpc.method",
];

/// Waits for a trace in which all of `services` took part, that has one root, and whose spans all have their parents.
pub async fn wait_whole(
    collector: &Collector,
    services: &[&str],
    limit: Duration,
    is_wanted: impl Fn(&[Span]) -> bool,
) -> Result<String> {
    let what = format!("a whole trace through {}", services.join(", "));
    wait_for(limit, &what, async || {
        collector.trace_ids().into_iter().find(|id| {
            let present = collector.services(id);
            services.iter().all(|service| present.contains(*service))
                && collector.orphans(id).is_empty()
                && collector.tree(id).len() == 1
                && is_wanted(&collector.spans(id))
        })
    })
    .await
}

/// Whether these are the spans of a shard DDL from the report of its owner to the end of its lock: executed by one worker and skipped by
/// as many others as there are sources beside it.
pub fn is_shard_ddl(spans: &[Span], sources: usize) -> bool {
    let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
    count("shard_ddl") > 0
        && count("execute_shard_ddl") == 1
        && count("skip_shard_ddl") + 1 == sources
        && count("resolve_lock") > 0
}

/// One trace as a tree: what happened, where, when after the beginning, and for how long.
pub fn render(collector: &Collector, trace_id: &str) -> String {
    let roots = collector.tree(trace_id);
    let began = roots
        .iter()
        .map(|root| root.span.start_nanos)
        .min()
        .unwrap_or_default();
    let mut text = format!("trace {trace_id}\n");
    for root in &roots {
        draw(root, 0, began, &mut text);
    }
    text
}

fn draw(node: &Node, depth: usize, began: u64, text: &mut String) {
    let span = &node.span;
    let label = format!(
        "{:indent$}{} {}",
        "",
        span.service,
        span.name,
        indent = depth * 2
    );
    let millis = |nanos: u64| std::time::Duration::from_nanos(nanos).as_secs_f64() * 1_000.0;
    let (after, took) = (
        millis(span.start_nanos.saturating_sub(began)),
        millis(span.end_nanos.saturating_sub(span.start_nanos)),
    );
    // Writing to a String cannot fail.
    let _written = write!(text, "{label:<62} +{after:>7.1} ms {took:>8.1} ms");
    for name in SHOWN {
        if let Some(value) = span.attributes.get(name) {
            let _written = write!(text, "  {name}={value}");
        }
    }
    text.push_str(if span.failed { "  FAILED\n" } else { "\n" });
    for child in &node.children {
        draw(child, depth + 1, began, text);
    }
}

/// A collector that hands every request to two others; it stops with the value.
#[derive(Debug)]
pub struct Tee {
    port: u16,
    _serving: DropGuard,
}

impl Tee {
    /// Listens on a free loopback port. Neither of the two has to be there: what cannot be delivered is dropped with a warning.
    pub async fn start(first: &str, second: &str) -> Result<Self> {
        let splitter = Splitter {
            first: client(first)?,
            second: client(second)?,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(Error::io("listen on loopback"))?;
        let port = listener
            .local_addr()
            .map_err(Error::io("ask for the port"))?
            .port();
        let serving = CancellationToken::new();
        let server = Server::builder()
            .add_service(TraceServiceServer::new(splitter))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving.clone().run_until_cancelled_owned(server));
        Ok(Self {
            port,
            _serving: serving.drop_guard(),
        })
    }

    /// The address that exporters are given.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn client(url: &str) -> Result<TraceServiceClient<Channel>> {
    let url = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let endpoint = Endpoint::from_shared(url.clone())
        .map_err(|e| Error::Unexpected(format!("collector {url}: {e}")))?;
    Ok(TraceServiceClient::new(
        endpoint
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(5))
            .connect_lazy(),
    ))
}

struct Splitter {
    first: TraceServiceClient<Channel>,
    second: TraceServiceClient<Channel>,
}

#[tonic::async_trait]
impl TraceService for Splitter {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> std::result::Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner();
        let (mut first, mut second) = (self.first.clone(), self.second.clone());
        let (one, other) = tokio::join!(first.export(spans.clone()), second.export(spans));
        // The first one is the reader here, the second one the user's; its absence must not cost the first its spans.
        drop(other);
        one
    }
}

#[cfg(test)]
mod tests {
    use dm_testkit::wait_until;

    use super::*;

    fn one_span() -> ExportTraceServiceRequest {
        use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Wire};
        let span = Wire {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "x".to_owned(),
            end_time_unix_nano: 2_500_000,
            ..Wire::default()
        };
        let scope = ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![scope],
                ..ResourceSpans::default()
            }],
        }
    }

    #[tokio::test]
    async fn both_collectors_get_every_span() {
        let (ours, theirs) = (
            Collector::start().await.unwrap(),
            Collector::start().await.unwrap(),
        );
        let tee = Tee::start(&ours.endpoint(), &theirs.endpoint())
            .await
            .unwrap();
        client(&tee.endpoint())
            .unwrap()
            .export(one_span())
            .await
            .unwrap();
        wait_until(Duration::from_secs(10), "both have the span", || async {
            !ours.trace_ids().is_empty() && !theirs.trace_ids().is_empty()
        })
        .await
        .unwrap();
        assert!(render(&ours, &"01".repeat(16)).contains("2.5 ms"));
    }

    #[tokio::test]
    async fn a_collector_that_is_not_there_does_not_cost_the_other_its_spans() {
        let ours = Collector::start().await.unwrap();
        let nobody = format!("http://127.0.0.1:{}", dm_testkit::free_port().unwrap());
        let tee = Tee::start(&ours.endpoint(), &nobody).await.unwrap();
        client(&tee.endpoint())
            .unwrap()
            .export(one_span())
            .await
            .unwrap();
        assert_eq!(ours.trace_ids().len(), 1);
    }
}
