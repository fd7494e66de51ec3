//! One DNS question over UDP, as `dig` asks it.

use std::{net::SocketAddr, str::FromStr as _, time::Duration};

use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name, RData, RecordType},
};
use tokio::{net::UdpSocket, time::timeout};

use super::Reason;

const PATIENCE: Duration = Duration::from_secs(2);
/// A datagram is lost now and then, even on loopback under load.
const TRIES: usize = 3;
/// The largest answer over UDP that is ever asked for.
const MAX_ANSWER: u16 = 4096;

/// An instance as an SRV record names it, with the address that came along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Srv {
    pub port: u16,
    pub target: String,
}

/// The addresses of a name.
pub(super) async fn addresses(server: SocketAddr, name: &str) -> Result<Vec<String>, Reason> {
    let answer = ask(server, name, RecordType::A).await?;
    let found =
        answer.answers.iter().filter_map(|r| if let RData::A(a) = &r.data { Some(a.0.to_string()) } else { None });
    Ok(found.collect())
}

/// The instances of a name.
pub(super) async fn instances(server: SocketAddr, name: &str) -> Result<Vec<Srv>, Reason> {
    let answer = ask(server, name, RecordType::SRV).await?;
    let found = answer.answers.iter().filter_map(|r| match &r.data {
        RData::SRV(srv) => Some(Srv { port: srv.port, target: srv.target.to_utf8() }),
        _ => None,
    });
    Ok(found.collect())
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Result<Message, Reason> {
    let wrong = |e: &dyn std::fmt::Display| Reason::Dns(format!("{name} {kind}: {e}"));
    let name_wire = Name::from_str(&format!("{name}.")).map_err(|e| wrong(&e))?;
    let mut message = Message::query();
    message.add_query(Query::query(name_wire, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_ANSWER);
    message.set_edns(edns);
    let bytes = message.to_vec().map_err(|e| wrong(&e))?;
    let local: SocketAddr = if server.is_ipv6() { ([0; 8], 0).into() } else { ([0; 4], 0).into() };
    let socket = UdpSocket::bind(local).await.map_err(|e| wrong(&e))?;
    socket.connect(server).await.map_err(|e| wrong(&e))?;
    let mut buffer = vec![0; usize::from(MAX_ANSWER)];
    for _ in 0..TRIES {
        socket.send(&bytes).await.map_err(|e| wrong(&e))?;
        if let Ok(received) = timeout(PATIENCE, socket.recv(&mut buffer)).await {
            let length = received.map_err(|e| wrong(&e))?;
            return Message::from_vec(&buffer[..length]).map_err(|e| wrong(&e));
        }
    }
    Err(wrong(&format!("no answer from {server} within {} s", PATIENCE.as_secs() * TRIES as u64)))
}
