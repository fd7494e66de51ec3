//! Settings of the load balancer, their defaults and bounds.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

use crate::{error::Error, pick::Strategy};

/// Everything that can be set. Durations are exact; zero is refused where it would mean "never".
#[derive(Clone, Debug)]
pub struct Config {
    /// Where traffic arrives. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Where the admin API and the routes page are.
    pub admin_listen: SocketAddr,
    /// Threads that carry traffic, each with its own listener and pools. 0 = two, or one on a one-core machine.
    pub cores: usize,
    /// Tags that begin with this are routes.
    pub tag_prefix: String,
    /// The value of `$DC` in hosts.
    pub datacenter: String,
    /// How an instance is chosen where the tag does not say.
    pub strategy: Strategy,
    /// The status of answers to requests no route matches: 200 to 999.
    pub no_route_status: u16,
    /// A client must send a whole request head within this time after its first byte.
    pub header_timeout: Duration,
    /// A client connection without a request is closed after this time.
    pub idle_timeout: Duration,
    /// A request body or an answer that makes no progress for this long is given up.
    pub stall_timeout: Duration,
    /// For one attempt to connect to an instance.
    pub connect_timeout: Duration,
    /// From the request being sent to the first byte of the answer.
    pub response_timeout: Duration,
    /// Unused connections to instances are kept this long.
    pub upstream_idle_timeout: Duration,
    /// Unused connections kept per instance and core.
    pub upstream_idle_max: usize,
    /// Client connections per core; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Bytes of one request head.
    pub max_header_bytes: usize,
    /// Header fields of one request.
    pub max_headers: usize,
    /// How many instances one request may try.
    pub attempts: usize,
    /// On shutdown: `/health` answers 503 for this long while traffic is still taken.
    pub shutdown_grace: Duration,
    /// On shutdown: requests in flight have this long to end.
    pub shutdown_wait: Duration,
    /// Peers whose `X-Forwarded-*` and `Forwarded` headers are believed. All others' are replaced.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 9999).into(),
            admin_listen: ([127, 0, 0, 1], 9998).into(),
            cores: 0,
            tag_prefix: "urlprefix-".into(),
            datacenter: "dc1".into(),
            strategy: Strategy::RoundRobin,
            no_route_status: 404,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(120),
            upstream_idle_timeout: Duration::from_secs(15),
            upstream_idle_max: 256,
            max_connections: 8192,
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            attempts: 3,
            shutdown_grace: Duration::ZERO,
            shutdown_wait: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Config {
    /// Refuse settings that could not work, naming the setting.
    pub fn validate(&self) -> Result<(), Error> {
        let bad = |text: String| Err(Error::Config(text));
        if self.tag_prefix.is_empty() {
            return bad("tag_prefix is empty: every tag would be a route".into());
        }
        if !(200..=999).contains(&self.no_route_status) {
            return bad(format!("no_route_status is {}, which is no final HTTP status", self.no_route_status));
        }
        for (name, value) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("stall_timeout", self.stall_timeout),
            ("connect_timeout", self.connect_timeout),
            ("response_timeout", self.response_timeout),
        ] {
            if value.is_zero() {
                return bad(format!("{name} is zero: nothing could ever be in time"));
            }
        }
        if self.attempts == 0 || self.max_connections == 0 || self.max_headers == 0 {
            return bad("attempts, max_connections and max_headers must be at least 1".into());
        }
        if !(8192..=1024 * 1024).contains(&self.max_header_bytes) {
            return bad(format!("max_header_bytes is {}; it must be 8192 to 1048576", self.max_header_bytes));
        }
        if self.cores > 1024 {
            return bad(format!("cores is {}; it must be at most 1024", self.cores));
        }
        Ok(())
    }

    /// The number of traffic threads.
    #[must_use]
    pub fn lanes(&self) -> usize {
        match self.cores {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(2),
            n => n,
        }
    }
}
