//! SubmitJobStream: a submit of any length. A message at a time is checked, proposed and awaited, and the next is read
//! from the connection only then, so a client is never faster than the log.
//!
//! Invariant: only as many mappings as the header announced, followed by the end of the stream, make a job.

use super::Services;
use super::jobs::{collected, read_job};
use crate::status::{Violations, invalid};
use crate::submit::{self, Known, Members, PageError, PageHash, Pages};
use crate::wire;
use ferry_machine::command::IdMapping;
use ferry_machine::row::JobSpec;
use ferry_proto::v1;
use ferry_proto::v1::submit_job_stream_request::Part;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

/// A client that sends nothing for this long is given up; its draft outlives that, for the stream to be sent again.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn submit(
    services: &Services,
    request: Request<Streaming<v1::SubmitJobStreamRequest>>,
) -> Result<Response<v1::SubmitJobStreamResponse>, Status> {
    let _place = services.place_for_long_submit()?;
    let (metadata, _, messages) = request.into_parts();
    let mut messages = Messages { services, messages };
    let checked = submit::check_header(messages.header().await?, &services.config.job, services.snapshots.stores())?;
    let reading = services.reads.open(v1::Consistency::Linearizable.into(), &metadata).await?;
    let known = Known::look(&reading.view, &checked.request_id);
    reading.check()?;
    drop(reading);
    // The first job is the answer to a retry even where its snapshot is gone by now.
    let (mut members, spec) = match known.is_made() {
        true => (None, checked.spec.clone()),
        false => Members::open(&checked, &services.snapshots).await.map(|(members, spec)| (Some(members), spec))?,
    };
    let hash = PageHash::Grows(checked.hash.clone());
    let pages = Pages::new(&services.raft, &checked.request_id, &spec, hash, known);
    let submitted = receive(&mut messages, pages, members.as_mut(), &spec).await?;
    let reading = services.reads.after_write();
    let job = read_job(&reading, submitted.job);
    let job = job.map_err(|status| collected(&reading, status, &checked, submitted.job))?;
    let already_existed = submitted.already_existed;
    let mut response = v1::SubmitJobStreamResponse { job: Some(job), already_existed, ..Default::default() };
    if let Some(look) = members.as_ref().map(Members::look).filter(|_| !already_existed) {
        response.warnings.clone_from(&look.warnings.told);
        response.total_warnings = wire::signed(look.warnings.total);
        response.unchecked_segments = look.unchecked(spec.segments);
    }
    reading.answer(response)
}

async fn receive(
    messages: &mut Messages<'_>,
    mut pages: Pages<'_>,
    mut members: Option<&mut Members>,
    spec: &JobSpec,
) -> Result<submit::Submitted, Status> {
    let mut received = 0;
    while let Some(page) = messages.page().await? {
        let mappings = match check(&page.id_mappings, received, spec, members.as_deref_mut()).await {
            Ok(mappings) => mappings,
            Err(status) => {
                pages.abandon().await;
                return Err(status);
            }
        };
        received += mappings.len() as u64;
        pages.take(&mappings).await.map_err(status_of)?;
    }
    if received < spec.segments {
        let reason = format!(
            "is {}, but the stream ended after {received}: send it again from its header on, with the same request_id",
            spec.segments
        );
        return Err(invalid("header.total_mappings", reason));
    }
    pages.finish().await.map_err(status_of)
}

/// The mappings of a message, of which the first is the request's `first`.
async fn check(
    mappings: &[v1::IdMapping],
    first: u64,
    spec: &JobSpec,
    members: Option<&mut Members>,
) -> Result<Vec<IdMapping>, Status> {
    let mut violations = Violations::default();
    let announced = spec.segments - first;
    violations.require(mappings.len() as u64 <= announced, &format!("id_mappings[{}]", spec.segments), || {
        format!("is more than header.total_mappings announced, which is {}", spec.segments)
    });
    for (index, mapping) in (first..).zip(mappings) {
        submit::check_ids(index, mapping, &mut violations);
    }
    violations.into_result()?;
    let mappings: Vec<IdMapping> = mappings.iter().map(submit::mapping).collect();
    if let Some(members) = members {
        members.check(spec, first, &mappings).await?;
    }
    Ok(mappings)
}

fn status_of(error: PageError) -> Status {
    match error {
        PageError::Refused(status) => status,
        PageError::Dropped => Status::unavailable(
            "what was in of this submit was dropped, as no page came for too long: send it again from its header on, \
             with the same request_id",
        ),
    }
}

/// What a client sends.
struct Messages<'a> {
    services: &'a Services,
    messages: Streaming<v1::SubmitJobStreamRequest>,
}

impl Messages<'_> {
    async fn header(&mut self) -> Result<v1::SubmitJobStreamHeader, Status> {
        match self.next().await? {
            Some(Part::Header(header)) => Ok(header),
            Some(Part::Page(_)) | None => Err(invalid("header", "is not the first message: begin with it")),
        }
    }

    /// The next page, or none at the end of the stream; a stream that broke off has no end but an error.
    async fn page(&mut self) -> Result<Option<v1::SubmitJobStreamPage>, Status> {
        match self.next().await? {
            None => Ok(None),
            Some(Part::Page(page)) => Ok(Some(page)),
            Some(Part::Header(_)) => Err(invalid("header", "came twice: send pages behind it")),
        }
    }

    async fn next(&mut self) -> Result<Option<Part>, Status> {
        let message = tokio::select! {
            message = tokio::time::timeout(MESSAGE_TIMEOUT, self.messages.message()) => message,
            () = self.services.stopping.cancelled() => {
                return Err(Status::unavailable("this node stops: send the stream to another one"));
            }
        };
        let Ok(message) = message else {
            return Err(Status::unavailable(format!(
                "nothing came for {MESSAGE_TIMEOUT:?}: send the stream again from its header on, with the same \
                 request_id"
            )));
        };
        match message? {
            None => Ok(None),
            Some(message) => match message.part {
                Some(part) => Ok(Some(part)),
                None => Err(invalid("part", "is empty: send a header or a page")),
            },
        }
    }
}
