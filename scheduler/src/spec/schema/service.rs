//! Tables of services and their checks.

use super::{
    FieldSpec as F, Label, Schema,
    Ty::{Any, Bool, Duration, Int, Lists, Many, Map, One, Str, Strings},
    task::IDENTITY,
};

pub static SERVICE: Schema = Schema {
    name: "service",
    label: Label::None,
    fields: &[
        F::new("name", "Name", Str),
        F::new("provider", "Provider", Str),
        F::new("port", "PortLabel", Str),
        F::new("tags", "Tags", Strings),
        F::new("canary_tags", "CanaryTags", Strings),
        F::new("enable_tag_override", "EnableTagOverride", Bool),
        F::new("address", "Address", Str),
        F::new("address_mode", "AddressMode", Str),
        F::new("task", "TaskName", Str),
        F::new("meta", "Meta", Map),
        F::new("canary_meta", "CanaryMeta", Map),
        F::new("on_update", "OnUpdate", Str),
        F::new("weights", "Weights", One(&WEIGHTS)),
        F::new("check", "Checks", Many(&CHECK)),
        F::new("check_restart", "CheckRestart", One(&CHECK_RESTART)),
        F::new("tagged_addresses", "TaggedAddresses", Map).warned("only the service's one address is published"),
        F::new("connect", "Connect", Any)
            .refused("there is no service mesh; let tasks find each other by DNS or through the load balancer"),
        F::new("kind", "Kind", Str).kept(),
        F::new("cluster", "Cluster", Str).kept(),
        F::new("identity", "Identity", One(&IDENTITY)).kept(),
    ],
};

static WEIGHTS: Schema = Schema {
    name: "weights",
    label: Label::None,
    fields: &[F::new("passing", "Passing", Int), F::new("warning", "Warning", Int)],
};

pub static CHECK: Schema = Schema {
    name: "check",
    label: Label::None,
    fields: &[
        F::new("name", "Name", Str),
        F::new("type", "Type", Str),
        F::new("path", "Path", Str),
        F::new("method", "Method", Str),
        F::new("protocol", "Protocol", Str),
        F::new("port", "PortLabel", Str),
        F::new("interval", "Interval", Duration),
        F::new("timeout", "Timeout", Duration),
        F::new("header", "Header", Lists),
        F::new("body", "Body", Str),
        F::new("address_mode", "AddressMode", Str),
        F::new("command", "Command", Str),
        F::new("args", "Args", Strings),
        F::new("task", "TaskName", Str),
        F::new("initial_status", "InitialStatus", Str),
        F::new("success_before_passing", "SuccessBeforePassing", Int),
        F::new("failures_before_critical", "FailuresBeforeCritical", Int),
        F::new("failures_before_warning", "FailuresBeforeWarning", Int),
        F::new("grpc_service", "GRPCService", Str),
        F::new("grpc_use_tls", "GRPCUseTLS", Bool),
        F::new("tls_skip_verify", "TLSSkipVerify", Bool),
        F::new("tls_server_name", "TLSServerName", Str).warned("the check's own host name is verified"),
        F::new("on_update", "OnUpdate", Str),
        F::new("check_restart", "CheckRestart", One(&CHECK_RESTART)),
        F::new("notes", "Notes", Str).kept(),
        F::new("expose", "Expose", Bool).refused("it needs a service mesh; remove it and check the port directly"),
        F::new("@ttl", "TTL", Duration),
    ],
};

static CHECK_RESTART: Schema = Schema {
    name: "check_restart",
    label: Label::None,
    fields: &[
        F::new("limit", "Limit", Int),
        F::new("grace", "Grace", Duration),
        F::new("ignore_warnings", "IgnoreWarnings", Bool),
    ],
};
