//! Nodes in Nomad's JSON: the full object and the list stub.

use model::{
    Node,
    node::{Drain, DriverInfo},
};
use serde_json::{Map, Value, json};

use super::time::{nanos, rfc3339};

/// The whole node. No secret id exists in Trine; the field is present and empty for clients that read it.
#[must_use]
pub fn full(n: &Node, region_tls: bool) -> Value {
    let events: Vec<Value> = n
        .events
        .iter()
        .map(|e| {
            json!({
                "Message": e.message, "Subsystem": e.subsystem, "Details": null, "Timestamp": rfc3339(e.at),
                "CreateIndex": 0,
            })
        })
        .collect();
    json!({
        "ID": n.id.to_string(),
        "SecretID": "",
        "Datacenter": n.datacenter,
        "Name": n.name,
        "HTTPAddr": n.http_address,
        "TLSEnabled": region_tls,
        "Attributes": n.attributes,
        "NodeResources": resources(n),
        "ReservedResources": reserved(n),
        "Resources": {
            "CPU": n.resources.total.cpu_mhz, "MemoryMB": n.resources.total.memory_mb,
            "DiskMB": n.resources.total.disk_mb, "IOPS": 0, "Networks": null, "Devices": null,
        },
        "Reserved": {
            "CPU": n.resources.reserved.cpu_mhz, "MemoryMB": n.resources.reserved.memory_mb,
            "DiskMB": n.resources.reserved.disk_mb, "IOPS": 0, "Networks": null, "Devices": null,
        },
        "Links": {},
        "Meta": n.meta,
        "NodeClass": n.class,
        "NodePool": n.pool,
        "CgroupParent": "",
        "ComputedClass": "",
        "DrainStrategy": n.drain.as_ref().map(drain),
        "Drain": n.drain.is_some(),
        "SchedulingEligibility": n.eligibility.as_str(),
        "Status": n.status.as_str(),
        "StatusDescription": n.status_description,
        "StatusUpdatedAt": n.status_updated_at.0 / 1_000_000_000,
        "Events": events,
        "Drivers": drivers(n),
        "HostVolumes": host_volumes(n),
        "HostNetworks": {},
        "CSIControllerPlugins": {},
        "CSINodePlugins": {},
        "LastDrain": null,
        "NodeMaxAllocs": 0,
        "CreateIndex": n.create_index.0,
        "ModifyIndex": n.modify_index.0,
    })
}

/// What a node list shows; attributes and resources only when asked for.
#[must_use]
pub fn stub(n: &Node, with_os: bool, with_resources: bool) -> Value {
    let mut stub = json!({
        "Address": n.address,
        "ID": n.id.to_string(),
        "Datacenter": n.datacenter,
        "Name": n.name,
        "NodePool": n.pool,
        "NodeClass": n.class,
        "Version": n.attributes.get("nomad.version").cloned().unwrap_or_default(),
        "Drain": n.drain.is_some(),
        "SchedulingEligibility": n.eligibility.as_str(),
        "Status": n.status.as_str(),
        "StatusDescription": n.status_description,
        "Drivers": drivers(n),
        "HostVolumes": host_volumes(n),
        "LastDrain": null,
        "CreateIndex": n.create_index.0,
        "ModifyIndex": n.modify_index.0,
    });
    if with_os {
        let os: Map<String, Value> = n
            .attributes
            .iter()
            .filter(|(k, _)| k.starts_with("os."))
            .map(|(k, v)| (k.clone(), Value::from(v.as_str())))
            .collect();
        stub["Attributes"] = Value::Object(os);
    }
    if with_resources {
        stub["NodeResources"] = resources(n);
        stub["ReservedResources"] = reserved(n);
    }
    stub
}

fn resources(n: &Node) -> Value {
    let r = &n.resources;
    json!({
        "Cpu": {
            "CpuShares": r.total.cpu_mhz, "TotalCpuCores": r.cores,
            "ReservableCpuCores": (0..r.cores).collect::<Vec<_>>(),
        },
        "Processors": { "Topology": null },
        "Memory": { "MemoryMB": r.total.memory_mb },
        "Disk": { "DiskMB": r.total.disk_mb },
        "Devices": [],
        "Networks": [{
            "Mode": "host", "Device": "", "CIDR": "", "IP": n.address, "Hostname": "", "MBits": 0, "DNS": null,
            "ReservedPorts": null, "DynamicPorts": null,
        }],
        "NodeNetworks": [{
            "Mode": "host", "Device": "", "MacAddress": "", "Speed": 0,
            "Addresses": [{ "Family": family(&n.address), "Alias": "default", "Address": n.address,
                "ReservedPorts": "", "Gateway": "" }],
        }],
        "MinDynamicPort": r.min_dynamic_port,
        "MaxDynamicPort": r.max_dynamic_port,
    })
}

fn family(address: &str) -> &'static str {
    if address.contains(':') { "ipv6" } else { "ipv4" }
}

fn reserved(n: &Node) -> Value {
    let r = &n.resources.reserved;
    let ports: Vec<String> = n.resources.reserved_ports.iter().map(ToString::to_string).collect();
    json!({
        "Cpu": { "CpuShares": r.cpu_mhz, "ReservedCpuCores": null },
        "Memory": { "MemoryMB": r.memory_mb },
        "Disk": { "DiskMB": r.disk_mb },
        "Networks": { "ReservedHostPorts": ports.join(",") },
    })
}

fn drivers(n: &Node) -> Value {
    Value::Object(n.drivers.iter().map(|(name, d)| (name.clone(), driver(d))).collect())
}

fn driver(d: &DriverInfo) -> Value {
    json!({
        "Attributes": d.attributes, "Detected": d.detected, "Healthy": d.healthy,
        "HealthDescription": d.description, "UpdateTime": rfc3339(d.updated_at),
    })
}

fn host_volumes(n: &Node) -> Value {
    let all = n.host_volumes.iter().map(|(name, (path, read_only))| {
        (name.clone(), json!({ "Name": name, "Path": path, "ReadOnly": read_only, "ID": "" }))
    });
    Value::Object(all.collect())
}

/// A drain. The wire's deadline is -1 for "now" and 0 for "never".
fn drain(d: &Drain) -> Value {
    let deadline = match d.deadline {
        None => Value::from(0),
        Some(t) if t.is_zero() => Value::from(-1),
        Some(t) => nanos(t),
    };
    json!({
        "Deadline": deadline,
        "IgnoreSystemJobs": d.ignore_system_jobs,
        "ForceDeadline": rfc3339(d.force_at.unwrap_or_default()),
        "StartedAt": rfc3339(d.started_at),
    })
}
