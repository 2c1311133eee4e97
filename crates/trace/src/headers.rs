//! Trace context in HTTP headers, which are gRPC metadata too (`tonic::metadata::MetadataMap` wraps a `HeaderMap`).

use http::{HeaderMap, HeaderValue};
use tracing::Span;

use crate::context::{Parent, TRACEPARENT};

/// Header beside `traceparent` for vendors' own state; passed on unread.
pub const TRACESTATE: &str = "tracestate";

/// Writes the current span into the headers of an outgoing request, over any that were there. Does nothing outside of a recorded span.
pub fn inject(headers: &mut HeaderMap) {
    inject_span(&Span::current(), headers);
}

/// The same with a span that is not entered, such as a client span made for this request.
pub fn inject_span(span: &Span, headers: &mut HeaderMap) {
    let Some(parent) = Parent::of(span) else {
        return;
    };
    write(&parent, |key, value| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(key, value);
        }
    });
}

/// The same for carriers that are no `HeaderMap`: `set` is called with each name and value.
pub fn inject_with(set: impl FnMut(&'static str, &str)) {
    if let Some(parent) = crate::current_parent() {
        write(&parent, set);
    }
}

fn write(parent: &Parent, mut set: impl FnMut(&'static str, &str)) {
    set(TRACEPARENT, &parent.to_string());
    let state = parent.tracestate();
    if !state.is_empty() {
        set(TRACESTATE, &state);
    }
}

/// The caller's span, if the headers name exactly one. Give it to a new span with [`Parent::adopt`].
pub fn extract(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (first, None) = (values.next()?, values.next()) else {
        return None;
    };
    let parent: Parent = first.to_str().ok()?.parse().ok()?;
    let states: Vec<&str> = headers
        .get_all(TRACESTATE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    Some(if states.is_empty() {
        parent
    } else {
        parent.with_tracestate(&states.join(","))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_layer;

    const SAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_one_side_injects_the_other_extracts() {
        with_layer(|| {
            let span = crate::span_under!(Some(SAMPLE), "client");
            let mut headers = HeaderMap::new();
            inject_span(&span, &mut headers);
            assert_eq!(
                extract(&headers),
                Parent::of(&span).map(|p| p.to_string().parse().unwrap())
            );
        });
    }

    #[test]
    fn vendor_state_travels_with_the_parent() {
        with_layer(|| {
            let mut came = HeaderMap::new();
            came.insert(TRACEPARENT, HeaderValue::from_static(SAMPLE));
            came.append(TRACESTATE, HeaderValue::from_static("a=1"));
            came.append(TRACESTATE, HeaderValue::from_static("b=2"));
            let span = tracing::info_span!("server");
            assert!(extract(&came).unwrap().adopt(&span));
            let mut goes = HeaderMap::new();
            inject_span(&span, &mut goes);
            assert_eq!(goes[TRACESTATE], "a=1,b=2");
        });
    }

    #[test]
    fn two_traceparents_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(SAMPLE));
        headers.append(TRACEPARENT, HeaderValue::from_static(SAMPLE));
        assert_eq!(extract(&headers), None);
    }

    #[test]
    fn nothing_is_injected_outside_of_a_span() {
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        inject_with(|_, _| panic!("there is no span to inject"));
        assert!(headers.is_empty());
    }
}
