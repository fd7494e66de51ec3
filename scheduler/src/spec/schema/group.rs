//! Tables of the group block, its networks and volumes.

use super::{
    FieldSpec as F, Label, Schema,
    Ty::{Any, Bool, Duration, Int, Keyed, Many, Map, One, Str, Strings},
    job::{AFFINITY, CONSTRAINT, MIGRATE, RESCHEDULE, RESTART, SPREAD, UPDATE},
    service::SERVICE,
    task::{CONSUL, SECRET, TASK, VAULT},
};

pub static GROUP: Schema = Schema {
    name: "group",
    label: Label::Required("Name"),
    fields: &[
        F::new("count", "Count", Int),
        F::new("constraint", "Constraints", Many(&CONSTRAINT)),
        F::new("affinity", "Affinities", Many(&AFFINITY)),
        F::new("spread", "Spreads", Many(&SPREAD)),
        F::new("task", "Tasks", Many(&TASK)),
        F::new("network", "Networks", Many(&NETWORK)),
        F::new("service", "Services", Many(&SERVICE)),
        F::new("volume", "Volumes", Keyed(&VOLUME)),
        F::new("restart", "RestartPolicy", One(&RESTART)),
        F::new("reschedule", "ReschedulePolicy", One(&RESCHEDULE)),
        F::new("update", "Update", One(&UPDATE)),
        F::new("migrate", "Migrate", One(&MIGRATE)),
        F::new("ephemeral_disk", "EphemeralDisk", One(&EPHEMERAL_DISK)),
        F::new("meta", "Meta", Map),
        F::new("shutdown_delay", "ShutdownDelay", Duration),
        F::new("scaling", "Scaling", One(&SCALING)),
        F::new("disconnect", "Disconnect", One(&DISCONNECT)),
        F::new("max_client_disconnect", "MaxClientDisconnect", Duration),
        F::new("stop_after_client_disconnect", "StopAfterClientDisconnect", Duration),
        F::new("prevent_reschedule_on_lost", "PreventRescheduleOnLost", Bool),
        F::new("consul", "Consul", One(&CONSUL)).warned("the built-in catalog has one namespace and partition"),
        F::new("vault", "", One(&VAULT)),
        F::new("secret", "", Many(&SECRET)),
        F::new("max_run_duration", "MaxRunDuration", Duration)
            .refused("bound the run inside the task, for example with the command \"timeout\""),
    ],
};

pub static NETWORK: Schema = Schema {
    name: "network",
    label: Label::None,
    fields: &[
        F::new("mode", "Mode", Str),
        F::new("port", "", Many(&PORT)),
        F::new("hostname", "Hostname", Str),
        F::new("dns", "DNS", One(&DNS)),
        F::new("mbits", "MBits", Int),
        F::new("cni", "CNI", One(&CNI)).refused("CNI networks cannot be run; use mode \"host\""),
        F::new("@reserved", "ReservedPorts", Many(&PORT)),
        F::new("@dynamic", "DynamicPorts", Many(&PORT)),
    ],
};

static PORT: Schema = Schema {
    name: "port",
    label: Label::Required("Label"),
    fields: &[
        F::new("static", "Value", Int),
        F::new("to", "To", Int),
        F::new("host_network", "HostNetwork", Str),
        F::new("ignore_collision", "IgnoreCollision", Bool),
    ],
};

static DNS: Schema = Schema {
    name: "dns",
    label: Label::None,
    fields: &[
        F::new("servers", "Servers", Strings),
        F::new("searches", "Searches", Strings),
        F::new("options", "Options", Strings),
    ],
};

static CNI: Schema = Schema { name: "cni", label: Label::None, fields: &[F::new("args", "Args", Map)] };

static VOLUME: Schema = Schema {
    name: "volume",
    label: Label::Required("Name"),
    fields: &[
        F::new("type", "Type", Str),
        F::new("source", "Source", Str),
        F::new("read_only", "ReadOnly", Bool),
        F::new("sticky", "Sticky", Bool).warned("volumes are not claimed; constrain the job to the node instead"),
        F::new("per_alloc", "PerAlloc", Bool).refused("write one group per volume"),
        F::new("access_mode", "AccessMode", Str).kept(),
        F::new("attachment_mode", "AttachmentMode", Str).kept(),
        F::new("mount_options", "MountOptions", Any).kept(),
    ],
};

static EPHEMERAL_DISK: Schema = Schema {
    name: "ephemeral_disk",
    label: Label::None,
    fields: &[F::new("size", "SizeMB", Int), F::new("sticky", "Sticky", Bool), F::new("migrate", "Migrate", Bool)],
};

static SCALING: Schema = Schema {
    name: "scaling",
    label: Label::None,
    fields: &[
        F::new("min", "Min", Int),
        F::new("max", "Max", Int),
        F::new("enabled", "Enabled", Bool),
        F::new("policy", "Policy", Any).warned("no autoscaler reads it here; min and max bound `job scale`"),
    ],
};

static DISCONNECT: Schema = Schema {
    name: "disconnect",
    label: Label::None,
    fields: &[
        F::new("lost_after", "LostAfter", Duration),
        F::new("stop_on_client_after", "StopOnClientAfter", Duration),
        F::new("replace", "Replace", Bool),
        F::new("reconcile", "Reconcile", Str),
    ],
};
