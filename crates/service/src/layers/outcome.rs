//! How a request ended. A gRPC status stands in the headers when there is no message, and in the trailers otherwise, so the body has to be
//! watched to its end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Code;

/// The end of a request, as metrics and spans name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A gRPC call with the status its trailers gave.
    Grpc(Code),
    /// Plain HTTP.
    Http(http::StatusCode),
}

impl Outcome {
    /// gRPC failures that are the server's doing, and HTTP 5xx.
    pub fn is_server_fault(self) -> bool {
        match self {
            Self::Http(status) => status.is_server_error(),
            Self::Grpc(code) => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        }
    }
}

/// `OK`, `NOT_FOUND`, ... for gRPC, the number for HTTP.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(f, "{}", status.as_u16()),
            Self::Grpc(code) => f.write_str(match code {
                Code::Ok => "OK",
                Code::Cancelled => "CANCELLED",
                Code::Unknown => "UNKNOWN",
                Code::InvalidArgument => "INVALID_ARGUMENT",
                Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
                Code::NotFound => "NOT_FOUND",
                Code::AlreadyExists => "ALREADY_EXISTS",
                Code::PermissionDenied => "PERMISSION_DENIED",
                Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
                Code::FailedPrecondition => "FAILED_PRECONDITION",
                Code::Aborted => "ABORTED",
                Code::OutOfRange => "OUT_OF_RANGE",
                Code::Unimplemented => "UNIMPLEMENTED",
                Code::Internal => "INTERNAL",
                Code::Unavailable => "UNAVAILABLE",
                Code::DataLoss => "DATA_LOSS",
                Code::Unauthenticated => "UNAUTHENTICATED",
            }),
        }
    }
}

type AtEnd = Box<dyn FnOnce(Outcome) + Send>;

/// A response body that reports the outcome once: at its trailers, at its end, at its failure, or when the reader goes away before (`CANCELLED`).
pub struct Observed<B> {
    inner: B,
    at_end: Option<AtEnd>,
}

impl<B> fmt::Debug for Observed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed")
            .field("reported", &self.at_end.is_none())
            .finish_non_exhaustive()
    }
}

impl<B: Body> Observed<B> {
    /// Wraps the body of `response`; reports at once when the headers say it all.
    pub(crate) fn wrap(
        response: Response<B>,
        grpc: bool,
        at_end: impl FnOnce(Outcome) + Send + 'static,
    ) -> Response<Self> {
        let known = if grpc {
            grpc_status(response.headers()).map(Outcome::Grpc)
        } else {
            Some(Outcome::Http(response.status()))
        };
        let at_end: AtEnd = Box::new(at_end);
        let at_end = match known {
            Some(outcome) => {
                at_end(outcome);
                None
            }
            None => Some(at_end),
        };
        response.map(|inner| Self { inner, at_end })
    }
}

impl<B> Observed<B> {
    fn report(&mut self, code: Code) {
        if let Some(at_end) = self.at_end.take() {
            at_end(Outcome::Grpc(code));
        }
    }
}

impl<B> Drop for Observed<B> {
    fn drop(&mut self) {
        self.report(Code::Cancelled);
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<Code> {
    headers
        .get("grpc-status")
        .map(|v| Code::from_bytes(v.as_bytes()))
}

impl<B: Body + Unpin> Body for Observed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame
                    .trailers_ref()
                    .map(|t| grpc_status(t).unwrap_or(Code::Unknown))
                {
                    this.report(code);
                }
            }
            Poll::Ready(Some(Err(_))) => this.report(Code::Unknown),
            Poll::Ready(None) => this.report(Code::Unknown),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // A reader that is told "no more" does not ask for the trailers, and those are what is waited for.
        self.at_end.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
