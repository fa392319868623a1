//! The webhook: the leader posts each event of each job as JSON to one receiver, in the order of the events, until it
//! is taken.
//!
//! Invariant: an event is posted only once every event before it was taken or has expired. How far the receiver is
//! stands in the log, behind what it has taken: a new leader repeats a few events and leaves none out.

use super::Leadership;
use crate::config::WebhookOptions;
use crate::wire;
use backon::{BackoffBuilder, ExponentialBuilder};
use ferry_machine::command::Command;
use ferry_machine::id::EventId;
use ferry_machine::row::Event;
use ferry_machine::view;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, redirect};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

/// Names the event for ever, so that a receiver can tell a repeat: cluster, revision and ordinal.
const EVENT_ID: &str = "ferry-event-id";
/// Events that are in memory at once.
const EVENTS_AT_ONCE: usize = 100;
/// What was taken is noted in the log about this often while more is waiting, and at once when nothing is.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// The receiver of the events.
#[derive(Debug)]
pub(crate) struct Webhook {
    client: Client,
    options: WebhookOptions,
}

/// What is posted: the event as the API has it, with 64-bit numbers as text like all of its JSON, and the cluster's id.
#[derive(Serialize)]
struct Body {
    cluster_id: String,
    revision: String,
    ordinal: u32,
    job_id: String,
    transition: &'static str,
    state: &'static str,
    collection_id: String,
    name: String,
    reason: String,
    happened_at_ms: String,
}

impl Body {
    fn of(cluster_id: u64, id: EventId, event: &Event) -> Self {
        let event = wire::job_event(id, event);
        Self {
            cluster_id: cluster_id.to_string(),
            revision: event.revision.to_string(),
            ordinal: event.ordinal,
            job_id: event.job_id.to_string(),
            transition: event.transition().as_str_name(),
            state: event.state().as_str_name(),
            collection_id: event.collection_id.to_string(),
            name: event.name,
            reason: event.reason,
            happened_at_ms: event.happened_at_ms.to_string(),
        }
    }

    fn event_id(&self) -> String {
        format!("{}-{}-{}", self.cluster_id, self.revision, self.ordinal)
    }
}

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// The receiver was not reached, or not in time.
    #[error("the receiver did not answer: {0}")]
    Unreachable(reqwest::Error),
    /// It answered, but not with 2xx.
    #[error("the receiver answered with status {0}")]
    Status(u16),
    /// The event cannot be written down.
    #[error("the event cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Webhook {
    /// `None` where no receiver is configured.
    pub(crate) fn of(options: &WebhookOptions) -> Result<Option<Self>, reqwest::Error> {
        if options.url.is_empty() {
            return Ok(None);
        }
        // An error only says that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        // A redirect would turn the post into a get of another place, and a proxy is for the world outside.
        let client = Client::builder()
            .default_headers(json)
            .user_agent(concat!("ferry/", env!("CARGO_PKG_VERSION")))
            .timeout(options.timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Some(Self { client, options: options.clone() }))
    }

    async fn post(&self, body: &Body) -> Result<(), Refused> {
        let request = self.client.post(&self.options.url).header(EVENT_ID, body.event_id());
        let sent = request.body(serde_json::to_vec(body)?).send().await;
        // The URL may hold what is not for the log.
        let status = sent.map_err(|error| Refused::Unreachable(error.without_url()))?.status();
        if status.is_success() { Ok(()) } else { Err(Refused::Status(status.as_u16())) }
    }

    /// The pauses between the tries of one event; they never end.
    fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.options.retry_first)
            .with_max_delay(self.options.retry_max)
            .with_jitter()
            .without_max_times()
            .build()
    }
}

