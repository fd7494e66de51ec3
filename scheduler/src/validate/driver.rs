//! Drivers and the keys of their `config` blocks.

use model::{Task, driver_config::Value};

use super::Report;
use crate::spec::suggest;

struct Driver {
    name: &'static str,
    required: &'static [&'static str],
    keys: &'static [&'static str],
    /// Keys the driver has elsewhere, and refuses here.
    later: &'static [&'static str],
}

/// Drivers Trine has.
const DRIVERS: [Driver; 3] = [
    Driver {
        name: "docker",
        required: &["image"],
        keys: &[
            "image",
            "args",
            "auth",
            "auth_soft_fail",
            "cap_add",
            "cap_drop",
            "command",
            "dns_options",
            "dns_search_domains",
            "dns_servers",
            "entrypoint",
            "extra_hosts",
            "force_pull",
            "group_add",
            "healthchecks",
            "hostname",
            "image_pull_timeout",
            "init",
            "interactive",
            "labels",
            "logging",
            "mount",
            "mounts",
            "network_aliases",
            "network_mode",
            "pids_limit",
            "port_map",
            "ports",
            "privileged",
            "readonly_rootfs",
            "shm_size",
            "sysctl",
            "tty",
            "tmpfs",
            "ulimit",
            "volumes",
            "work_dir",
        ],
        later: model::driver_config::DOCKER_NOT_BUILT,
    },
    Driver {
        name: "raw_exec",
        required: &["command"],
        keys: &["command", "args", "denied_envvars", "work_dir"],
        later: &["cgroup_v1_override", "cgroup_v2_override", "oom_score_adj"],
    },
    Driver {
        name: "mock_driver",
        required: &[],
        keys: &[
            "run_for",
            "exit_code",
            "exit_signal",
            "exit_err_msg",
            "start_error",
            "start_error_recoverable",
            "start_block_for",
            "kill_after",
            "ignore_signals",
            "signal_error",
            "stdout_string",
            "stdout_repeat",
            "stdout_repeat_duration",
            "stderr_string",
            "stderr_repeat",
            "stderr_repeat_duration",
            "plugin_exit_after",
            "driver_ip",
            "driver_advertise",
            "driver_port_map",
        ],
        later: &[],
    },
];

/// Drivers of Nomad that Trine has not, with what to use instead.
const OTHERS: [(&str, &str); 8] = [
    ("exec", "raw_exec or docker"),
    ("exec2", "raw_exec or docker"),
    ("java", "raw_exec with command \"java\", or docker"),
    ("qemu", "raw_exec with the emulator as command"),
    ("podman", "docker"),
    ("rkt", "docker"),
    ("lxc", "docker"),
    ("pledge", "raw_exec"),
];

pub fn config(t: &Task, place: &str, report: &mut Report) {
    let Some(driver) = DRIVERS.iter().find(|d| d.name == t.driver) else {
        report.error(place, unknown(&t.driver));
        return;
    };
    let Value::Map(map) = &t.config else {
        report.error(place, "\"config\" must be a block of key = value");
        return;
    };
    for key in map.keys().map(String::as_str).filter(|k| !driver.keys.contains(k)) {
        if driver.later.contains(&key) {
            report.error(place, format!("config: the driver {} does not support {key:?} yet; remove it", driver.name));
            continue;
        }
        let hint = suggest::hint(key, driver.keys.iter().copied());
        report.error(place, format!("config: the driver {} does not know {key:?}.{hint}", driver.name));
    }
    for key in driver.required {
        let given = match map.get(*key) {
            None | Some(Value::Null) => false,
            Some(Value::Str(s)) => !s.trim().is_empty(),
            Some(other) => {
                report.error(place, format!("config: {key:?} must be text, not {other:?}"));
                true
            }
        };
        report.rule(given, place, || format!("config: the driver {} needs {key:?}", driver.name));
    }
    if let Some(args) = map.get("args") {
        let texts = matches!(args, Value::List(l) if l.iter().all(|v| matches!(v, Value::Str(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_))));
        report.rule(texts, place, || "config: \"args\" must be a list of texts".into());
    }
    if map.contains_key("ports") && t.resources.network.is_some() {
        report.error(
            place,
            "config: \"ports\" needs a network block in the group; with the task's own network use \"port_map\"",
        );
    }
}

fn unknown(name: &str) -> String {
    let have: Vec<_> = DRIVERS.iter().map(|d| d.name).collect();
    if name.is_empty() {
        return format!("the task needs a \"driver\": one of {}", have.join(", "));
    }
    if let Some((_, instead)) = OTHERS.iter().find(|(n, _)| *n == name) {
        return format!("the driver {name:?} is not available; use {instead}");
    }
    format!("there is no driver {name:?}; there are {}.{}", have.join(", "), suggest::hint(name, have.iter().copied()))
}
