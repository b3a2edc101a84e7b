//! Bodies of requests and responses, counted and timed. Both end with an error at their limit.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime_wasi_http::{Error, WasiBody};

use super::account::Slot;
use super::exchange::guest_error;

/// Set by the body of a request that is too large, because the error of the transport does not give the reason.
pub(super) type TooLarge = Arc<AtomicBool>;

/// The body that a guest sends.
pub(super) struct Outgoing {
    body: WasiBody,
    left: u64,
    too_large: TooLarge,
}

impl Outgoing {
    pub(super) fn new(body: WasiBody, most: u64, too_large: TooLarge) -> Self {
        Self { body, left: most, too_large }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            match self.left.checked_sub(length(frame)) {
                Some(left) => self.left = left,
                None => {
                    self.too_large.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(Error::HttpRequestBodySize(None))));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body that a guest receives. The request is in progress until this body ends.
pub(super) struct Received {
    body: Incoming,
    left: u64,
    most: u64,
    deadline: Pin<Box<Sleep>>,
    /// The longest pause between bytes that the guest set.
    silence: Option<(Duration, Pin<Box<Sleep>>)>,
    slot: Option<Arc<Slot>>,
}

impl Received {
    pub(super) fn new(
        body: Incoming,
        most: u64,
        deadline: Instant,
        silence: Option<Duration>,
        slot: Arc<Slot>,
    ) -> Self {
        let silence = silence.map(|silence| (silence, Box::pin(sleep_until(Instant::now() + silence))));
        Self { body, left: most, most, deadline: Box::pin(sleep_until(deadline)), silence, slot: Some(slot) }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(guest_error(&error)))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                let silent = self.silence.as_mut().is_some_and(|(_, over)| over.as_mut().poll(context).is_ready());
                return if silent { Poll::Ready(Some(Err(Error::ConnectionReadTimeout))) } else { Poll::Pending };
            }
        };
        let Some(left) = self.left.checked_sub(length(&frame)) else {
            return Poll::Ready(Some(Err(Error::HttpResponseBodySize(Some(self.most)))));
        };
        self.left = left;
        if let Some((silence, over)) = &mut self.silence {
            over.as_mut().reset(Instant::now() + *silence);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.slot.is_none() {
            return Poll::Ready(None);
        }
        let polled = self.next(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.slot = None;
        }
        polled
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX))
}
