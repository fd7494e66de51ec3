//! The walkthrough's job files, embedded so that it runs from anywhere.

use std::{net::TcpListener, str::FromStr};

use super::{Addresses, Reason};

/// What runs the web servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    #[default]
    RawExec,
    Docker,
}

impl FromStr for Driver {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "raw_exec" => Ok(Self::RawExec),
            "docker" => Ok(Self::Docker),
            other => Err(format!("{other:?} is neither raw_exec nor docker")),
        }
    }
}

impl Driver {
    /// The driver's name in job files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RawExec => "raw_exec",
            Self::Docker => "docker",
        }
    }
}

/// One job file.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// As it is called in the repository.
    pub path: &'static str,
    pub text: String,
}

/// The five files, in order.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub driver: Driver,
    pub simple: File,
    pub scaled: File,
    pub discovered: File,
    pub balancer: File,
    pub canary: File,
    /// The static port of the first file.
    pub static_port: u16,
}

macro_rules! file {
    ($path:literal) => {
        File { path: $path, text: include_str!(concat!("../../../", $path)).to_owned() }
    };
}

impl Files {
    /// The files of a driver. With `free_ports` their fixed ports are exchanged for what is free here.
    pub fn new(driver: Driver, addresses: Addresses, free_ports: bool) -> Result<Self, Reason> {
        let mut files = match driver {
            Driver::RawExec => Self {
                driver,
                simple: file!("jobs/echo-simple.hcl"),
                scaled: file!("jobs/echo-scaled-up-dynamic.hcl"),
                discovered: file!("jobs/echo-scaled-up-dynamic-consul.hcl"),
                balancer: file!("jobs/fabio.hcl"),
                canary: file!("jobs/echo-consul-fabio.hcl"),
                static_port: 8080,
            },
            Driver::Docker => Self {
                driver,
                simple: file!("jobs/docker/echo-simple.hcl"),
                scaled: file!("jobs/docker/echo-scaled-up-dynamic.hcl"),
                discovered: file!("jobs/docker/echo-scaled-up-dynamic-consul.hcl"),
                balancer: file!("jobs/docker/fabio.hcl"),
                canary: file!("jobs/docker/echo-consul-fabio.hcl"),
                static_port: 8080,
            },
        };
        if free_ports {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
            let free = free.map_err(|e| Reason::Evidence(format!("no free port on 127.0.0.1: {e}")))?.port();
            files.static_port = free;
            files.simple.text = files.simple.text.replace("static = 8080", &format!("static = {free}"));
            let taken = [("9999", addresses.lb), ("9998", addresses.lb_admin)];
            for (fixed, address) in taken {
                let with = format!("static = {}", address.port());
                files.balancer.text = files.balancer.text.replace(&format!("static = {fixed}"), &with);
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_ports_are_exchanged_for_free_ones() {
        let at = |port| ([127, 0, 0, 1], port).into();
        let addresses = Addresses { http: at(1), catalog: at(2), dns: at(3), lb: at(4444), lb_admin: at(5555) };
        for driver in [Driver::RawExec, Driver::Docker] {
            let usual = Files::new(driver, addresses, false).unwrap();
            assert!(usual.simple.text.contains("static = 8080") && usual.balancer.text.contains("static = 9999"));
            let free = Files::new(driver, addresses, true).unwrap();
            assert!(free.simple.text.contains(&format!("static = {}", free.static_port)));
            assert!(free.balancer.text.contains("static = 4444") && free.balancer.text.contains("static = 5555"));
        }
    }

    #[test]
    fn every_file_uses_its_driver_and_describes_the_same_job() {
        let at = |port| ([127, 0, 0, 1], port).into();
        let addresses = Addresses { http: at(1), catalog: at(2), dns: at(3), lb: at(4), lb_admin: at(5) };
        for driver in [Driver::RawExec, Driver::Docker] {
            let f = Files::new(driver, addresses, false).unwrap();
            for file in [&f.simple, &f.scaled, &f.discovered, &f.balancer, &f.canary] {
                assert!(file.text.contains(&format!("driver = \"{}\"", driver.name())), "{}", file.path);
            }
            for file in [&f.simple, &f.scaled, &f.discovered, &f.canary] {
                assert!(file.text.contains("job \"http-echo\""), "{}", file.path);
            }
        }
    }
}
