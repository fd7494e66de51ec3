//! Bodies on their way through: streamed, never collected, and watched for standstill.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    task::spawn_local,
    time::{Instant, Sleep},
};

use super::upstream::Upstream;
use crate::target::InFlight;

/// How much of an unread body is taken from a client to keep its connection, and for how long.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN: Duration = Duration::from_secs(2);

/// Why a body ended early. Only logged: the status line has been sent.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("no progress for {} s", .0.as_secs())]
    Stalled(Duration),
}

/// How a request's body is getting on, seen by whoever waits for the instance.
#[derive(Debug)]
pub struct Upload {
    failed: Cell<bool>,
    /// When the last bytes were passed on.
    moved: Cell<Instant>,
}

/// The instance took too long.
#[derive(Debug)]
pub struct Late;

impl Upload {
    fn new() -> Rc<Self> {
        Rc::new(Self { failed: Cell::new(false), moved: Cell::new(Instant::now()) })
    }

    /// The client did not deliver the body.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.get()
    }

    /// Wait for `answer`, at most `limit` from when the last bytes of the request were passed on: however long an
    /// upload is, an instance has this long to answer it.
    pub async fn in_time<T>(&self, limit: Duration, answer: impl Future<Output = T>) -> Result<T, Late> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let due = self.moved.get() + limit;
            match tokio::time::timeout_at(due, &mut answer).await {
                Ok(answer) => return Ok(answer),
                Err(_) if self.moved.get() + limit > due => {}
                Err(_) => return Err(Late),
            }
        }
    }
}

/// A request's body. Trailers stop here: an instance must not take them for headers we have checked.
#[derive(Debug)]
pub struct RequestBody {
    inner: Option<Incoming>,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    upload: Rc<Upload>,
    /// The client sends the body only once it is asked for, which nobody did yet.
    held_back: bool,
}

impl RequestBody {
    #[must_use]
    pub fn new(inner: Incoming, limit: Duration, held_back: bool) -> Self {
        let inner = (!inner.is_end_stream()).then_some(inner);
        Self { inner, limit, stalled: None, upload: Upload::new(), held_back }
    }

    #[must_use]
    pub fn empty() -> Self {
        Self { inner: None, limit: Duration::MAX, stalled: None, upload: Upload::new(), held_back: false }
    }

    #[must_use]
    pub fn upload(&self) -> Rc<Upload> {
        Rc::clone(&self.upload)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        this.held_back = false;
        loop {
            match Pin::new(&mut *inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.stalled = None;
                    this.upload.moved.set(Instant::now());
                    if frame.is_data() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.upload.failed.set(true);
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => {
                    this.inner = None;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let limit = this.limit;
                    let sleep = this.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                    ready!(sleep.as_mut().poll(cx));
                    this.upload.failed.set(true);
                    return Poll::Ready(Some(Err(BodyError::Stalled(limit))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// An instance may answer without reading the body. What the client has still to send is then read for it, or the
/// connection could not go on: the client would learn so only by the failure of its next request.
impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(rest) = self.inner.take().filter(|b| !b.is_end_stream())
            && !self.held_back
            && !self.upload.failed()
        {
            spawn_local(tokio::time::timeout(DRAIN, drain(rest)));
        }
    }
}

async fn drain(mut rest: Incoming) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// What a client gets: an instance's answer, or a few bytes of our own.
#[derive(Debug)]
pub enum AnswerBody {
    Own(Option<Bytes>),
    Instance(Relay),
}

/// An instance's answer. The request is in flight, and the connection taken, until its last byte has come.
#[derive(Debug)]
pub struct Relay {
    inner: Incoming,
    held: Option<(Upstream, InFlight)>,
}

impl Relay {
    #[must_use]
    pub fn new(inner: Incoming, upstream: Upstream, in_flight: InFlight) -> Self {
        let mut relay = Self { inner, held: Some((upstream, in_flight)) };
        relay.release_if_over();
        relay
    }

    fn release_if_over(&mut self) {
        if self.inner.is_end_stream()
            && let Some((upstream, in_flight)) = self.held.take()
        {
            upstream.give_back(in_flight.target());
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Instance(relay) => {
                let polled = ready!(Pin::new(&mut relay.inner).poll_frame(cx));
                match &polled {
                    Some(Ok(_)) => relay.release_if_over(),
                    Some(Err(_)) => {
                        if let Some((_, in_flight)) = relay.held.take() {
                            in_flight.failed();
                        }
                    }
                    None => {
                        if let Some((upstream, in_flight)) = relay.held.take() {
                            upstream.give_back(in_flight.target());
                        }
                    }
                }
                Poll::Ready(polled.map(|r| r.map_err(BodyError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Instance(relay) => relay.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Instance(relay) => relay.inner.size_hint(),
        }
    }
}
