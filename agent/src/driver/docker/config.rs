//! The `config` block of a docker task.

use std::collections::BTreeMap;

use model::driver_config::{DOCKER_NOT_BUILT, Value};

use super::Config;
use crate::driver::{Error, fields::Fields};

/// Capabilities docker gives by itself, less NET_RAW: a task may always ask for these.
const USUAL_CAPS: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// The longest image reference.
const IMAGE_MAX: usize = 512;

/// Login for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    pub username: String,
    pub password: String,
    pub server: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).field("server", &self.server).finish_non_exhaustive()
    }
}

/// One `mount` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountConfig {
    pub kind: String,
    pub target: String,
    pub source: String,
    pub read_only: bool,
    /// Bytes, of a tmpfs.
    pub size: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerConfig {
    pub image: String,
    pub command: Option<String>,
    pub args: Vec<String>,
    pub entrypoint: Vec<String>,
    /// Labels of the group's ports that are published.
    pub ports: Vec<String>,
    /// Label ─► port inside the container, of the legacy form.
    pub port_map: BTreeMap<String, u16>,
    pub network_mode: Option<String>,
    pub network_aliases: Vec<String>,
    pub volumes: Vec<String>,
    pub mounts: Vec<MountConfig>,
    pub labels: BTreeMap<String, String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub privileged: bool,
    pub hostname: Option<String>,
    pub extra_hosts: Vec<String>,
    pub dns_servers: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    pub group_add: Vec<String>,
    /// Name ─► soft and hard limit.
    pub ulimit: BTreeMap<String, (i64, i64)>,
    pub sysctl: BTreeMap<String, String>,
    pub shm_size: Option<i64>,
    pub work_dir: Option<String>,
    pub tty: bool,
    pub interactive: bool,
    pub init: bool,
    pub pids_limit: Option<i64>,
    pub readonly_rootfs: bool,
    /// Path ─► options.
    pub tmpfs: BTreeMap<String, String>,
    pub force_pull: bool,
    pub auth: Option<Auth>,
    pub no_healthcheck: bool,
}

impl ContainerConfig {
    pub fn read(config: &Value) -> Result<Self, Error> {
        let mut f = Fields::new("docker config", config)?;
        let mut read = Self {
            image: f.required("image")?,
            command: f.text("command")?.filter(|c| !c.is_empty()),
            args: f.texts("args")?,
            entrypoint: f.texts("entrypoint")?,
            ports: f.texts("ports")?,
            network_mode: f.text("network_mode")?.filter(|n| !n.is_empty()),
            network_aliases: f.texts("network_aliases")?,
            volumes: f.texts("volumes")?,
            labels: f.map("labels")?,
            cap_add: caps(f.texts("cap_add")?),
            cap_drop: caps(f.texts("cap_drop")?),
            privileged: f.flag("privileged")?,
            hostname: f.text("hostname")?.filter(|h| !h.is_empty()),
            extra_hosts: f.texts("extra_hosts")?,
            dns_servers: f.texts("dns_servers")?,
            dns_search: f.texts("dns_search_domains")?,
            dns_options: f.texts("dns_options")?,
            group_add: f.texts("group_add")?,
            sysctl: f.map("sysctl")?,
            shm_size: f.number("shm_size")?,
            work_dir: f.text("work_dir")?.filter(|d| !d.is_empty()),
            tty: f.flag("tty")?,
            interactive: f.flag("interactive")?,
            init: f.flag("init")?,
            pids_limit: f.number("pids_limit")?,
            readonly_rootfs: f.flag("readonly_rootfs")?,
            force_pull: f.flag("force_pull")?,
            ..Self::default()
        };
        read.port_map = port_map(f.map("port_map")?)?;
        read.ulimit = ulimits(f.map("ulimit")?)?;
        read.tmpfs = f.texts("tmpfs")?.iter().map(|t| pair(t, ':')).collect();
        read.mounts = f.blocks("mounts").into_iter().chain(f.blocks("mount")).map(mount).collect::<Result<_, _>>()?;
        read.auth = f.blocks("auth").first().map(|v| auth(v)).transpose()?;
        if let Some(v) = f.blocks("healthchecks").first() {
            let mut h = Fields::new("docker config: healthchecks", v)?;
            read.no_healthcheck = h.flag("disable")?;
            h.finish()?;
        }
        if f.value("logging").is_some() {
            tracing::debug!("docker config: logging is ignored, logs go to the task's files");
        }
        // A failed login is an error of the pull, and a pull has the client's time limit.
        let _ = (f.value("auth_soft_fail"), f.value("image_pull_timeout"));
        f.not_built(DOCKER_NOT_BUILT)?;
        f.finish()?;
        if read.image.starts_with('-') || read.image.len() > IMAGE_MAX || read.image.contains(char::is_whitespace) {
            return Err(Error::Config(format!("docker config: image {:?} is not an image name", clip(&read.image))));
        }
        Ok(read)
    }

