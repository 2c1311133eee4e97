//! W3C trace context (<https://www.w3.org/TR/trace-context/>) between processes: to and from text, HTTP headers, gRPC
//! metadata and the JSON records in etcd that carry a `traceparent` member.
//!
//! It is not telemetry: nothing here installs a subscriber or exports a span. Where no OpenTelemetry layer is installed every
//! function does nothing and answers `None`, so a library may call them without knowing who runs it.
//!
//! One rule decides the order of calls: a span's parent can be set only before the span is first entered, and before its
//! own context is asked for. So make the span, call [`set_parent`] (or use [`span_under!`], which does both), then enter it.

mod context;
mod headers;
#[cfg(test)]
mod testing;

pub use context::{
    NotATraceparent, Parent, TRACEPARENT, current_parent, current_traceparent, mark_failed,
    set_parent, span_with_parent, traceparent_of,
};
pub use headers::{TRACESTATE, extract, inject, inject_span, inject_with};

#[doc(hidden)]
pub use tracing as __tracing;

/// Makes an info span that continues the trace of an `Option<&str>` traceparent; with `None`, or with one that does not parse, the span
/// starts below the current span, as any other span does.
///
/// ```
/// let from_etcd: Option<String> = None;
/// let span = dm_trace::span_under!(from_etcd.as_deref(), "resolve_lock", lock = "t1-`db`.`tbl`");
/// let _entered = span.enter();
/// ```
#[macro_export]
macro_rules! span_under {
    ($traceparent:expr, $name:literal $(, $($fields:tt)*)?) => {{
        let span = $crate::__tracing::info_span!($name $(, $($fields)*)?);
        if let Some(traceparent) = $traceparent {
            $crate::set_parent(&span, traceparent);
        }
        span
    }};
}
