//! What this machine is and has, as the scheduler sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::Path,
};

use model::{
    Node, NodeId, NodeStatus,
    node::DriverInfo,
    resource::{Amount, NodeResources},
};
use nix::sys::statvfs::statvfs;

use super::{Error, config::Config};
use crate::driver::{Drivers, cgroup, process};

pub mod ports;

/// Assumed where the kernel names no frequency.
const FALLBACK_MHZ: u64 = 1000;

/// The id this node keeps over restarts; made at the first start.
pub fn node_id(data_dir: &Path) -> Result<NodeId, Error> {
    let path = data_dir.join("client").join("node_id");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| Error::NodeId(path)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let id = NodeId(uuid::Uuid::new_v4());
            let io = |source| Error::Io { action: format!("write {}", path.display()), source };
            let fresh = path.with_extension("new");
            fs::create_dir_all(data_dir.join("client")).map_err(io)?;
            fs::write(&fresh, id.to_string()).map_err(io)?;
            fs::rename(&fresh, &path).map_err(io)?;
            Ok(id)
        }
        Err(source) => Err(Error::Io { action: format!("read {}", path.display()), source }),
    }
}

/// The host's name.
#[must_use]
pub fn hostname() -> String {
    read("/proc/sys/kernel/hostname").unwrap_or_else(|| "localhost".into())
}

/// Describe this node. `ports_in_use` is filled in by [`ports`].
pub async fn node(id: NodeId, config: &Config, drivers: &Drivers) -> Node {
    let mut infos: BTreeMap<String, DriverInfo> = BTreeMap::new();
    for (name, driver) in drivers {
        let info = driver.fingerprint().await;
        infos.insert((*name).to_owned(), info);
    }
    let address = if config.address.is_empty() { default_address(config.dev) } else { config.address.clone() };
    let (resources, disk) = resources(config);
    let name = if config.node_name.is_empty() { hostname() } else { config.node_name.clone() };
    let mut attributes = attributes(id, &address, &resources, disk);
    for info in infos.values() {
        attributes.extend(info.attributes.clone());
    }
    for (port, role) in &config.own_ports {
        attributes.insert(format!("unique.trine.port.{port}"), role.clone());
    }
    Node {
        id,
        name,
        datacenter: config.datacenter.clone(),
        pool: config.pool.clone(),
        class: config.class.clone(),
        address,
        http_address: config.http_address.clone(),
        attributes,
        meta: config.meta.clone(),
        resources,
        drivers: infos,
        host_volumes: config
            .host_volumes
            .iter()
            .map(|(n, (p, read_only))| (n.clone(), (p.display().to_string(), *read_only)))
            .collect(),
        status: NodeStatus::Ready,
        ..Node::default()
    }
}

/// 127.0.0.1 in dev mode, else the address the default route leaves from.
#[must_use]
pub fn default_address(dev: bool) -> String {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if dev {
        return loopback.to_string();
    }
    // Connecting a datagram socket sends nothing; it only asks the routing table.
    let found = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|s| s.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| s.local_addr()))
        .map(|a| a.ip())
        .ok()
        .filter(|ip| !ip.is_unspecified());
    found.or_else(first_address).unwrap_or(loopback).to_string()
}

/// The first IPv4 address of an interface that is not loopback.
fn first_address() -> Option<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    interfaces.filter_map(|i| i.address?.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()))).find(|ip| !ip.is_loopback())
}

fn resources(config: &Config) -> (NodeResources, (u64, u64)) {
    let (cores, mhz) = cpu();
    let (disk_total, disk_free) = statvfs(&config.data_dir)
        .map(|s| (s.blocks() * s.fragment_size(), s.blocks_available() * s.fragment_size()))
        .unwrap_or((0, 0));
    let reserved = &config.reserved;
    let mut kept: BTreeSet<u16> = reserved.ports.iter().copied().collect();
    kept.extend(config.own_ports.iter().map(|(p, _)| *p));
    let resources = NodeResources {
        total: Amount {
            cpu_mhz: config.cpu_total_mhz.unwrap_or(mhz),
            memory_mb: config.memory_total_mb.unwrap_or_else(|| memory_bytes() >> 20),
            disk_mb: disk_free >> 20,
        },
        reserved: Amount { cpu_mhz: reserved.cpu_mhz, memory_mb: reserved.memory_mb, disk_mb: reserved.disk_mb },
        cores,
        min_dynamic_port: config.min_dynamic_port,
        max_dynamic_port: config.max_dynamic_port,
        reserved_ports: kept.into_iter().collect(),
        ports_in_use: Vec::new(),
    };
    (resources, (disk_total, disk_free))
}

