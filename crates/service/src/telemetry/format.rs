//! The two forms of a log line. Both have the trace and span id of the span that was current, when there was one.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{DefaultFields, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// `time LEVEL target: message field=value span{fields} trace_id=.. span_id=..`
pub(super) struct Text;

/// One object: timestamp, level, target, message, the event's fields, `span`, `trace_id`, `span_id`.
pub(super) struct Json;

pub(super) fn json_fields() -> DefaultFields {
    DefaultFields::new()
}

/// The OpenTelemetry layer makes a span's context current while the span is entered.
fn current_span() -> Option<SpanContext> {
    Context::map_current(|c| {
        let span = c.span();
        let span = span.span_context();
        span.is_valid().then(|| span.clone())
    })
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut w: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        SystemTime.format_time(&mut w)?;
        write!(w, " {:>5} {}: ", meta.level(), meta.target())?;
        ctx.field_format().format_fields(w.by_ref(), event)?;
        for span in ctx.event_scope().into_iter().flatten() {
            write!(w, " {}", span.name())?;
            if let Some(fields) = span
                .extensions()
                .get::<FormattedFields<N>>()
                .filter(|f| !f.is_empty())
            {
                write!(w, "{{{fields}}}")?;
            }
        }
        if let Some(span) = current_span() {
            write!(
                w,
                " trace_id={} span_id={}",
                span.trace_id(),
                span.span_id()
            )?;
        }
        writeln!(w)
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut w: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), time.into());
        line.insert("level".to_owned(), meta.level().as_str().into());
        line.insert("target".to_owned(), meta.target().into());
        event.record(&mut Fields(&mut line));
        if let Some(span) = ctx.event_scope().into_iter().flatten().next() {
            line.insert("span".to_owned(), span.name().into());
            if let Some(fields) = span
                .extensions()
                .get::<FormattedFields<N>>()
                .filter(|f| !f.is_empty())
            {
                line.insert("span_fields".to_owned(), fields.fields.clone().into());
            }
        }
        if let Some(span) = current_span() {
            line.insert("trace_id".to_owned(), span.trace_id().to_string().into());
            line.insert("span_id".to_owned(), span.span_id().to_string().into());
        }
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(w, "{line}")
    }
}

/// A field of an event that is called like one of the line's own members gets an underscore, so that neither is lost.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let taken = matches!(
            name,
            "timestamp" | "level" | "target" | "span" | "span_fields" | "trace_id" | "span_id"
        );
        let name = if taken {
            format!("{name}_")
        } else {
            name.to_owned()
        };
        self.0.insert(name, value);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}
