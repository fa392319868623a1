//! Keys as bytes that order exactly as `Key` does.
//!
//! A key is its table byte and then its fields: i64 big-endian with the sign flipped, u64, u32 and times big-endian, small
//! enums one byte in the order of their variants, strings with each zero byte followed by 0xFF and 0x00 0x01 at the
//! end. Table 0 is the store's own: how far the rows are. Table bytes are never given twice.

use super::CodecError;
use ferry_machine::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::key::{DueItem, Key, Stage};
use ferry_machine::time::Time;

/// The tables, by the byte their keys begin with.
pub(crate) mod table {
    pub(crate) const CLUSTER: u8 = 1;
    pub(crate) const JOB: u8 = 2;
    pub(crate) const TASK: u8 = 3;
    pub(crate) const TARGETS: u8 = 4;
    pub(crate) const JOB_TARGETS: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const WORKER: u8 = 7;
    pub(crate) const WORKER_NAME: u8 = 8;
    pub(crate) const STAGE: u8 = 9;
    pub(crate) const DUE: u8 = 10;
    pub(crate) const DISPATCH: u8 = 11;
    pub(crate) const QUEUE: u8 = 12;
    pub(crate) const ASSIGNMENT: u8 = 13;
    pub(crate) const LOST_WORKER: u8 = 14;
    pub(crate) const EVENT: u8 = 15;
}

const DUE_JOB: u8 = 1;
const DUE_REQUEST: u8 = 2;

/// Longest key without a string: a table byte and three numbers.
const BYTES_USUAL_MAX: usize = 25;

/// The bytes of a key.
pub fn encode(key: &Key) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(BYTES_USUAL_MAX));
    match key {
        Key::Cluster => writer.byte(table::CLUSTER),
        Key::Job(job) => writer.byte(table::JOB).signed(job.0),
        Key::Task(task) => writer.byte(table::TASK).signed(task.0),
        Key::Targets(last) => writer.byte(table::TARGETS).signed(last.0),
        Key::JobTargets(job, last) => writer.byte(table::JOB_TARGETS).signed(job.0).signed(last.0),
        Key::Request(id) => writer.byte(table::REQUEST).text(id),
        Key::Worker(worker) => writer.byte(table::WORKER).signed(worker.0),
        Key::WorkerName(name) => writer.byte(table::WORKER_NAME).text(name),
        Key::Stage(stage, job) => writer.byte(table::STAGE).byte(stage_byte(*stage)).signed(job.0),
        Key::Due(at, DueItem::Job(job)) => writer.byte(table::DUE).unsigned(at.0).byte(DUE_JOB).signed(job.0),
        Key::Due(at, DueItem::Request(id)) => writer.byte(table::DUE).unsigned(at.0).byte(DUE_REQUEST).text(id),
        Key::Dispatch(pass, job) => writer.byte(table::DISPATCH).unsigned(*pass).signed(job.0),
        Key::Queue(job, at, task) => writer.byte(table::QUEUE).signed(job.0).unsigned(at.0).signed(task.0),
        Key::Assignment(worker, task) => writer.byte(table::ASSIGNMENT).signed(worker.0).signed(task.0),
        Key::LostWorker(worker) => writer.byte(table::LOST_WORKER).signed(worker.0),
        Key::Event(id) => writer.byte(table::EVENT).unsigned(id.revision).unsigned_small(id.ordinal),
    };
    writer.0
}

/// The key of some bytes.
pub fn decode(bytes: &[u8]) -> Result<Key, CodecError> {
    let mut reader = Reader { rest: bytes };
    match reader.key() {
        Ok(_) if !reader.rest.is_empty() => Err("it goes on behind its last field"),
        decoded => decoded,
    }
    .map_err(|reason| CodecError::Key { key: bytes.iter().map(|byte| format!("{byte:02x}")).collect(), reason })
}

