//! Frozen samples: what a version wrote, as it wrote it. A later version must read the files of earlier ones for ever;
//! only the file of the version that is not released yet may change.

use crate::any::{COMMAND_KINDS, Dice};
use expect_test::expect_file;
use ferry_machine::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::key::{DueItem, Key, Stage};
use ferry_machine::time::Time;
use ferry_store::codec::{decode_batch, encode_batch, key, rows};
use std::fmt::Write;

/// Rows of each kind in one file.
const ROWS_PER_KIND: u64 = 4;

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("digits"), 16).expect("two digits");
    digits.map(byte).collect()
}

/// A key of each table.
fn keys() -> Vec<Key> {
    let (job, task, segment, worker) = (JobId(7), TaskId(-8), SegmentId(900), WorkerId(i64::MAX));
    vec![
        Key::Cluster,
        Key::Job(job),
        Key::Task(task),
        Key::Targets(segment),
        Key::JobTargets(job, segment),
        Key::Request("request\0id".into()),
        Key::Worker(worker),
        Key::WorkerName("wörker".into()),
        Key::Stage(Stage::Settling, job),
        Key::Due(Time(5), DueItem::Job(job)),
        Key::Due(Time(5), DueItem::Request("id".into())),
        Key::Dispatch(6, job),
        Key::Queue(job, Time(5), task),
        Key::Assignment(worker, task),
        Key::LostWorker(worker),
        Key::Event(EventId { revision: 9, ordinal: 1 }),
    ]
}

#[test]
fn keys_and_rows_are_written_as_in_the_frozen_samples_and_read_back() {
    let mut text = String::new();
    for key in keys() {
        for seed in 0..ROWS_PER_KIND {
            let row = Dice::new(seed).row(&key);
            let line = (hexadecimal(&key::encode(&key)), hexadecimal(&rows::encode(row)));
            writeln!(text, "{} {}", line.0, line.1).expect("a string takes any text");
        }
    }
    expect_file!["samples/rows_1.txt"].assert_eq(&text);
}

#[test]
fn the_frozen_rows_are_read_as_what_they_were() {
    let lines = include_str!("samples/rows_1.txt").lines();
    let expected = keys().into_iter().flat_map(|key| (0..ROWS_PER_KIND).map(move |seed| (key.clone(), seed)));
    let mut read = 0;
    for (line, (expected_key, seed)) in lines.zip(expected) {
        let (key_text, row_text) = line.split_once(' ').expect("a key and a row");
        let key = key::decode(&bytes(key_text)).expect("a key of version 1");
        assert_eq!(key, expected_key);
        assert_eq!(rows::decode(&key, &bytes(row_text)), Ok(Dice::new(seed).row(&key)), "{line}");
        read += 1;
    }
    assert_eq!(read, keys().len() * usize::try_from(ROWS_PER_KIND).expect("a few"));
}

#[test]
fn commands_are_written_as_in_the_frozen_samples_and_read_back() {
    let batches: Vec<_> = (0..COMMAND_KINDS)
        .map(|kind| {
            let mut dice = Dice::new(kind as u64);
            (dice.stamp(), vec![dice.command_of_kind(kind), dice.command_of_kind(kind)])
        })
        .collect();
    let text: String =
        batches.iter().map(|(stamp, commands)| hexadecimal(&encode_batch(*stamp, commands)) + "\n").collect();
    expect_file!["samples/commands_1.txt"].assert_eq(&text);
    let frozen = include_str!("samples/commands_1.txt").lines();
    let read: Vec<_> = frozen.map(|line| decode_batch(&bytes(line)).expect("a batch of version 1")).collect();
    assert_eq!(read, batches);
}
