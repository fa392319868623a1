//! Draws what to submit next: mostly jobs that complete, some that must fail, some that fight for the same targets.

use super::facts::Described;
use super::places::{Direction, Places};
use super::sources::{Source, Sources};
use super::submission::{Fate, Submission};
use ferry_proto::v1::{IdMapping, JobOptions, SnapshotRef, SubmitJobRequest, TargetRef};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The label by which lists are filtered, and how many values it takes.
pub(crate) const GROUP_LABEL: &str = "group";
pub(crate) const GROUPS: u32 = 8;
/// Jobs in a hundred with objects of several parts, where there is a store.
const HUGE_PERCENT: u32 = 3;
/// Attempts that no run can use up: a job that could complete never fails for want of luck.
const ATTEMPTS_MAX: u32 = 1_000;
/// How long the end of a job can be read, drawn for each: most are collected while the run goes on.
const RETENTIONS_MS: [u64; 4] = [2_000, 8_000, 20_000, 600_000];
/// Targets of the callers' own choice; far below the ids that the cluster hands out.
const FIRST_TARGET: i64 = 1_000_000;
/// What stands in a file that was there before.
pub(crate) const FOREIGN_CONTENT: &[u8] = b"this was here before";

/// What is drawn.
pub(crate) enum Plan {
    /// One submit.
    One(Arc<Submission>),
    /// Submits that name the same targets, to be made at once on different nodes.
    Fight(Vec<Arc<Submission>>),
    /// Ids are to be allocated first, for a submit with these as targets.
    Allocated(Source),
}

/// Draws plans; shared by all clients that submit.
pub(crate) struct Plans {
    sources: Sources,
    places: Places,
    seed: u64,
    numbers: AtomicU64,
    next_target: AtomicI64,
}

/// The choices that make one submission differ from another.
struct Choice<'a> {
    source: &'a Path,
    segments: i64,
    mappings: Vec<(i64, i64)>,
    direction: Direction,
    target: PathBuf,
    fate: Fate,
    options: JobOptions,
}

impl Plans {
    pub(crate) fn new(sources: Sources, places: Places, seed: u64) -> Self {
        Self { sources, places, seed, numbers: AtomicU64::new(0), next_target: AtomicI64::new(FIRST_TARGET) }
    }

    /// What to submit next.
    pub(crate) fn draw(&self, random: &mut StdRng) -> Plan {
        let sources = &self.sources;
        if self.places.has_bucket() && random.random_range(0..100) < HUGE_PERCENT {
            return Plan::One(self.whole(random, &sources.huge, 0));
        }
        match random.random_range(0..100) {
            0..30 => Plan::One(self.whole(random, &sources.small, 0)),
            30..45 => Plan::One(self.whole(random, &sources.middle, 0)),
            45..58 => Plan::One(self.whole(random, &sources.large, 100 * 1_024)),
            58..66 => Plan::One(self.chosen(random, &sources.middle)),
            66..72 => Plan::Allocated(sources.small.clone()),
            72..82 => Plan::Fight(self.fight(random)),
            82..86 => Plan::One(self.damaged(random, &sources.truncated)),
            86..89 => Plan::One(self.damaged(random, &sources.missing)),
            89..91 => Plan::One(self.absent(random)),
            91..96 => Plan::One(self.timing_out(random)),
            _ => Plan::One(self.occupied(random)),
        }
    }

    /// A submit of every segment to targets that were allocated before.
    pub(crate) fn to_targets(&self, random: &mut StdRng, source: &Source, first_target: i64) -> Arc<Submission> {
        let choice = self.choice(random, source, Fate::Completes);
        let mappings = source.segment_ids().zip(first_target..).collect();
        self.submission(random, Choice { mappings, ..choice })
    }

    /// The same request id with another request.
    pub(crate) fn reused(submission: &Submission) -> Arc<Submission> {
        let mut other = submission.clone();
        other.request.name.push_str(" again");
        Arc::new(other)
    }

    fn whole(&self, random: &mut StdRng, source: &Source, bandwidth: u64) -> Arc<Submission> {
        let mut choice = self.choice(random, source, Fate::Completes);
        choice.options.bandwidth_bytes_per_second = bandwidth;
        self.submission(random, choice)
    }

    fn chosen(&self, random: &mut StdRng, source: &Source) -> Arc<Submission> {
        let first = self.take_targets(source.segments);
        self.to_targets(random, source, first)
    }

    fn fight(&self, random: &mut StdRng) -> Vec<Arc<Submission>> {
        let source = &self.sources.small;
        let first = self.take_targets(source.segments);
        let direction = self.places.direction(random);
        let target = self.new_target(direction);
        let mappings: Vec<(i64, i64)> = source.segment_ids().zip(first..).collect();
        let one = || {
            let choice = self.choice(random, source, Fate::Completes);
            let (mappings, target) = (mappings.clone(), target.clone());
            self.submission(random, Choice { mappings, direction, target, ..choice })
        };
        std::iter::repeat_with(one).take(2).collect()
    }

