//! What a configuration must hold; the first thing wrong is named with its key and what to write.

use super::{Config, ConfigError};
use ferry_machine::limits;
use ferry_objects::check_named_stores;
use std::time::Duration;

type Check = Result<(), ConfigError>;

fn require(holds: bool, key: &'static str, reason: impl Into<String>) -> Check {
    if holds { Ok(()) } else { Err(ConfigError::Invalid { key, reason: reason.into() }) }
}

impl Config {
    pub(super) fn validate(&self) -> Check {
        self.validate_addresses()?;
        self.validate_raft()?;
        self.validate_leadership()?;
        self.validate_job()?;
        self.validate_webhook()?;
        let storage = &self.storage;
        require(storage.memory.0 >= 16 << 20, "storage.memory", "is less than 16MiB: give it more")?;
        require(
            storage.checkpoint_interval_entries >= 100,
            "storage.checkpoint-interval-entries",
            "is less than 100: a checkpoint that often would be all the node does",
        )?;
        require(
            storage.stall_timeout >= Duration::from_secs(1),
            "storage.stall-timeout",
            "is less than 1s: a disk that is only busy would end the node",
        )?;
        require(
            storage.checkpoint_interval_bytes.0 >= 64 << 10,
            "storage.checkpoint-interval-bytes",
            "is less than 64KiB: a checkpoint that often would be all the node does",
        )?;
        let message = self.limits.request_message.0;
        require(
            (64 << 10..=1 << 30).contains(&message),
            "limits.request-message",
            "is not between 64KiB and 1GiB: the default is 4MiB",
        )?;
        positive(self.limits.request_timeout, "limits.request-timeout")?;
        check_named_stores(&self.stores)?;
        require(self.cluster.id_start > 0, "cluster.id-start", "is not positive: ids are")
    }

    fn validate_addresses(&self) -> Check {
        require(self.id > 0, "id", "is 0: give the node a positive id that no other node has or had")?;
        require(!self.data_dir.as_os_str().is_empty(), "data-dir", "is empty: name a folder of this node's own")?;
        address(&self.listen, "listen")?;
        address(&self.admin_listen, "admin-listen")?;
        if !self.advertise.is_empty() {
            address(&self.advertise, "advertise")?;
        }
        for (id, peer) in self.peers.all() {
            require(*id > 0, "peers", "names node 0: ids are positive")?;
            address(peer, "peers")?;
        }
        let alone = self.peers.all().is_empty();
        require(
            alone || self.peers.address(self.id).is_some(),
            "peers",
            format!("does not name node {} itself: add \"{}={}\"", self.id, self.id, self.listen),
        )?;
        let advertised = self.advertised();
        require(
            !advertised.starts_with("0.0.0.0:") && !advertised.starts_with("[::]:"),
            "advertise",
            format!("is {advertised}, which no other machine can reach: name an address of this one"),
        )
    }

    fn validate_raft(&self) -> Check {
        let raft = &self.raft;
        positive(raft.heartbeat_interval, "raft.heartbeat-interval")?;
        require(
            raft.election_timeout_min >= 2 * raft.heartbeat_interval,
            "raft.election-timeout-min",
            "is less than twice raft.heartbeat-interval: nodes would elect for no reason",
        )?;
        require(
            raft.election_timeout_max > raft.election_timeout_min,
            "raft.election-timeout-max",
            "is not more than raft.election-timeout-min: nodes would stand for election at once",
        )
    }

    fn validate_leadership(&self) -> Check {
        let leadership = &self.leadership;
        positive(leadership.check_interval, "leadership.check-interval")?;
        positive(leadership.heartbeat_interval, "leadership.heartbeat-interval")?;
        require(
            leadership.event_retention >= Duration::from_secs(1),
            "leadership.event-retention",
            "is less than 1s: whoever watches events needs time to come back",
        )?;
        require(
            leadership.lease >= 2 * leadership.heartbeat_interval,
            "leadership.lease",
            "is less than twice leadership.heartbeat-interval: one lost heartbeat would lose the worker",
        )?;
        require(
            (1..=limits::IDS_PER_ALLOCATION_MAX).contains(&leadership.allocator_window),
            "leadership.allocator-window",
            format!("is not between 1 and {}", limits::IDS_PER_ALLOCATION_MAX),
        )
    }

    fn validate_webhook(&self) -> Check {
        let webhook = &self.webhook;
        if !webhook.url.is_empty() {
            // Not repeated in the message: what was meant to be secret may be in it.
            let url = reqwest::Url::parse(&webhook.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            require(url.is_some(), "webhook.url", "is no URL: write it as in \"http://receiver:8080/ferry\"")?;
            require(
                url.is_some_and(|url| url.username().is_empty() && url.password().is_none()),
                "webhook.url",
                "has a user or a password in it: configuration is no place for either",
            )?;
        }
        positive(webhook.timeout, "webhook.timeout")?;
        positive(webhook.retry_first, "webhook.retry-first")?;
        require(
            webhook.retry_max >= webhook.retry_first,
            "webhook.retry-max",
            "is less than webhook.retry-first: pauses between tries grow",
        )
    }

    fn validate_job(&self) -> Check {
        let job = &self.job;
        if let Some(timeout) = job.timeout.0 {
            require(!timeout.is_zero(), "job.timeout", "is 0: write \"none\" for jobs without a timeout")?;
        }
        require(
            job.priority <= limits::PRIORITY_MAX,
            "job.priority",
            format!("is more than {}: write 0 to {0}", limits::PRIORITY_MAX),
        )?;
        require(
            (1..=limits::SEGMENTS_PER_TASK_MAX).contains(&job.segments_per_task),
            "job.segments-per-task",
            format!("is not between 1 and {}", limits::SEGMENTS_PER_TASK_MAX),
        )?;
        require(
            (1..=limits::ATTEMPTS_MAX).contains(&job.attempts),
            "job.attempts",
            format!("is not between 1 and {}", limits::ATTEMPTS_MAX),
        )
    }
}

fn positive(duration: Duration, key: &'static str) -> Check {
    require(duration >= Duration::from_millis(1), key, "is less than a millisecond: write it as in \"100ms\"")
}

fn address(text: &str, key: &'static str) -> Check {
    let valid = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    require(valid, key, format!("is {text:?}: write host:port, as in \"127.0.0.1:7401\""))
}
