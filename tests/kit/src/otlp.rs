//! A receiver of OpenTelemetry traces that keeps every span and can say whether a trace is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1 as wire;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::{Error, Result};

/// One finished span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace it belongs to, 32 hex digits.
    pub trace_id: String,
    /// Its own id, 16 hex digits.
    pub span_id: String,
    /// The span it was begun in, unless it is the first of the trace.
    pub parent: Option<String>,
    /// `service.name` of the process that sent it.
    pub service: String,
    /// `service.instance.id` of it: the replica's name.
    pub instance: String,
    /// The operation.
    pub name: String,
    /// Attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Beginning, in nanoseconds since 1970.
    pub start_nanos: u64,
    /// End, in nanoseconds since 1970.
    pub end_nanos: u64,
    /// Whether it ended with an error.
    pub failed: bool,
}

/// A span with the spans begun in it, in the order of their beginning.
#[derive(Clone, Debug)]
pub struct Node {
    /// The span itself.
    pub span: Span,
    /// The spans begun in it.
    pub children: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Store(Arc<Mutex<BTreeMap<String, BTreeMap<String, Span>>>>);

impl Store {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Span>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running receiver; it stops with the value.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    store: Store,
    _serving: DropGuard,
}

impl Collector {
    /// Listens on a free loopback port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(Error::io("listen on loopback"))?;
        let port = listener
            .local_addr()
            .map_err(Error::io("ask for the port"))?
            .port();
        let store = Store::default();
        let serving = CancellationToken::new();
        let server = Server::builder()
            .add_service(TraceServiceServer::new(store.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving.clone().run_until_cancelled_owned(server));
        Ok(Self {
            port,
            store,
            _serving: serving.drop_guard(),
        })
    }

    /// The address that exporters are given.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every trace of which a span has come.
    pub fn trace_ids(&self) -> Vec<String> {
        self.store.lock().keys().cloned().collect()
    }

    /// The spans of one trace, in the order of their beginning.
    pub fn spans(&self, trace_id: &str) -> Vec<Span> {
        let mut spans: Vec<Span> = self
            .store
            .lock()
            .get(trace_id)
            .map(|spans| spans.values().cloned().collect())
            .unwrap_or_default();
        spans.sort_by_key(|span| span.start_nanos);
        spans
    }

    /// Every span of every trace with this name.
    pub fn spans_named(&self, name: &str) -> Vec<Span> {
        self.store
            .lock()
            .values()
            .flat_map(BTreeMap::values)
            .filter(|span| span.name == name)
            .cloned()
            .collect()
    }

    /// The services that took part in one trace.
    pub fn services(&self, trace_id: &str) -> BTreeSet<String> {
        self.spans(trace_id)
            .into_iter()
            .map(|span| span.service)
            .collect()
    }

    /// The spans of one trace that name a parent which has not come.
    pub fn orphans(&self, trace_id: &str) -> Vec<Span> {
        let spans = self.spans(trace_id);
        let ids: BTreeSet<String> = spans.iter().map(|span| span.span_id.clone()).collect();
        spans
            .into_iter()
            .filter(|span| {
                span.parent
                    .as_ref()
                    .is_some_and(|parent| !ids.contains(parent))
            })
            .collect()
    }

    /// One trace as trees; a whole one has one root. Orphans are roots too.
    pub fn tree(&self, trace_id: &str) -> Vec<Node> {
        let spans = self.spans(trace_id);
        let ids: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
        let is_root = |span: &&Span| {
            span.parent
                .as_deref()
                .is_none_or(|parent| !ids.contains(parent))
        };
        spans
            .iter()
            .filter(is_root)
            .map(|root| node(root, &spans, spans.len()))
            .collect()
    }

