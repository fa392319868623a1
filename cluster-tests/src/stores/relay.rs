//! A relay before a server, which holds back what goes through it, cuts connections in the middle of a body, answers in the
//! server's place, or lets the server do what its caller has given up.

mod requests;

pub use requests::Head;

use crate::process::free_address;
use requests::{Piece, Requests};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 64 << 10;
/// A server that takes longer for a late request is not waited for.
const LATE_ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

/// An answer that the server did not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// A number and its name.
    pub status: &'static str,
    /// Lines beside those of the body.
    pub headers: Vec<String>,
    /// Its document; left out where a HEAD is answered.
    pub body: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The server gets it and answers.
    Passes,
    /// The server never gets it.
    Answered(Answer),
    /// Its caller loses the connection once all of it is sent; the server gets it so much later.
    Late(Duration),
}

type Rule = Box<dyn FnMut(&Head) -> Fate + Send>;

/// A relay that takes connections until it is dropped.
pub struct Relay {
    address: String,
    state: Arc<State>,
}

struct State {
    upstream: String,
    rule: Mutex<Option<Rule>>,
    /// Requests that the server carried out after their callers were gone.
    carried_out_late: AtomicUsize,
    is_over: AtomicBool,
    silence: Mutex<Silence>,
    /// Blocks that a silence held back.
    held_back: AtomicUsize,
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
        Self::start_at(free_address(), upstream)
    }

    /// The same at a given address.
    ///
    /// # Panics
    /// When the address is not free.
    #[must_use]
    pub fn start_at(address: String, upstream: &str) -> Self {
        let listener = TcpListener::bind(&address).expect("a free address can be listened on");
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            rule: Mutex::default(),
            carried_out_late: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            silence: Mutex::default(),
            held_back: AtomicUsize::new(0),
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

    /// Passes everything on again, whether a silence had begun or not.
    pub fn end_silence(&self) {
        *lock(&self.state.silence) = Silence::Never;
    }

    /// How many blocks a silence has held back.
    #[must_use]
    pub fn held_back(&self) -> usize {
        self.state.held_back.load(Ordering::SeqCst)
    }

    /// Cuts the next connections, each once it has carried so many bytes one way.
    pub fn cut(&self, connections: usize, way: Way, after_bytes: usize) {
        *lock(&self.state.cut) = Some(Cut { way, after_bytes });
        self.state.cuts_left.store(connections, Ordering::SeqCst);
    }

    /// Decides what becomes of each request from now on.
    pub fn decide(&self, rule: impl FnMut(&Head) -> Fate + Send + 'static) {
        *lock(&self.state.rule) = Some(Box::new(rule));
    }

    /// Every request passes again.
    pub fn pass_all(&self) {
        *lock(&self.state.rule) = None;
    }

    /// How many requests the server has carried out after their callers were gone.
    #[must_use]
    pub fn carried_out_late(&self) -> usize {
        self.state.carried_out_late.load(Ordering::SeqCst)
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
        let (up, down) = (Arc::clone(self), Arc::clone(self));
        std::thread::spawn(move || {
            let mut line =
                Line { state: &up, client: &from_client, server: &to_server, fate: Fate::Passes, held: vec![] };
            let mut requests = Requests::default();
            up.pass_on(Way::Up, &from_client, &to_server, |bytes| line.take(&mut requests, bytes));
        });
        std::thread::spawn(move || down.pass_on(Way::Down, &server, &client, |bytes| (&client).write_all(bytes)));
    }

    fn pass_on(&self, way: Way, mut from: &TcpStream, to: &TcpStream, mut pass: impl FnMut(&[u8]) -> io::Result<()>) {
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
            if self.is_to_be_cut(way, passed) || pass(&block[..read]).is_err() {
                return close(from, to);
            }
        }
        // The other way may have more to say.
        let _ = to.shutdown(Shutdown::Write);
    }

    fn fate_of(&self, head: &Head) -> Fate {
        lock(&self.rule).as_mut().map_or(Fate::Passes, |rule| rule(head))
    }

    /// Sends the server a request whose caller is gone, and reads its answer: servers drop what nobody waits for.
    fn carry_out_late(&self, request: &[u8]) -> io::Result<()> {
        let mut server = TcpStream::connect(&self.upstream)?;
        server.set_read_timeout(Some(LATE_ANSWER_WITHIN))?;
        server.write_all(request)?;
        let mut answer = [0; 12];
        server.read_exact(&mut answer)?;
        if answer.starts_with(b"HTTP/1.1 2") {
            self.carried_out_late.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn wait_out_the_silence(&self, read: usize) {
        let mut is_counted = false;
        while let Some(left) = self.silence_left(read) {
            self.held_back.fetch_add(usize::from(!is_counted), Ordering::SeqCst);
            is_counted = true;
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

/// The way up of one connection.
struct Line<'a> {
    state: &'a Arc<State>,
    client: &'a TcpStream,
    server: &'a TcpStream,
    /// Of the request that is passing.
    fate: Fate,
    /// Of a request that is to be late.
    held: Vec<u8>,
}

impl Line<'_> {
    fn take(&mut self, requests: &mut Requests, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(piece) = requests.next(&mut bytes)? {
            match piece {
                Piece::Head(head) => {
                    self.fate = self.state.fate_of(&head);
                    if let Fate::Answered(answer) = &mut self.fate
                        && head.method == "HEAD"
                    {
                        answer.body.clear();
                    }
                    self.carry(&head.bytes)?;
                }
                Piece::Body(bytes) => self.carry(bytes)?,
                Piece::End => self.end()?,
            }
        }
        Ok(())
    }

    fn carry(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.fate {
            Fate::Passes => return self.server.write_all(bytes),
            Fate::Answered(_) => {}
            Fate::Late(_) => self.held.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.fate, Fate::Passes) {
            Fate::Passes => Ok(()),
            Fate::Answered(answer) => self.client.write_all(answer.text().as_bytes()),
            Fate::Late(wait) => {
                let (state, request) = (Arc::clone(self.state), std::mem::take(&mut self.held));
                std::thread::spawn(move || {
                    std::thread::sleep(wait);
                    // A server that is gone by then carries nothing out, and nothing is counted.
                    let _ = state.carry_out_late(&request);
                });
                Err(io::Error::from(ErrorKind::ConnectionAborted))
            }
        }
    }
}

impl Answer {
    fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|line| format!("{line}\r\n")).collect();
        let (status, length, body) = (self.status, self.body.len(), &self.body);
        format!("HTTP/1.1 {status}\r\n{headers}content-type: application/xml\r\ncontent-length: {length}\r\n\r\n{body}")
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