/// Runs until the leadership ends.
pub(super) async fn run(leadership: Arc<Leadership>, webhook: Arc<Webhook>) {
    let mut changes = leadership.raft.changes();
    let mut delivery = Delivery::begin(&leadership, &webhook);
    loop {
        changes.borrow_and_update();
        while let Some(page) = delivery.read() {
            delivery.deliver(page).await;
        }
        delivery.note().await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// How far the receiver is.
struct Delivery<'a> {
    leadership: &'a Leadership,
    webhook: &'a Webhook,
    cluster_id: u64,
    /// The next event to be taken.
    next: EventId,
    /// As the log has it.
    noted: EventId,
    noted_at: Instant,
}

impl<'a> Delivery<'a> {
    fn begin(leadership: &'a Leadership, webhook: &'a Webhook) -> Self {
        let cluster = view::cluster(&leadership.raft.view()).unwrap_or_default();
        let (next, cluster_id) = (cluster.events.delivered, cluster.cluster_id);
        Self { leadership, webhook, cluster_id, next, noted: next, noted_at: Instant::now() }
    }

    /// The events that come next, if there are any.
    fn read(&mut self) -> Option<Vec<(EventId, Event)>> {
        self.pass_over_expired();
        let view = self.leadership.raft.view();
        let page = view::events(&view, self.next, EVENTS_AT_ONCE);
        // A row that cannot be read looks as if it were not there, and would be left out.
        if let Err(error) = view.check_error() {
            warn!(%error, "the webhook cannot read events");
            return None;
        }
        (!page.is_empty()).then_some(page)
    }

    /// Whether the next event has expired: then the first one that is kept is the next.
    fn pass_over_expired(&mut self) -> bool {
        let first = view::cluster(&self.leadership.raft.view()).map_or(EventId::FIRST, |cluster| cluster.events.first);
        if self.next >= first {
            return false;
        }
        if self.next != EventId::FIRST {
            let (from, to) = (self.next, first);
            warn!(%from, %to, "events expired before the webhook's receiver took them: they are lost to it");
        }
        self.next = first;
        true
    }

    async fn deliver(&mut self, page: Vec<(EventId, Event)>) {
        for (id, event) in page {
            if !self.deliver_one(id, &event).await {
                // What else there is in the page may have expired too.
                return;
            }
            self.next = id.next();
            if self.noted_at.elapsed() >= NOTE_INTERVAL {
                self.note().await;
            }
        }
    }

    /// Posts an event until it is taken, or has expired.
    async fn deliver_one(&mut self, id: EventId, event: &Event) -> bool {
        let body = Body::of(self.cluster_id, id, event);
        let mut pauses = self.webhook.pauses();
        let mut tries: u32 = 0;
        loop {
            let answer = self.webhook.post(&body).await;
            self.leadership.metrics.count_delivery(answer.is_ok());
            match answer {
                Ok(()) => {
                    if tries > 0 {
                        info!(%id, tries, "the webhook's receiver takes events again");
                    }
                    return true;
                }
                Err(reason) if tries == 0 => warn!(%id, %reason, "the webhook's receiver did not take an event"),
                Err(reason) => debug!(%id, %reason, tries, "the webhook's receiver did not take an event"),
            }
            tries = tries.saturating_add(1);
            // It may be long until the next one is taken.
            self.note().await;
            sleep(pauses.next().unwrap_or(self.webhook.options.retry_max)).await;
            if self.pass_over_expired() {
                return false;
            }
        }
    }

    /// Notes in the log how far the receiver is.
    async fn note(&mut self) {
        self.noted_at = Instant::now();
        if self.next <= self.noted {
            return;
        }
        let before = self.next;
        match self.leadership.propose(Command::NoteDelivered { before }).await {
            Ok(_) => self.noted = before,
            // Nothing is lost: a later note says more.
            Err(error) => debug!(%error, "what the webhook's receiver has taken could not be noted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use ferry_machine::id::JobId;
    use ferry_machine::row::Transition;
    use ferry_machine::time::{Stamp, Time};
    use ferry_machine::view::State;
    use std::sync::Mutex;

    fn event() -> Event {
        Event {
            job: JobId(470_636_907_273_850_237),
            transition: Transition::Failed,
            state: State::Failed,
            at: Stamp { at: Time(5), wall_ms: 1_700_000_000_000 },
            name: "nightly".to_owned(),
            collection_id: 200,
            reason: "an object is gone".to_owned(),
        }
    }

    fn body() -> Body {
        Body::of(u64::MAX, EventId { revision: 42, ordinal: 1 }, &event())
    }

    #[test]
    fn an_event_is_posted_as_the_json_of_the_api_with_the_cluster_in_it() {
        assert_eq!(
            serde_json::to_string(&body()).unwrap(),
            "{\"cluster_id\":\"18446744073709551615\",\"revision\":\"42\",\"ordinal\":1,\
             \"job_id\":\"470636907273850237\",\"transition\":\"JOB_TRANSITION_FAILED\",\"state\":\"JOB_STATE_FAILED\",\
             \"collection_id\":\"200\",\"name\":\"nightly\",\"reason\":\"an object is gone\",\
             \"happened_at_ms\":\"1700000000000\"}"
        );
        assert_eq!(body().event_id(), "18446744073709551615-42-1");
    }

    #[tokio::test]
    async fn only_an_answer_of_success_in_time_counts_as_taken() {
        let headers: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let seen = Arc::clone(&headers);
        let taken = move |headers: HeaderMap| {
            seen.lock().unwrap().push(headers);
            std::future::ready(StatusCode::NO_CONTENT)
        };
        let app = axum::Router::new()
            .route("/taken", post(taken))
            .route("/broken", post(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
            .route("/moved", post(|| async { (StatusCode::FOUND, [("location", "/taken")]) }))
            .route("/slow", post(std::future::pending::<StatusCode>));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let post = |path: &'static str| async move {
            let (url, timeout) = (format!("http://{address}{path}"), Duration::from_millis(300));
            let options = WebhookOptions { url, timeout, ..WebhookOptions::default() };
            Webhook::of(&options).unwrap().unwrap().post(&body()).await
        };
        post("/taken").await.unwrap();
        assert!(matches!(post("/broken").await, Err(Refused::Status(500))));
        assert!(matches!(post("/moved").await, Err(Refused::Status(302))));
        let slow = post("/slow?token=secret").await.unwrap_err();
        assert!(matches!(slow, Refused::Unreachable(_)));
        assert!(!format!("{slow} {slow:?}").contains("secret"), "{slow:?}");
        let headers = headers.lock().unwrap();
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[0].get("ferry-event-id").unwrap(), "18446744073709551615-42-1");
        assert_eq!(headers[0].get("content-type").unwrap(), "application/json");
    }

    #[test]
    fn without_a_url_there_is_no_webhook() {
        assert!(Webhook::of(&WebhookOptions::default()).unwrap().is_none());
    }
}