    /// One trace as indented lines: service, operation, duration, and attributes of the wanted names.
    pub fn render(&self, trace_id: &str, attributes: &[&str]) -> String {
        let mut text = String::new();
        for root in self.tree(trace_id) {
            draw(&root, 0, attributes, &mut text);
        }
        text
    }
}

/// `depth` ends what no tracer sends, a span that is its own ancestor.
fn node(span: &Span, spans: &[Span], depth: usize) -> Node {
    let is_child = |other: &&Span| other.parent.as_deref() == Some(span.span_id.as_str());
    let below = depth.checked_sub(1);
    let children = below.map(|below| {
        spans
            .iter()
            .filter(is_child)
            .map(|child| node(child, spans, below))
            .collect()
    });
    Node {
        span: span.clone(),
        children: children.unwrap_or_default(),
    }
}

fn draw(node: &Node, depth: usize, attributes: &[&str], text: &mut String) {
    let span = &node.span;
    let micros = span.end_nanos.saturating_sub(span.start_nanos) / 1_000;
    let indent = depth * 2;
    // Writing to a String cannot fail.
    let _written = write!(
        text,
        "{:indent$}{} {} {micros}us",
        "", span.service, span.name
    );
    for name in attributes {
        if let Some(value) = span.attributes.get(*name) {
            let _written = write!(text, " {name}={value}");
        }
    }
    text.push_str(if span.failed { " FAILED\n" } else { "\n" });
    for child in &node.children {
        draw(child, depth + 1, attributes, text);
    }
}

#[tonic::async_trait]
impl TraceService for Store {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> std::result::Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = texts(
                resource
                    .resource
                    .map(|resource| resource.attributes)
                    .unwrap_or_default(),
            );
            let attribute = |name: &str| attributes.get(name).cloned().unwrap_or_default();
            let (service, instance) = (attribute("service.name"), attribute("service.instance.id"));
            for span in resource
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans)
            {
                let span = read(span, service.clone(), instance.clone());
                let mut traces = self.lock();
                traces
                    .entry(span.trace_id.clone())
                    .or_default()
                    .insert(span.span_id.clone(), span);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(span: wire::Span, service: String, instance: String) -> Span {
    Span {
        trace_id: hex::encode(&span.trace_id),
        span_id: hex::encode(&span.span_id),
        parent: span
            .parent_span_id
            .iter()
            .any(|byte| *byte != 0)
            .then(|| hex::encode(&span.parent_span_id)),
        service,
        instance,
        name: span.name,
        attributes: texts(span.attributes),
        start_nanos: span.start_time_unix_nano,
        end_nanos: span.end_time_unix_nano,
        failed: span
            .status
            .is_some_and(|status| status.code() == wire::status::StatusCode::Error),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .map(|pair| (pair.key, text(pair.value)))
        .collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        None => String::new(),
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::ArrayValue(array)) => {
            let values: Vec<String> = array
                .values
                .into_iter()
                .map(|value| text(Some(value)))
                .collect();
            format!("[{}]", values.join(", "))
        }
        Some(other) => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    use opentelemetry_proto::tonic::resource::v1::Resource;

    use super::*;

    fn string(key: &str, text: &str) -> KeyValue {
        let value = Some(AnyValue {
            value: Some(Value::StringValue(text.to_owned())),
        });
        KeyValue {
            key: key.to_owned(),
            value,
            ..KeyValue::default()
        }
    }

    fn span(id: u8, parent: u8, name: &str) -> wire::Span {
        wire::Span {
            trace_id: vec![9; 16],
            span_id: vec![id; 8],
            parent_span_id: if parent == 0 {
                Vec::new()
            } else {
                vec![parent; 8]
            },
            name: name.to_owned(),
            start_time_unix_nano: u64::from(id) * 1_000,
            end_time_unix_nano: 10_000,
            attributes: vec![string("dm.task", "t1")],
            ..wire::Span::default()
        }
    }

    async fn send(collector: &Collector, service: &str, spans: Vec<wire::Span>) {
        let resource = Resource {
            attributes: vec![string("service.name", service)],
            ..Resource::default()
        };
        let scope_spans = vec![wire::ScopeSpans {
            spans,
            ..wire::ScopeSpans::default()
        }];
        let one = wire::ResourceSpans {
            resource: Some(resource),
            scope_spans,
            ..wire::ResourceSpans::default()
        };
        let mut client = TraceServiceClient::connect(collector.endpoint())
            .await
            .unwrap();
        client
            .export(ExportTraceServiceRequest {
                resource_spans: vec![one],
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_trace_of_two_services_becomes_one_tree() {
        let collector = Collector::start().await.unwrap();
        send(
            &collector,
            "worker",
            vec![span(2, 1, "ddl"), span(3, 2, "skip")],
        )
        .await;
        let id = "09".repeat(16);
        assert_eq!(
            collector
                .orphans(&id)
                .iter()
                .map(|span| &*span.name)
                .collect::<Vec<_>>(),
            ["ddl"]
        );
        send(&collector, "pessimist", vec![span(1, 0, "lock")]).await;
        assert!(collector.orphans(&id).is_empty());
        assert_eq!(collector.tree(&id).len(), 1);
        let drawn = collector.render(&id, &["dm.task"]);
        assert_eq!(
            drawn,
            "pessimist lock 9us dm.task=t1\n  worker ddl 8us dm.task=t1\n    worker skip 7us dm.task=t1\n"
        );
    }
}
