//! Bodies that register and deregister: what they may say, and the commands they become.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use model::{
    InstanceId, NodeName,
    catalog::{CatalogNode, Check, CheckDefinition, Instance, Source, Weights},
    check::Verdict,
    command::CatalogRegistration,
    driver_config,
    id::Index,
    service::Probe,
};
use serde_json::Value;

use super::decode::Fields;
use crate::http::Error;

/// Bytes of names and ids.
const NAME_MAX: usize = 512;
/// Bytes of a tag: a load balancer's options are in there.
const TAG_MAX: usize = 4096;
const TAGS_MAX: usize = 1024;
/// Bytes of notes, outputs, URLs and bodies.
pub const TEXT_MAX: usize = 64 * 1024;
const META_PAIRS_MAX: usize = 64;
const META_KEY_MAX: usize = 128;
const META_VALUE_MAX: usize = 512;
/// Checks are not run more often than this.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

fn bad(text: impl Into<String>) -> Error {
    Error::BadRequest(text.into())
}

fn same_datacenter(f: &mut Fields, datacenter: &str) -> Result<(), Error> {
    let asked = f.text("Datacenter", NAME_MAX)?;
    if asked.is_empty() || asked.eq_ignore_ascii_case(datacenter) {
        Ok(())
    } else {
        Err(Error::Internal("No path to datacenter".into()))
    }
}

/// `catalog/register`.
pub fn catalog(body: &[u8], datacenter: &str) -> Result<CatalogRegistration, Error> {
    let mut f = Fields::parse(body)?;
    same_datacenter(&mut f, datacenter)?;
    let name = f.text("Node", NAME_MAX)?;
    let address = f.text("Address", NAME_MAX)?;
    let skip_node_update = f.boolean("SkipNodeUpdate")?;
    if name.is_empty() || (address.is_empty() && !skip_node_update) {
        return Err(bad("Must provide node and address"));
    }
    let id = f.text("ID", NAME_MAX)?;
    if !id.is_empty() && (id.len() != 36 || uuid::Uuid::parse_str(&id).is_err()) {
        return Err(bad(format!("Bad node ID {id:?}: it must be a UUID of 36 characters")));
    }
    let node = CatalogNode {
        name: name.as_str().into(),
        id,
        address,
        datacenter: datacenter.to_owned(),
        tagged_addresses: f.text_map("TaggedAddresses")?,
        meta: f.text_map("NodeMeta")?,
        checks: BTreeMap::new(),
        source: Source::Catalog,
        create_index: Index(0),
        modify_index: Index(0),
    };
    let instance = f.object("Service")?.map(|s| catalog_instance(s, &node.name)).transpose()?;
    let mut checks = Vec::new();
    for check in f.object("Check")?.into_iter().chain(f.objects("Checks")?) {
        checks.push(catalog_check(check, &name)?);
    }
    f.ignore(&["PeerName", "WriteRequest", "Locality", "Partition", "EnterpriseMeta"]);
    f.finish()?;
    Ok(CatalogRegistration { node, skip_node_update, instance, replace_checks: false, checks })
}

fn catalog_instance(mut f: Fields, node: &NodeName) -> Result<Instance, Error> {
    let name = f.text("Service", NAME_MAX)?;
    if name.is_empty() {
        return Err(bad("Must provide service name (Service.Service) when registering a service"));
    }
    let instance = instance(&mut f, name, node, Source::Catalog)?;
    f.ignore(&["Namespace", "Partition", "PeerName", "Datacenter", "CreateIndex", "ModifyIndex", "ContentHash"]);
    f.finish()?;
    Ok(instance)
}

/// The part of an instance both ways of registering share.
fn instance(f: &mut Fields, name: String, node: &NodeName, source: Source) -> Result<Instance, Error> {
    let id = f.text("ID", NAME_MAX)?;
    let address = f.text("Address", NAME_MAX)?;
    if address.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return Err(bad("Invalid service address"));
    }
    let tags = f.texts("Tags", TAG_MAX)?;
    if tags.len() > TAGS_MAX {
        return Err(bad(format!("Invalid Service Tags: more than {TAGS_MAX}")));
    }
    let meta = f.text_map("Meta")?;
    validate_meta(&meta)?;
    let mut foreign = BTreeMap::new();
    for key in ["Proxy", "Connect", "SocketPath", "Locality", "Ports"] {
        if let Some(v) = f.any(key) {
            foreign.insert(key.to_owned(), v);
        }
    }
    let port = match f.number("Port", u64::from(u16::MAX))? {
        // Several ports: the default one is the port for those who know only one.
        0 => foreign.get("Ports").and_then(default_port).unwrap_or(0),
        n => u16::try_from(n).unwrap_or(0),
    };
    Ok(Instance {
        id: if id.is_empty() { name.as_str().into() } else { id.into() },
        service: name.into(),
        node: node.clone(),
        tagged_addresses: tagged_addresses(f, &address, port)?,
        address,
        port,
        tags: tags.iter().map(|t| t.as_str().into()).collect(),
        meta,
        weights: weights(f)?,
        enable_tag_override: f.boolean("EnableTagOverride")?,
        kind: f.text("Kind", NAME_MAX)?,
        foreign: if foreign.is_empty() {
            driver_config::Value::Null
        } else {
            driver_config::Value::Map(foreign.iter().map(|(k, v)| (k.clone(), v.into())).collect())
        },
        checks: BTreeMap::new(),
        source,
        create_index: Index(0),
        modify_index: Index(0),
    })
}

