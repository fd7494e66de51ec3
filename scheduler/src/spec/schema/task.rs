//! Tables of the task block and everything inside it.

use super::{
    FieldSpec as F, Label, Schema,
    Ty::{Any, Bool, Duration, Int, Many, Map, One, Str, Strings},
    group::NETWORK,
    job::{AFFINITY, CONSTRAINT, RESTART},
    service::SERVICE,
};

const NO_SECRETS: &str = "pass the value through \"env\", a host volume, or the key-value store";

pub static TASK: Schema = Schema {
    name: "task",
    label: Label::Required("Name"),
    fields: &[
        F::new("driver", "Driver", Str),
        F::new("user", "User", Str),
        F::new("config", "Config", Any),
        F::new("env", "Env", Map),
        F::new("meta", "Meta", Map),
        F::new("constraint", "Constraints", Many(&CONSTRAINT)),
        F::new("affinity", "Affinities", Many(&AFFINITY)),
        F::new("resources", "Resources", One(&RESOURCES)),
        F::new("restart", "RestartPolicy", One(&RESTART)),
        F::new("service", "Services", Many(&SERVICE)),
        F::new("logs", "LogConfig", One(&LOGS)),
        F::new("lifecycle", "Lifecycle", One(&LIFECYCLE)),
        F::new("leader", "Leader", Bool),
        F::new("kill_timeout", "KillTimeout", Duration),
        F::new("kill_signal", "KillSignal", Str),
        F::new("shutdown_delay", "ShutdownDelay", Duration),
        F::new("volume_mount", "VolumeMounts", Many(&VOLUME_MOUNT)),
        F::new("template", "Templates", Many(&TEMPLATE))
            .refused("put the file into the image, a host volume, or the task's \"env\""),
        F::new("artifact", "Artifacts", Many(&ARTIFACT))
            .refused("put the file into the image or a host volume, or fetch it from the task's command"),
        F::new("dispatch_payload", "DispatchPayload", One(&DISPATCH_PAYLOAD)).refused("pass the input as meta instead"),
        F::new("vault", "Vault", One(&VAULT)).refused(NO_SECRETS),
        F::new("consul", "Consul", One(&CONSUL)).warned("the built-in catalog has one namespace and partition"),
        F::new("identity", "Identities", Many(&IDENTITY)).warned("no workload identity is issued"),
        F::new("secret", "Secrets", Many(&SECRET)).refused(NO_SECRETS),
        F::new("action", "Actions", Many(&ACTION)).warned("actions cannot be called; run the command in the task"),
        F::new("csi_plugin", "CSIPluginConfig", One(&CSI_PLUGIN))
            .refused("CSI plugins cannot be run; use host volumes"),
        F::new("schedule", "Schedule", Any).refused("use a periodic job"),
        F::new("scaling", "ScalingPolicies", Many(&TASK_SCALING)).warned("task resources are not scaled"),
        F::new("kind", "Kind", Str).kept(),
    ],
};

pub static RESOURCES: Schema = Schema {
    name: "resources",
    label: Label::None,
    fields: &[
        F::new("cpu", "CPU", Int),
        F::new("cores", "Cores", Int),
        F::new("memory", "MemoryMB", Int),
        F::new("memory_max", "MemoryMaxMB", Int),
        F::new("network", "Networks", Many(&NETWORK)),
        F::new("device", "Devices", Many(&DEVICE)),
        F::new("disk", "DiskMB", Int).kept(),
        F::new("iops", "IOPS", Int).kept(),
        F::new("secrets", "SecretsMB", Int).kept(),
        F::new("numa", "NUMA", Any).warned("cores are not chosen by memory node"),
    ],
};

static DEVICE: Schema = Schema {
    name: "device",
    label: Label::Required("Name"),
    fields: &[
        F::new("count", "Count", Int),
        F::new("constraint", "Constraints", Many(&CONSTRAINT)),
        F::new("affinity", "Affinities", Many(&AFFINITY)),
    ],
};

static LOGS: Schema = Schema {
    name: "logs",
    label: Label::None,
    fields: &[
        F::new("max_files", "MaxFiles", Int),
        F::new("max_file_size", "MaxFileSizeMB", Int),
        F::new("disabled", "Disabled", Bool),
        F::new("enabled", "Enabled", Bool),
    ],
};

static LIFECYCLE: Schema = Schema {
    name: "lifecycle",
    label: Label::None,
    fields: &[F::new("hook", "Hook", Str), F::new("sidecar", "Sidecar", Bool)],
};

static VOLUME_MOUNT: Schema = Schema {
    name: "volume_mount",
    label: Label::None,
    fields: &[
        F::new("volume", "Volume", Str),
        F::new("destination", "Destination", Str),
        F::new("read_only", "ReadOnly", Bool),
        F::new("propagation_mode", "PropagationMode", Str).warned("mounts are private"),
        F::new("selinux_label", "SELinuxLabel", Str).warned("no SELinux label is set"),
    ],
};

