//! What stores refuse, and what is told of it: by the servers themselves where they can say it, else by the relay before
//! them in the words of the cloud.

use crate::cases::{completed, ferry, printed};
use crate::table::Outcome;
use crate::world::{BUCKETS, Seat, World, assert_same, in_folder, sample_uri};
use cluster_tests::faults::Shim;
use cluster_tests::stores::relay::{Answer, Fate};
use cluster_tests::stores::tls::Tls;
use cluster_tests::{file_uri, sample};
use ferry_proto::v1::{AttemptEnd, JobOptions, JobState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Longer than any store allows clocks to differ.
const SKEW_S: i64 = 3_600;
/// Of the first requests of a throttled job, three of five are refused.
const THROTTLED_REQUESTS: usize = 60;
/// Reserved for names that do not exist.
const NO_HOST: &str = "http://no-such-host.invalid:9000";

/// A refusal in the words of a kind of store.
struct Refusal {
    status: &'static str,
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    fn answer(&self, seat: &Seat) -> Answer {
        let Self { status, code, message } = self;
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        // Azure repeats its code there.
        let headers = if seat.server.scheme() == "az" { vec![format!("x-ms-error-code: {code}")] } else { Vec::new() };
        Answer { status, headers, body }
    }
}

/// What is printed of a snapshot that cannot be read in this environment.
async fn refused(seat: &Seat, environment: Vec<(String, String)>, words: [&str; 2]) {
    let output = ferry(&["snapshot", "inspect", &seat.server.uri(BUCKETS[0], "up")], environment).await;
    let told = printed(&output);
    assert!(!output.status.success(), "{}: {told}", seat.server.name());
    for words in words {
        assert!(told.contains(words), "{}: {words:?} is not in: {told}", seat.server.name());
    }
}

async fn refused_by_the_relay(seat: &Seat, refusal: &Refusal, words: [&str; 2]) -> Outcome {
    let answer = refusal.answer(seat);
    seat.relay.decide(move |_| Fate::Answered(answer.clone()));
    refused(seat, seat.environment(), words).await;
    seat.relay.pass_all();
    Outcome::Injected
}

/// By a command, and by the workers of a job: nodes need nothing of a target.
pub(crate) async fn wrong_secret(world: &World, seat: &Seat) -> Outcome {
    let Some(environment) = seat.server.environment_of_a_stranger() else {
        return Outcome::Cannot("takes every secret");
    };
    refused(seat, environment, ["access is refused", "check the credentials"]).await;
    let bucket = seat.bucket_of_a_stranger();
    let target = seat.server.uri(&bucket, "a");
    let job_id = world.cluster.submit(world.request(&sample_uri(), &target, JobOptions::default())).await;
    let job = world.cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Failed, "{}: {job:?}", seat.server.name());
    for words in [&bucket, "access is refused", "check the credentials"] {
        assert!(job.reason.contains(words), "{}: {}", seat.server.name(), job.reason);
    }
    Outcome::Held
}

pub(crate) async fn expired_credentials(_: &World, seat: &Seat) -> Outcome {
    let refusal = match seat.server.scheme() {
        "az" => Refusal {
            status: "401 Unauthorized",
            code: "ExpiredAuthenticationToken",
            message: "The access token has expired.",
        },
        _ => Refusal { status: "400 Bad Request", code: "ExpiredToken", message: "The provided token has expired." },
    };
    refused_by_the_relay(seat, &refusal, ["the credentials have expired", "renew the credentials"]).await
}

/// The clock of the command is wrong.
pub(crate) async fn skewed_clock(world: &World, seat: &Seat) -> Outcome {
    let words = ["the clock of this machine and that of the store differ", "set the clock of this machine"];
    let checks = ["SeaweedFS", "s3s-fs"].iter().any(|name| seat.server.name().starts_with(name));
    if checks {
        let folder = world.cluster.path("clock");
        let shim = Shim::new(&world.cluster.path(&format!("clock-{}", seat.bucket_of_a_stranger())), &folder);
        shim.shift_clock(SKEW_S);
        let environment = seat.environment().into_iter().chain(shim.environment()).collect();
        refused(seat, environment, words).await;
        assert!(shim.bites().clocks_shifted > 0, "{}: the clock was right", seat.server.name());
        return Outcome::Held;
    }
    if seat.server.scheme() == "az" {
        return Outcome::Cannot("has no code of its own for it");
    }
    let message = "The difference between the request time and the current time is too large.";
    let refusal = Refusal { status: "403 Forbidden", code: "RequestTimeTooSkewed", message };
    refused_by_the_relay(seat, &refusal, words).await
}

/// An object of a source is archived: its job fails and names it.
pub(crate) async fn archived_object(world: &World, seat: &Seat) -> Outcome {
    if seat.server.scheme() == "gs" {
        return Outcome::Cannot("GCS reads archives like all else");
    }
    let uri = world.restored(&sample_uri(), &seat.uri("archived")).await.snapshot_uri;
    let keys = seat.server.keys(BUCKETS[0], "archived/insert_log/");
    let key = keys.first().expect("the sample has inserts").clone();
    let has_archives = ["moto", "Azurite"].iter().any(|name| seat.server.name().starts_with(name));
    if has_archives {
        seat.server.archive(BUCKETS[0], &key);
    } else {
        let message = "The operation is not valid for the object's storage class";
        let answer = Refusal { status: "403 Forbidden", code: "InvalidObjectState", message }.answer(seat);
        let of_key = key.clone();
        seat.relay.decide(move |head| match head.method == "GET" && head.target.contains(&of_key) {
            true => Fate::Answered(answer.clone()),
            false => Fate::Passes,
        });
    }
    let back = file_uri(&seat.folder(world, "archived"));
    let job_id = world.cluster.submit(world.request(&uri, &back, JobOptions::default())).await;
    let job = world.cluster.ended(job_id).await;
    seat.relay.pass_all();
    assert_eq!(job.state(), JobState::Failed, "{}: {job:?}", seat.server.name());
    for words in [&*key, "it is archived in a storage class that cannot be read", "bring it back from the archive"] {
        assert!(job.reason.contains(words), "{}: {}", seat.server.name(), job.reason);
    }
    if has_archives { Outcome::Held } else { Outcome::Injected }
}