fn default_port(ports: &Value) -> Option<u16> {
    let ports = ports.as_array()?;
    let port = ports.iter().find(|p| p["Default"] == Value::Bool(true)).or_else(|| ports.first())?;
    u16::try_from(port["Port"].as_u64()?).ok()
}

fn tagged_addresses(f: &mut Fields, address: &str, port: u16) -> Result<BTreeMap<String, (String, u16)>, Error> {
    let mut tagged = BTreeMap::new();
    for (key, mut entry) in f.named_objects("TaggedAddresses")? {
        let port = u16::try_from(entry.number("Port", u64::from(u16::MAX))?).unwrap_or(0);
        tagged.insert(key, (entry.text("Address", NAME_MAX)?, port));
        entry.finish()?;
    }
    if let Ok(ip) = address.parse::<IpAddr>() {
        let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        for net in ["lan", "wan"] {
            tagged.entry(format!("{net}_{family}")).or_insert_with(|| (address.to_owned(), port));
        }
    }
    Ok(tagged)
}

fn weights(f: &mut Fields) -> Result<Weights, Error> {
    let Some(mut w) = f.object("Weights")? else { return Ok(Weights::default()) };
    let number = |f: &mut Fields, name: &str| f.number(name, 65535).map(|n| u32::try_from(n).unwrap_or(65535));
    let weights = Weights { passing: number(&mut w, "Passing")?, warning: number(&mut w, "Warning")? };
    w.finish()?;
    if weights.passing < 1 {
        return Err(bad("Invalid Weights: Passing must be greater than 0"));
    }
    Ok(weights)
}

fn validate_meta(meta: &BTreeMap<String, String>) -> Result<(), Error> {
    let wrong = |why: String| Err(bad(format!("Invalid Service Meta: {why}")));
    if meta.len() > META_PAIRS_MAX {
        return wrong(format!("Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"));
    }
    for (key, value) in meta {
        if key.is_empty() || key.len() > META_KEY_MAX {
            return wrong(format!("Key {key:?} must have 1 to {META_KEY_MAX} characters"));
        }
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return wrong(format!("Key {key:?} contains invalid characters"));
        }
        if key.starts_with("consul-") {
            return wrong(format!("Key prefix \"consul-\" is reserved (key {key:?})"));
        }
        if value.len() > META_VALUE_MAX {
            return wrong(format!("Value of {key:?} is too long (limit: {META_VALUE_MAX} characters)"));
        }
    }
    Ok(())
}

fn catalog_check(mut f: Fields, node: &str) -> Result<(Option<InstanceId>, Check), Error> {
    let of = f.text("Node", NAME_MAX)?;
    if !of.is_empty() && !of.eq_ignore_ascii_case(node) {
        return Err(bad(format!("check node {of:?} does not match node {node:?}")));
    }
    let name = f.text("Name", NAME_MAX)?;
    let id = f.text("CheckID", NAME_MAX)?;
    let id = if id.is_empty() { name.clone() } else { id };
    if id.is_empty() {
        return Err(bad("Must provide check name or ID"));
    }
    let status = f.text("Status", NAME_MAX)?;
    let verdict = if status.is_empty() {
        Verdict::Critical
    } else {
        status.parse().map_err(|e: model::check::NotAVerdict| bad(e.to_string()))?
    };
    let owner = f.text("ServiceID", NAME_MAX)?;
    let check = Check {
        id: id.into(),
        name,
        verdict,
        notes: f.text("Notes", TEXT_MAX)?,
        output: f.text("Output", TEXT_MAX)?,
        kind: f.text("Type", NAME_MAX)?,
        definition: None,
        foreign_definition: f.any("Definition").as_ref().map_or(driver_config::Value::Null, Into::into),
        create_index: Index(0),
        modify_index: Index(0),
    };
    f.ignore(&["ServiceName", "ServiceTags", "Namespace", "Partition", "PeerName", "Interval", "Timeout"]);
    f.ignore(&["ExposedPort", "CreateIndex", "ModifyIndex"]);
    f.finish()?;
    Ok(((!owner.is_empty()).then(|| owner.into()), check))
}

