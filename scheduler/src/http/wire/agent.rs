//! The agent's documents: `agent/self`, `agent/members`, health, and what the operator reads about the cluster.

use serde_json::{Map, Value, json};

use crate::http::agent_info::{AgentInfo, Health, Member};

fn member(agent: &dyn AgentInfo, m: &Member) -> Value {
    json!({
        "Name": m.name,
        "Addr": m.address,
        "Port": m.port,
        "Status": m.status,
        "Tags": {
            "role": "nomad", "region": agent.region(), "dc": agent.datacenter(), "build": m.build, "id": m.name,
            "port": m.port.to_string(), "rpc_addr": m.address, "raft_vsn": "3", "vsn": "1",
        },
        "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
    })
}

#[must_use]
pub fn members(agent: &dyn AgentInfo) -> Value {
    let all: Vec<Value> = agent.members().iter().map(|m| member(agent, m)).collect();
    json!({
        "ServerName": agent.name(),
        "ServerRegion": agent.region(),
        "ServerDC": agent.datacenter(),
        "Members": all,
    })
}

/// `agent/self`: what the agent says, completed by the fields clients look for.
#[must_use]
pub fn about(agent: &dyn AgentInfo, leads: bool) -> Value {
    let mut config = object(agent.config());
    let version = agent.version();
    for (key, value) in [
        ("Region", json!(agent.region())),
        ("Datacenter", json!(agent.datacenter())),
        ("NodeName", json!(agent.name())),
        ("Version", json!({ "Version": version, "VersionPrerelease": "", "VersionMetadata": "", "Revision": "" })),
    ] {
        config.entry(key).or_insert(value);
    }
    // Servers are listed as `name.region`.
    let (name, server) = (agent.name(), format!("{}.{}", agent.name(), agent.region()));
    let own = agent.members().into_iter().find(|m| m.name == name || m.name == server).unwrap_or_else(|| Member {
        name,
        status: "none".into(),
        build: version,
        ..Member::default()
    });
    let mut stats = object(agent.stats());
    if agent.server_health().is_some() {
        let nomad = stats.entry("nomad").or_insert_with(|| json!({}));
        nomad["server"] = json!("true");
        nomad["leader"] = json!(leads.to_string());
        nomad["leader_addr"] = json!(agent.leader().unwrap_or_default());
    }
    if let Some(id) = agent.node_id() {
        let client = stats.entry("client").or_insert_with(|| json!({}));
        client["node_id"] = json!(id.to_string());
    }
    json!({ "config": config, "member": member(agent, &own), "stats": stats })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Health by role.
#[must_use]
pub fn health(roles: &[(&str, Health)]) -> Value {
    Value::Object(roles.iter().map(|(n, h)| ((*n).to_owned(), json!({ "ok": h.ok, "message": h.message }))).collect())
}

/// The answer of `agent/join`: it has a place for the reason, and clients read it.
#[must_use]
pub fn not_joined(reason: &str) -> Value {
    json!({ "num_joined": 0, "error": reason })
}

/// The settings the planner works with.
#[must_use]
pub fn scheduler_configuration(index: u64, known_leader: bool) -> Value {
    json!({
        "SchedulerConfig": {
            "SchedulerAlgorithm": "binpack",
            "PreemptionConfig": {
                "SystemSchedulerEnabled": false, "SysBatchSchedulerEnabled": false, "BatchSchedulerEnabled": false,
                "ServiceSchedulerEnabled": false,
            },
            "MemoryOversubscriptionEnabled": true,
            "RejectJobRegistration": false,
            "PauseEvalBroker": false,
            "CreateIndex": 1,
            "ModifyIndex": 1,
        },
        "Index": index,
        "LastContact": 0,
        "KnownLeader": known_leader,
    })
}

#[must_use]
pub fn raft_configuration(agent: &dyn AgentInfo, index: u64) -> Value {
    let leader = agent.leader();
    let servers: Vec<Value> = agent
        .members()
        .iter()
        .map(|m| {
            let host = if m.address.contains(':') { format!("[{}]", m.address) } else { m.address.clone() };
            let address = format!("{host}:{}", m.port);
            json!({
                "ID": m.name, "Node": m.name, "Address": address, "Leader": leader.as_deref() == Some(address.as_str()),
                "Voter": true, "RaftProtocol": "3",
            })
        })
        .collect();
    json!({ "Servers": servers, "Index": index })
}

#[must_use]
pub fn namespace(name: &str, description: &str) -> Value {
    json!({
        "Name": name, "Description": description, "Meta": null, "Capabilities": null, "NodePoolConfiguration": null,
        "Quota": "", "Hash": "", "CreateIndex": 1, "ModifyIndex": 1,
    })
}

#[must_use]
pub fn node_pool(name: &str, description: &str) -> Value {
    json!({
        "Name": name, "Description": description, "Meta": null, "SchedulerConfiguration": null, "NodeIdentityTTL": 0,
        "CreateIndex": 1, "ModifyIndex": 1,
    })
}
