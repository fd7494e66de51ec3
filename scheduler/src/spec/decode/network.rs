//! Networks and their ports.

use model::resource::{Network, NetworkMode, PortRequest};

use super::refuse_twins;
use crate::spec::tree::{Block, Error};

pub fn network(b: &Block) -> Result<Network, Error> {
    let ports = b.blocks("port");
    refuse_twins(ports, "port")?;
    let mut ports: Vec<PortRequest> = ports.iter().map(port).collect::<Result<_, _>>()?;
    // JSON lists fixed ports first; one order everywhere keeps a job equal to itself.
    ports.sort_by_key(|p| p.fixed.is_none());
    let dns = b.one("dns");
    let list = |name: &str| dns.map(|d| d.strings(name)).unwrap_or_default();
    Ok(Network {
        mode: mode(b)?,
        ports,
        hostname: b.text("hostname"),
        dns_servers: list("servers"),
        dns_searches: list("searches"),
        dns_options: list("options"),
        mbits: b.number::<u64>("mbits")?.filter(|m| *m > 0),
    })
}

fn mode(b: &Block) -> Result<NetworkMode, Error> {
    match b.str("mode").unwrap_or("host") {
        "host" => Ok(NetworkMode::Host),
        "bridge" => Ok(NetworkMode::Bridge),
        "none" => Ok(NetworkMode::None),
        other => match other.strip_prefix("cni/") {
            Some(name) if !name.is_empty() => Ok(NetworkMode::Cni(name.to_owned())),
            _ => Err(b.fail(
                "mode",
                format!("\"mode\" cannot be {other:?}: it is \"host\", \"bridge\", \"none\" or \"cni/<name>\""),
            )),
        },
    }
}

fn port(b: &Block) -> Result<PortRequest, Error> {
    let fixed = match b.int("static") {
        None | Some(0) => None,
        Some(p) => Some(
            u16::try_from(p).map_err(|_| b.fail("static", format!("a port is a number from 1 to 65535, not {p}")))?,
        ),
    };
    let to = b.int("to").unwrap_or(0);
    if !(-1..=65535).contains(&to) {
        return Err(b.fail("to", format!("\"to\" is a port, or -1 for the same as outside; not {to}")));
    }
    Ok(PortRequest {
        label: b.label().to_owned(),
        fixed,
        to: i32::try_from(to).unwrap_or(0),
        host_network: b.str("host_network").filter(|n| *n != "default").unwrap_or_default().to_owned(),
        ignore_collision: b.flag("ignore_collision"),
    })
}
