//! A response body that is cut when the process is asked to stop.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Passes frames on until the token is cancelled, then ends: without trailers, so that the client takes it
/// for the broken stream that it is, and goes to another door.
pub(super) struct UntilStopped<B> {
    inner: B,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<B> UntilStopped<B> {
    pub(super) fn new(inner: B, stopping: CancellationToken) -> Self {
        Self {
            inner,
            stopped: Box::pin(stopping.cancelled_owned()),
        }
    }
}

impl<B: Body + Unpin> Body for UntilStopped<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.stopped.as_mut().poll(cx).map(|()| None)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
