//! Where a configuration comes from, and in which order the sources win.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{Config, Error, env};
use crate::nearest::nearest;

/// More files than this in one directory is a wrong directory.
const MAX_FILES: usize = 256;

/// What the command line says. `None` leaves a value as the sources before it set it.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub dev: bool,
    pub region: Option<String>,
    pub datacenter: Option<String>,
    pub name: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub bind: Option<IpAddr>,
    pub insecure: bool,
    pub log_level: Option<String>,
    pub log_json: bool,
    pub server: bool,
    pub client: bool,
    pub discovery: bool,
    pub lb: bool,
    pub servers: Vec<String>,
    /// `name=port`.
    pub ports: Vec<String>,
}

/// Read every source: files and directories in order, the environment, the flags; then judge the whole.
pub fn load(files: &[PathBuf], lookup: impl Fn(&str) -> Option<String>, flags: &Flags) -> Result<Config, Error> {
    let mut config = if flags.dev { Config::dev() } else { Config::default() };
    for path in files {
        for file in expand(path)? {
            config.merge_file(&file)?;
        }
    }
    env::apply(&mut config, lookup)?;
    apply_flags(&mut config, flags)?;
    config.validate()?;
    Ok(config)
}

/// A directory stands for its `.hcl` and `.json` files in the order of their names.
fn expand(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |cause| Error::Read { path: path.to_owned(), cause };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let hidden = file.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && file.extension().is_some_and(|e| e == "hcl" || e == "json") {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(unreadable(io::Error::other(format!("more than {MAX_FILES} files"))));
        }
    }
    files.sort();
    Ok(files)
}

fn apply_flags(config: &mut Config, flags: &Flags) -> Result<(), Error> {
    let texts = [
        (&mut config.region, &flags.region),
        (&mut config.datacenter, &flags.datacenter),
        (&mut config.name, &flags.name),
        (&mut config.log_level, &flags.log_level),
    ];
    for (target, value) in texts {
        if let Some(value) = value {
            target.clone_from(value);
        }
    }
    if let Some(dir) = &flags.data_dir {
        config.data_dir = Some(dir.clone());
    }
    config.bind_addr = flags.bind.unwrap_or(config.bind_addr);
    config.insecure |= flags.insecure;
    config.log_json |= flags.log_json;
    config.server.enabled |= flags.server;
    config.client.enabled |= flags.client;
    config.discovery.enabled |= flags.discovery;
    if flags.lb {
        config.lb.enabled = Some(true);
    }
    if !flags.servers.is_empty() {
        config.client.servers.clone_from(&flags.servers);
    }
    let mut wrong = Vec::new();
    for setting in &flags.ports {
        if let Err(message) = set_port(config, setting) {
            wrong.push(message);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
}

fn set_port(config: &mut Config, setting: &str) -> Result<(), String> {
    let shape = || format!("-port {setting:?}: write name=number, such as -port http=4646 (0 = any free port)");
    let (name, port) = setting.split_once('=').ok_or_else(shape)?;
    let port: u16 = port.parse().map_err(|_| shape())?;
    let ports = &mut config.ports;
    let mut names = [
        ("http", &mut ports.http),
        ("rpc", &mut ports.rpc),
        ("catalog", &mut ports.catalog),
        ("dns", &mut ports.dns),
        ("lb", &mut ports.lb),
        ("lb_admin", &mut ports.lb_admin),
    ];
    if let Some((_, target)) = names.iter_mut().find(|(n, _)| *n == name) {
        **target = port;
        return Ok(());
    }
    let known = names.map(|(n, _)| n);
    let hint = nearest(name, known).map_or_else(|| known.join(", "), |w| format!("did you mean {w}?"));
    Err(format!("-port {setting:?}: there is no port {name:?}; {hint}"))
}
