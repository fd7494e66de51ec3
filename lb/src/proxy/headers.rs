//! Header rules: what a client may say, what an instance is told, what neither passes on.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, CONNECTION, FORWARDED, HOST, TE, UPGRADE},
};

pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
pub static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// How many load balancers of ours a request has passed; stops a route that leads to itself.
pub static HOPS: HeaderName = HeaderName::from_static("x-trine-hops");
pub const MAX_HOPS: u32 = 8;

static HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    UPGRADE,
];

/// What a connection's peer adds to every request; made once per connection.
#[derive(Debug)]
pub struct Peer {
    ip: HeaderValue,
    forwarded: HeaderValue,
    /// Its own forwarding headers are believed.
    trusted: bool,
}

impl Peer {
    #[must_use]
    pub fn new(peer: IpAddr, local: IpAddr, trusted: bool) -> Self {
        let (peer, local) = (peer.to_canonical(), local.to_canonical());
        let node = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        let forwarded = format!("for={};proto=http;by={}", node(peer), node(local));
        let text = |s: String| HeaderValue::try_from(s).expect("addresses are printable ASCII");
        Self { ip: text(peer.to_string()), forwarded: text(forwarded), trusted }
    }

    /// Replace what the client claims about itself by what is so. `host` is the request's authority.
    pub fn vouch(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        let port = port_of(host);
        if self.trusted {
            append(headers, &X_FORWARDED_FOR, &self.ip);
            append(headers, &FORWARDED, &self.forwarded);
            headers.entry(&X_REAL_IP).or_insert_with(|| self.ip.clone());
            headers.entry(&X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
            headers.entry(&X_FORWARDED_HOST).or_insert_with(|| host.clone());
            headers.entry(&X_FORWARDED_PORT).or_insert(port);
            return;
        }
        headers.insert(X_FORWARDED_FOR.clone(), self.ip.clone());
        headers.insert(FORWARDED, self.forwarded.clone());
        headers.insert(X_REAL_IP.clone(), self.ip.clone());
        headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static("http"));
        if host.is_empty() {
            headers.remove(&X_FORWARDED_HOST);
        } else {
            headers.insert(X_FORWARDED_HOST.clone(), host.clone());
        }
        headers.insert(X_FORWARDED_PORT.clone(), port);
        headers.remove(&X_FORWARDED_PREFIX);
    }
}

fn append(headers: &mut HeaderMap, name: &HeaderName, own: &HeaderValue) {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(own.as_bytes());
    // Header values joined by a comma are a header value.
    let value = HeaderValue::try_from(list).unwrap_or_else(|_| own.clone());
    headers.insert(name.clone(), value);
}

fn port_of(host: &HeaderValue) -> HeaderValue {
    let port = host.as_bytes().rsplit(|b| *b == b':').next().filter(|p| p.len() < host.len());
    match port {
        Some(p) if !p.is_empty() && p.iter().all(u8::is_ascii_digit) => {
            HeaderValue::from_bytes(p).unwrap_or(HeaderValue::from_static("80"))
        }
        _ => HeaderValue::from_static("80"),
    }
}

/// Take out what concerns only this connection: the standard fields and those `Connection` names.
///
/// A sender may not name fields that frame, route or authenticate the message, or that we vouch for.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|v| v.as_bytes().split(|b| *b == b','))
            .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
            .filter(|name| !protected(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    // Only `trailers` means anything beyond one connection.
    let trailers = headers.get(TE).is_some_and(|te| contains_token(te, "trailers"));
    if headers.remove(TE).is_some() && trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

fn protected(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-")
        || [
            "host",
            "content-length",
            "content-type",
            "authorization",
            "cookie",
            "forwarded",
            "x-real-ip",
            HOPS.as_str(),
        ]
        .contains(&name)
}

/// Fields spelled with `_` that many servers read as ours spelled with `-`.
pub fn strip_twins(headers: &mut HeaderMap) {
    let twin = |name: &HeaderName| {
        let name = name.as_str();
        name.contains('_') && {
            let dashed = name.replace('_', "-");
            dashed.starts_with("x-forwarded-")
                || ["content-length", "transfer-encoding", "x-real-ip", "content-type"].contains(&dashed.as_str())
        }
    };
    if headers.keys().any(twin) {
        let names: Vec<HeaderName> = headers.keys().filter(|n| twin(n)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// Whether an instance's answer has one clear length; otherwise a client could read another than we did.
#[must_use]
pub fn clear_length(version: Version, headers: &HeaderMap) -> bool {
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => lengths <= 1,
        (Some(coding), None) => {
            lengths == 0
                && version == Version::HTTP_11
                && coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
        }
        (Some(_), Some(_)) => false,
    }
}

/// Whether a comma-separated value holds a token, in any case.
#[must_use]
pub fn contains_token(value: &HeaderValue, token: &str) -> bool {
    value.as_bytes().split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// A WebSocket handshake (RFC 6455), as far as a proxy must know it.
#[must_use]
pub fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|u| u.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
        && headers.get_all(CONNECTION).iter().any(|c| contains_token(c, "upgrade"))
}

/// The load balancers of ours a request has passed so far.
#[must_use]
pub fn hops(headers: &HeaderMap) -> u32 {
    match headers.get(&HOPS) {
        None => 0,
        // Whoever writes nonsense here is not one of ours; a request of theirs goes no further than one more hop.
        Some(value) => value.to_str().ok().and_then(|v| v.parse().ok()).unwrap_or(MAX_HOPS),
    }
}

/// The one `Host` of a request, or why there is none.
pub fn host_of(headers: &HeaderMap) -> Result<&HeaderValue, &'static str> {
    let mut all = headers.get_all(HOST).iter();
    match (all.next(), all.next()) {
        (None, _) => Err("the Host header is missing"),
        (Some(_), Some(_)) => Err("there is more than one Host header"),
        (Some(host), None) => {
            let ok = host.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%".contains(b));
            if ok && port_is_sane(host.as_bytes()) { Ok(host) } else { Err("the Host header is not a host") }
        }
    }
}

fn port_is_sane(host: &[u8]) -> bool {
    let after = match host.iter().position(|b| *b == b']') {
        Some(end) => &host[end + 1..],
        None => host,
    };
    let mut parts = after.splitn(2, |b| *b == b':');
    let (_, port) = (parts.next(), parts.next());
    port.is_none_or(|p| p.is_empty() || std::str::from_utf8(p).is_ok_and(|p| p.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests;
