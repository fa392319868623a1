//! A network of hosts inside the sandbox: a namespace and an address for each, and a switch that they share with nobody.
//!
//! Addresses are of 198.18.0.0/15, the range for benchmarks, and exist only in the sandbox. The suite's own clients are
//! the sandbox's first namespace, so they cross the same switch as everybody else.

mod link;
mod switch;

pub use link::{Counts, Rules};

use super::tool;
use super::trouble::{During, Trouble};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use switch::{PACKET_BYTES_MAX, Switch};
use tun_rs::{DeviceBuilder, Layer};

/// One of the machines there would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A machine for a node, from 1.
    Node(u8),
    /// A machine for a worker, from 1.
    Worker(u8),
    /// The clients'.
    Clients,
}

/// The network.
#[derive(Clone)]
pub struct Network {
    hosts: Arc<[Host]>,
    switch: Arc<Switch>,
}

impl Host {
    /// Its address.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::Node(number) => Ipv4Addr::new(198, 18, 1, number),
            Self::Worker(number) => Ipv4Addr::new(198, 18, 2, number),
            Self::Clients => Ipv4Addr::new(198, 18, 3, 1),
        }
    }

    /// The command that a process of this host begins with. It keeps the mounts that the suite has, so that a disk that
    /// is taken away is gone for everybody; `ip netns exec` would keep a copy of them.
    #[must_use]
    pub fn prefix(self) -> Vec<String> {
        match self {
            Self::Node(_) | Self::Worker(_) => {
                vec!["nsenter".to_owned(), format!("--net=/run/netns/{self}"), "--".to_owned()]
            }
            Self::Clients => Vec::new(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(number) => write!(formatter, "node-host-{number}"),
            Self::Worker(number) => write!(formatter, "work-host-{number}"),
            Self::Clients => formatter.write_str("clients"),
        }
    }
}

impl Network {
    /// Makes the hosts and connects them.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn build(hosts: Vec<Host>) -> Result<Self, Trouble> {
        let ports =
            hosts.iter().map(|host| Ok((host.address(), connect(*host)?))).collect::<Result<Vec<_>, Trouble>>()?;
        Ok(Self { hosts: hosts.into(), switch: Switch::start(ports) })
    }

    /// Every host.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Changes what is done to the packets from one host to another.
    pub fn change(&self, source: Host, target: Host, change: impl FnOnce(&mut Rules)) {
        if let (Some(source), Some(target)) = (self.place(source), self.place(target)) {
            self.switch.change(source, target, change);
        }
    }

    /// Nothing is done to any packet any more.
    pub fn mend(&self) {
        for source in 0..self.hosts.len() {
            for target in 0..self.hosts.len() {
                self.switch.change(source, target, |rules| *rules = Rules::default());
            }
        }
    }

    /// What became of the packets of some links so far.
    #[must_use]
    pub fn counts(&self, links: &[(Host, Host)]) -> Counts {
        let mut total = Counts::default();
        for (source, target) in links {
            let (Some(source), Some(target)) = (self.place(*source), self.place(*target)) else { continue };
            let counts = self.switch.counts(source, target);
            total.passed += counts.passed;
            total.dropped += counts.dropped;
            total.lost += counts.lost;
            total.delayed += counts.delayed;
            total.doubled += counts.doubled;
            total.overtook += counts.overtook;
        }
        total
    }

    fn place(&self, host: Host) -> Option<usize> {
        self.hosts.iter().position(|known| *known == host)
    }
}

/// Makes a host's device and moves it where the host is; what was opened here stays open.
fn connect(host: Host) -> Result<tun_rs::SyncDevice, Trouble> {
    let name = host.to_string();
    let built = DeviceBuilder::new().name(name.clone()).layer(Layer::L3).inherit_enable_state().build_sync();
    let device = built.during(|| format!("the TUN device of {name}"))?;
    let address = format!("{}/15", host.address());
    let bytes_max = PACKET_BYTES_MAX.to_string();
    let inside: Vec<&str> = if host == Host::Clients {
        Vec::new()
    } else {
        tool::run("ip", &["netns", "add", &name])?;
        tool::run("ip", &["link", "set", &name, "netns", &name])?;
        tool::run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
        vec!["-n", &name]
    };
    let ip = |arguments: &[&str]| tool::run("ip", &[&inside, arguments].concat());
    ip(&["addr", "add", &address, "dev", &name])?;
    ip(&["link", "set", &name, "mtu", &bytes_max, "up"])?;
    Ok(device)
}
