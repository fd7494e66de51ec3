//! What a DNS name asks for: the forms under the domain, told apart. Pure.
//!
//! ```text
//!  [tag.]SERVICE.service[.DC].consul      _SERVICE._TAG[.service][.DC].consul      NODE.node[.DC].consul
//!  HEXIP.addr[.DC].consul                 consul                                    …in-addr.arpa / ip6.arpa
//! ```
//! A label with a dot, a NUL or bytes that are not UTF-8 matches nothing, so joined labels are never ambiguous.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{Name, RecordType};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The domain itself.
    Apex,
    /// A name that exists only because names below it do (`service.consul`).
    Between,
    Service {
        name: String,
        tag: Option<String>,
    },
    Node(String),
    Addr(IpAddr),
    /// The name of an address.
    Reverse(IpAddr),
    /// Under the domain, but nothing there.
    Nothing,
    /// Not ours.
    Outside,
}

/// Read a name. `domain` and `datacenter` are compared without regard to case.
#[must_use]
pub fn read(name: &Name, qtype: RecordType, domain: &Name, datacenter: &str) -> Asked {
    if !domain.zone_of(name) {
        return reverse(name).map_or(Asked::Outside, Asked::Reverse);
    }
    let below = name.iter().count() - domain.iter().count();
    let Some(labels) = name.iter().take(below).map(label).collect::<Option<Vec<_>>>() else { return Asked::Nothing };
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    if labels.is_empty() {
        return Asked::Apex;
    }
    let (labels, dc) = split(&labels);
    if dc.is_some_and(|dc| dc != datacenter.to_lowercase()) {
        return Asked::Nothing;
    }
    match labels {
        [] => Asked::Between,
        [.., kind] if labels.len() == 1 && KINDS.contains(kind) => Asked::Between,
        [rest @ .., "service"] => service(rest),
        [rest @ .., "node"] => Asked::Node(rest.join(".")),
        [hex, "addr"] => addr(hex).map_or(Asked::Nothing, Asked::Addr),
        // The short form of RFC 2782 names.
        [name, tag] if name.starts_with('_') && tag.starts_with('_') && qtype == RecordType::SRV => service(labels),
        _ => Asked::Nothing,
    }
}

const KINDS: &[&str] = &["service", "node", "addr"];

/// Cut the datacenter off: `….KIND.DC`, `….KIND.DC.dc`, or `_service._tag.DC`.
fn split<'a>(labels: &'a [&'a str]) -> (&'a [&'a str], Option<&'a str>) {
    match labels {
        [.., last] if KINDS.contains(last) => (labels, None),
        [rest @ .., dc, "dc"] if rest.last().is_some_and(|k| KINDS.contains(k)) => (rest, Some(dc)),
        [rest @ .., dc] if rest.last().is_some_and(|k| KINDS.contains(k)) => (rest, Some(dc)),
        [name, tag, dc] if name.starts_with('_') && tag.starts_with('_') => (&labels[..2], Some(dc)),
        _ => (labels, None),
    }
}

fn service(labels: &[&str]) -> Asked {
    let (name, tag) = match labels {
        [name, tag] if name.starts_with('_') && tag.starts_with('_') => {
            let tag = &tag[1..];
            (&name[1..], (tag != "tcp").then(|| tag.to_owned()))
        }
        [name] => (*name, None),
        [tags @ .., name] => (*name, Some(tags.join("."))),
        [] => return Asked::Nothing,
    };
    if name.is_empty() || tag.as_ref().is_some_and(String::is_empty) {
        return Asked::Nothing;
    }
    Asked::Service { name: name.to_owned(), tag }
}

/// The label in lower case, if it is text without a separator.
fn label(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains(['.', '\0', '\\'])).then(|| text.to_lowercase())
}

fn addr(hex: &str) -> Option<IpAddr> {
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    match hex.len() {
        8 => u32::from_str_radix(hex, 16).ok().map(|n| Ipv4Addr::from(n).into()),
        32 => u128::from_str_radix(hex, 16).ok().map(|n| Ipv6Addr::from(n).into()),
        _ => None,
    }
}

/// The address form of an address, as targets of SRV records use it.
#[must_use]
pub fn hex(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:08x}", u32::from(ip)),
        IpAddr::V6(ip) => format!("{:032x}", u128::from(ip)),
    }
}

fn reverse(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}
