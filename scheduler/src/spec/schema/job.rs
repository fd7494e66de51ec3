//! Tables of the job block and of what may stand in several places: constraints and policies.

use super::{
    FieldSpec as F, Label, Schema,
    Ty::{Any, Bool, Duration, Int, Many, Map, One, Str, Strings},
    group::GROUP,
    task::{SECRET, TASK, VAULT},
};

pub static JOB: Schema = Schema {
    name: "job",
    label: Label::Required("ID"),
    fields: &[
        F::new("id", "", Str),
        F::new("name", "Name", Str),
        F::new("region", "Region", Str),
        F::new("namespace", "Namespace", Str),
        F::new("type", "Type", Str),
        F::new("priority", "Priority", Int),
        F::new("all_at_once", "AllAtOnce", Bool),
        F::new("datacenters", "Datacenters", Strings),
        F::new("node_pool", "NodePool", Str),
        F::new("meta", "Meta", Map),
        F::new("constraint", "Constraints", Many(&CONSTRAINT)),
        F::new("affinity", "Affinities", Many(&AFFINITY)),
        F::new("spread", "Spreads", Many(&SPREAD)),
        F::new("group", "TaskGroups", Many(&GROUP)),
        F::new("task", "", Many(&TASK)),
        F::new("update", "Update", One(&UPDATE)),
        F::new("restart", "", One(&RESTART)),
        F::new("reschedule", "Reschedule", One(&RESCHEDULE)),
        F::new("migrate", "Migrate", One(&MIGRATE)),
        F::new("periodic", "Periodic", One(&PERIODIC)),
        F::new("parameterized", "ParameterizedJob", One(&PARAMETERIZED)),
        F::new("vault", "", One(&VAULT)),
        F::new("secret", "", Many(&SECRET)),
        F::new("ui", "UI", One(&UI)).kept(),
        F::new("multiregion", "Multiregion", Any)
            .refused("register the job in each region by itself; this cluster is one region"),
        F::new("@stop", "Stop", Bool),
        F::new("@status", "Status", Str),
        F::new("@stable", "Stable", Bool),
        F::new("@version", "Version", Int),
        F::new("@submit_time", "SubmitTime", Int),
        F::new("@create_index", "CreateIndex", Int),
        F::new("@modify_index", "ModifyIndex", Int),
        F::new("@job_modify_index", "JobModifyIndex", Int),
    ],
};

pub static CONSTRAINT: Schema = Schema {
    name: "constraint",
    label: Label::None,
    fields: &[
        F::new("attribute", "LTarget", Str),
        F::new("operator", "Operand", Str),
        F::new("value", "RTarget", Str),
        F::new("version", "", Str),
        F::new("semver", "", Str),
        F::new("regexp", "", Str),
        F::new("set_contains", "", Str),
        F::new("set_contains_all", "", Str),
        F::new("set_contains_any", "", Str),
        F::new("distinct_hosts", "", Bool),
        F::new("distinct_property", "", Str),
    ],
};

pub static AFFINITY: Schema = Schema {
    name: "affinity",
    label: Label::None,
    fields: &[
        F::new("attribute", "LTarget", Str),
        F::new("operator", "Operand", Str),
        F::new("value", "RTarget", Str),
        F::new("weight", "Weight", Int),
        F::new("version", "", Str),
        F::new("semver", "", Str),
        F::new("regexp", "", Str),
        F::new("set_contains", "", Str),
        F::new("set_contains_all", "", Str),
        F::new("set_contains_any", "", Str),
    ],
};

pub static SPREAD: Schema = Schema {
    name: "spread",
    label: Label::None,
    fields: &[
        F::new("attribute", "Attribute", Str),
        F::new("weight", "Weight", Int),
        F::new("target", "SpreadTarget", Many(&SPREAD_TARGET)),
    ],
};

static SPREAD_TARGET: Schema = Schema {
    name: "target",
    label: Label::Required("Value"),
    fields: &[F::new("value", "", Str), F::new("percent", "Percent", Int)],
};

pub static UPDATE: Schema = Schema {
    name: "update",
    label: Label::None,
    fields: &[
        F::new("max_parallel", "MaxParallel", Int),
        F::new("health_check", "HealthCheck", Str),
        F::new("min_healthy_time", "MinHealthyTime", Duration),
        F::new("healthy_deadline", "HealthyDeadline", Duration),
        F::new("progress_deadline", "ProgressDeadline", Duration),
        F::new("auto_revert", "AutoRevert", Bool),
        F::new("auto_promote", "AutoPromote", Bool),
        F::new("canary", "Canary", Int),
        F::new("stagger", "Stagger", Duration),
    ],
};

pub static MIGRATE: Schema = Schema {
    name: "migrate",
    label: Label::None,
    fields: &[
        F::new("max_parallel", "MaxParallel", Int),
        F::new("health_check", "HealthCheck", Str),
        F::new("min_healthy_time", "MinHealthyTime", Duration),
        F::new("healthy_deadline", "HealthyDeadline", Duration),
    ],
};

pub static RESTART: Schema = Schema {
    name: "restart",
    label: Label::None,
    fields: &[
        F::new("attempts", "Attempts", Int),
        F::new("interval", "Interval", Duration),
        F::new("delay", "Delay", Duration),
        F::new("mode", "Mode", Str),
        F::new("render_templates", "RenderTemplates", Bool).kept(),
    ],
};

pub static RESCHEDULE: Schema = Schema {
    name: "reschedule",
    label: Label::None,
    fields: &[
        F::new("attempts", "Attempts", Int),
        F::new("interval", "Interval", Duration),
        F::new("delay", "Delay", Duration),
        F::new("delay_function", "DelayFunction", Str),
        F::new("max_delay", "MaxDelay", Duration),
        F::new("unlimited", "Unlimited", Bool),
    ],
};

static PERIODIC: Schema = Schema {
    name: "periodic",
    label: Label::None,
    fields: &[
        F::new("cron", "Spec", Str),
        F::new("crons", "Specs", Strings),
        F::new("time_zone", "TimeZone", Str),
        F::new("prohibit_overlap", "ProhibitOverlap", Bool),
        F::new("enabled", "Enabled", Bool),
    ],
};

static PARAMETERIZED: Schema = Schema {
    name: "parameterized",
    label: Label::None,
    fields: &[
        F::new("payload", "Payload", Str),
        F::new("meta_required", "MetaRequired", Strings),
        F::new("meta_optional", "MetaOptional", Strings),
    ],
};

static UI: Schema = Schema {
    name: "ui",
    label: Label::None,
    fields: &[F::new("description", "Description", Str), F::new("link", "Links", Many(&UI_LINK))],
};

static UI_LINK: Schema =
    Schema { name: "link", label: Label::None, fields: &[F::new("label", "Label", Str), F::new("url", "URL", Str)] };