    /// What this node's operator allows.
    pub fn allowed(&self, node: &Config) -> Result<(), Error> {
        if node.allow_privileged {
            return Ok(());
        }
        if self.privileged {
            return Err(refused("privileged = true", "allow_privileged"));
        }
        match self.cap_add.iter().find(|c| !USUAL_CAPS.contains(&c.as_str())) {
            Some(cap) => Err(refused(&format!("cap_add {cap:?}"), "allow_privileged")),
            None => Ok(()),
        }
    }
}

/// A wish that this node's configuration does not grant.
#[must_use]
pub fn refused(wish: &str, setting: &str) -> Error {
    Error::Config(format!(
        "docker config: {wish} is not allowed on this node; the operator can allow it with plugin \"docker\" {{ \
         {setting} }}"
    ))
}

fn clip(s: &str) -> String {
    s.chars().take(80).collect()
}

fn caps(list: Vec<String>) -> Vec<String> {
    list.into_iter()
        .map(|c| {
            let upper = c.to_ascii_uppercase();
            upper.strip_prefix("CAP_").map_or(upper.clone(), str::to_owned)
        })
        .collect()
}

fn pair(text: &str, at: char) -> (String, String) {
    let (a, b) = text.split_once(at).unwrap_or((text, ""));
    (a.to_owned(), b.to_owned())
}

fn port_map(map: BTreeMap<String, String>) -> Result<BTreeMap<String, u16>, Error> {
    map.into_iter()
        .map(|(label, port)| match port.parse() {
            Ok(n) => Ok((label, n)),
            Err(_) => Err(Error::Config(format!("docker config: port_map {label} = {:?} is not a port", clip(&port)))),
        })
        .collect()
}

/// `nofile = "2048:4096"` or `nofile = "2048"`.
fn ulimits(map: BTreeMap<String, String>) -> Result<BTreeMap<String, (i64, i64)>, Error> {
    map.into_iter()
        .map(|(name, text)| {
            let (soft, hard) = text.split_once(':').unwrap_or((&text, &text));
            match (soft.parse(), hard.parse()) {
                (Ok(s), Ok(h)) => Ok((name, (s, h))),
                _ => Err(Error::Config(format!("docker config: ulimit {name} = {:?} is not soft:hard", clip(&text)))),
            }
        })
        .collect()
}

fn mount(v: &Value) -> Result<MountConfig, Error> {
    let mut f = Fields::new("docker config: mount", v)?;
    let mut m = MountConfig {
        kind: f.text("type")?.filter(|t| !t.is_empty()).unwrap_or_else(|| "volume".into()),
        target: f.required("target")?,
        source: f.text("source")?.unwrap_or_default(),
        read_only: f.flag("readonly")?,
        size: None,
    };
    if let Some(options) = f.blocks("tmpfs_options").first() {
        let mut t = Fields::new("docker config: mount: tmpfs_options", options)?;
        m.size = t.number("size")?;
        t.not_built(&["mode"])?;
        t.finish()?;
    }
    f.not_built(&["bind_options", "volume_options"])?;
    f.finish()?;
    if !matches!(m.kind.as_str(), "bind" | "volume" | "tmpfs") {
        return Err(Error::Config(format!(
            "docker config: mount type {:?} is not bind, volume or tmpfs",
            clip(&m.kind)
        )));
    }
    Ok(m)
}

fn auth(v: &Value) -> Result<Auth, Error> {
    let mut f = Fields::new("docker config: auth", v)?;
    let read = Auth {
        username: f.text("username")?.unwrap_or_default(),
        password: f.text("password")?.unwrap_or_default(),
        server: f.text("server_address")?.unwrap_or_default(),
    };
    let _ = f.value("email");
    f.not_built(&["helper", "config"])?;
    f.finish()?;
    Ok(read)
}
