//! The switch in user space: takes IP packets from every host's TUN and gives them to the host they are addressed to, as
//! the rules of that link have it.
//!
//! Invariant: the only way from one host to another is through here, so every packet is decided about exactly once.

use super::link::{Counts, Fate, Link, Rules};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tun_rs::SyncDevice;

/// The largest packet.
pub(super) const PACKET_BYTES_MAX: u16 = 9_000;
/// Where an IPv4 header has the destination.
const DESTINATION: std::ops::Range<usize> = 16..20;

/// A switch with its threads, which end with the process.
pub(super) struct Switch {
    ports: Vec<Port>,
    by_address: BTreeMap<Ipv4Addr, usize>,
    /// From each port to each.
    links: Vec<Vec<Link>>,
    late: Late,
}

struct Port {
    device: SyncDevice,
}

/// Packets that leave later.
#[derive(Default)]
struct Late {
    packets: Mutex<BinaryHeap<Reverse<Waiting>>>,
    came: AtomicU64,
    changed: Condvar,
}

/// Ordered by when it leaves, then by when it came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    leaves_at: Instant,
    number: u64,
    target: usize,
    packet: Vec<u8>,
}

impl Switch {
    /// Connects hosts, whose links are named by their place in the list.
    pub(super) fn start(hosts: Vec<(Ipv4Addr, SyncDevice)>) -> Arc<Self> {
        let count = hosts.len();
        let by_address = hosts.iter().enumerate().map(|(place, (address, _))| (*address, place)).collect();
        let links = (0..count).map(|_| (0..count).map(|_| Link::default()).collect()).collect();
        let ports = hosts.into_iter().map(|(_, device)| Port { device }).collect();
        let switch = Arc::new(Self { ports, by_address, links, late: Late::default() });
        for source in 0..count {
            let switch = Arc::clone(&switch);
            spawn(&format!("port-{source}"), move || switch.forward(source));
        }
        let late = Arc::clone(&switch);
        spawn("late-packets", move || late.send_late());
        switch
    }

    pub(super) fn change(&self, source: usize, target: usize, change: impl FnOnce(&mut Rules)) {
        self.links[source][target].change(change);
    }

    pub(super) fn counts(&self, source: usize, target: usize) -> Counts {
        self.links[source][target].counts()
    }

    fn forward(&self, source: usize) {
        let mut buffer = vec![0; usize::from(PACKET_BYTES_MAX)];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(source as u64 + 1);
        let mut draw = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below.max(1)
        };
        loop {
            // A device that is gone means that the sandbox is being taken down.
            let Ok(length) = self.ports[source].device.recv(&mut buffer) else { return };
            let packet = &buffer[..length];
            let Some(target) = self.target(packet) else { continue };
            let now = Instant::now();
            match self.links[source][target].decide(now, &mut draw) {
                Fate::Drop | Fate::Lose => {}
                Fate::Pass => self.send(target, packet),
                Fate::At(leaves_at) => self.late.add(leaves_at, target, packet),
                Fate::Twice(again_at) => {
                    self.send(target, packet);
                    self.late.add(again_at, target, packet);
                }
            }
        }
    }

    /// The port a packet is for; hosts also say things to the whole network, which go nowhere.
    fn target(&self, packet: &[u8]) -> Option<usize> {
        let destination: [u8; 4] = packet.get(DESTINATION)?.try_into().ok()?;
        self.by_address.get(&Ipv4Addr::from(destination)).copied()
    }

    fn send(&self, target: usize, packet: &[u8]) {
        // A packet that a host does not take is lost, as on any network.
        let _ = self.ports[target].device.send(packet);
    }

    fn send_late(&self) {
        loop {
            let waiting = self.late.next();
            self.send(waiting.target, &waiting.packet);
        }
    }
}

impl Late {
    fn add(&self, leaves_at: Instant, target: usize, packet: &[u8]) {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.came.fetch_add(1, Ordering::Relaxed);
        packets.push(Reverse(Waiting { leaves_at, number, target, packet: packet.to_vec() }));
        self.changed.notify_one();
    }

    /// The next packet, once it is time for it.
    fn next(&self) -> Waiting {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let wait = packets.peek().map(|Reverse(first)| first.leaves_at.saturating_duration_since(Instant::now()));
            packets = match wait {
                Some(Duration::ZERO) => {
                    if let Some(Reverse(first)) = packets.pop() {
                        return first;
                    }
                    packets
                }
                Some(wait) => self.changed.wait_timeout(packets, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(packets).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread can be started");
}
