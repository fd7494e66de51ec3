//! `TRINE_*` variables of the agent; they win over files and lose to flags.

use super::{Config, Error, Ports, section::parse_flag};

/// Merge the environment, given as a lookup so that tests need not touch the real one.
pub(super) fn apply(config: &mut Config, lookup: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
    let mut wrong = Vec::new();
    let get = |name: &str| lookup(name).filter(|v| !v.is_empty());
    for (name, target) in [
        ("TRINE_REGION", &mut config.region),
        ("TRINE_DATACENTER", &mut config.datacenter),
        ("TRINE_NAME", &mut config.name),
        ("TRINE_LOG_LEVEL", &mut config.log_level),
    ] {
        if let Some(value) = get(name) {
            *target = value;
        }
    }
    if let Some(dir) = get("TRINE_DATA_DIR") {
        config.data_dir = Some(dir.into());
    }
    if let Some(addr) = get("TRINE_BIND_ADDR") {
        match addr.parse() {
            Ok(ip) => config.bind_addr = ip,
            Err(e) => wrong.push(format!("TRINE_BIND_ADDR={addr:?}: {e}")),
        }
    }
    if let Some(servers) = get("TRINE_SERVERS") {
        config.client.servers = servers.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    }
    if let Some(value) = get("TRINE_LOG_JSON") {
        match parse_flag(&value) {
            Some(on) => config.log_json = on,
            None => wrong.push(format!("TRINE_LOG_JSON={value:?}: write true or false")),
        }
    }
    ports(&mut config.ports, get, &mut wrong);
    if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
}

fn ports(ports: &mut Ports, get: impl Fn(&str) -> Option<String>, wrong: &mut Vec<String>) {
    for (name, target) in [
        ("TRINE_PORT_HTTP", &mut ports.http),
        ("TRINE_PORT_RPC", &mut ports.rpc),
        ("TRINE_PORT_CATALOG", &mut ports.catalog),
        ("TRINE_PORT_DNS", &mut ports.dns),
        ("TRINE_PORT_LB", &mut ports.lb),
        ("TRINE_PORT_LB_ADMIN", &mut ports.lb_admin),
    ] {
        let Some(value) = get(name) else { continue };
        match value.parse() {
            Ok(port) => *target = port,
            Err(_) => wrong.push(format!("{name}={value:?}: a port is a number from 0 to 65535")),
        }
    }
}
