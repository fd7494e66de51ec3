//! The answer to one question, from one snapshot. Pure: the order of equals comes from the given random source.
//!
//! Instances with a critical check (their own or their node's) are not there. Nothing left is NXDOMAIN; something
//! left but not of the asked type is NODATA; both carry the SOA.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{self, A, AAAA, CNAME, PTR, SOA, SRV, TXT},
    },
};
use model::{
    State,
    catalog::{CatalogNode, Instance},
    check::Verdict,
};
use rand::{Rng, seq::SliceRandom};

use super::{
    Config,
    name::{self, Asked},
};
use crate::{catalog, local::SERVER_SERVICE};

/// Name servers listed at most.
const NS_MAX: usize = 3;
/// TXT strings are at most this long on the wire.
const TXT_MAX: usize = 255;

/// The domain and how it is answered.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: Name,
    datacenter: String,
    only_passing: bool,
    node_ttl: u32,
    service_ttl: BTreeMap<String, u32>,
    min_ttl: u32,
}

/// The sections of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
}

impl Zone {
    /// `None` when the domain is not a name.
    #[must_use]
    pub fn new(config: &Config) -> Option<Self> {
        let mut domain =
            Name::from_ascii(config.domain.trim_matches('.')).ok().filter(|d| d.iter().next().is_some())?;
        domain.set_fqdn(true);
        Some(Self {
            domain,
            datacenter: config.datacenter.clone(),
            only_passing: config.only_passing,
            node_ttl: seconds(config.node_ttl),
            service_ttl: config.service_ttl.iter().map(|(k, v)| (k.to_lowercase(), seconds(*v))).collect(),
            min_ttl: seconds(config.soa_min_ttl),
        })
    }

    #[must_use]
    pub const fn domain(&self) -> &Name {
        &self.domain
    }

    /// The exact name's TTL, else the longest prefix's, else that of `*`.
    fn ttl_of(&self, service: &str) -> u32 {
        let exact = self.service_ttl.get(service);
        let prefixed = || {
            self.service_ttl
                .iter()
                .filter(|(k, _)| k.strip_suffix('*').is_some_and(|p| service.starts_with(p)))
                .max_by_key(|(k, _)| k.len())
                .map(|(_, ttl)| ttl)
        };
        exact.or_else(prefixed).copied().unwrap_or(0)
    }

    /// A name below the domain.
    fn below<'a>(&self, labels: impl IntoIterator<Item = &'a str>) -> Option<Name> {
        let labels: Vec<_> = labels.into_iter().filter(|l| !l.is_empty()).map(str::as_bytes).collect();
        Name::from_labels(labels).ok()?.append_domain(&self.domain).ok()
    }

    fn soa(&self, now: u32) -> Option<Record> {
        let soa = SOA::new(self.below(["ns"])?, self.below(["hostmaster"])?, now, 3600, 600, 86400, self.min_ttl);
        Some(Record::from_rdata(self.domain.clone(), self.min_ttl, RData::SOA(soa)))
    }

    fn node_name(&self, node: &CatalogNode) -> Option<Name> {
        self.below(node.name.as_str().split('.').chain(["node", &self.datacenter]))
    }
}

fn seconds(d: Duration) -> u32 {
    u32::try_from(d.as_secs()).unwrap_or(u32::MAX)
}

/// Answer one question. `now` is Unix time in seconds, the zone's serial number.
#[must_use]
pub fn answer<R: Rng>(state: &State, zone: &Zone, query: &Query, now: u32, rng: &mut R) -> Answer {
    let qtype = query.query_type();
    let asked = name::read(query.name(), qtype, &zone.domain, &zone.datacenter);
    let found = match asked {
        Asked::Outside => return refused(),
        Asked::Reverse(ip) => return reverse(state, zone, query, ip),
        Asked::Nothing => None,
        Asked::Between => Some(Answer::default()),
        Asked::Apex => Some(apex(state, zone, query, now, rng)),
        Asked::Node(name) => catalog::node(state, &name).map(|n| node(zone, query, n)),
        Asked::Addr(ip) => Some(addr(zone, query, ip)),
        Asked::Service { name, tag } => service(state, zone, query, &name, tag.as_deref(), rng),
    };
    let mut answer = found.unwrap_or(Answer { code: ResponseCode::NXDomain, ..Answer::default() });
    if answer.answers.is_empty() {
        answer.authorities.extend(zone.soa(now));
    }
    answer
}