/// What `catalog/deregister` names.
pub struct Gone {
    pub node: String,
    pub service: Option<String>,
    pub check: Option<String>,
}

pub fn deregistration(body: &[u8], datacenter: &str) -> Result<Gone, Error> {
    let mut f = Fields::parse(body)?;
    same_datacenter(&mut f, datacenter)?;
    let node = f.text("Node", NAME_MAX)?;
    if node.is_empty() {
        return Err(bad("Must provide node"));
    }
    let given = |text: String| (!text.is_empty()).then_some(text);
    let gone =
        Gone { node, service: given(f.text("ServiceID", NAME_MAX)?), check: given(f.text("CheckID", NAME_MAX)?) };
    f.ignore(&["Address", "Namespace", "Partition", "PeerName", "WriteRequest"]);
    f.finish()?;
    Ok(gone)
}

/// A service with its checks, as `agent/service/register` reads it. Checks that gave no status have `None`.
pub struct AgentService {
    pub instance: Instance,
    pub checks: Vec<AgentCheck>,
}

pub struct AgentCheck {
    pub check: Check,
    /// The instance it belongs to; none for the node.
    pub service: Option<InstanceId>,
    /// Whether the body said what the check is now.
    pub has_status: bool,
}

pub fn agent_service(body: &[u8], node: &NodeName) -> Result<AgentService, Error> {
    let mut f = Fields::parse(body)?;
    let name = f.text("Name", NAME_MAX)?;
    if name.is_empty() {
        return Err(bad("Missing service name"));
    }
    let instance = instance(&mut f, name, node, Source::Agent)?;
    if let Some(connect) = instance.foreign.as_map().and_then(|m| m.get("Connect")).and_then(|c| c.as_map())
        && connect.keys().any(|k| k.to_lowercase().replace('_', "") == "sidecarservice")
    {
        return Err(Error::NotBuilt { what: "Connect.SidecarService", instead: "register the service without it" });
    }
    let bodies: Vec<Fields> = f.object("Check")?.into_iter().chain(f.objects("Checks")?).collect();
    let several = bodies.len() > 1;
    let mut checks = Vec::new();
    for (n, body) in bodies.into_iter().enumerate() {
        let mut check = agent_check_body(body)?;
        if check.check.id.as_str().is_empty() {
            let base = format!("service:{}", instance.id);
            check.check.id = if several { format!("{base}:{}", n + 1) } else { base }.into();
        }
        if check.check.name.is_empty() {
            check.check.name = format!("Service '{}' check", instance.service);
        }
        check.service = Some(instance.id.clone());
        checks.push(check);
    }
    f.ignore(&["Token", "Namespace", "Partition", "Datacenter", "CreateIndex", "ModifyIndex", "ContentHash"]);
    f.finish()?;
    Ok(AgentService { instance, checks })
}

/// `agent/check/register`.
pub fn agent_check(body: &[u8]) -> Result<AgentCheck, Error> {
    let mut check = agent_check_body(Fields::parse(body)?)?;
    if check.check.name.is_empty() {
        return Err(bad("Missing check name"));
    }
    if check.check.id.as_str().is_empty() {
        check.check.id = check.check.name.as_str().into();
    }
    Ok(check)
}

fn agent_check_body(mut f: Fields) -> Result<AgentCheck, Error> {
    let id = f.text("CheckID", NAME_MAX)?;
    let other = f.text("ID", NAME_MAX)?;
    let id = if id.is_empty() { other } else { id };
    let name = f.text("Name", NAME_MAX)?;
    let status = f.text("Status", NAME_MAX)?;
    let verdict = match status.as_str() {
        "" => Verdict::Critical,
        word => word.parse().map_err(|_| {
            bad(format!("Bad check status {word:?}: Status for checks must 'passing', 'warning', 'critical'"))
        })?,
    };
    let service = f.text("ServiceID", NAME_MAX)?;
    let (notes, output) = (f.text("Notes", TEXT_MAX)?, f.text("Output", TEXT_MAX)?);
    let definition = definition(&mut f)?;
    f.ignore(&["Token", "Namespace", "Partition", "OutputMaxSize", "TLSServerName", "ServiceName", "Shell"]);
    f.finish()?;
    Ok(AgentCheck {
        has_status: !status.is_empty(),
        service: (!service.is_empty()).then(|| service.into()),
        check: Check {
            id: id.into(),
            name,
            verdict,
            notes,
            output,
            kind: definition.probe.kind().into(),
            definition: Some(definition),
            foreign_definition: driver_config::Value::Null,
            create_index: Index(0),
            modify_index: Index(0),
        },
    })
}

