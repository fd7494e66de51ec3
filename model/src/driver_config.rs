//! A task driver's `config` block: a value whose shape only the driver knows.
//!
//! Self-contained (not `serde_json::Value`) because log entries are postcard, which is not self-describing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Keys of the docker driver elsewhere that do nothing here. Registration refuses them, and so does the driver, so that no
/// job runs other than it reads.
pub const DOCKER_NOT_BUILT: &[&str] = &[
    "cgroupns",
    "cpuset_cpus",
    "cpu_hard_limit",
    "cpu_cfs_period",
    "container_exists_attempts",
    "devices",
    "ipc_mode",
    "ipv4_address",
    "ipv6_address",
    "advertise_ipv6_address",
    "isolation",
    "load",
    "mac_address",
    "memory_hard_limit",
    "oom_score_adj",
    "pid_mode",
    "runtime",
    "security_opt",
    "storage_opt",
    "userns_mode",
    "uts_mode",
    "volume_driver",
    "volumes_from",
    "credentials",
    "gpus",
    "nvidia",
    "network_alias",
    "auth_helper",
];

/// One value of a driver's configuration. Repeated blocks become a list of maps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Value {
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) => Some(s),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Self::Map(m) => Some(m),
            _ => None,
        }
    }

    /// Every string inside, replaced by `f`: how runtime variables are filled in.
    #[must_use]
    pub fn map_strings(&self, f: &mut dyn FnMut(&str) -> String) -> Self {
        match self {
            Self::Str(s) => Self::Str(f(s)),
            Self::List(l) => Self::List(l.iter().map(|v| v.map_strings(f)).collect()),
            Self::Map(m) => Self::Map(m.iter().map(|(k, v)| (f(k), v.map_strings(f))).collect()),
            other => other.clone(),
        }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(v: &serde_json::Value) -> Self {
        use serde_json::Value as J;
        match v {
            J::Null => Self::Null,
            J::Bool(b) => Self::Bool(*b),
            J::Number(n) => n.as_i64().map_or_else(|| Self::Float(n.as_f64().unwrap_or(0.0)), Self::Int),
            J::String(s) => Self::Str(s.clone()),
            J::Array(a) => Self::List(a.iter().map(Self::from).collect()),
            J::Object(o) => Self::Map(o.iter().map(|(k, v)| (k.clone(), Self::from(v))).collect()),
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(v: &Value) -> Self {
        match v {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(i) => Self::from(*i),
            Value::Float(f) => Self::from(*f),
            Value::Str(s) => Self::String(s.clone()),
            Value::List(l) => Self::Array(l.iter().map(Self::from).collect()),
            Value::Map(m) => Self::Object(m.iter().map(|(k, v)| (k.clone(), Self::from(v))).collect()),
        }
    }
}
