//! Figures of the machine itself.

use std::{fs, time::Duration};

use axum::{extract::State, response::Response};
use nix::sys::statvfs::statvfs;
use serde_json::{Value, json as value};

use super::{Error, Handle, json};
use crate::client::{clock, collect, fingerprint::meminfo};

/// Between the two looks that make a percentage.
const SAMPLE: Duration = Duration::from_millis(200);

/// Jiffies of one core.
#[derive(Clone, Debug, Default)]
struct Core {
    name: String,
    user: u64,
    system: u64,
    idle: u64,
    total: u64,
}

fn cores() -> Vec<Core> {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    parse(&text)
}

fn parse(text: &str) -> Vec<Core> {
    text.lines()
        .filter(|l| l.starts_with("cpu") && !l.starts_with("cpu "))
        .map(|line| {
            let mut parts = line.split_whitespace();
            let name = parts.next().unwrap_or_default().to_owned();
            let n: Vec<u64> = parts.filter_map(|p| p.parse().ok()).collect();
            let at = |i: usize| n.get(i).copied().unwrap_or(0);
            Core { name, user: at(0) + at(1), system: at(2), idle: at(3) + at(4), total: n.iter().take(8).sum() }
        })
        .collect()
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 * 100.0 }
}

pub async fn stats(State(client): State<Handle>) -> Response {
    let before = cores();
    tokio::time::sleep(SAMPLE).await;
    let after = cores();
    let mut busy = 0.0;
    let cpu: Vec<Value> = after
        .iter()
        .zip(&before)
        .map(|(a, b)| {
            let total = a.total - b.total.min(a.total);
            let part = |x: u64, y: u64| share(x - y.min(x), total);
            let idle = part(a.idle, b.idle);
            busy += 100.0 - idle;
            value!({
                "CPU": a.name, "User": part(a.user, b.user), "System": part(a.system, b.system), "Idle": idle,
                "TotalPercent": 100.0 - idle, "TotalTicks": 0.0,
            })
        })
        .collect();
    let (total, available, free) = (meminfo("MemTotal:"), meminfo("MemAvailable:"), meminfo("MemFree:"));
    let state = client.services.replica.snapshot();
    let mhz = state.node(client.services.node).map_or(0, |n| n.resources.total.cpu_mhz);
    let ticks = busy / 100.0 * mhz as f64 / after.len().max(1) as f64;
    let disk = disk(&client);
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime: u64 = uptime.split('.').next().and_then(|s| s.parse().ok()).unwrap_or(0);
    json(
        &client,
        &value!({
            "Memory": { "Total": total, "Available": available, "Used": total - available.min(total), "Free": free },
            "CPU": cpu,
            "DiskStats": [disk.clone()],
            "AllocDirStats": disk,
            "DeviceStats": [],
            "Uptime": uptime,
            "CPUTicksConsumed": ticks,
            "Timestamp": clock::now().0,
        }),
    )
}

fn disk(client: &Handle) -> Value {
    let dir = &client.services.config.data_dir;
    let Ok(s) = statvfs(dir) else { return Value::Null };
    let (size, available) = (s.blocks() * s.fragment_size(), s.blocks_available() * s.fragment_size());
    let used = size - (s.blocks_free() * s.fragment_size()).min(size);
    value!({
        "Device": "", "Mountpoint": dir.display().to_string(), "Size": size, "Used": used, "Available": available,
        "UsedPercent": share(used, size), "InodesUsedPercent": share(s.files() - s.files_free().min(s.files()), s.files()),
    })
}

pub async fn gc(State(client): State<Handle>) -> Response {
    let collected = collect::all(&client.runners).await;
    json(&client, &value!({ "Collected": collected }))
}

pub async fn metadata(State(client): State<Handle>) -> Result<Response, Error> {
    let meta = &client.services.config.meta;
    Ok(json(&client, &value!({ "Meta": meta, "Dynamic": {}, "Static": meta })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_figures() {
        let cores = parse("cpu  9 9 9 9\ncpu0 10 2 3 80 5 0 0 0 0 0\ncpu1 1 0 0 9\nintr 5\n");
        assert_eq!(cores.len(), 2);
        assert_eq!((cores[0].user, cores[0].system, cores[0].idle, cores[0].total), (12, 3, 85, 100));
        assert!((share(1, 4) - 25.0).abs() < 1e-9 && share(1, 0).abs() < 1e-9);
    }
}
