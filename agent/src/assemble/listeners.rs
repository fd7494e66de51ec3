//! Every port of the agent, bound or at least tried before anything is started.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use super::Addresses;
use crate::{config::Config, listen};

/// Bound, not yet served.
#[derive(Debug)]
pub(super) struct Listeners {
    pub http: TcpListener,
    pub rpc: Option<TcpListener>,
    pub catalog: Option<TcpListener>,
}

impl Listeners {
    /// Bind what is served here, and try what DNS and the load balancer will bind themselves.
    pub fn bind(config: &Config) -> Result<(Self, Addresses), listen::Error> {
        let ports = &config.ports;
        let at = |port| SocketAddr::new(config.bind_addr, port);
        let http = listen::bind(at(ports.http), "the HTTP API and page", "http")?;
        let rpc = config
            .server
            .enabled
            .then(|| {
                listen::bind(SocketAddr::new(rpc_ip(config.bind_addr), ports.rpc), "server RPC (role server)", "rpc")
            })
            .transpose()?;
        let catalog = config
            .discovery
            .enabled
            .then(|| listen::bind(at(ports.catalog), "the catalog API (role discovery)", "catalog"))
            .transpose()?;
        if config.discovery.enabled {
            let dns = at(ports.dns);
            drop(listen::bind(dns, "DNS (role discovery)", "dns")?);
            UdpSocket::bind(dns).map_err(|e| listen::Error::new(dns, "DNS over UDP (role discovery)", "dns", &e))?;
        }
        if config.lb_enabled() {
            drop(listen::bind(traffic(config), "traffic (role lb)", "lb")?);
            drop(listen::bind(admin(config), "the load balancer's admin (role lb)", "lb_admin")?);
        }
        let local = |l: &TcpListener| l.local_addr().ok();
        let addresses = Addresses {
            http: local(&http),
            rpc: rpc.as_ref().and_then(local),
            catalog: catalog.as_ref().and_then(local),
            ..Addresses::default()
        };
        Ok((Self { http, rpc, catalog }, addresses))
    }
}

/// Server RPC is plain TCP until TLS is built, so it never leaves the host.
fn rpc_ip(bind: IpAddr) -> IpAddr {
    if bind.is_loopback() { bind } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// Where the load balancer takes traffic.
pub(super) fn traffic(config: &Config) -> SocketAddr {
    SocketAddr::new(config.lb.bind_addr.unwrap_or(config.bind_addr), config.ports.lb)
}

/// Where the load balancer's admin API is.
pub(super) fn admin(config: &Config) -> SocketAddr {
    SocketAddr::new(config.lb.admin_bind_addr.unwrap_or(config.bind_addr), config.ports.lb_admin)
}

/// The RPC address others are told.
pub(super) fn advertised(config: &Config, bound: SocketAddr) -> String {
    with_port(config.advertise.rpc.as_deref(), bound)
}

/// The HTTP address others are told.
pub(super) fn http_advertised(config: &Config, bound: SocketAddr) -> String {
    with_port(config.advertise.http.as_deref(), bound)
}

fn with_port(advertised: Option<&str>, bound: SocketAddr) -> String {
    match advertised {
        Some(text) if text.parse::<IpAddr>().is_ok() || !text.contains(':') => text
            .parse()
            .map_or_else(|_| format!("{text}:{}", bound.port()), |ip| SocketAddr::new(ip, bound.port()).to_string()),
        Some(text) => text.to_owned(),
        None if bound.ip().is_unspecified() => SocketAddr::new([127, 0, 0, 1].into(), bound.port()).to_string(),
        None => bound.to_string(),
    }
}

/// The address at which tasks of this node are reached: told, or that of the APIs, or left to the client to find.
pub(super) fn node_address(config: &Config) -> String {
    match config.advertise.address {
        Some(ip) => ip.to_string(),
        None if config.bind_addr.is_unspecified() => String::new(),
        None => config.bind_addr.to_string(),
    }
}

/// The address of this agent's node in the catalog, when it has no client to find one.
pub(super) fn catalog_address(config: &Config) -> String {
    let address = node_address(config);
    if address.is_empty() { Ipv4Addr::LOCALHOST.to_string() } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses_get_the_bound_port() {
        let bound: SocketAddr = "0.0.0.0:4647".parse().unwrap();
        assert_eq!(with_port(None, bound), "127.0.0.1:4647");
        assert_eq!(with_port(Some("10.0.0.1"), bound), "10.0.0.1:4647");
        assert_eq!(with_port(Some("::1"), bound), "[::1]:4647");
        assert_eq!(with_port(Some("host"), bound), "host:4647");
        assert_eq!(with_port(Some("host:1"), bound), "host:1");
    }
}