static TEMPLATE: Schema = Schema {
    name: "template",
    label: Label::None,
    fields: &[
        F::new("data", "EmbeddedTmpl", Str),
        F::new("source", "SourcePath", Str),
        F::new("destination", "DestPath", Str),
        F::new("change_mode", "ChangeMode", Str),
        F::new("change_signal", "ChangeSignal", Str),
        F::new("change_script", "ChangeScript", One(&CHANGE_SCRIPT)),
        F::new("env", "Envvars", Bool),
        F::new("perms", "Perms", Str),
        F::new("uid", "Uid", Int),
        F::new("gid", "Gid", Int),
        F::new("splay", "Splay", Duration),
        F::new("once", "Once", Bool),
        F::new("wait", "Wait", One(&WAIT)),
        F::new("left_delimiter", "LeftDelim", Str),
        F::new("right_delimiter", "RightDelim", Str),
        F::new("error_on_missing_key", "ErrMissingKey", Bool),
        F::new("vault_grace", "VaultGrace", Duration),
    ],
};

static CHANGE_SCRIPT: Schema = Schema {
    name: "change_script",
    label: Label::None,
    fields: &[
        F::new("command", "Command", Str),
        F::new("args", "Args", Strings),
        F::new("timeout", "Timeout", Duration),
        F::new("fail_on_error", "FailOnError", Bool),
        F::new("run_on_first_render", "RunOnFirstRender", Bool),
    ],
};

static WAIT: Schema = Schema {
    name: "wait",
    label: Label::None,
    fields: &[F::new("min", "Min", Duration), F::new("max", "Max", Duration)],
};

static ARTIFACT: Schema = Schema {
    name: "artifact",
    label: Label::None,
    fields: &[
        F::new("source", "GetterSource", Str),
        F::new("destination", "RelativeDest", Str),
        F::new("mode", "GetterMode", Str),
        F::new("options", "GetterOptions", Map),
        F::new("headers", "GetterHeaders", Map),
        F::new("insecure", "GetterInsecure", Bool),
        F::new("chown", "Chown", Bool),
    ],
};

static DISPATCH_PAYLOAD: Schema =
    Schema { name: "dispatch_payload", label: Label::None, fields: &[F::new("file", "File", Str)] };

pub static VAULT: Schema = Schema {
    name: "vault",
    label: Label::None,
    fields: &[
        F::new("policies", "Policies", Strings),
        F::new("role", "Role", Str),
        F::new("namespace", "Namespace", Str),
        F::new("cluster", "Cluster", Str),
        F::new("env", "Env", Bool),
        F::new("disable_file", "DisableFile", Bool),
        F::new("change_mode", "ChangeMode", Str),
        F::new("change_signal", "ChangeSignal", Str),
        F::new("allow_token_expiration", "AllowTokenExpiration", Bool),
    ],
};

pub static CONSUL: Schema = Schema {
    name: "consul",
    label: Label::None,
    fields: &[
        F::new("namespace", "Namespace", Str),
        F::new("cluster", "Cluster", Str),
        F::new("partition", "Partition", Str),
    ],
};

pub static IDENTITY: Schema = Schema {
    name: "identity",
    label: Label::None,
    fields: &[
        F::new("name", "Name", Str),
        F::new("aud", "Audience", Strings),
        F::new("env", "Env", Bool),
        F::new("file", "File", Bool),
        F::new("filepath", "Filepath", Str),
        F::new("ttl", "TTL", Duration),
        F::new("change_mode", "ChangeMode", Str),
        F::new("change_signal", "ChangeSignal", Str),
        F::new("service_name", "ServiceName", Str),
    ],
};

pub static SECRET: Schema = Schema {
    name: "secret",
    label: Label::Required("Name"),
    fields: &[
        F::new("provider", "Provider", Str),
        F::new("path", "Path", Str),
        F::new("config", "Config", Any),
        F::new("env", "Env", Map),
    ],
};

static ACTION: Schema = Schema {
    name: "action",
    label: Label::Required("Name"),
    fields: &[F::new("command", "Command", Str), F::new("args", "Args", Strings)],
};

static CSI_PLUGIN: Schema = Schema {
    name: "csi_plugin",
    label: Label::None,
    fields: &[
        F::new("id", "ID", Str),
        F::new("type", "Type", Str),
        F::new("mount_dir", "MountDir", Str),
        F::new("stage_publish_base_dir", "StagePublishBaseDir", Str),
        F::new("health_timeout", "HealthTimeout", Duration),
    ],
};

static TASK_SCALING: Schema = Schema {
    name: "scaling",
    label: Label::Required("Type"),
    fields: &[
        F::new("min", "Min", Int),
        F::new("max", "Max", Int),
        F::new("enabled", "Enabled", Bool),
        F::new("policy", "Policy", Any),
    ],
};
