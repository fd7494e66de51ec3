//! The client's side of a connection: the gate in front of the parser, and clocks for who stands still.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::Sleep;

use super::gate::Gate;

/// One read at most; shared by all connections of a core, so an idle one holds none of it.
const SCRATCH: usize = 32 * 1024;
/// No HTTP parser takes this byte in a head: it makes ours answer 400 and close.
const POISON: &[u8] = b"\0";

/// The buffer reads of a core go through.
pub type Scratch = Rc<RefCell<Box<[u8]>>>;

#[must_use]
pub fn scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; SCRATCH].into()))
}

/// A client connection.
pub struct Front<I> {
    io: I,
    gate: Gate,
    scratch: Scratch,
    /// Nothing more is read: what came was refused.
    shut: bool,
    head: Clock,
    write: Clock,
}

impl<I> Front<I> {
    pub fn new(io: I, scratch: Scratch, max_line: usize, head: Duration, stall: Duration) -> Self {
        Self { io, gate: Gate::new(max_line), scratch, shut: false, head: Clock::new(head), write: Clock::new(stall) }
    }
}

impl<I> Front<I> {
    /// The connection itself.
    pub fn into_inner(self) -> I {
        self.io
    }
}

/// A limit that runs while something is waited for.
struct Clock {
    limit: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    const fn new(limit: Duration) -> Self {
        Self { limit, running: None }
    }

    fn start(&mut self) {
        let limit = self.limit;
        self.running.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
    }

    /// Ready when time is up; never while it does not run.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.running {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn stop(&mut self) {
        self.running = None;
    }
}

fn late<T>(what: &'static str) -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
}

impl<I: Read + Unpin> Read for Front<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.shut {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = this.scratch.borrow_mut();
        let room = scratch.len().min(out.remaining());
        let mut buffer = ReadBuf::new(&mut scratch[..room]);
        if Pin::new(&mut this.io).poll_read(cx, buffer.unfilled())?.is_pending() {
            if this.gate.inside_head() {
                this.head.start();
            }
            ready!(this.head.poll(cx));
            return late("the request head did not arrive in time");
        }
        let bytes = buffer.filled();
        match this.gate.watch(bytes) {
            Ok(()) => out.put_slice(bytes),
            Err(refused) => {
                this.shut = true;
                if !refused.in_head {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the body is badly framed")));
                }
                out.put_slice(&bytes[..refused.at]);
                out.put_slice(POISON);
            }
        }
        if !this.gate.inside_head() {
            this.head.stop();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Front<I> {
    fn progress(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.write.stop();
            return polled;
        }
        self.write.start();
        ready!(self.write.poll(cx));
        late("the client does not take its answer")
    }
}

impl<I: Write + Unpin> Write for Front<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.progress(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.progress(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