    fn damaged(&self, random: &mut StdRng, source: &Source) -> Arc<Submission> {
        let choice = self.choice(random, source, Fate::Fails);
        self.submission(random, choice)
    }

    fn absent(&self, random: &mut StdRng) -> Arc<Submission> {
        let choice = self.choice(random, &self.sources.small, Fate::Refused);
        self.submission(random, Choice { source: &self.sources.absent, ..choice })
    }

    fn timing_out(&self, random: &mut StdRng) -> Arc<Submission> {
        let mut choice = self.choice(random, &self.sources.middle, Fate::TimesOut);
        choice.options.start_paused = true;
        choice.options.no_timeout = false;
        choice.options.timeout_ms = random.random_range(1_000..5_000);
        self.submission(random, choice)
    }

    /// A file lies where a copy is to go: the job must fail and leave it alone. In a folder, where it can be put at once.
    fn occupied(&self, random: &mut StdRng) -> Arc<Submission> {
        let source = &self.sources.middle;
        let first = self.take_targets(source.segments);
        let choice = self.choice(random, source, Fate::Fails);
        let mappings = source.segment_ids().zip(first..).collect();
        let direction = Direction { to_bucket: false, ..choice.direction };
        let target = self.new_target(direction);
        let submission = self.submission(random, Choice { mappings, direction, target, ..choice });
        let foreign = submission.target_folder(first + 1).join("1/1");
        let path = submission.target.join(&foreign);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder can be made");
        fs::write(&path, FOREIGN_CONTENT).expect("a file can be written");
        Arc::new(Submission { foreign: Some(foreign), ..(*submission).clone() })
    }

    fn choice<'a>(&self, random: &mut StdRng, source: &'a Source, fate: Fate) -> Choice<'a> {
        let options = JobOptions {
            no_timeout: true,
            retention_ms: RETENTIONS_MS[random.random_range(0..RETENTIONS_MS.len())],
            priority: Some(random.random_range(0..=100)),
            segments_per_task_max: random.random_range(1..=3),
            attempts_max: ATTEMPTS_MAX,
            // Some jobs limit themselves, and most do not.
            attempts_at_once_max: random.random_range(0..8_u32).saturating_sub(5),
            labels: HashMap::from([(GROUP_LABEL.to_owned(), random.random_range(0..GROUPS).to_string())]),
            ..JobOptions::default()
        };
        let direction = self.places.direction(random);
        let (target, mappings) = (self.new_target(direction), Vec::new());
        Choice { source: &source.root, segments: source.segments, mappings, direction, target, fate, options }
    }

    fn submission(&self, random: &mut StdRng, choice: Choice<'_>) -> Arc<Submission> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("run-{}-submit-{number}", self.seed);
        let name = format!("{:?} {number} {}", choice.fate, random.random::<u16>());
        let mapping = |(source_segment_id, target_segment_id): &(i64, i64)| IdMapping {
            source_segment_id: *source_segment_id,
            target_segment_id: *target_segment_id,
            partition_id: 0,
        };
        let collection_id = random.random_range(200..210);
        let source_uri = self.places.source_uri(choice.source, choice.direction);
        let target_uri = self.places.target_uri(&choice.target);
        let request = SubmitJobRequest {
            request_id: request_id.clone(),
            name: name.clone(),
            source: Some(SnapshotRef { uri: source_uri }),
            target: Some(TargetRef { uri: target_uri.clone(), collection_id, ..TargetRef::default() }),
            id_mappings: choice.mappings.iter().map(mapping).collect(),
            options: Some(choice.options.clone()),
            ..SubmitJobRequest::default()
        };
        let described = Described {
            name: &name,
            collection_id,
            target_uri: &target_uri,
            total_segments: choice.segments,
            options: &as_resolved(&choice.options),
        };
        Arc::new(Submission {
            request_id: request_id.into(),
            description: described.digest(),
            request,
            source: choice.source.to_path_buf(),
            target: choice.target,
            mappings: choice.mappings,
            segments: choice.segments,
            fate: choice.fate,
            foreign: None,
        })
    }

    fn take_targets(&self, count: i64) -> i64 {
        self.next_target.fetch_add(count, Ordering::Relaxed)
    }

    fn new_target(&self, direction: Direction) -> PathBuf {
        self.places.target(self.numbers.fetch_add(1, Ordering::Relaxed), direction)
    }
}

/// Options as an answer gives them back: what was left open stands for the first choice.
fn as_resolved(options: &JobOptions) -> JobOptions {
    use ferry_proto::v1::{ExhaustedPolicy, VerifyMode};
    let mut resolved = options.clone();
    resolved.set_verify(VerifyMode::Standard);
    resolved.set_on_exhausted(ExhaustedPolicy::Fail);
    resolved
}