fn refused() -> Answer {
    Answer { code: ResponseCode::Refused, ..Answer::default() }
}

fn address_record(owner: &Name, ttl: u32, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(owner.clone(), ttl, data)
}

fn wanted(qtype: RecordType, ip: IpAddr) -> bool {
    match qtype {
        RecordType::ANY => true,
        RecordType::A => ip.is_ipv4(),
        RecordType::AAAA => ip.is_ipv6(),
        _ => false,
    }
}

fn asks_addresses(qtype: RecordType) -> bool {
    matches!(qtype, RecordType::A | RecordType::AAAA | RecordType::ANY | RecordType::CNAME)
}

/// The domain itself: SOA and NS, with the addresses of the name servers.
fn apex<R: Rng>(state: &State, zone: &Zone, query: &Query, now: u32, rng: &mut R) -> Answer {
    let mut answer = Answer::default();
    let (wants_soa, wants_ns) = match query.query_type() {
        RecordType::SOA => (true, false),
        RecordType::NS => (false, true),
        RecordType::ANY => (true, true),
        _ => return answer,
    };
    if wants_soa {
        answer.answers.extend(zone.soa(now));
    }
    let mut servers: Vec<&Arc<CatalogNode>> = state
        .service(SERVER_SERVICE)
        .into_iter()
        .flat_map(|s| s.instances.values())
        .filter(|i| state.verdict_of(i) != Verdict::Critical)
        .filter_map(|i| state.catalog_nodes.get(&i.node))
        .collect();
    servers.shuffle(rng);
    for server in servers.into_iter().take(NS_MAX) {
        let Some(target) = zone.node_name(server) else { continue };
        let ns = Record::from_rdata(zone.domain.clone(), zone.node_ttl, RData::NS(rdata::NS(target.clone())));
        if wants_ns { &mut answer.answers } else { &mut answer.authorities }.push(ns);
        if let Ok(ip) = server.address.parse() {
            answer.additionals.push(address_record(&target, zone.node_ttl, ip));
        }
    }
    answer
}

fn node(zone: &Zone, query: &Query, node: &CatalogNode) -> Answer {
    let (qtype, owner) = (query.query_type(), query.name());
    let mut answer = Answer::default();
    if asks_addresses(qtype) {
        answer.answers.extend(addresses(owner, zone.node_ttl, qtype, [node.address.as_str()]));
    }
    if matches!(qtype, RecordType::TXT | RecordType::ANY) {
        answer.answers.extend(node.meta.iter().map(|(k, v)| {
            // A key with this prefix holds text that already has its final form.
            let text = if k.starts_with("rfc1035-") { v.clone() } else { attribute(k, v) };
            Record::from_rdata(owner.clone(), zone.node_ttl, RData::TXT(TXT::new(chunks(&text))))
        }));
    }
    answer
}

/// `key=value` as RFC 1464 writes it: `=`, back-quotes and outer blanks of the key are quoted.
fn attribute(key: &str, value: &str) -> String {
    let mut text = String::with_capacity(key.len() + value.len() + 1);
    for c in key.chars() {
        if matches!(c, '=' | '`' | ' ' | '\t') {
            text.push('`');
        }
        text.push(c);
    }
    text.push('=');
    text.push_str(&value.replace('`', "``"));
    text
}

