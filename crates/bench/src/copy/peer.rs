//! The peers: rclone, `cp`, and a loop that has the kernel copy.

use super::s3::{KEY_ID, Pair, SECRET};
use anyhow::{Context, ensure};
use nix::fcntl::copy_file_range;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use walkdir::WalkDir;

/// The best of those tried in this case.
pub(super) const LOCAL_FLAGS: &[&str] = &["--transfers=8", "--checkers=8", "--multi-thread-streams=0"];
/// The same.
pub(super) const S3_FLAGS: &[&str] = &[
    "--transfers=16",
    "--checkers=16",
    "--s3-upload-concurrency=4",
    "--s3-chunk-size=16M",
    "--multi-thread-streams=4",
];
/// The same.
pub(super) const SERVER_SIDE_FLAGS: &[&str] = &["--transfers=32", "--checkers=32"];

/// Threads of the loop.
const THREADS: usize = 8;

/// rclone with the endpoints as remotes.
pub(super) struct Rclone {
    program: PathBuf,
    environment: Vec<(String, String)>,
}

impl Rclone {
    pub(super) fn new(program: &Path, servers: Option<&Pair>) -> Self {
        let remotes =
            servers.map(|pair| [("left", pair.left.address.as_str()), ("right", pair.right.address.as_str())]);
        Self::with_remotes(program, remotes.as_ref().map_or(&[], |remotes| remotes))
    }

    pub(super) fn with_remotes(program: &Path, remotes: &[(&str, &str)]) -> Self {
        let mut environment = vec![("RCLONE_CONFIG".to_owned(), "/dev/null".to_owned())];
        for (name, address) in remotes {
            let endpoint = format!("http://{address}");
            for (key, value) in [
                ("TYPE", "s3"),
                ("PROVIDER", "Other"),
                ("ACCESS_KEY_ID", KEY_ID),
                ("SECRET_ACCESS_KEY", SECRET),
                ("ENDPOINT", &endpoint),
            ] {
                environment.push((format!("RCLONE_CONFIG_{}_{key}", name.to_uppercase()), value.to_owned()));
            }
        }
        Self { program: program.to_owned(), environment }
    }

    /// Copies everything below a place to another that is empty.
    pub(super) fn copy(&self, source: &str, target: &str, flags: &[&str]) -> anyhow::Result<Duration> {
        let arguments: Vec<&str> = ["copy", source, target, "--no-check-dest"].iter().chain(flags).copied().collect();
        self.run(&arguments)
    }

    /// Deletes everything below a place.
    pub(super) fn purge(&self, place: &str) -> anyhow::Result<()> {
        self.run(&["purge", place]).map(drop)
    }

    /// Makes a bucket.
    pub(super) fn make(&self, bucket: &str) -> anyhow::Result<()> {
        self.run(&["mkdir", bucket, "--retries=1", "--low-level-retries=1"]).map(drop)
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Duration> {
        let mut command = Command::new(&self.program);
        // Settings of the clouds, such as a bundle of certificates, are not for these endpoints.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).args(arguments);
        timed(&mut command)
    }
}

/// Runs a program to its end, which has to be a good one.
fn timed(command: &mut Command) -> anyhow::Result<Duration> {
    let program = command.get_program().to_string_lossy().into_owned();
    let began = Instant::now();
    let ended = command.output();
    let took = began.elapsed();
    let ended = ended.with_context(|| format!("{program} cannot be started: run scripts/setup --bench"))?;
    ensure!(ended.status.success(), "{program} failed: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(took)
}

/// `cp -r`, and a sync of the file system.
pub(super) fn copy_and_sync(source: &Path, target: &Path) -> anyhow::Result<Duration> {
    let copied = timed(Command::new("cp").arg("-r").args([source, target]))?;
    let began = Instant::now();
    sync(target)?;
    Ok(copied + began.elapsed())
}

/// Syncs the file system of a folder.
pub(super) fn sync(folder: &Path) -> anyhow::Result<()> {
    timed(Command::new("sync").arg("--file-system").arg(folder)).map(drop)
}

/// Has the kernel copy each file, and syncs its content: 8 threads, each with the next file; folders are made before.
pub(super) fn copy_in_kernel(source: &Path, target: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut files = Vec::new();
    for entry in WalkDir::new(source) {
        let entry = entry?;
        let to = target.join(entry.path().strip_prefix(source)?);
        match entry.file_type().is_dir() {
            true => std::fs::create_dir(to)?,
            false => files.push((entry.into_path(), to)),
        }
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let copy_on = || -> anyhow::Result<()> {
            while let Some((from, to)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                copy_file(from.as_os_str(), to.as_os_str())?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(copy_on)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().ok().context("a thread of the loop ended early")?)
    })?;
    Ok(began.elapsed())
}

fn copy_file(from: &OsStr, to: &OsStr) -> anyhow::Result<()> {
    let (from, to) = (File::open(from)?, File::create(to)?);
    let mut left = from.metadata()?.len();
    while left > 0 {
        let copied = copy_file_range(&from, None, &to, None, usize::try_from(left)?)?;
        ensure!(copied > 0, "a source became shorter");
        left -= copied as u64;
    }
    Ok(to.sync_data()?)
}
