//! The `traceparent` text and the spans it comes from and goes to.

use std::fmt;
use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Name of the header, of the gRPC metadata key and of the JSON member alike.
pub const TRACEPARENT: &str = "traceparent";

/// A span of some process, as its children elsewhere need to know it: trace id, span id, whether it is sampled, vendor state.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent(SpanContext);

impl Parent {
    /// The span that `span` names to others; `None` when it is disabled or no OpenTelemetry layer is installed.
    /// Afterwards the parent of `span` itself can no longer be set.
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let span_context = context.span().span_context().clone();
        span_context.is_valid().then_some(Self(span_context))
    }

    /// The same span with the `tracestate` header that travelled beside its `traceparent`; one that does not parse is left out.
    #[must_use]
    pub fn with_tracestate(self, tracestate: &str) -> Self {
        let Ok(state) = TraceState::from_str(tracestate) else {
            return self;
        };
        let c = self.0;
        Self(SpanContext::new(
            c.trace_id(),
            c.span_id(),
            c.trace_flags(),
            true,
            state,
        ))
    }

    /// 32 lower-case hexadecimal digits, as logs and collectors print it.
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// 16 lower-case hexadecimal digits, as logs and collectors print it.
    pub fn span_id(&self) -> String {
        self.0.span_id().to_string()
    }

    /// Vendor state as header text; empty when there is none.
    pub fn tracestate(&self) -> String {
        self.0.trace_state().header()
    }

    /// Makes `span` a child of this one. Answers `false` when it is too late for that (the span was entered), or the span is disabled.
    pub fn adopt(&self, span: &Span) -> bool {
        let context = Context::new().with_remote_span_context(self.0.clone());
        span.set_parent(context).is_ok()
    }
}

/// The text form of version 00, whatever version it was parsed from.
impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.0.trace_flags() & TraceFlags::SAMPLED;
        write!(
            f,
            "00-{}-{}-{:02x}",
            self.0.trace_id(),
            self.0.span_id(),
            flags
        )
    }
}

/// Why a text is no `traceparent`; there is nothing a caller can do but start a trace of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotATraceparent;

impl fmt::Display for NotATraceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a W3C traceparent")
    }
}

impl std::error::Error for NotATraceparent {}

/// Strict for version 00; a later version may have more fields after the flags, which are ignored, as the standard asks.
impl FromStr for Parent {
    type Err = NotATraceparent;

    fn from_str(text: &str) -> Result<Self, NotATraceparent> {
        let mut fields = text.trim().split('-');
        let version = hex_field(fields.next(), 2)?;
        let trace_id = hex_field(fields.next(), 32)?;
        let span_id = hex_field(fields.next(), 16)?;
        let flags = hex_field(fields.next(), 2)?;
        if version == "ff" || (version == "00" && fields.next().is_some()) {
            return Err(NotATraceparent);
        }
        let context = SpanContext::new(
            TraceId::from_hex(trace_id).map_err(|_| NotATraceparent)?,
            SpanId::from_hex(span_id).map_err(|_| NotATraceparent)?,
            TraceFlags::new(u8::from_str_radix(flags, 16).map_err(|_| NotATraceparent)?),
            true,
            TraceState::default(),
        );
        if context.is_valid() {
            Ok(Self(context))
        } else {
            Err(NotATraceparent)
        }
    }
}

fn hex_field(field: Option<&str>, digits: usize) -> Result<&str, NotATraceparent> {
    field
        .filter(|f| f.len() == digits && f.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        .ok_or(NotATraceparent)
}

/// The current span as a parent for work elsewhere.
pub fn current_parent() -> Option<Parent> {
    Parent::of(&Span::current())
}

/// The current span in the form that goes into a record or a request; `None` outside of any recorded span.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// The same for a span that is not entered. Afterwards the parent of `span` itself can no longer be set.
pub fn traceparent_of(span: &Span) -> Option<String> {
    Parent::of(span).map(|parent| parent.to_string())
}

/// Makes `span` continue the trace that `traceparent` names. Answers `false`, and leaves the span as it is, when the text does not parse,
/// the span is disabled, or it is too late because it was entered.
pub fn set_parent(span: &Span, traceparent: &str) -> bool {
    traceparent
        .parse::<Parent>()
        .is_ok_and(|parent| parent.adopt(span))
}

/// A span whose exported name is known only at run time (logs show it as `operation` with the name as a field).
/// Where the name is known, [`span_under!`](crate::span_under) gives better logs.
pub fn span_with_parent(name: &str, traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!("operation", otel.name = name);
    if let Some(traceparent) = traceparent {
        set_parent(&span, traceparent);
    }
    span
}

/// Gives the exported span the status Error with a reason, which must hold no secret.
pub fn mark_failed(span: &Span, reason: impl Into<String>) {
    span.set_status(Status::error(reason.into()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_layer;

    const SAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_reads_and_writes_the_same() {
        let parent: Parent = SAMPLE.parse().unwrap();
        assert_eq!(parent.to_string(), SAMPLE);
        assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span_id(), "b7ad6b7169203331");
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "",
            "00",
            "hello",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert!(text.parse::<Parent>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_known() {
        let later = SAMPLE.replacen("00-", "01-", 1) + "-more";
        assert_eq!(later.parse::<Parent>().unwrap().to_string(), SAMPLE);
    }

    #[test]
    fn a_span_under_a_traceparent_continues_its_trace() {
        with_layer(|| {
            let span = crate::span_under!(Some(SAMPLE), "bind_source", source = "s1");
            let own: Parent = traceparent_of(&span).unwrap().parse().unwrap();
            assert_eq!(own.trace_id(), "0af7651916cd43dd8448eb211c80319c");
            assert_ne!(own.span_id(), "b7ad6b7169203331");
        });
    }

    #[test]
    fn a_bad_traceparent_leaves_the_span_where_it_is() {
        with_layer(|| {
            let outer = tracing::info_span!("outer");
            let _entered = outer.enter();
            let here: Parent = current_traceparent().unwrap().parse().unwrap();
            let span = span_with_parent("inner", Some("nonsense"));
            let own: Parent = traceparent_of(&span).unwrap().parse().unwrap();
            assert_eq!(own.trace_id(), here.trace_id());
        });
    }

    #[test]
    fn a_parent_comes_too_late_once_the_span_was_entered() {
        with_layer(|| {
            let span = tracing::info_span!("entered");
            span.in_scope(|| {});
            assert!(!set_parent(&span, SAMPLE));
        });
    }

    #[test]
    fn without_a_layer_there_is_no_traceparent() {
        assert_eq!(current_traceparent(), None);
        assert_eq!(traceparent_of(&tracing::info_span!("nobody_listens")), None);
    }
}
