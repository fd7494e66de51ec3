//! The config block and the create request; containers themselves are in the conformance suite.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use model::{
    AllocId,
    driver_config::Value,
    job::Logs,
    resource::{GivenTask, NetworkMode, PortMapping},
};
use uuid::Uuid;

use super::{Config, ContainerConfig, create};
use crate::driver::{Dirs, Dns, TaskKey, TaskSpec};

fn text(s: &str) -> Value {
    Value::Str(s.into())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|s| text(s)).collect())
}

fn block(pairs: &[(&str, Value)]) -> Value {
    let image = [("image", text("web:1"))];
    Value::Map(image.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
}

fn node(open: bool) -> Config {
    Config {
        endpoint: String::new(),
        volumes_enabled: open,
        allow_privileged: open,
        pull_timeout: Duration::from_secs(1),
        owner: "me".into(),
        state_dir: PathBuf::new(),
    }
}

fn spec() -> TaskSpec {
    let port = |label: &str, value, to, task: Option<&str>| PortMapping {
        label: label.into(),
        value,
        to,
        host_ip: "127.0.0.1".into(),
        task: task.map(Into::into),
    };
    let root = PathBuf::from("/data/alloc/a");
    TaskSpec {
        key: TaskKey { alloc: AllocId(Uuid::from_u128(1)), task: "t".into() },
        run: 7,
        config: Value::Null,
        env: BTreeMap::from([("A".into(), "1".into())]),
        user: String::new(),
        dirs: Dirs {
            shared: root.join("alloc"),
            task: root.join("t"),
            local: root.join("t/local"),
            secrets: root.join("t/secrets"),
            logs: root.join("alloc/logs"),
        },
        logs: Logs::default(),
        given: GivenTask { cpu_mhz: 200, cores: 0, memory_mb: 128, memory_max_mb: 0 },
        ports: vec![
            port("http", 21_000, 21_000, Some("t")),
            port("lb", 9999, 80, None),
            port("x", 1, 1, Some("other")),
        ],
        network: NetworkMode::Host,
        dns: Dns::default(),
        mounts: Vec::new(),
    }
}

fn made(pairs: &[(&str, Value)], open: bool) -> Result<bollard::models::ContainerCreateBody, String> {
    let config = ContainerConfig::read(&block(pairs)).map_err(|e| e.to_string())?;
    config.allowed(&node(open)).map_err(|e| e.to_string())?;
    create::request(&spec(), &config, &node(open)).map_err(|e| e.to_string())
}

fn published(body: &bollard::models::ContainerCreateBody) -> Vec<String> {
    let bindings = body.host_config.as_ref().and_then(|h| h.port_bindings.clone()).unwrap_or_default();
    let mut all: Vec<String> = bindings
        .into_iter()
        .flat_map(|(inside, at)| {
            at.unwrap_or_default().into_iter().map(move |b| {
                format!("{}:{}->{inside}", b.host_ip.unwrap_or_default(), b.host_port.unwrap_or_default())
            })
        })
        .collect();
    all.sort();
    all
}

#[test]
fn ports_are_published_for_tcp_and_udp() {
    let legacy = made(&[], false).expect("legacy");
    assert_eq!(published(&legacy), ["127.0.0.1:21000->21000/tcp", "127.0.0.1:21000->21000/udp"]);
    let map = Value::Map([("http".to_owned(), Value::Int(80))].into());
    assert_eq!(published(&made(&[("port_map", map)], false).expect("mapped"))[0], "127.0.0.1:21000->80/tcp");
    let group = published(&made(&[("ports", list(&["lb"]))], false).expect("group"));
    assert!(group.contains(&"127.0.0.1:9999->80/tcp".to_owned()), "{group:?}");
    assert!(made(&[("ports", list(&["nope"]))], false).expect_err("unknown").contains("\"nope\""));
    assert!(published(&made(&[("network_mode", text("host"))], false).expect("host")).is_empty());
}

#[test]
fn limits_labels_and_directories() {
    let body = made(&[("command", text("run")), ("args", list(&["-x"]))], false).expect("made");
    assert_eq!(body.cmd, Some(vec!["run".into(), "-x".into()]));
    let labels = body.labels.expect("labels");
    assert_eq!((labels["trine.run"].as_str(), labels["trine.owner"].as_str()), ("7", "me"));
    let host = body.host_config.expect("host");
    assert_eq!((host.memory, host.cpu_shares), (Some(128 << 20), Some(200)));
    assert!(host.binds.expect("binds").contains(&"/data/alloc/a/alloc:/alloc".to_owned()));
}

#[test]
fn what_the_node_does_not_allow_is_refused() {
    for (key, value) in [
        ("privileged", Value::Bool(true)),
        ("cap_add", list(&["SYS_ADMIN"])),
        ("volumes", list(&["/etc:/host"])),
        ("volumes", list(&["/data/alloc/a/alloc/../../../../etc:/host"])),
        ("volumes", list(&["../../../etc:/host"])),
        (
            "mount",
            Value::Map(
                [("type".into(), text("bind")), ("target".into(), text("/x")), ("source".into(), text("/"))].into(),
            ),
        ),
    ] {
        let why = made(&[(key, value.clone())], false).expect_err(key);
        assert!(why.contains("not allowed") || why.contains("leaves"), "{why}");
    }
    assert!(made(&[("privileged", Value::Bool(true)), ("volumes", list(&["/etc:/host:ro"]))], true).is_ok());
    assert!(made(&[("cap_add", list(&["cap_chown"])), ("volumes", list(&["local/x:/x"]))], false).is_ok());
}

#[test]
fn unknown_and_unbuilt_keys() {
    let why = |pairs: &[(&str, Value)]| made(pairs, true).expect_err("refused");
    assert!(why(&[("imagee", text("x"))]).contains("did you mean \"image\""));
    assert!(why(&[("pid_mode", text("host"))]).contains("not built"));
    assert!(why(&[("ulimit", Value::Map([("nofile".into(), text("many"))].into()))]).contains("ulimit nofile"));
    assert!(ContainerConfig::read(&Value::Null).expect_err("no image").to_string().contains("image is missing"));
    let dash = Value::Map([("image".to_owned(), text("--privileged"))].into());
    assert!(ContainerConfig::read(&dash).is_err());
}
