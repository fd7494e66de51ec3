//! Networks: fixed and dynamic ports apart, as the API lists them.

use model::resource::{Network, NetworkMode, PortRequest};

use crate::spec::tree::Block;

pub fn network(n: &Network) -> Block {
    let mut b = Block::default();
    match &n.mode {
        NetworkMode::Host => b.text_field("mode", "host"),
        NetworkMode::Bridge => b.text_field("mode", "bridge"),
        NetworkMode::None => b.text_field("mode", "none"),
        NetworkMode::Cni(name) => b.text_field("mode", &format!("cni/{name}")),
    }
    let (fixed, dynamic): (Vec<_>, Vec<_>) = n.ports.iter().partition(|p| p.fixed.is_some());
    b.set_blocks("@reserved", fixed.into_iter().map(port).collect());
    b.set_blocks("@dynamic", dynamic.into_iter().map(port).collect());
    b.text_field("hostname", &n.hostname);
    if !(n.dns_servers.is_empty() && n.dns_searches.is_empty() && n.dns_options.is_empty()) {
        let mut dns = Block::default();
        dns.strings_field("servers", &n.dns_servers);
        dns.strings_field("searches", &n.dns_searches);
        dns.strings_field("options", &n.dns_options);
        b.set_blocks("dns", vec![dns]);
    }
    b.big_field("mbits", n.mbits.unwrap_or(0));
    b
}

fn port(p: &PortRequest) -> Block {
    let mut b = Block { label: Some(p.label.clone()), ..Block::default() };
    b.int_field("static", p.fixed.unwrap_or(0));
    b.int_field("to", p.to);
    b.text_field("host_network", if p.host_network.is_empty() { "default" } else { &p.host_network });
    b.bool_field("ignore_collision", p.ignore_collision);
    b
}
