//! Address arithmetic: `cidrhost`, `cidrnetmask`, `cidrsubnet`, `cidrsubnets`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use model::driver_config::Value;

use super::{Answer, Args, Function, list_of};

pub const FUNCTIONS: &[(&str, Function)] = &[
    ("cidrhost", cidrhost),
    ("cidrnetmask", |a| match net(a, a.exactly::<1>()?[0])? {
        IpNet::V4(n) => Ok(Value::Str(n.netmask().to_string())),
        IpNet::V6(_) => Err(a.fail("IPv6 has no netmasks")),
    }),
    ("cidrsubnet", |a| {
        let [prefix, bits, number] = a.exactly()?;
        let (prefix, bits, number) = (net(a, prefix)?, a.int(bits)?, a.int(number)?);
        let wider = width(a, &prefix, bits)?;
        let number = u128::try_from(number).map_err(|_| a.fail("the number must not be negative"))?;
        if bits < 128 && number >> bits != 0 {
            return Err(a.fail(format!("{bits} more bits have no subnet number {number}")));
        }
        let base = bits_of(prefix.network()) + (number << (size(&prefix) - wider));
        Ok(Value::Str(format!("{}/{wider}", address(&prefix, base))))
    }),
    ("cidrsubnets", cidrsubnets),
];

fn net(a: &Args<'_>, v: &Value) -> Result<IpNet, String> {
    let text = a.text(v)?;
    text.parse().map_err(|_| a.fail(format!("{text:?} is not a network such as \"10.0.0.0/8\"")))
}

fn size(n: &IpNet) -> u8 {
    n.max_prefix_len()
}

fn width(a: &Args<'_>, n: &IpNet, more: i64) -> Result<u8, String> {
    let wider = u8::try_from(i64::from(n.prefix_len()) + more).ok().filter(|w| *w <= size(n) && more >= 0);
    wider.ok_or_else(|| a.fail(format!("{n} cannot be made {more} bits longer")))
}

fn bits_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "an IPv4 network's numbers stay below 2^32")]
fn address(like: &IpNet, bits: u128) -> IpAddr {
    match like {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(bits as u32)),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(bits)),
    }
}

/// A host by its number; negative numbers count from the end.
fn cidrhost(a: &Args<'_>) -> Answer {
    let [prefix, number] = a.exactly()?;
    let (prefix, number) = (net(a, prefix)?, a.int(number)?);
    let free = size(&prefix) - prefix.prefix_len();
    let last = if free == 128 { u128::MAX } else { (1u128 << free) - 1 };
    let host = u128::from(number.unsigned_abs());
    let host = if number < 0 { last.checked_sub(host.saturating_sub(1)) } else { Some(host).filter(|h| *h <= last) };
    let host = host.ok_or_else(|| a.fail(format!("{prefix} has no host number {number}")))?;
    Ok(Value::Str(address(&prefix, bits_of(prefix.network()) + host).to_string()))
}

/// Consecutive subnets, each as much longer as asked for.
fn cidrsubnets(a: &Args<'_>) -> Answer {
    let all = a.at_least(2)?;
    let prefix = net(a, &all[0])?;
    let end = bits_of(prefix.broadcast());
    let mut next = Some(bits_of(prefix.network()));
    let mut out = Vec::new();
    for more in &all[1..] {
        let wider = width(a, &prefix, a.int(more)?)?;
        let step = 1u128.checked_shl(u32::from(size(&prefix) - wider)).unwrap_or(0);
        let full = || a.fail(format!("{prefix} has no room for this many subnets"));
        let start = next.ok_or_else(full)?;
        let start = if step == 0 { start } else { start.div_ceil(step).checked_mul(step).ok_or_else(full)? };
        if start > end {
            return Err(full());
        }
        out.push(format!("{}/{wider}", address(&prefix, start)));
        next = start.checked_add(step).filter(|_| step != 0);
    }
    Ok(list_of(out))
}