fn stage_byte(stage: Stage) -> u8 {
    match stage {
        Stage::CreatingTasks => 1,
        Stage::Settling => 2,
        Stage::Collecting => 3,
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    fn unsigned(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn unsigned_small(&mut self, number: u32) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn signed(&mut self, number: i64) -> &mut Self {
        self.unsigned(number.cast_unsigned() ^ (1 << 63))
    }

    fn text(&mut self, text: &str) -> &mut Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xFF);
            }
        }
        self.0.extend_from_slice(&[0, 1]);
        self
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

type Part<T> = Result<T, &'static str>;

impl Reader<'_> {
    fn key(&mut self) -> Part<Key> {
        Ok(match self.byte()? {
            table::CLUSTER => Key::Cluster,
            table::JOB => Key::Job(self.job()?),
            table::TASK => Key::Task(self.task()?),
            table::TARGETS => Key::Targets(self.segment()?),
            table::JOB_TARGETS => Key::JobTargets(self.job()?, self.segment()?),
            table::REQUEST => Key::Request(self.text()?),
            table::WORKER => Key::Worker(self.worker()?),
            table::WORKER_NAME => Key::WorkerName(self.text()?),
            table::STAGE => Key::Stage(self.stage()?, self.job()?),
            table::DUE => Key::Due(self.time()?, self.due_item()?),
            table::DISPATCH => Key::Dispatch(self.unsigned()?, self.job()?),
            table::QUEUE => Key::Queue(self.job()?, self.time()?, self.task()?),
            table::ASSIGNMENT => Key::Assignment(self.worker()?, self.task()?),
            table::LOST_WORKER => Key::LostWorker(self.worker()?),
            table::EVENT => Key::Event(EventId { revision: self.unsigned()?, ordinal: self.unsigned_small()? }),
            _ => return Err("its table is unknown"),
        })
    }

    fn byte(&mut self) -> Part<u8> {
        let (first, rest) = self.rest.split_first().ok_or("it is too short")?;
        self.rest = rest;
        Ok(*first)
    }

    fn unsigned(&mut self) -> Part<u64> {
        let (number, rest) = self.rest.split_first_chunk().ok_or("it is too short")?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*number))
    }

    fn unsigned_small(&mut self) -> Part<u32> {
        let (number, rest) = self.rest.split_first_chunk().ok_or("it is too short")?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn signed(&mut self) -> Part<i64> {
        Ok((self.unsigned()? ^ (1 << 63)).cast_signed())
    }

    fn time(&mut self) -> Part<Time> {
        self.unsigned().map(Time)
    }

    fn job(&mut self) -> Part<JobId> {
        self.signed().map(JobId)
    }

    fn task(&mut self) -> Part<TaskId> {
        self.signed().map(TaskId)
    }

    fn segment(&mut self) -> Part<SegmentId> {
        self.signed().map(SegmentId)
    }

    fn worker(&mut self) -> Part<WorkerId> {
        self.signed().map(WorkerId)
    }

    fn stage(&mut self) -> Part<Stage> {
        let byte = self.byte()?;
        let stages = [Stage::CreatingTasks, Stage::Settling, Stage::Collecting];
        stages.into_iter().find(|stage| stage_byte(*stage) == byte).ok_or("its stage is unknown")
    }

    fn due_item(&mut self) -> Part<DueItem> {
        match self.byte()? {
            DUE_JOB => self.job().map(DueItem::Job),
            DUE_REQUEST => self.text().map(DueItem::Request),
            _ => Err("what becomes due is unknown"),
        }
    }

    fn text(&mut self) -> Part<String> {
        let mut text = Vec::new();
        loop {
            match (self.byte()?, self.rest.first()) {
                (0, Some(0xFF)) => {
                    text.push(0);
                    self.byte()?;
                }
                (0, Some(1)) => {
                    self.byte()?;
                    return String::from_utf8(text).map_err(|_| "its text is not UTF-8");
                }
                (0, _) => return Err("its text does not end"),
                (byte, _) => text.push(byte),
            }
        }
    }
}
