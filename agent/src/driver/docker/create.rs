//! From a task to the engine's create request. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Component, Path, PathBuf},
};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountTmpfsOptions,
    MountType, NetworkingConfig, PortBinding, PortMap, ResourcesUlimits,
};
use model::resource::NetworkMode;

use super::{
    Config,
    config::{ContainerConfig, MountConfig, refused},
    image::with_tag,
    label,
};
use crate::driver::{Error, LogTarget, TaskSpec};

const MIB: i64 = 1 << 20;
/// The engine keeps this much output itself, for `docker logs` and for going on after a restart of the agent.
const ENGINE_LOG: [(&str, &str); 2] = [("max-file", "2"), ("max-size", "10m")];

/// The request that creates the task's container.
pub fn request(spec: &TaskSpec, c: &ContainerConfig, node: &Config) -> Result<ContainerCreateBody, Error> {
    let mode = network_mode(spec, c)?;
    let (exposed, bindings) = if mode == "host" || mode == "none" || mode.starts_with("container:") {
        (Vec::new(), PortMap::new())
    } else {
        ports(spec, c)?
    };
    let command: Vec<String> = c.command.iter().cloned().chain(c.args.iter().cloned()).collect();
    let some = |v: Vec<String>| (!v.is_empty()).then_some(v);
    let hostname = c.hostname.clone().or_else(|| Some(spec.dns.hostname.clone()).filter(|h| !h.is_empty()));
    let networking = (!c.network_aliases.is_empty()).then(|| NetworkingConfig {
        endpoints_config: Some(
            [(mode.clone(), EndpointSettings { aliases: Some(c.network_aliases.clone()), ..Default::default() })]
                .into(),
        ),
    });
    Ok(ContainerCreateBody {
        image: Some(with_tag(&c.image)),
        cmd: some(command),
        entrypoint: some(c.entrypoint.clone()),
        env: Some(spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
        user: Some(spec.user.clone()).filter(|u| !u.is_empty()),
        working_dir: c.work_dir.clone(),
        hostname: hostname.filter(|_| mode != "host"),
        labels: Some(labels(spec, c, node)),
        exposed_ports: some(exposed),
        tty: Some(c.tty),
        open_stdin: Some(c.interactive),
        healthcheck: c
            .no_healthcheck
            .then(|| HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
        networking_config: networking,
        host_config: Some(host(spec, c, node, mode, bindings)?),
        ..ContainerCreateBody::default()
    })
}

fn network_mode(spec: &TaskSpec, c: &ContainerConfig) -> Result<String, Error> {
    match (&c.network_mode, &spec.network) {
        (Some(mode), _) if mode.starts_with("container:") => Err(Error::NotBuilt(
            "docker config: network_mode \"container:…\" is not built; use \"host\" or \"bridge\"".into(),
        )),
        (Some(mode), _) => Ok(mode.clone()),
        (None, NetworkMode::None) => Ok("none".into()),
        (None, _) => Ok("bridge".into()),
    }
}

fn labels(spec: &TaskSpec, c: &ContainerConfig, node: &Config) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = c.labels.clone().into_iter().collect();
    let logs = serde_json::to_string(&LogTarget::of(spec)).unwrap_or_default();
    for (k, v) in [
        (label::OWNER, node.owner.clone()),
        (label::ALLOC, spec.key.alloc.to_string()),
        (label::NOMAD_ALLOC, spec.key.alloc.to_string()),
        (label::TASK, spec.key.task.to_string()),
        (label::RUN, spec.run.to_string()),
        ("trine.logs", logs),
    ] {
        labels.insert(k.to_owned(), v);
    }
    labels
}

/// Ports inside the container, and where on the host each is published, for tcp and udp.
fn ports(spec: &TaskSpec, c: &ContainerConfig) -> Result<(Vec<String>, PortMap), Error> {
    let own = |label: &str| {
        let mut candidates = spec.ports.iter().filter(|p| p.label == label);
        let task = Some(&spec.key.task);
        candidates.clone().find(|p| p.task.as_ref() == task).or_else(|| candidates.find(|p| p.task.is_none()))
    };
    // The legacy form publishes every port of the task; groups publish what `ports` and `port_map` name.
    let mut wanted: BTreeMap<&str, u16> = BTreeMap::new();
    for p in spec.ports.iter().filter(|p| p.task.as_ref() == Some(&spec.key.task)) {
        wanted.insert(&p.label, p.to);
    }
    for label in c.ports.iter().chain(c.port_map.keys()) {
        let port = own(label).ok_or_else(|| {
            let known: Vec<&str> = spec.ports.iter().map(|p| p.label.as_str()).collect();
            Error::Config(format!(
                "docker config: port {label:?} is not in the group's network block; it has {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ))
        })?;
        wanted.insert(label, c.port_map.get(label).copied().unwrap_or(port.to));
    }
    let mut bindings: PortMap = HashMap::new();
    for (label, inside) in wanted {
        let Some(port) = own(label) else { continue };
        let inside = if inside == 0 { port.value } else { inside };
        for protocol in ["tcp", "udp"] {
            let at = PortBinding { host_ip: Some(port.host_ip.clone()), host_port: Some(port.value.to_string()) };
            bindings.entry(format!("{inside}/{protocol}")).or_default().get_or_insert_default().push(at);
        }
    }
    let mut exposed: Vec<String> = bindings.keys().cloned().collect();
    exposed.sort();
    Ok((exposed, bindings))
}

fn host(
    spec: &TaskSpec,
    c: &ContainerConfig,
    node: &Config,
    mode: String,
    bindings: PortMap,
) -> Result<HostConfig, Error> {
    let memory = i64::try_from(spec.given.memory_mb).unwrap_or(i64::MAX / MIB) * MIB;
    let hard = match spec.given.memory_max_mb {
        0 => memory,
        // No hard cap.
        n if n < 0 => 0,
        n => n * MIB,
    };
    let some = |v: &[String], other: &[String]| {
        let v = if v.is_empty() { other } else { v };
        (!v.is_empty()).then(|| v.to_vec())
    };
    let ulimit = |(name, (soft, hard)): (&String, &(i64, i64))| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    };
    Ok(HostConfig {
        memory: Some(hard).filter(|m| *m > 0),
        // Swapping would make the limit a lie.
        memory_swap: Some(hard).filter(|m| *m > 0),
        memory_reservation: Some(memory).filter(|m| *m > 0 && *m != hard),
        cpu_shares: Some(i64::try_from(spec.given.cpu_mhz).unwrap_or(i64::MAX).clamp(2, 262_144)),
        binds: Some(binds(spec, c, node)?),
        mounts: Some(c.mounts.iter().map(|m| mount(m, spec, node)).collect::<Result<Vec<_>, _>>()?),
        network_mode: Some(mode),
        port_bindings: Some(bindings),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(ENGINE_LOG.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
        }),
        cap_add: some(&c.cap_add, &[]),
        cap_drop: some(&c.cap_drop, &[]),
        dns: some(&c.dns_servers, &spec.dns.servers),
        dns_search: some(&c.dns_search, &spec.dns.searches),
        dns_options: some(&c.dns_options, &spec.dns.options),
        extra_hosts: some(&c.extra_hosts, &[]),
        group_add: some(&c.group_add, &[]),
        privileged: Some(c.privileged),
        readonly_rootfs: Some(c.readonly_rootfs),
        pids_limit: c.pids_limit.filter(|n| *n > 0),
        init: c.init.then_some(true),
        shm_size: c.shm_size.filter(|n| *n > 0),
        sysctls: (!c.sysctl.is_empty()).then(|| c.sysctl.clone().into_iter().collect()),
        tmpfs: (!c.tmpfs.is_empty()).then(|| c.tmpfs.clone().into_iter().collect()),
        ulimits: (!c.ulimit.is_empty()).then(|| c.ulimit.iter().map(ulimit).collect()),
        ..HostConfig::default()
    })
}

fn binds(spec: &TaskSpec, c: &ContainerConfig, node: &Config) -> Result<Vec<String>, Error> {
    let d = &spec.dirs;
    let mut binds = vec![
        format!("{}:/alloc", d.shared.display()),
        format!("{}:/local", d.local.display()),
        format!("{}:/secrets", d.secrets.display()),
    ];
    for m in &spec.mounts {
        let access = if m.read_only { "ro" } else { "rw" };
        binds.push(format!("{}:{}:{access}", m.host.display(), m.destination));
    }
    for v in &c.volumes {
        let mut parts = v.splitn(3, ':');
        let (Some(from), Some(to)) = (parts.next().filter(|p| !p.is_empty()), parts.next().filter(|p| !p.is_empty()))
        else {
            return Err(Error::Config(format!("docker config: volume {v:?} is not host:container[:options]")));
        };
        let from = source(from, spec, node, v)?;
        let options = parts.next().map_or_else(String::new, |o| format!(":{o}"));
        binds.push(format!("{from}:{to}{options}"));
    }
    Ok(binds)
}

/// A host path: below the task's directory always, elsewhere (and docker's named volumes) if the node allows it.
fn source(from: &str, spec: &TaskSpec, node: &Config, shown: &str) -> Result<String, Error> {
    let path = Path::new(from);
    if path.is_absolute() {
        let inside = [&spec.dirs.shared, &spec.dirs.task].iter().any(|d| lexical(path).starts_with(d));
        if !inside && !node.volumes_enabled {
            return Err(refused(&format!("volume {shown:?}"), "volumes { enabled = true }"));
        }
        return Ok(from.to_owned());
    }
    let full = lexical(&spec.dirs.task.join(path));
    let root = spec.dirs.task.parent().unwrap_or(&spec.dirs.task);
    if !full.starts_with(root) {
        return Err(Error::Config(format!("docker config: volume {shown:?} leaves the allocation's directory")));
    }
    // A link that a task planted there must not become a way out.
    if !node.volumes_enabled && full.canonicalize().is_ok_and(|real| !real.starts_with(root)) {
        return Err(Error::Config(format!("docker config: volume {shown:?} leads out of the allocation's directory")));
    }
    Ok(full.display().to_string())
}

/// Without `.` and `..`.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

fn mount(m: &MountConfig, spec: &TaskSpec, node: &Config) -> Result<Mount, Error> {
    let (typ, source) = match m.kind.as_str() {
        "bind" => (MountType::BIND, Some(source(&m.source, spec, node, &m.source)?)),
        "tmpfs" => (MountType::TMPFS, None),
        _ if !node.volumes_enabled => {
            return Err(refused(&format!("mount of volume {:?}", m.source), "volumes { enabled = true }"));
        }
        _ => (MountType::VOLUME, Some(m.source.clone()).filter(|s| !s.is_empty())),
    };
    Ok(Mount {
        target: Some(m.target.clone()),
        source,
        typ: Some(typ),
        read_only: Some(m.read_only),
        tmpfs_options: m.size.map(|size| MountTmpfsOptions { size_bytes: Some(size), ..Default::default() }),
        ..Mount::default()
    })
}