fn invalid(why: &str) -> Error {
    bad(format!("Invalid check: {why}"))
}

fn definition(f: &mut Fields) -> Result<CheckDefinition, Error> {
    let interval = f.duration("Interval")?;
    let timeout = f.duration("Timeout")?;
    let (probe, target) = probe(f)?;
    let ttl = matches!(probe, Probe::Ttl { .. });
    if ttl && !interval.is_zero() {
        return Err(invalid("Interval and TTL cannot both be specified"));
    }
    if !ttl && interval.is_zero() {
        return Err(invalid("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"));
    }
    let count = |f: &mut Fields, name: &str| f.number(name, 10_000).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let success_before_passing = count(f, "SuccessBeforePassing")?;
    let failures_before_warning = count(f, "FailuresBeforeWarning")?;
    let failures_before_critical = count(f, "FailuresBeforeCritical")?;
    if failures_before_warning > failures_before_critical {
        return Err(invalid("FailuresBeforeWarning can't be higher than FailuresBeforeCritical"));
    }
    let after = f.duration("DeregisterCriticalServiceAfter")?;
    Ok(CheckDefinition {
        probe,
        target,
        interval: if ttl { Duration::ZERO } else { interval.max(INTERVAL_MIN) },
        timeout,
        success_before_passing,
        failures_before_warning,
        failures_before_critical,
        deregister_critical_after: (!after.is_zero()).then_some(after),
        disable_redirects: f.boolean("DisableRedirects")?,
    })
}

/// Exactly one kind of check may be asked for.
fn probe(f: &mut Fields) -> Result<(Probe, String), Error> {
    let not_built = [
        ("H2PING", "h2ping checks"),
        ("UDP", "udp checks"),
        ("OSService", "os_service checks"),
        ("DockerContainerID", "docker checks"),
        ("AliasNode", "alias checks"),
        ("AliasService", "alias checks"),
    ];
    for (field, what) in not_built {
        if !f.text(field, NAME_MAX)?.is_empty() {
            return Err(Error::NotBuilt { what, instead: "use an http, tcp, grpc or ttl check" });
        }
    }
    f.ignore(&["H2PINGUseTLS", "TCPUseTLS"]);
    let script = [f.texts("Args", TEXT_MAX)?, f.texts("ScriptArgs", TEXT_MAX)?].concat();
    let (http, tcp, grpc) = (f.text("HTTP", TEXT_MAX)?, f.text("TCP", NAME_MAX)?, f.text("GRPC", NAME_MAX)?);
    let (ttl, use_tls) = (f.duration("TTL")?, f.boolean("GRPCUseTLS")?);
    let (method, body) = (f.text("Method", NAME_MAX)?, f.text("Body", TEXT_MAX)?);
    let (headers, tls_skip_verify) = (f.lists_map("Header")?, f.boolean("TLSSkipVerify")?);
    let given = [!script.is_empty(), !http.is_empty(), !tcp.is_empty(), !grpc.is_empty(), !ttl.is_zero()];
    match given.iter().filter(|g| **g).count() {
        0 => return Err(invalid("TTL must be > 0 for TTL checks")),
        1 => {}
        _ => return Err(invalid("only one of HTTP, TCP, GRPC, Args and TTL can be specified")),
    }
    if !script.is_empty() {
        return Err(bad(
            "Scripts are disabled on this agent: script checks registered through the API could run anything; \
             use a check of a job, or an http, tcp, grpc or ttl check",
        ));
    }
    if !http.is_empty() {
        let scheme = http.split("://").next().unwrap_or_default().to_owned();
        if http.parse::<hyper::Uri>().is_err() || !matches!(scheme.as_str(), "http" | "https") {
            return Err(invalid(&format!("HTTP {http:?} is not a URL that begins with http:// or https://")));
        }
        let probe = Probe::Http { method, scheme, path: String::new(), headers, body, tls_skip_verify };
        return Ok((probe, http));
    }
    if !tcp.is_empty() {
        return Ok((Probe::Tcp, tcp));
    }
    if !grpc.is_empty() {
        return Ok((Probe::Grpc { service: String::new(), tls: use_tls }, grpc));
    }
    Ok((Probe::Ttl { ttl }, String::new()))
}