/// Cores, and the sum of their frequencies in MHz.
fn cpu() -> (u32, u64) {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = text.lines().filter(|l| l.starts_with("processor")).count();
    let cores = if cores == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { cores };
    let from_sys = (0..cores)
        .map(|n| {
            let path = format!("/sys/devices/system/cpu/cpu{n}/cpufreq/cpuinfo_max_freq");
            Some(read(&path)?.parse::<u64>().ok()? / 1000)
        })
        .collect::<Option<Vec<u64>>>();
    // The highest frequency, not the one of this moment: a node must not shrink while it idles.
    let sum = match from_sys {
        Some(each) => each.iter().sum(),
        None => {
            let listed: Vec<f64> = text
                .lines()
                .filter(|l| l.starts_with("cpu MHz"))
                .filter_map(|l| l.rsplit(':').next()?.trim().parse().ok())
                .collect();
            listed.iter().map(|m| m.round() as u64).sum()
        }
    };
    (u32::try_from(cores).unwrap_or(u32::MAX), if sum == 0 { FALLBACK_MHZ * cores as u64 } else { sum })
}

/// All memory of the machine, in bytes.
#[must_use]
pub fn memory_bytes() -> u64 {
    meminfo("MemTotal:")
}

/// A line of `/proc/meminfo`, in bytes.
#[must_use]
pub fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

fn attributes(id: NodeId, address: &str, r: &NodeResources, disk: (u64, u64)) -> BTreeMap<String, String> {
    let mut a = BTreeMap::new();
    let mut set = |k: &str, v: String| {
        if !v.is_empty() {
            a.insert(k.to_owned(), v);
        }
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(':'));
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    set("cpu.arch", arch.into());
    set("cpu.numcores", r.cores.to_string());
    set("cpu.reservablecores", r.cores.to_string());
    set("cpu.totalcompute", r.total.cpu_mhz.to_string());
    set("cpu.usablecompute", r.total.minus(r.reserved).cpu_mhz.to_string());
    set("cpu.frequency", (r.total.cpu_mhz / u64::from(r.cores.max(1))).to_string());
    set("cpu.modelname", model.map_or_else(String::new, |(_, m)| m.trim().to_owned()));
    set("memory.totalbytes", memory_bytes().to_string());
    set("kernel.name", std::env::consts::OS.into());
    set("kernel.arch", std::env::consts::ARCH.into());
    set("kernel.version", read("/proc/sys/kernel/osrelease").unwrap_or_default());
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let line = release.lines().find_map(|l| l.strip_prefix(name));
        line.map_or_else(String::new, |v| v.trim_matches('"').to_owned())
    };
    set("os.name", field("ID="));
    set("os.version", field("VERSION_ID="));
    set("os.signals", "SIGHUP,SIGINT,SIGKILL,SIGQUIT,SIGTERM,SIGUSR1,SIGUSR2,SIGSTOP,SIGCONT,SIGWINCH".into());
    let version = cgroup::hierarchies().version;
    set("os.cgroups.version", if version == 0 { String::new() } else { version.to_string() });
    set("unique.hostname", hostname());
    set("unique.host_id", id.to_string());
    set("unique.boot_id", process::boot_id());
    set("unique.network.ip-address", address.to_owned());
    set("unique.storage.bytestotal", disk.0.to_string());
    set("unique.storage.bytesfree", disk.1.to_string());
    set("nomad.version", "1.11.0".into());
    set("nomad.service_discovery", "true".into());
    set("nomad.advertise.address", address.to_owned());
    set("consul.version", "1.21.0".into());
    set("trine.version", env!("CARGO_PKG_VERSION").into());
    a
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let id = node_id(dir.path()).expect("makes one");
        assert_eq!(node_id(dir.path()).expect("keeps it"), id);
        fs::write(dir.path().join("client/node_id"), "nonsense").expect("writes");
        assert!(matches!(node_id(dir.path()), Err(Error::NodeId(_))));
    }

    #[tokio::test]
    async fn the_machine_has_something() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config {
            data_dir: dir.path().to_owned(),
            dev: true,
            own_ports: vec![(9999, "lb".into())],
            ..Config::default()
        };
        let node = node(NodeId(uuid::Uuid::nil()), &config, &Drivers::new()).await;
        let total = node.resources.total;
        assert!(total.cpu_mhz > 0 && total.memory_mb > 0 && total.disk_mb > 0, "{total:?}");
        assert_eq!(node.attributes["unique.trine.port.9999"], "lb");
        assert_eq!(node.resources.reserved_ports, [9999]);
        assert_eq!(node.address, "127.0.0.1");
        assert!(!node.attributes["kernel.version"].is_empty());
    }
}
