//! What no single key can say: values that must fit together.

use super::{Config, Error, Ports};
use crate::telemetry;

/// Longest name of a node, region or datacenter: it must fit a DNS label.
const MAX_NAME: usize = 63;

impl Config {
    /// Everything that is wrong, in one error.
    pub fn validate(&self) -> Result<(), Error> {
        let mut wrong = Vec::new();
        for (key, name) in [("name", &self.name), ("region", &self.region), ("datacenter", &self.datacenter)] {
            check_name(key, name, &mut wrong);
        }
        self.check_roles(&mut wrong);
        self.check_exposure(&mut wrong);
        check_ports(&self.ports, &mut wrong);
        if self.client.min_dynamic_port > self.client.max_dynamic_port {
            wrong.push(format!(
                "client.min_dynamic_port ({}) is above client.max_dynamic_port ({})",
                self.client.min_dynamic_port, self.client.max_dynamic_port
            ));
        }
        for (name, volume) in &self.client.host_volumes {
            if !volume.path.is_absolute() {
                wrong.push(format!("host_volume {name:?}: path {} must be absolute", volume.path.display()));
            }
        }
        if let Err(e) = telemetry::filter(&self.log_level) {
            wrong.push(e.to_string());
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
    }

    fn check_roles(&self, wrong: &mut Vec<String>) {
        if self.roles().is_empty() {
            wrong.push(
                "no role is on: start with -dev, or switch one on, such as server { enabled = true } client { enabled = true }".into(),
            );
        }
        if self.server.enabled && self.server.bootstrap_expect != 1 {
            wrong.push(format!(
                "server.bootstrap_expect = {}: clusters of several servers are not built yet; set 1",
                self.server.bootstrap_expect
            ));
        }
        let keeps_data = self.server.enabled || self.client.enabled;
        if keeps_data && !self.dev && self.data_dir.is_none() {
            wrong.push("data_dir is missing: a server or client needs a directory of its own, such as -data-dir /var/lib/trine".into());
        }
        if !self.server.enabled && !self.roles().is_empty() && self.servers().is_empty() {
            wrong.push("this agent is no server and knows none: name one with -servers 127.0.0.1:4647".into());
        }
        for address in self.servers() {
            let port =
                address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
            if !matches!(port, Some(Ok(1..))) {
                wrong.push(format!("server address {address:?} is not host:port, such as 127.0.0.1:4647"));
            }
        }
    }

    /// The APIs run commands for whoever reaches them, so without encryption and tokens they stay at home.
    fn check_exposure(&self, wrong: &mut Vec<String>) {
        if self.insecure {
            return;
        }
        let admin = self.lb.admin_bind_addr.filter(|_| self.lb_enabled());
        let apis = self.server.enabled || self.client.enabled || self.discovery.enabled;
        for (key, addr) in [("bind_addr", Some(self.bind_addr).filter(|_| apis)), ("lb.admin_bind_addr", admin)] {
            if let Some(addr) = addr.filter(|a| !a.is_loopback()) {
                wrong.push(format!(
                    "{key} = {addr} can be reached by others, and TLS and ACLs are not built yet: use a loopback address, \
                     or say -insecure (insecure = true) if the network is private"
                ));
            }
        }
    }
}

fn check_name(key: &str, name: &str, wrong: &mut Vec<String>) {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fine) {
        wrong.push(format!("{key} = {name:?}: use 1 to {MAX_NAME} letters, digits, dots, dashes or underscores"));
    }
}

/// Two listeners on one port.
fn check_ports(ports: &Ports, wrong: &mut Vec<String>) {
    let Ports { http, rpc, catalog, dns, lb, lb_admin } = *ports;
    let all = [("http", http), ("rpc", rpc), ("catalog", catalog), ("dns", dns), ("lb", lb), ("lb_admin", lb_admin)];
    for (i, (name, port)) in all.iter().enumerate() {
        if let Some((other, _)) = all[..i].iter().find(|(_, p)| *port != 0 && p == port) {
            wrong.push(format!("ports.{name} and ports.{other} are both {port}"));
        }
    }
}
