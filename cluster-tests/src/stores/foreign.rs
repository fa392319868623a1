//! The clouds' own clients, in Python: tests look into a store by nothing of Ferry's.

use crate::repository;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// What a client is told when it is started: its protocol, the endpoint, two words of credentials and, for S3 of a folder,
/// the folder.
pub(super) type Words<'a> = &'a [&'a str];

/// A client that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Foreign {
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Foreign {
    pub(super) fn start(words: Words<'_>) -> Self {
        let mut command = Command::new(python());
        command.arg(repository().join("cluster-tests/src/stores/foreign.py")).args(words);
        let mut process = command
            .env_remove("STORAGE_EMULATOR_HOST")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python can be started");
        let requests = process.stdin.take().expect("it was asked for");
        let answers = BufReader::new(process.stdout.take().expect("it was asked for"));
        Self { process, pipes: Mutex::new((requests, answers)) }
    }

    pub(super) fn try_ask(&self, request: &Value) -> Result<Value, String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (requests, answers) = &mut *pipes;
        writeln!(requests, "{request}").map_err(|error| error.to_string())?;
        let mut line = String::new();
        answers.read_line(&mut line).map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}"))?;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["value"].take()),
        }
    }

    pub(super) fn ask(&self, request: &Value) -> Value {
        self.try_ask(request).unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    pub(super) fn keys(&self, request: &Value) -> Vec<String> {
        let mut listed: Vec<String> = serde_json::from_value(self.ask(request)).expect("keys are text");
        listed.sort();
        listed
    }

    pub(super) fn object(&self, bucket: &str, key: &str) -> Vec<u8> {
        let into = tempfile::NamedTempFile::new().expect("a file can be made");
        self.ask(&json!({"call": "get", "bucket": bucket, "key": key, "into": into.path()}));
        std::fs::read(into.path()).expect("a file can be read")
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The interpreter with everything that `scripts/setup` installs for the tests.
///
/// # Panics
/// When it is not there.
pub(super) fn python() -> PathBuf {
    program("python")
}

/// A program of the same environment.
pub(super) fn program(name: &str) -> PathBuf {
    let program = repository().join(".venv/bin").join(name);
    assert!(program.is_file(), "{} is missing: run scripts/setup, which installs it", program.display());
    program
}

/// A folder of a package in the same environment.
pub(super) fn package(name: &str) -> PathBuf {
    let versions = std::fs::read_dir(repository().join(".venv/lib")).into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("site-packages").join(name)).find(|folder| folder.is_dir());
    found.unwrap_or_else(|| panic!("the Python package {name} is missing: run scripts/setup, which installs it"))
}
