//! Which TCP ports of this host are listened on by somebody who is neither this agent nor one of its allocations.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// The state `LISTEN` in `/proc/net/tcp`.
const LISTEN: &str = "0A";
/// Ports the kernel hands out to anybody come and go; they count once they have stayed for this many looks.
const STAYED: u32 = 3;
/// The most ports a node reports.
const MAX: usize = 4096;

/// Ports in `LISTEN`, over IPv4 and IPv6.
#[must_use]
pub fn listening() -> BTreeSet<u16> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|p| fs::read_to_string(p).ok())
        .flat_map(|t| parse(&t))
        .collect()
}

fn parse(table: &str) -> Vec<u16> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?;
            let state = fields.nth(1)?;
            let port = local.rsplit(':').next()?;
            (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok()).flatten()
        })
        .collect()
}

/// The first port the kernel picks for itself.
fn first_ephemeral() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(32_768)
}

/// Turns looks at the host into a list that does not flutter.
#[derive(Debug, Default)]
pub struct Observer {
    seen: BTreeMap<u16, u32>,
}

impl Observer {
    /// The ports in use now, without `ours`.
    pub fn look(&mut self, ours: &BTreeSet<u16>) -> Vec<u16> {
        self.digest(&listening(), ours, first_ephemeral())
    }

    fn digest(&mut self, listening: &BTreeSet<u16>, ours: &BTreeSet<u16>, ephemeral: u16) -> Vec<u16> {
        self.seen.retain(|p, _| listening.contains(p));
        for port in listening {
            *self.seen.entry(*port).or_default() += 1;
        }
        self.seen
            .iter()
            .filter(|(p, n)| !ours.contains(p) && (**p < ephemeral || **n >= STAYED))
            .map(|(p, _)| *p)
            .take(MAX)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:270F 0100007F:1234 01 00000000:00000000\n\
                     2: 00000000000000000000000000000000:0050 0:0 0A 0:0\n";
        assert_eq!(parse(table), [8080, 80]);
    }

    #[test]
    fn sees_a_listener() {
        let l = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        assert!(listening().contains(&l.local_addr().expect("bound").port()));
    }

    #[test]
    fn passing_ephemeral_ports_do_not_count() {
        let mut o = Observer::default();
        let (on, ours) = ([80, 8080, 40_000].into(), [8080].into());
        assert_eq!(o.digest(&on, &ours, 32_768), [80]);
        assert_eq!(o.digest(&on, &ours, 32_768), [80]);
        assert_eq!(o.digest(&on, &ours, 32_768), [80, 40_000]);
        assert_eq!(o.digest(&[80].into(), &ours, 32_768), [80]);
        assert_eq!(o.digest(&on, &ours, 32_768), [80]);
    }
}
