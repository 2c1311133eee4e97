//! Log lines as they are written, with and without a span around them.

use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Sink;
    fn make_writer(&'a self) -> Sink {
        self.clone()
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn identity() -> Identity {
    Identity {
        service: "test-svc",
        instance: "t1".to_owned(),
    }
}

const SAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn json_lines_carry_fields_and_trace_ids() {
    let sink = Sink::default();
    let provider = provider(&identity(), None, None).unwrap();
    let log = tracing_subscriber::fmt::layer()
        .with_writer(sink.clone())
        .event_format(format::Json);
    tracing::subscriber::with_default(subscriber(&provider).with(log), || {
        let span = dm_trace::span_under!(Some(SAMPLE), "bind_source", source = "s1");
        span.in_scope(|| tracing::info!(worker = "w1", level = 7, "bound"));
        tracing::info!("outside");
    });
    let lines: Vec<serde_json::Value> = sink
        .text()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines[0]["message"], "bound");
    assert_eq!(lines[0]["worker"], "w1");
    assert_eq!(lines[0]["level"], "INFO");
    assert_eq!(lines[0]["level_"], 7);
    assert_eq!(lines[0]["span"], "bind_source");
    assert_eq!(lines[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(lines[0]["span_id"].as_str().unwrap().len(), 16);
    assert!(lines[1].get("trace_id").is_none());
}

#[test]
fn text_lines_carry_trace_ids_too() {
    let sink = Sink::default();
    let provider = provider(&identity(), None, None).unwrap();
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(sink.clone())
        .event_format(format::Text);
    tracing::subscriber::with_default(subscriber(&provider).with(log), || {
        let span = dm_trace::span_under!(Some(SAMPLE), "bind_source", source = "s1");
        span.in_scope(|| tracing::info!(worker = "w1", "bound"));
    });
    let text = sink.text();
    assert!(
        text.contains("bound worker=\"w1\" bind_source{source=\"s1\"}"),
        "{text}"
    );
    assert!(
        text.contains("trace_id=0af7651916cd43dd8448eb211c80319c span_id="),
        "{text}"
    );
}

#[test]
fn a_quiet_log_loses_no_trace_id() {
    let sink = Sink::default();
    let provider = provider(&identity(), None, None).unwrap();
    let log = tracing_subscriber::fmt::layer()
        .with_writer(sink.clone())
        .with_filter(EnvFilter::new("error"));
    tracing::subscriber::with_default(subscriber(&provider).with(log), || {
        let span = dm_trace::span_under!(Some(SAMPLE), "bind_source");
        let seen = span.in_scope(dm_trace::current_traceparent).unwrap();
        assert!(seen.contains("0af7651916cd43dd8448eb211c80319c"));
    });
    assert_eq!(sink.text(), "");
}

#[test]
fn a_bad_level_is_explained() {
    let reason = check_level("lots=of=it").unwrap_err();
    assert!(reason.contains("info,dm_replica=debug"), "{reason}");
}
