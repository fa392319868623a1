//! A relay before a server, which holds back what goes through it, or cuts connections in the middle of a body.

use crate::process::free_address;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 64 << 10;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

/// A relay that takes connections until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    upstream: String,
    is_over: AtomicBool,
    silence: Mutex<Silence>,
    cut: Mutex<Option<Cut>>,
    cuts_left: AtomicUsize,
}

/// When nothing is passed on.
#[derive(Debug, Clone, Copy, Default)]
enum Silence {
    #[default]
    Never,
    After {
        bytes: usize,
        time: Duration,
    },
    Until(Instant),
}

/// Connections are cut that have carried so many bytes one way.
#[derive(Debug, Clone, Copy)]
struct Cut {
    way: Way,
    after_bytes: usize,
}

impl Relay {
    /// A relay to a server that passes everything on.
    ///
    /// # Panics
    /// When no address is free.
    #[must_use]
    pub fn start(upstream: &str) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(&address).expect("a free address can be listened on");
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            is_over: AtomicBool::new(false),
            silence: Mutex::default(),
            cut: Mutex::default(),
            cuts_left: AtomicUsize::new(0),
        });
        let of_thread = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_thread.is_over.load(Ordering::Relaxed) {
                    return;
                }
                of_thread.relay(client);
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Passes nothing on for a while, once it has passed on so many bytes more; nobody is told.
    pub fn be_silent_after(&self, bytes: usize, time: Duration) {
        *lock(&self.state.silence) = Silence::After { bytes, time };
    }

    /// Cuts the next connections, each once it has carried so many bytes one way.
    pub fn cut(&self, connections: usize, way: Way, after_bytes: usize) {
        *lock(&self.state.cut) = Some(Cut { way, after_bytes });
        self.state.cuts_left.store(connections, Ordering::SeqCst);
    }

    /// How many connections are still to be cut.
    #[must_use]
    pub fn cuts_left(&self) -> usize {
        self.state.cuts_left.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // The thread looks once it has a connection; it holds nothing if there is none any more.
        let _ = TcpStream::connect(&self.address);
    }
}

impl State {
    /// A server that is not there is a connection that ends at once.
    fn relay(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&self.upstream) else { return };
        let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { return };
        for (way, from, to) in [(Way::Up, from_client, to_server), (Way::Down, server, client)] {
            let state = Arc::clone(self);
            std::thread::spawn(move || state.pass_on(way, &from, &to));
        }
    }

    fn pass_on(&self, way: Way, mut from: &TcpStream, mut to: &TcpStream) {
        let mut block = vec![0; BLOCK_BYTES];
        let mut passed = 0;
        loop {
            let read = match from.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return close(from, to),
            };
            self.wait_out_the_silence(read);
            passed += read;
            if self.is_to_be_cut(way, passed) || to.write_all(&block[..read]).is_err() {
                return close(from, to);
            }
        }
        // The other way may have more to say.
        let _ = to.shutdown(Shutdown::Write);
    }

    fn wait_out_the_silence(&self, read: usize) {
        while let Some(left) = self.silence_left(read) {
            std::thread::sleep(left);
        }
    }

    fn silence_left(&self, read: usize) -> Option<Duration> {
        let mut silence = lock(&self.silence);
        if let Silence::After { bytes, time } = *silence {
            *silence = match bytes.checked_sub(read) {
                Some(bytes) => Silence::After { bytes, time },
                None => Silence::Until(Instant::now() + time),
            };
        }
        match *silence {
            Silence::Until(until) => until.checked_duration_since(Instant::now()),
            Silence::Never | Silence::After { .. } => None,
        }
    }

    fn is_to_be_cut(&self, way: Way, passed: usize) -> bool {
        let Some(cut) = *lock(&self.cut) else { return false };
        let take = |left: usize| left.checked_sub(1);
        cut.way == way
            && passed > cut.after_bytes
            && self.cuts_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
    }
}

/// Both ends see the end at once.
fn close(from: &TcpStream, to: &TcpStream) {
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
