//! A DNS question over UDP, as `dig` asks it.

use std::{net::UdpSocket, str::FromStr, time::Duration};

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};

/// One question to the server at `port` on loopback; the reply, or why there was none.
pub fn ask(port: u16, name: &str, kind: RecordType) -> Result<Message, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(|e| e.to_string())?;
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_str(name).map_err(|e| e.to_string())?, kind));
    let bytes = message.to_vec().map_err(|e| e.to_string())?;
    socket.send_to(&bytes, ("127.0.0.1", port)).map_err(|e| e.to_string())?;
    let mut buffer = [0; 4096];
    let (length, _) = socket.recv_from(&mut buffer).map_err(|e| e.to_string())?;
    Message::from_vec(&buffer[..length]).map_err(|e| e.to_string())
}
