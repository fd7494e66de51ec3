//! WebSockets: after the instance's 101, bytes both ways until one side is done.
//!
//! The request stays in flight on its instance for as long as the tunnel lasts.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::client::conn::http1::Parts;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional_with_sizes},
    sync::oneshot,
};
use tracing::debug;

use super::{Attempt, Sent, Session, answer::Refusal, body::AnswerBody, headers, io::Io};
use crate::target::InFlight;

const BUFFER: usize = 16 * 1024;
/// From the instance's 101 until its connection has let go of HTTP. It happens in the same poll; this is a backstop.
const HANDOVER: Duration = Duration::from_secs(5);

/// The instance's side of a connection that left HTTP.
#[derive(Debug)]
pub struct Tunnel {
    io: Io,
    /// What the instance sent right behind its 101.
    early: Bytes,
    in_flight: InFlight,
}

/// Turn the answer to a handshake into ours: a tunnel, or the refusal the instance gave.
pub(super) async fn answer(session: &Session, sent: Sent, handover: oneshot::Receiver<Parts<Io>>) -> Attempt {
    if sent.response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Attempt::Answered(super::relay(sent));
    }
    let service = sent.in_flight.target().key.service.clone();
    let agreed =
        sent.response.headers().get(header::UPGRADE).is_some_and(|u| u.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let parts = match tokio::time::timeout(HANDOVER, handover).await {
        Ok(Ok(parts)) if agreed => parts,
        _ => {
            sent.in_flight.failed();
            let text = format!("service {service} answered a WebSocket handshake with another protocol");
            return Attempt::Over(Refusal::new(StatusCode::BAD_GATEWAY, text));
        }
    };
    let (mut head, _) = sent.response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let tunnel = Tunnel { io: parts.io, early: parts.read_buf, in_flight: sent.in_flight };
    session.tunnel.replace(Some(tunnel));
    Attempt::Answered(Response::from_parts(head, AnswerBody::Own(None)))
}

impl Tunnel {
    /// Carry bytes until both directions are done, or one fails. `early` is what the client sent behind its handshake.
    pub async fn run(self, client: impl hyper::rt::Read + hyper::rt::Write + Unpin, early: Bytes) {
        let (mut client, mut instance) = (TokioIo::new(client), TokioIo::new(self.io));
        let carried = async {
            instance.write_all(&early).await?;
            client.write_all(&self.early).await?;
            copy_bidirectional_with_sizes(&mut client, &mut instance, BUFFER, BUFFER).await
        };
        if let Err(error) = carried.await {
            debug!(%error, target = %self.in_flight.target().key.authority, "a tunnel ended");
        }
    }
}