/// Three of five requests are refused for a while: the job completes, and no attempt of it counts as failed.
pub(crate) async fn throttled(world: &World, seat: &Seat) -> Outcome {
    let refusal = match seat.server.scheme() {
        "az" => Refusal { status: "503 Service Unavailable", code: "ServerBusy", message: "The server is busy." },
        "gs" => Refusal { status: "429 Too Many Requests", code: "TooManyRequests", message: "Rate limit exceeded." },
        _ => Refusal { status: "503 Slow Down", code: "SlowDown", message: "Please reduce your request rate." },
    };
    let (answer, seen) = (refusal.answer(seat), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&seen);
    seat.relay.decide(move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        match number < THROTTLED_REQUESTS && number % 5 < 3 {
            true => Fate::Answered(answer.clone()),
            false => Fate::Passes,
        }
    });
    let job_id =
        world.cluster.submit(world.request(&sample_uri(), &seat.uri("throttled"), JobOptions::default())).await;
    completed(&world.cluster, job_id).await;
    seat.relay.pass_all();
    let requests = seen.load(Ordering::SeqCst);
    assert!(requests >= THROTTLED_REQUESTS, "{}: {requests} requests only", seat.server.name());
    for task in world.cluster.copies(job_id).await {
        let ends: Vec<AttemptEnd> = task.attempts.iter().map(|attempt| attempt.end()).collect();
        let counts = |end: &AttemptEnd| ![AttemptEnd::Outage, AttemptEnd::Copied].contains(end);
        assert!(!ends.iter().any(counts), "{}: {ends:?}", seat.server.name());
    }
    assert_same(&seat.contents(BUCKETS[0], "throttled"), &in_folder(&sample()), seat.server.name());
    Outcome::Injected
}

pub(crate) async fn another_region(_: &World, seat: &Seat) -> Outcome {
    if seat.server.scheme() != "s3" {
        return Outcome::Cannot("its requests name no region");
    }
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>PermanentRedirect</Code><Message>The bucket you are \
                attempting to access must be addressed using the specified endpoint.</Message>\
                <Endpoint>s3.eu-west-3.amazonaws.com</Endpoint><Bucket>first-bucket</Bucket></Error>";
    let headers = vec!["x-amz-bucket-region: eu-west-3".to_owned()];
    let answer = Answer { status: "301 Moved Permanently", headers, body: body.to_owned() };
    seat.relay.decide(move |_| Fate::Answered(answer.clone()));
    refused(seat, seat.environment(), ["its bucket lies in another region, or at another endpoint", "AWS_REGION"])
        .await;
    seat.relay.pass_all();
    Outcome::Injected
}

/// An endpoint with TLS: nobody vouches for its certificate, until a setting names it.
pub(crate) async fn unknown_certificate(world: &World, seat: &Seat) -> Outcome {
    let tls = Tls::start(seat.server.address());
    let url = format!("https://{}", tls.address());
    let environment = seat.server.environment_by_url(&url);
    refused(seat, environment, ["the certificate of the store is not trusted", "add its authority"]).await;
    let name = seat.bucket_of_a_stranger();
    let scheme = seat.server.scheme();
    let more = [
        format!("stores.{name}.serves=[\"{scheme}://{}\"]", BUCKETS[0]),
        format!("stores.{name}.ca-file={}", tls.certificate().display()),
    ];
    let settings = seat.server.settings(&name, &url, &seat.server.credentials_file()).into_iter().chain(more);
    let config = world.cluster.path(&format!("{name}.toml"));
    std::fs::write(&config, settings.map(|setting| as_toml(&setting)).collect::<String>())
        .expect("a file can be written");
    let check =
        ["store", "check", &seat.server.uri(BUCKETS[0], "up"), "--read-only", "--config", &config.to_string_lossy()];
    let output = ferry(&check, Vec::new()).await;
    assert!(output.status.success(), "{}: {}", seat.server.name(), printed(&output));
    Outcome::Held
}

/// `KEY=VALUE` as a line of a configuration.
fn as_toml(setting: &str) -> String {
    let (key, value) = setting.split_once('=').expect("a setting has a value");
    let value = if value.starts_with('[') { value.to_owned() } else { format!("\"{value}\"") };
    format!("{key} = {value}\n")
}

/// The server has no TLS, and the endpoint says that it has.
pub(crate) async fn plain_behind_https(_: &World, seat: &Seat) -> Outcome {
    let environment = seat.server.environment_by_url(&format!("https://{}", seat.server.address()));
    refused(seat, environment, ["the store cannot be reached", "see whether its name resolves and its port is open"])
        .await;
    Outcome::Held
}

pub(crate) async fn unknown_host(_: &World, seat: &Seat) -> Outcome {
    let environment = seat.server.environment_by_url(NO_HOST);
    refused(seat, environment, ["the store cannot be reached", "see whether its name resolves"]).await;
    Outcome::Held
}
