//! The pages of a submit, one command each: the last makes the job. A retry goes on where the draft ends, and a page
//! that is refused takes the whole draft with it.
//!
//! Invariants: what a draft has already is held against the request by the hash of both before anything is added; the last
//! mapping is proposed when the request is known to end with it, and not before.

use super::hash::RequestHash;
use super::{CheckedSubmit, Sourced};
use crate::status::{of_propose, of_rejection};
use ferry_machine::command::{Command, IdMapping, SubmitPage};
use ferry_machine::id::{JobId, SegmentId};
use ferry_machine::key::Key;
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::{Job, JobSpec, JobState, Request, Row};
use ferry_machine::tables::Read;
use ferry_planted::Bug;
use ferry_raft::{ProposeError, Raft};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;

/// A draft hears of its client this often at least while there is nothing to add: a fraction of what it lives for.
const KEEP_ALIVE: Duration = Duration::from_millis(limits::DRAFT_IDLE_MS / 6);

/// Pages of a submit that are on their way at once: with targets that the machine chooses they share an entry of the log.
const PAGES_AT_ONCE: usize = 16;
/// The same of pages with targets that their caller named: each fills an entry, and others' commands wait behind them.
const PAGES_NAMED_AT_ONCE: usize = 4;
const MAPPINGS_AT_ONCE: usize = PAGES_AT_ONCE * limits::MAPPINGS_PER_PAGE_MAX;

/// A job that is submitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submitted {
    pub(crate) job: JobId,
    /// Its request id was known.
    pub(crate) already_existed: bool,
}

/// What the request id stands for already: the job it made, if every page of that is in.
pub(crate) fn known(view: &impl Read, checked: &CheckedSubmit) -> Result<Option<JobId>, Status> {
    match made(view, &checked.request_id) {
        None => Ok(None),
        Some(request) if request.hash != checked.hash.bytes() => Err(reused(&checked.request_id, request.job)),
        Some(_) if ferry_planted::is(Bug::RequestIdForgotten) => Ok(None),
        Some(request) => Ok(Some(request.job)),
    }
}

/// What a request id stands for, unless that is a draft.
fn made(view: &impl Read, request_id: &str) -> Option<Request> {
    Known::look(view, request_id).made
}

fn request(view: &impl Read, request_id: &str) -> Option<Request> {
    let Some(Row::Request(request)) = view.get(&Key::Request(request_id.to_owned())) else { return None };
    Some(request)
}

fn draft(view: &impl Read, id: JobId) -> Option<Job> {
    let Some(Row::Job(job)) = view.get(&Key::Job(id)) else { return None };
    matches!(job.state, JobState::Draft { .. }).then_some(*job)
}

fn reused(request_id: &str, job: JobId) -> Status {
    of_rejection(&Rejection::RequestIdReused { request_id: request_id.to_owned(), job })
}

/// Why a submit did not go on.
pub(crate) enum PageError {
    /// The draft is shorter than this node believed: it was dropped, and the mappings must come again from the first.
    Dropped,
    /// Something else, in the words of its answer.
    Refused(Status),
}

/// Submits mappings that are all here. Each page takes what the draft has not: repeating a page, or all of them, is
/// harmless.
pub(crate) async fn submit(raft: &Raft, checked: &CheckedSubmit, sourced: &Sourced) -> Result<Submitted, Status> {
    loop {
        match submit_all(raft, checked, sourced).await {
            Ok(submitted) => return Ok(submitted),
            Err(PageError::Dropped) => {}
            Err(PageError::Refused(status)) => return Err(status),
        }
    }
}

async fn submit_all(raft: &Raft, checked: &CheckedSubmit, sourced: &Sourced) -> Result<Submitted, PageError> {
    let mut pages = Pages::new(raft, &checked.request_id, &sourced.spec, checked.page_hash(), Known::default());
    pages.take(&sourced.mappings).await?;
    pages.finish().await
}

/// How pages are hashed.
#[derive(Debug, Clone)]
pub(crate) enum PageHash {
    /// Each page adds its mappings.
    Grows(RequestHash),
    /// The mappings follow from the request.
    Whole(RequestHash),
}

impl PageHash {
    fn add(&mut self, mapping: &IdMapping) {
        match self {
            Self::Grows(hash) => hash.add(mapping),
            Self::Whole(_) => {}
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Grows(hash) | Self::Whole(hash) => hash.bytes(),
        }
    }
}

/// What there is of a submit already, so that mappings which are in need not be proposed again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The request id made a job.
    made: Option<Request>,
    /// Mappings that its draft has.
    draft: u64,
}

impl Known {
    pub(crate) fn look(view: &impl Read, request_id: &str) -> Self {
        let Some(request) = request(view, request_id) else { return Self::default() };
        match draft(view, request.job) {
            Some(draft) => Self { made: None, draft: draft.mappings },
            None => Self { made: Some(request), draft: 0 },
        }
    }

