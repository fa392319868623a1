//! Configuration as its user meets it: precedence, unknown keys, values that cannot be, and the dump.

use super::*;
use std::io::Write as _;
use std::time::Duration;

fn loaded(file: &str, environment: &[(&str, &str)], flags: &Overrides) -> Result<Config, String> {
    let mut written = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    written.write_all(file.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load_from(Some(written.path()), environment, flags).map_err(|error| error.to_string())
}

#[test]
fn a_flag_wins_over_the_environment_which_wins_over_the_file_which_wins_over_the_default() {
    let file = "listen = \"127.0.0.1:1\"\nadmin-listen = \"127.0.0.1:2\"\n[raft]\nheartbeat-interval = \"20ms\"\n";
    let environment = [
        ("FERRY_LISTEN", "127.0.0.1:3"),
        ("FERRY_RAFT_HEARTBEAT_INTERVAL", "30ms"),
        ("FERRY_JOB_SEGMENTS_PER_TASK", "20"),
    ];
    let flags = Overrides::new().with("listen", Some("127.0.0.1:4")).with("data-dir", None::<String>);
    let config = loaded(file, &environment, &flags).unwrap();
    assert_eq!(config.listen, "127.0.0.1:4");
    assert_eq!(config.admin_listen, "127.0.0.1:2");
    assert_eq!(config.raft.heartbeat_interval, Duration::from_millis(30));
    assert_eq!(config.job.segments_per_task, 20);
    assert_eq!(config.data_dir, Config::default().data_dir);
}

#[test]
fn peers_are_a_list_in_the_file_and_separated_by_commas_elsewhere() {
    let expected = Peers::from_iter([(1, "127.0.0.1:7401".to_owned()), (2, "b:7401".to_owned())]);
    let file = "peers = [\"1=127.0.0.1:7401\", \"2=b:7401\"]";
    assert_eq!(loaded(file, &[], &Overrides::new()).unwrap().peers, expected);
    let environment = [("FERRY_PEERS", "1=127.0.0.1:7401, 2=b:7401")];
    assert_eq!(loaded("", &environment, &Overrides::new()).unwrap().peers, expected);
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
    let none = Overrides::new();
    for (file, environment, flags, parts) in [
        ("listn = \"a:1\"", [].as_slice(), &none, ["unknown key `listn`", "did you mean `listen`?"]),
        ("[raft]\nheartbeat = \"1s\"", &[], &none, [".toml: unknown key `raft.heartbeat`", "--dump-config"]),
        (
            "[raft]\nelection-timeout-mim = \"1s\"",
            &[],
            &none,
            ["`raft.election-timeout-mim`", "`raft.election-timeout-min`?"],
        ),
        ("memory = \"1GiB\"", &[], &none, ["unknown key `memory`", "did you mean `storage.memory`?"]),
        ("[rafft]\nheartbeat-interval = \"1s\"", &[], &none, ["unknown key `rafft`", "--dump-config"]),
        ("", &[("FERRY_LISTN", "a:1")], &none, ["unknown key `FERRY_LISTN`", "did you mean `FERRY_LISTEN`?"]),
        ("", &[], &Overrides::new().with("listn", Some("a:1")), ["flag --listn: unknown key", "`listen`?"]),
    ] {
        let message = loaded(file, environment, flags).unwrap_err();
        for part in parts {
            assert!(message.contains(part), "{file} {environment:?}: {message}");
        }
    }
}

#[test]
fn variables_of_other_commands_are_left_alone() {
    let environment = [("FERRY_ENDPOINTS", "a:1"), ("FERRY_TOKEN_FILE", "/x"), ("FERRY_LOG", "debug")];
    assert_eq!(loaded("", &environment, &Overrides::new()).unwrap(), Config::default());
}

#[test]
fn a_value_that_cannot_be_is_named_with_its_key_and_the_next_step() {
    let table = [
        ("id = 0", "`id` is 0: give the node a positive id"),
        ("id = \"one\"", "`id`: "),
        ("listen = \"7401\"", "`listen` is \"7401\": write host:port"),
        ("data-dir = \"\"", "`data-dir` is empty"),
        ("peers = [\"7401\"]", "write id=host:port"),
        ("peers = [\"1=a:1\", \"1=b:1\"]", "node 1 is listed twice"),
        ("peers = [\"1=a:1\", \"2=a:1\"]", "address a:1 is listed twice"),
        ("peers = [\"2=a:1\"]", "`peers` does not name node 1 itself: add \"1=127.0.0.1:7401\""),
        ("listen = \"0.0.0.0:7401\"", "`advertise` is 0.0.0.0:7401, which no other machine can reach"),
        ("[raft]\nheartbeat-interval = \"0s\"", "`raft.heartbeat-interval` is less than a millisecond"),
        ("[raft]\nheartbeat-interval = \"200ms\"", "`raft.election-timeout-min` is less than twice"),
        ("[raft]\nelection-timeout-max = \"50ms\"", "`raft.election-timeout-max` is not more than"),
        ("[raft]\nheartbeat-interval = 50", "`raft.heartbeat-interval`: "),
        ("[storage]\nmemory = \"1MiB\"", "`storage.memory` is less than 16MiB"),
        ("[storage]\nstall-timeout = \"500ms\"", "`storage.stall-timeout` is less than 1s"),
        ("[storage]\ncheckpoint-interval-bytes = \"1KiB\"", "`storage.checkpoint-interval-bytes` is less than 64KiB"),
        ("[storage]\nmemory = \"much\"", "as in \"10MiB\""),
        ("[leadership]\nlease = \"1s\"", "`leadership.lease` is less than twice"),
        ("[leadership]\nevent-retention = \"1ms\"", "`leadership.event-retention` is less than 1s"),
        ("[webhook]\nurl = \"receiver:80\"", "`webhook.url` is no URL: write it as in"),
        ("[webhook]\nurl = \"file:///events\"", "`webhook.url` is no URL"),
        ("[webhook]\nurl = \"http://me:secret@a/\"", "`webhook.url` has a user or a password in it"),
        ("[webhook]\ntimeout = \"0s\"", "`webhook.timeout` is less than a millisecond"),
        ("[webhook]\nretry-first = \"2m\"", "`webhook.retry-max` is less than webhook.retry-first"),
        ("[job]\npriority = 101", "`job.priority` is more than 100"),
        ("[job]\nsegments-per-task = 0", "`job.segments-per-task` is not between 1 and 100"),
        ("[job]\nattempts = 0", "`job.attempts` is not between 1 and 1000"),
        ("[job]\ntimeout = \"0s\"", "`job.timeout` is 0: write \"none\""),
        ("[cluster]\nid-start = 0", "`cluster.id-start` is not positive"),
        ("[limits]\nrequest-message = \"1KiB\"", "`limits.request-message` is not between"),
        ("listen = ", ".toml: "),
    ];
    for (file, part) in table {
        let message = loaded(file, &[], &Overrides::new()).unwrap_err();
        assert!(message.contains(part), "{file}: {message}");
        assert!(!message.contains("secret"), "{file}: {message}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let missing = std::path::Path::new("/nowhere/ferry.toml");
    let message = Config::load_from(Some(missing), [], &Overrides::new()).unwrap_err().to_string();
    assert!(message.contains("/nowhere/ferry.toml cannot be read"), "{message}");
}

#[test]
fn a_dump_says_the_same_as_what_was_loaded() {
    let file = "id = 3\npeers = [\"3=c:1\"]\nlisten = \"c:1\"\n[job]\ntimeout = \"none\"\nretention = \"90m\"\n\
                [storage]\nmemory = \"100000001B\"\n[limits]\nrequest-message = \"8MiB\"\n";
    let config = loaded(file, &[], &Overrides::new()).unwrap();
    let dump = config.dump();
    assert_eq!(loaded(&dump, &[], &Overrides::new()).unwrap(), config, "{dump}");
    for line in ["timeout = \"none\"", "memory = \"100000001B\"", "request-message = \"8MiB\"", "[leadership]"] {
        assert!(dump.contains(line), "{dump}");
    }
}

#[test]
fn a_node_begins_a_cluster_only_when_it_is_given_peers() {
    assert!(loaded("id = 4", &[], &Overrides::new()).unwrap().members().is_empty());
    let alone = loaded("id = 4\npeers = [\"4=a:1\"]\nadvertise = \"b:1\"", &[], &Overrides::new()).unwrap();
    assert_eq!(alone.members(), [(4, "b:1".to_owned())].into());
}
