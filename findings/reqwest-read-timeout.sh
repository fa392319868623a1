#!/usr/bin/env bash
# reqwest 0.13.5: a read timeout ends an upload that moves on all the time, once the upload takes longer than the timeout.
# The clock of the "read" runs from when the request is sent until the head of the answer is there, and no byte that is
# written stops it. Its documentation says that it "applies to each read operation" and is meant for stalled connections.
#
# Seen with reqwest 0.13.5 and tokio 1.54.1 on 2026-11-30, 64 MiB to a server that takes 2.5 MiB every 100 ms:
#   read timeout of 1 s: timed out
#   no read timeout: 200 OK
# One would expect a limit on silence to leave an upload alone as long as its bytes are taken.
# Fails if that changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'MANIFEST'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
reqwest = { version = "=0.13.5", default-features = false }
tokio = { version = "=1.54.1", features = ["rt", "time", "net"] }
MANIFEST
cat >"$folder/src/main.rs" <<'PROGRAM'
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const BODY_BYTES: usize = 64 << 20;
const PIECE_BYTES: usize = 5 << 19;
const PIECE_EVERY: Duration = Duration::from_millis(100);

/// Takes one request, a piece at a time, and answers it.
fn serve(mut stream: TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = BODY_BYTES;
    while left > 0 {
        let size = left.min(PIECE_BYTES);
        if stream.read_exact(&mut piece[..size]).is_err() {
            return;
        }
        left -= size;
        std::thread::sleep(PIECE_EVERY);
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

async fn upload(name: &str, client: reqwest::Client) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(listener.accept().unwrap().0));
    let told = match client.put(url).body(vec![7_u8; BODY_BYTES]).send().await {
        Ok(answer) => answer.status().to_string(),
        Err(error) if error.is_timeout() => "timed out".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    println!("{name}: {told}");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let limited = reqwest::Client::builder().no_proxy().read_timeout(Duration::from_secs(1)).build().unwrap();
        upload("read timeout of 1 s", limited).await;
        upload("no read timeout", reqwest::Client::builder().no_proxy().build().unwrap()).await;
    });
}
PROGRAM
seen=$(cd "$folder" && cargo run --quiet)
printf '%s\n' "$seen"
expected='read timeout of 1 s: timed out
no read timeout: 200 OK'
if [ "$seen" != "$expected" ]; then
  echo "this has changed: reqwest behaves differently now" >&2
  exit 1
fi