    /// Whether there is a job, so that the request needs only be compared with the one that made it.
    pub(crate) fn is_made(&self) -> bool {
        self.made.is_some()
    }
}

/// The mappings of one submit on their way into the log; a few pages of them are held at a time.
pub(crate) struct Pages<'a> {
    raft: &'a Raft,
    request_id: &'a str,
    spec: &'a JobSpec,
    /// Mappings that are in, and the hash of the request with them.
    offset: u64,
    hash: PageHash,
    /// The mappings behind those.
    waiting: Vec<IdMapping>,
    /// As far as is known here; once there is a job, mappings are only compared.
    known: Known,
    proposed_at: Instant,
    began_here: bool,
    submitted: Option<Submitted>,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(raft: &'a Raft, request_id: &'a str, spec: &'a JobSpec, hash: PageHash, known: Known) -> Self {
        Self {
            raft,
            request_id,
            spec,
            offset: 0,
            hash,
            waiting: Vec::with_capacity(MAPPINGS_AT_ONCE),
            known,
            proposed_at: Instant::now(),
            began_here: false,
            submitted: None,
        }
    }

    /// Takes the mappings of a message, and proposes those pages of it that something follows on.
    pub(crate) async fn take(&mut self, mappings: &[IdMapping]) -> Result<(), PageError> {
        for mapping in mappings {
            self.push(*mapping).await?;
        }
        self.skip();
        let whole =
            self.waiting.len().saturating_sub(1) / limits::MAPPINGS_PER_PAGE_MAX * limits::MAPPINGS_PER_PAGE_MAX;
        if whole > 0 { self.propose(whole).await } else { self.keep_alive().await }
    }

    /// Takes the next mapping, and proposes pages when there are enough before it.
    async fn push(&mut self, mapping: IdMapping) -> Result<(), PageError> {
        if self.waiting.len() >= MAPPINGS_AT_ONCE {
            self.flush().await?;
        }
        self.waiting.push(mapping);
        Ok(())
    }

    /// Proposes what waits if the draft might believe that its client is gone, but not the last page.
    async fn keep_alive(&mut self) -> Result<(), PageError> {
        if self.proposed_at.elapsed() < KEEP_ALIVE {
            return Ok(());
        }
        self.skip();
        if self.is_decided() {
            return Ok(());
        }
        let is_last = self.offset + self.waiting.len() as u64 >= self.spec.segments;
        self.propose(if is_last { 0 } else { self.waiting.len() }).await
    }

    /// All mappings are here: makes the job, or finds the one that the request made before.
    pub(crate) async fn finish(mut self) -> Result<Submitted, PageError> {
        loop {
            self.skip();
            if let Some(submitted) = self.submitted {
                return Ok(submitted);
            }
            if let Some(request) = &self.known.made {
                let same = request.hash == self.hash.bytes();
                let job = request.job;
                return if same { Ok(Submitted { job, already_existed: true }) } else { Err(self.other_request(job)) };
            }
            if self.known.draft > self.offset {
                // Behind the last mapping of this request there are more.
                let job = request(&self.raft.view(), self.request_id).map(|request| request.job);
                return Err(self.other_request(job.unwrap_or_default()));
            }
            let before = self.offset;
            self.propose(self.waiting.len()).await?;
            self.skip();
            if self.offset == before && !self.is_decided() {
                return Err(PageError::Refused(Status::internal(
                    "a draft does not grow: this is a bug in Ferry, report it",
                )));
            }
        }
    }

    /// Drops the draft of this submit, because of something that is wrong with it: a refused page takes its draft with it,
    /// what is merely not known stays, for a retry to go on with. One that is another request's stays too.
    pub(crate) async fn abandon(&self) {
        if let Some(draft) = self.own_draft() {
            drop_draft(self.raft, draft.id).await;
        }
    }

    /// The draft that ends where this submit is, and was made of the same mappings.
    fn own_draft(&self) -> Option<Job> {
        let view = self.raft.view();
        let request = request(&view, self.request_id)?;
        if request.hash == self.hash.bytes() { draft(&view, request.job) } else { None }
    }

    /// A draft that was begun on another state of the snapshot cannot be gone on with.
    async fn check_snapshot(&self) -> Result<(), PageError> {
        let pinned = |spec: &JobSpec| (spec.metadata_bytes, spec.metadata_crc32c, spec.segments);
        let Some(draft) = self.own_draft().filter(|draft| pinned(&draft.spec) != pinned(self.spec)) else {
            return Ok(());
        };
        drop_draft(self.raft, draft.id).await;
        let reason = "source.uri: the snapshot changed while it was submitted: submit it again";
        Err(PageError::Refused(Status::aborted(reason)))
    }

    fn is_decided(&self) -> bool {
        self.known.is_made() || self.submitted.is_some()
    }

    fn other_request(&self, job: JobId) -> PageError {
        PageError::Refused(reused(self.request_id, job))
    }

    async fn flush(&mut self) -> Result<(), PageError> {
        self.skip();
        if self.waiting.is_empty() { self.keep_alive().await } else { self.propose(self.waiting.len()).await }
    }

    /// Passes over what is in, or need not be.
    fn skip(&mut self) {
        let known = usize::try_from(self.known.draft.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let known = if self.is_decided() { usize::MAX } else { known };
        for mapping in self.waiting.drain(..known.min(self.waiting.len())) {
            self.hash.add(&mapping);
            self.offset += 1;
        }
    }

    /// Proposes the first of what waits, which may be nothing, page by page.
    async fn propose(&mut self, count: usize) -> Result<(), PageError> {
        self.check_snapshot().await?;
        let pages = self.pages(&self.waiting[..count]);
        let commands: Vec<Command> = pages.map(|page| Command::SubmitPage(Box::new(page))).collect();
        self.proposed_at = Instant::now();
        let named = self.waiting[..count].iter().any(|mapping| mapping.target != SegmentId(0));
        for together in commands.chunks(if named { PAGES_NAMED_AT_ONCE } else { PAGES_AT_ONCE }) {
            // Each is refused unless the one before it is in; and when one is refused, none is on its way any more.
            for proposed in self.raft.propose_all(together).await {
                match proposed {
                    Ok(proposed) => self.landed(proposed.outcome)?,
                    Err(error) => return self.refused(error).await,
                }
            }
        }
        Ok(())
    }

    /// Pages behind what is in; one for no mappings.
    fn pages(&self, mappings: &[IdMapping]) -> impl Iterator<Item = SubmitPage> + use<'a> {
        let (mut offset, mut hash) = (self.offset, self.hash.clone());
        let (request_id, spec) = (self.request_id, self.spec);
        let chunks: Vec<Vec<IdMapping>> = match mappings.is_empty() {
            true => vec![Vec::new()],
            false => mappings.chunks(limits::MAPPINGS_PER_PAGE_MAX).map(<[IdMapping]>::to_vec).collect(),
        };
        chunks.into_iter().map(move |mappings| {
            let hash_before = hash.bytes();
            mappings.iter().for_each(|mapping| hash.add(mapping));
            let page_offset = offset;
            offset += mappings.len() as u64;
            let (request_id, spec) = (request_id.to_owned(), spec.clone());
            SubmitPage { request_id, hash_before, request_hash: hash.bytes(), spec, offset: page_offset, mappings }
        })
    }

    fn landed(&mut self, outcome: Outcome) -> Result<(), PageError> {
        match outcome {
            Outcome::Page { job, submitted: true, already_existed, .. } => {
                let already_existed = already_existed && !self.began_here;
                self.submitted = Some(Submitted { job, already_existed });
            }
            Outcome::Page { mappings, .. } => {
                self.began_here = true;
                self.known.draft = mappings;
            }
            other => {
                let status = Status::internal(format!("a page was answered with {other:?}"));
                return Err(PageError::Refused(status));
            }
        }
        self.skip();
        Ok(())
    }

    async fn refused(&mut self, error: ProposeError) -> Result<(), PageError> {
        match &error {
            ProposeError::Rejected { rejection: Rejection::WrongOffset { mappings, .. }, .. }
                if *mappings < self.offset =>
            {
                return Err(PageError::Dropped);
            }
            ProposeError::Rejected { rejection: Rejection::RequestIdReused { .. }, .. } => {
                // Another call of the same submit may have been faster: then the end of this one decides.
                if let PageHash::Grows(_) = self.hash
                    && let Some(request) = made(&self.raft.view(), self.request_id)
                {
                    self.known.made = Some(request);
                    return Ok(());
                }
            }
            ProposeError::Rejected { .. } => self.abandon().await,
            ProposeError::NotLeader { .. }
            | ProposeError::Unknown { .. }
            | ProposeError::Overloaded
            | ProposeError::Stopped => {}
        }
        Err(PageError::Refused(self.status_of(&error)))
    }

    fn status_of(&self, error: &ProposeError) -> Status {
        let status = of_propose(error);
        match error {
            // Whoever left the choice of the id to this node needs it to ask again.
            ProposeError::Unknown { .. } => {
                Status::new(status.code(), format!("{}; the request id is {:?}", status.message(), self.request_id))
            }
            ProposeError::Rejected { .. }
            | ProposeError::NotLeader { .. }
            | ProposeError::Overloaded
            | ProposeError::Stopped => status,
        }
    }
}

/// Refused when it is no draft any more; when it fails otherwise, the draft expires by itself.
async fn drop_draft(raft: &Raft, job: JobId) {
    if let Err(error) = raft.propose(Command::DropDraft { job }).await {
        tracing::debug!(%error, %job, "a draft was not dropped");
    }
}
