//! The pages of a submit, one command each: the last makes the job. A retry goes on where the draft ends, and a page
//! that is refused takes the whole draft with it.

use super::{CheckedSubmit, Sourced};
use crate::status::{of_propose, of_rejection};
use ferry_machine::command::{Command, SubmitPage};
use ferry_machine::id::JobId;
use ferry_machine::key::Key;
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::{Job, JobState, Row};
use ferry_machine::tables::Read;
use ferry_planted::Bug;
use ferry_raft::{ProposeError, Raft};
use tonic::Status;

/// A job that is submitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submitted {
    pub(crate) job: JobId,
    /// Its request id was known.
    pub(crate) already_existed: bool,
}

/// What the request id stands for already: the job it made, if every page of that is in.
pub(crate) fn known(view: &impl Read, checked: &CheckedSubmit) -> Result<Option<JobId>, Status> {
    let Some(Row::Request(request)) = view.get(&Key::Request(checked.request_id.clone())) else { return Ok(None) };
    if request.hash != checked.hash {
        let reused = Rejection::RequestIdReused { request_id: checked.request_id.clone(), job: request.job };
        return Err(of_rejection(&reused));
    }
    match view.get(&Key::Job(request.job)) {
        Some(Row::Job(job)) if is_draft(&job) => Ok(None),
        _ if ferry_planted::is(Bug::RequestIdForgotten) => Ok(None),
        _ => Ok(Some(request.job)),
    }
}

fn is_draft(job: &Job) -> bool {
    matches!(job.state, JobState::Draft { .. })
}

/// Proposes every page. Each takes what the draft has not: repeating a page, or all of them, is harmless.
pub(crate) async fn submit(raft: &Raft, checked: &CheckedSubmit, sourced: &Sourced) -> Result<Submitted, Status> {
    let mut offset = 0;
    let mut began_here = false;
    loop {
        let page = page(checked, sourced, offset);
        let last_known = offset;
        match raft.propose(Command::SubmitPage(Box::new(page))).await {
            Ok(proposed) => match proposed.outcome {
                Outcome::Page { job, submitted: true, already_existed, .. } => {
                    let already_existed = already_existed && !began_here;
                    return Ok(Submitted { job, already_existed });
                }
                Outcome::Page { job, mappings, .. } => {
                    began_here = true;
                    offset = mappings;
                    resumable(raft, job, sourced).await?;
                    if offset <= last_known {
                        return Err(Status::internal("a draft does not grow: this is a bug in Ferry, report it"));
                    }
                }
                other => return Err(Status::internal(format!("a page was answered with {other:?}"))),
            },
            // The draft is shorter than this node believed: it was dropped, and is begun again.
            Err(ProposeError::Rejected { rejection: Rejection::WrongOffset { mappings, .. }, .. })
                if mappings < offset =>
            {
                offset = mappings;
            }
            Err(error) => return Err(abandon(raft, checked, error).await),
        }
    }
}

fn page(checked: &CheckedSubmit, sourced: &Sourced, offset: u64) -> SubmitPage {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(sourced.mappings.len());
    let to = from.saturating_add(limits::MAPPINGS_PER_PAGE_MAX).min(sourced.mappings.len());
    SubmitPage {
        request_id: checked.request_id.clone(),
        request_hash: checked.hash.clone(),
        spec: sourced.spec.clone(),
        offset,
        mappings: sourced.mappings[from..to].to_vec(),
    }
}

/// A draft that was begun on another state of the snapshot cannot be gone on with.
async fn resumable(raft: &Raft, id: JobId, sourced: &Sourced) -> Result<(), Status> {
    let Some(Row::Job(draft)) = raft.view().get(&Key::Job(id)) else { return Ok(()) };
    let same = (draft.spec.metadata_bytes, draft.spec.metadata_crc32c, draft.spec.segments)
        == (sourced.spec.metadata_bytes, sourced.spec.metadata_crc32c, sourced.spec.segments);
    if same || !is_draft(&draft) {
        return Ok(());
    }
    drop_draft(raft, id).await;
    Err(Status::aborted("source.uri: the snapshot changed while it was submitted: submit it again"))
}

/// A refused page takes its draft with it; what is merely not known stays, for a retry to go on with.
async fn abandon(raft: &Raft, checked: &CheckedSubmit, error: ProposeError) -> Status {
    if let ProposeError::Rejected { rejection, .. } = &error {
        let reused = matches!(rejection, Rejection::RequestIdReused { .. });
        if let Some(Row::Request(request)) = raft.view().get(&Key::Request(checked.request_id.clone()))
            && !reused
        {
            drop_draft(raft, request.job).await;
        }
    }
    let status = of_propose(&error);
    match error {
        // Whoever left the choice of the id to this node needs it to ask again.
        ProposeError::Unknown { .. } => {
            Status::new(status.code(), format!("{}; the request id is {:?}", status.message(), checked.request_id))
        }
        ProposeError::Rejected { .. }
        | ProposeError::NotLeader { .. }
        | ProposeError::Overloaded
        | ProposeError::Stopped => status,
    }
}

/// Refused when it is no draft any more; when it fails otherwise, the draft expires by itself.
async fn drop_draft(raft: &Raft, job: JobId) {
    if let Err(error) = raft.propose(Command::DropDraft { job }).await {
        tracing::debug!(%error, %job, "a draft was not dropped");
    }
}
