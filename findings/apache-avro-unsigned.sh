#!/usr/bin/env bash
# apache-avro 0.22.0 turns each unsigned 64-bit number into eight fixed bytes, so a JSON document with a plain 7 in it does
# not fit a schema of type long: serde_json serializes every number from 0 on as unsigned. A signed 7 fits.
#
# Seen with apache-avro 0.22.0 and serde_json 1.0.154 on 2026-11-30:
#   json 7 -> Fixed(8, [7, 0, 0, 0, 0, 0, 0, 0]); as long: refused
#   json -7 -> Long(-7); as long: Long(-7)
#   signed 7 -> Long(7); as long: Long(7)
# One would expect a number that fits a long to be one.
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
apache-avro = { version = "=0.22.0", default-features = false }
serde_json = "=1.0.154"
MANIFEST
cat >"$folder/src/main.rs" <<'PROGRAM'
use apache_avro::types::Value;
use apache_avro::{to_value, Schema};

fn show(name: &str, value: Value) {
    let resolved = value.clone().resolve(&Schema::Long).map_or("refused".to_owned(), |long| format!("{long:?}"));
    println!("{name} -> {value:?}; as long: {resolved}");
}

fn main() {
    show("json 7", to_value(serde_json::json!(7)).unwrap());
    show("json -7", to_value(serde_json::json!(-7)).unwrap());
    show("signed 7", to_value(7_i64).unwrap());
}
PROGRAM
seen=$(cd "$folder" && cargo run --quiet)
printf '%s\n' "$seen"
expected='json 7 -> Fixed(8, [7, 0, 0, 0, 0, 0, 0, 0]); as long: refused
json -7 -> Long(-7); as long: Long(-7)
signed 7 -> Long(7); as long: Long(7)'
if [ "$seen" != "$expected" ]; then
  echo "this has changed: apache-avro behaves differently now" >&2
  exit 1
fi
