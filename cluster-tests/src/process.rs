//! One process of the built binary: started with its log in a file, signalled, and killed when dropped.

use crate::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A running process.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What a process is started with beside its arguments: variables, and a command that it runs under.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    environment: Vec<(String, String)>,
    prefix: Vec<String>,
}

impl Launch {
    /// With these variables in its environment too.
    #[must_use]
    pub fn with(mut self, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(environment);
        self
    }

    /// Under a command that becomes the process, such as `ip netns exec NAME`; an earlier one stays outside of it.
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.prefix.extend(command.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Starts `ferry` with these arguments; what it prints goes to `log`.
    ///
    /// # Panics
    /// When the binary is not built or cannot be started.
    #[must_use]
    pub fn start<S: AsRef<OsStr>>(&self, arguments: &[S], log: &Path) -> Process {
        let open = || File::options().create(true).append(true).open(log).expect("the log can be opened");
        let mut words = self.prefix.iter().map(OsString::from).chain([binary().into_os_string()]);
        let child = Command::new(words.next().expect("the binary at least"))
            .args(words)
            .args(arguments)
            .env_remove("FERRY_ENDPOINTS")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("the binary can be started");
        Process { child, log: log.to_path_buf() }
    }
}

impl Process {
    /// Starts `ferry` with these arguments; what it prints goes to `log`.
    ///
    /// # Panics
    /// When the binary is not built or cannot be started.
    #[must_use]
    pub fn start<S: AsRef<OsStr>>(arguments: &[S], log: &Path) -> Self {
        Launch::default().start(arguments, log)
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone already.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("process ids are small");
        kill(Pid::from_raw(pid), signal).expect("the process can be signalled");
    }

    /// SIGSTOP, and waits until every thread has stopped: until then the process goes on answering.
    ///
    /// # Panics
    /// When the process is gone already, or does not stop.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let began = Instant::now();
        while !self.is_stopped() {
            assert!(began.elapsed() < PATIENCE, "process {} does not stop", self.child.id());
            std::thread::yield_now();
        }
    }

    /// Whether no thread runs, by the state behind the name in their `stat`.
    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the process is there");
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
        })
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits until the process has ended; its exit code.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.wait().expect("the process can be waited for").code()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, once it has; none while it runs.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the process can be waited for")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its exit code, once it has ended by itself.
    #[must_use]
    pub fn code(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().and_then(|status| status.code())
    }

    /// What it printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(&mut self) {
        // Both fail only when the process is gone, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs `ferry` with these arguments to its end.
///
/// # Panics
/// When the binary is not built or cannot be started.
pub fn ferry<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    Command::new(binary())
        .args(arguments)
        .env_remove("FERRY_ENDPOINTS")
        .stdin(Stdio::null())
        .output()
        .expect("the binary can be started")
}

/// The binary, which the test command builds before the tests: beside this executable or the folder that it lies in.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    // Tests lie in target/PROFILE/deps, the programs of this package in target/PROFILE.
    let folders: Vec<&Path> = own.ancestors().skip(1).take(2).collect();
    let binary = folders.iter().map(|folder| folder.join("ferry")).find(|binary| binary.is_file());
    let binary = binary.unwrap_or_else(|| folders[0].join("ferry"));
    assert!(binary.is_file(), "{} is not built: run `cargo build -p ferry-cli` first", binary.display());
    binary
}

/// An address that nothing listens on, another one at each call: the system may offer a port again as soon as it is free.
///
/// It is on a loopback host of this process alone. Of 127.0.0.1 any connection that anybody opens takes a port, and it may
/// be that of a node that is down for a moment.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> String {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, 128 | high, middle, low);
    loop {
        let listener = TcpListener::bind((host, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address) {
            return address.to_string();
        }
    }
}
