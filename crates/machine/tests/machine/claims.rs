//! Claims: the first one pins the manifests that the target keys follow from, and every later attempt has to read the same.

use crate::story::Story;
use expect_test::expect;
use ferry_machine::check;
use ferry_machine::command::{Command, FailureKind, LeaseRef};
use ferry_machine::key::Key;
use ferry_machine::outcome::Rejection;
use ferry_machine::row::{ManifestPin, Row};
use ferry_machine::tables::{Read, Tables};

/// A claim as `story` makes it, with the manifests changed.
fn claim_with(story: &Story, lease: LeaseRef, change: impl FnOnce(&mut Vec<ManifestPin>)) -> Command {
    let mut claim = story.claiming(lease);
    if let Command::ClaimTargets { manifests, .. } = &mut claim {
        change(manifests);
    }
    claim
}

#[test]
fn a_claim_that_is_repeated_with_the_same_manifests_succeeds() {
    let mut story = Story::new();
    story.worker("w", 1);
    story.submit("r", 3);
    let lease = story.lead()[0];
    story.claim(lease);
    let claimed = story.task(lease.task);
    assert!(claimed.claimed);
    assert_eq!(claimed.manifests.iter().map(|pin| pin.crc32c).collect::<Vec<_>>(), [1, 2, 3], "in their order");
    story.claim(lease);
    assert_eq!(story.task(lease.task), claimed);
}

#[test]
fn a_later_claim_with_another_manifest_is_rejected_by_its_segment() {
    let mut story = Story::new();
    story.worker("w", 1);
    story.submit("r", 3);
    let first = story.lead()[0];
    story.claim(first);
    let claimed = story.task(first.task);
    let altered = claim_with(&story, first, |manifests| manifests[1].crc32c = 0xbad);
    let rejection = story.refused(altered);
    expect!["the manifest of source segment 2 has 800 bytes with CRC32C 00000bad, where the attempt that claimed the targets of task 1005 read 800 bytes with CRC32C 00000002: restore the manifest, or take the snapshot again, and submit a new job"]
    .assert_eq(&rejection.to_string());
    assert_eq!(story.task(first.task), claimed, "the first pins stay");
    story.fail(first, FailureKind::Transient, "throttled");
    story.wait(60_000);
    let second = story.lead()[0];
    let longer = claim_with(&story, second, |manifests| manifests[2].size_bytes += 1);
    assert!(matches!(story.refused(longer), Rejection::ManifestAltered { segment, .. } if segment.0 == 3));
    story.copy(second);
}

#[test]
fn a_claim_names_one_manifest_for_each_segment() {
    let mut story = Story::new();
    story.worker("w", 1);
    story.submit("r", 2);
    let lease = story.lead()[0];
    let fewer = claim_with(&story, lease, |manifests| manifests.truncate(1));
    let more = claim_with(&story, lease, |manifests| manifests.push(ManifestPin::default()));
    for claim in [fewer, more, claim_with(&story, lease, Vec::clear)] {
        assert!(matches!(story.refused(claim), Rejection::Invalid { field, .. } if field == "manifests"));
        assert!(!story.task(lease.task).claimed);
    }
    story.copy(lease);
}

#[test]
fn a_copy_whose_targets_were_never_claimed_does_not_count() {
    let mut story = Story::new();
    story.worker("w", 1);
    story.submit("r", 1);
    let lease = story.lead()[0];
    let report = story.copied(lease);
    assert!(matches!(story.refused(report), Rejection::Invalid { field, .. } if field == "result"));
    story.copy(lease);
}

#[test]
fn a_clean_up_still_knows_the_manifests_of_the_claim() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 2);
    let lease = story.lead()[0];
    story.claim(lease);
    let manifests = story.task(lease.task).manifests;
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease, writes_for_ms: 0 });
    story.wait(60_000);
    let clean_up = story.lead();
    assert_eq!(clean_up.len(), 1);
    assert_eq!(story.task(lease.task).manifests, manifests);
    story.clean(clean_up[0]);
}

#[test]
fn the_check_notices_pins_that_are_lost() {
    let mut story = Story::new();
    story.worker("w", 1);
    story.submit("r", 2);
    let lease = story.lead()[0];
    story.claim(lease);
    let key = Key::Task(lease.task);
    let Some(Row::Task(mut task)) = story.rows.get(&key) else { panic!("the task has a row") };
    task.manifests.pop();
    story.rows.put(key, Row::Task(task));
    let told: Vec<String> = check(&story.rows).iter().map(ToString::to_string).collect();
    assert_eq!(told, [format!("Task({:?}): has pins of more or fewer manifests than it claimed", lease.task)]);
}