fn chunks(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in text.chars() {
        if parts.last().is_some_and(|p| p.len() + c.len_utf8() > TXT_MAX) {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

fn addr(zone: &Zone, query: &Query, ip: IpAddr) -> Answer {
    let record = address_record(query.name(), zone.node_ttl, ip);
    if wanted(query.query_type(), ip) {
        Answer { answers: vec![record], ..Answer::default() }
    } else {
        Answer { additionals: vec![record], ..Answer::default() }
    }
}

/// Distinct addresses of the asked type; where there is no address at all but a name, an alias to it.
fn addresses<'a>(owner: &Name, ttl: u32, qtype: RecordType, all: impl IntoIterator<Item = &'a str>) -> Vec<Record> {
    let mut seen = BTreeSet::new();
    let mut records = Vec::new();
    let mut alias = None;
    let mut has_ip = false;
    for address in all {
        match address.parse::<IpAddr>() {
            Ok(ip) => {
                has_ip = true;
                if wanted(qtype, ip) && seen.insert(ip) {
                    records.push(address_record(owner, ttl, ip));
                }
            }
            Err(_) => alias = alias.or_else(|| host_name(address)),
        }
    }
    if !has_ip && let Some(target) = alias {
        records.push(Record::from_rdata(owner.clone(), ttl, RData::CNAME(CNAME(target))));
    }
    records
}

fn host_name(address: &str) -> Option<Name> {
    let mut name = Name::from_ascii(address).ok().filter(|n| n.iter().next().is_some())?;
    name.set_fqdn(true);
    Some(name)
}

/// `None` when no healthy instance is left.
fn service<R: Rng>(
    state: &State,
    zone: &Zone,
    query: &Query,
    name: &str,
    tag: Option<&str>,
    rng: &mut R,
) -> Option<Answer> {
    let worst = if zone.only_passing { Verdict::Passing } else { Verdict::Warning };
    let mut instances: Vec<(&Instance, Verdict)> = catalog::service(state, name)?
        .instances
        .values()
        .filter(|i| tag.is_none_or(|t| catalog::has_tag(i, t)))
        .map(|i| (i.as_ref(), state.verdict_of(i)))
        .filter(|(_, v)| *v <= worst)
        .collect();
    if instances.is_empty() {
        return None;
    }
    instances.shuffle(rng);
    let (qtype, ttl) = (query.query_type(), zone.ttl_of(name));
    if qtype == RecordType::SRV {
        return Some(srv(state, zone, query.name(), ttl, &instances));
    }
    let mut answer = Answer::default();
    if asks_addresses(qtype) {
        let all = instances.iter().map(|(i, _)| state.address_of(i));
        answer.answers = addresses(query.name(), ttl, qtype, all);
    }
    Some(answer)
}

fn srv(state: &State, zone: &Zone, owner: &Name, ttl: u32, instances: &[(&Instance, Verdict)]) -> Answer {
    let mut answer = Answer::default();
    let mut seen = BTreeSet::new();
    let mut described = BTreeSet::new();
    for (instance, verdict) in instances {
        let Some((target, ip)) = target(state, zone, instance) else { continue };
        if !seen.insert((instance.node.as_str(), target.to_lowercase(), instance.port)) {
            continue;
        }
        let weight = match verdict {
            Verdict::Passing => instance.weights.passing,
            Verdict::Warning => instance.weights.warning,
            Verdict::Critical => 0,
        };
        let weight = u16::try_from(weight).unwrap_or(u16::MAX);
        let data = SRV::new(1, weight, instance.port, target.clone());
        answer.answers.push(Record::from_rdata(owner.clone(), ttl, RData::SRV(data)));
        if let Some(ip) = ip
            && described.insert(target.clone())
        {
            answer.additionals.push(address_record(&target, ttl, ip));
        }
    }
    answer
}

/// What an SRV record points at, and its address when we know it.
fn target(state: &State, zone: &Zone, instance: &Instance) -> Option<(Name, Option<IpAddr>)> {
    if instance.address.is_empty() {
        let node = state.catalog_nodes.get(&instance.node)?;
        let ip = node.address.parse().ok();
        // A node whose name cannot be written in DNS is reached by its address.
        let name = zone.node_name(node).or_else(|| by_address(zone, ip?));
        return name.map(|n| (n, ip));
    }
    match instance.address.parse() {
        Ok(ip) => by_address(zone, ip).map(|name| (name, Some(ip))),
        Err(_) => host_name(&instance.address).map(|name| (name, None)),
    }
}

fn by_address(zone: &Zone, ip: IpAddr) -> Option<Name> {
    zone.below([name::hex(ip).as_str(), "addr", &zone.datacenter])
}

/// The node, else the service, that has an address. We are no authority for other addresses.
fn reverse(state: &State, zone: &Zone, query: &Query, ip: IpAddr) -> Answer {
    if !matches!(query.query_type(), RecordType::PTR | RecordType::ANY) {
        return refused();
    }
    let is = |address: &str| address.parse::<IpAddr>().is_ok_and(|a| a == ip);
    let of_node = || state.catalog_nodes.values().find(|n| is(&n.address)).and_then(|n| zone.node_name(n));
    let of_service = || {
        let instance = state.services.values().flat_map(|s| s.instances.values()).find(|i| is(&i.address))?;
        zone.below([instance.service.as_str(), "service", &zone.datacenter])
    };
    match of_node().or_else(of_service) {
        Some(name) => Answer {
            answers: vec![Record::from_rdata(query.name().clone(), 0, RData::PTR(PTR(name)))],
            ..Answer::default()
        },
        None => refused(),
    }
}
