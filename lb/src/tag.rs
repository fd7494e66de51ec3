//! One tag of a service instance, read as a route.
//!
//! `urlprefix-host/path opt=value …`: pure, total, and local: a tag that cannot be a route gives a reason, and concerns
//! no other tag. An option that would protect a route but is not built (`auth`, `allow`, `deny`) makes the tag
//! unusable rather than the route open.

use crate::pick::Strategy;

/// Longest tag that is read.
pub const MAX_TAG: usize = 4096;

/// A route as a tag asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// The tag without its prefix and options, as written.
    pub source: String,
    /// Lower case, without `:80`; empty = any host; may hold `*` and `?`.
    pub host: String,
    /// Begins with `/`.
    pub path: String,
    pub strip: Option<String>,
    pub prepend: Option<String>,
    pub host_header: HostHeader,
    /// Finite and not negative.
    pub weight: Option<f64>,
    pub strategy: Option<Strategy>,
    pub redirect: Option<Redirect>,
    /// The options as written, for the admin API.
    pub options: String,
    /// Options that were ignored, and why.
    pub warnings: Vec<String>,
}

/// What `Host` an instance sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// What the client sent.
    #[default]
    Client,
    /// The instance's own `address:port`.
    Instance,
    Fixed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 300 to 399.
    pub status: u16,
    /// May hold `$path` and `$host`.
    pub to: String,
}

/// Why a tag is no route, in words for its author.
pub type Reason = String;

/// Read a tag; `None` when it does not begin with `prefix`, and so is none of our business.
#[must_use]
pub fn parse(tag: &str, prefix: &str, datacenter: &str) -> Option<Result<RouteSpec, Reason>> {
    let body = tag.trim().strip_prefix(prefix)?;
    if tag.len() > MAX_TAG {
        return Some(Err(format!("the tag has {} bytes; at most {MAX_TAG} are read", tag.len())));
    }
    let (source, options) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
    Some(parse_source(source, datacenter).and_then(|(host, path)| {
        let words: Vec<_> = options.split_whitespace().collect();
        let mut spec = RouteSpec {
            source: source.to_owned(),
            host,
            path,
            strip: None,
            prepend: None,
            host_header: HostHeader::Client,
            weight: None,
            strategy: None,
            redirect: None,
            options: words.join(" "),
            warnings: Vec::new(),
        };
        for word in words {
            option(&mut spec, word)?;
        }
        Ok(spec)
    }))
}

fn parse_source(source: &str, datacenter: &str) -> Result<(String, String), Reason> {
    if source.is_empty() {
        return Err("there is no host or path after the prefix; write for example urlprefix-/path".into());
    }
    let (host, path) = match source.find('/') {
        Some(at) => source.split_at(at),
        None => (source, "/"),
    };
    if host.starts_with(':') && host[1..].bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{host} is a TCP route; TCP listeners are not built yet"));
    }
    let host = expand(host, datacenter).to_ascii_lowercase();
    let host = host.strip_suffix(":80").map_or(host.clone(), str::to_owned);
    check_host(&host)?;
    if let Some(bad) = path.chars().find(|c| c.is_control() || !c.is_ascii() || "?#\\".contains(*c)) {
        return Err(format!("the path holds {bad:?}, which no request path holds; write it as %XX"));
    }
    Ok((host, path.to_owned()))
}

/// `$DC` and `${DC}`; any other variable is empty.
fn expand(host: &str, datacenter: &str) -> String {
    let mut out = String::with_capacity(host.len());
    let mut rest = host;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            Some((name, after)) => (name, after),
            None => rest.split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
        };
        if name == "DC" {
            out.push_str(datacenter);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn check_host(host: &str) -> Result<(), Reason> {
    if let Some(bad) = host.chars().find(|c| "{}!".contains(*c)) {
        return Err(format!("the host holds {bad:?}; of the patterns, only * and ? are built"));
    }
    let inside = host.strip_prefix('[').map(|h| h.split_once(']'));
    let ok = match inside {
        // An IPv6 literal, perhaps with a port.
        Some(Some((ip, port))) => {
            ip.parse::<std::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok()))
        }
        Some(None) => false,
        None => {
            let (name, port) = host.split_once(':').unwrap_or((host, "80"));
            name.chars().all(|c| c.is_ascii_alphanumeric() || "-._*?".contains(c)) && port.parse::<u16>().is_ok()
        }
    };
    if ok { Ok(()) } else { Err(format!("{host:?} is not a host")) }
}

fn option(spec: &mut RouteSpec, word: &str) -> Result<(), Reason> {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    match key {
        "strip" => spec.strip = path_option(key, value, &mut spec.warnings),
        "prepend" => {
            let slash = if value.starts_with('/') { "" } else { "/" };
            spec.prepend = path_option(key, &format!("{slash}{value}"), &mut spec.warnings);
        }
        "host" => spec.host_header = host_header(value)?,
        "weight" => spec.weight = Some(weight(value)?),
        "strategy" => spec.strategy = Some(value.parse()?),
        "redirect" => spec.redirect = Some(redirect(value)?),
        "proto" => match value {
            "http" | "" => {}
            "https" => return Err("proto=https: TLS to instances is not built yet".into()),
            "tcp" | "grpc" | "grpcs" => return Err(format!("proto={value} is not built yet")),
            other => return Err(format!("proto is http, https, tcp, grpc or grpcs, not {other:?}")),
        },
        // Left out, these would open what somebody meant to close.
        "auth" | "allow" | "deny" => {
            return Err(format!("{key}= is not built yet; the route stays closed rather than unprotected"));
        }
        "tlsskipverify" | "pxyproto" | "register" | "grpcservername" => {
            spec.warnings.push(format!("{key}= is not built yet and has no effect"));
        }
        other => spec.warnings.push(format!("unknown option {other:?} has no effect")),
    }
    Ok(())
}

fn path_option(key: &str, value: &str, warnings: &mut Vec<String>) -> Option<String> {
    let printable = value.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\".contains(&b));
    if value.starts_with('/') && printable {
        return Some(value.to_owned());
    }
    warnings.push(format!("{key}={value} is not a path that begins with / and has no effect"));
    None
}

fn host_header(value: &str) -> Result<HostHeader, Reason> {
    match value {
        "" => Err("host= needs \"dst\" or a name".into()),
        "dst" => Ok(HostHeader::Instance),
        name if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) => {
            Ok(HostHeader::Fixed(name.to_owned()))
        }
        name => Err(format!("host={name}: not a host")),
    }
}

fn weight(value: &str) -> Result<f64, Reason> {
    match value.parse::<f64>() {
        Ok(w) if w.is_finite() && w >= 0.0 => Ok(w),
        _ => Err(format!("weight={value}: a weight is a number from 0 to 1")),
    }
}

fn redirect(value: &str) -> Result<Redirect, Reason> {
    let (status, to) = value.split_once(',').ok_or_else(|| {
        format!("redirect={value}: write redirect=<status>,<url>, for example redirect=301,https://$host$path")
    })?;
    let status = status
        .parse()
        .ok()
        .filter(|s| (300..400).contains(s))
        .ok_or_else(|| format!("redirect={value}: the status must be 300 to 399"))?;
    let known = ["http://", "https://", "/", "$path"].iter().any(|p| to.starts_with(p));
    if !known || !to.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("redirect={value}: the target must begin with http://, https:// or /"));
    }
    Ok(Redirect { status, to: to.to_owned() })
}

#[cfg(test)]
mod tests;
