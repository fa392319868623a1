//! What lies on disk in the end: every file of a Completed job equals its source and its copy is a snapshot, nothing is
//! left of a job that did not complete, and what was there before is untouched.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::history::{Operation, is_live};
use crate::traffic::{FOREIGN_CONTENT, Submission};
use crate::tree;
use ferry_proto::v1::{CleanupState, JobState};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHECKER: &str = "files";

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilesSeen {
    /// Copies that equal their sources.
    pub copies: u64,
    /// Places of which nothing is left, as it must be.
    pub cleaned: u64,
}

/// A root that jobs copied to; several only where they fought for the same targets.
struct Root<'a> {
    submissions: Vec<&'a Submission>,
    completed: Option<(&'a Submission, i64, &'a Operation)>,
    /// The last word about some job that did not complete, and whether its clean-up is over.
    others: Vec<(&'a Operation, bool)>,
}

impl Root<'_> {
    /// Files that only jobs can have written there, relative to the root.
    fn written(&self, path: &Path) -> BTreeSet<PathBuf> {
        let foreign: BTreeSet<&PathBuf> = self.foreign().collect();
        tree::files(path).into_iter().filter(|file| !foreign.contains(file)).collect()
    }

    /// Files that were there before any job.
    fn foreign(&self) -> impl Iterator<Item = &PathBuf> {
        self.submissions.iter().filter_map(|submission| submission.foreign.as_ref())
    }
}

/// Every root on disk. Called when every job has ended and is cleaned up.
pub(crate) fn check(trace: &Trace<'_>) -> (Vec<Violation>, FilesSeen) {
    let mut roots: BTreeMap<&Path, Root<'_>> = BTreeMap::new();
    for submission in trace.submissions.values() {
        let root = roots.entry(&submission.target);
        let root = root.or_insert(Root { submissions: Vec::new(), completed: None, others: Vec::new() });
        root.submissions.push(submission);
    }
    for (job, sightings) in &trace.jobs {
        let (Some(submission), Some(last)) = (trace.submission(*job), sightings.last()) else { continue };
        let Some(root) = roots.get_mut(&*submission.target) else { continue };
        // Collected before anybody saw its end: then the files themselves tell which it was, but for those it met there.
        let unseen =
            is_live(last.job.state) && root.completed.is_none() && !root.written(&submission.target).is_empty();
        if last.job.state == JobState::Completed || unseen {
            root.completed = Some((submission, *job, last.operation));
        } else {
            let over = matches!(last.job.cleanup, CleanupState::NotNeeded | CleanupState::Done);
            root.others.push((last.operation, over));
        }
    }
    let mut seen = FilesSeen::default();
    let violations = roots.iter().filter_map(|(path, root)| look(trace, path, root, &mut seen)).collect();
    (violations, seen)
}

fn look(trace: &Trace<'_>, path: &Path, root: &Root<'_>, seen: &mut FilesSeen) -> Option<Violation> {
    let quoted: Vec<&Operation> =
        root.completed.iter().map(|(.., by)| *by).chain(root.others.iter().map(|(by, _)| *by)).collect();
    let wrong = |sentence: String| Some(Violation::new(CHECKER, sentence, &quoted));
    let mut found = root.written(path);
    for foreign in root.foreign() {
        if fs::read(path.join(foreign)).ok().as_deref() != Some(FOREIGN_CONTENT) {
            return wrong(format!("{} was there before the job, and is not as it was", path.join(foreign).display()));
        }
    }
    let expected = match &root.completed {
        None => BTreeMap::new(),
        Some((submission, job, _)) => expected(trace, path, submission, *job),
    };
    for (copy, source) in &expected {
        found.remove(copy);
        let (left, right) = (fs::read(path.join(copy)), fs::read(source));
        if !matches!((&left, &right), (Ok(left), Ok(right)) if left == right) {
            return wrong(format!("{} does not equal {}", path.join(copy).display(), source.display()));
        }
        seen.copies += 1;
    }
    if let Some((submission, job, _)) = &root.completed {
        let targets = mappings(trace, path, submission, *job).into_iter().map(|(_, target)| target).collect();
        if let Some(missing) = take_snapshot(&mut found, &targets) {
            return wrong(format!("the snapshot of job {job} in {} {missing}", path.display()));
        }
    }
    // What is not cleaned up in time is a fault of another kind, and told as that.
    let cleaned = root.others.iter().all(|(_, over)| *over);
    if let Some(left) = found.first().filter(|_| cleaned) {
        return wrong(format!("{} of {} files is left over", path.join(left).display(), found.len()));
    }
    seen.cleaned += u64::from(root.completed.is_none() && found.is_empty());
    None
}

/// Takes the files of a completed job's own snapshot out of what was found; says what is wrong with them: there is one
/// metadata file, and a manifest for each target and no other.
fn take_snapshot(found: &mut BTreeSet<PathBuf>, targets: &BTreeSet<i64>) -> Option<String> {
    let lies_in = |file: &Path, folder: &str| file.iter().any(|part| part == folder);
    let files: Vec<PathBuf> = found.iter().filter(|file| file.starts_with("snapshots")).cloned().collect();
    found.retain(|file| !file.starts_with("snapshots"));
    let metadata = files.iter().filter(|file| lies_in(file, "metadata")).count();
    let manifests =
        files.iter().filter(|file| lies_in(file, "manifests") && file.extension().is_some_and(|it| it == "avro"));
    let manifests: BTreeSet<i64> = manifests.filter_map(|file| file.file_stem()?.to_str()?.parse().ok()).collect();
    if metadata != 1 {
        return Some(format!("has {metadata} metadata files"));
    }
    (manifests != *targets).then(|| format!("has manifests of {manifests:?}, not of {targets:?}"))
}

/// Each copy of a completed job, relative to its root, with the file it must equal.
fn expected(trace: &Trace<'_>, root: &Path, submission: &Submission, job: i64) -> BTreeMap<PathBuf, PathBuf> {
    let mut expected = BTreeMap::new();
    for (source, target) in mappings(trace, root, submission, job) {
        let from = submission.source.join(Submission::source_folder(source));
        for file in tree::files(&from) {
            expected.insert(submission.target_folder(target).join(&file), from.join(&file));
        }
    }
    expected
}

/// Sources and targets: as they were chosen, or told, or, where nobody asked in time, as they lie there: the cluster
/// chooses in the order of the sources.
fn mappings(trace: &Trace<'_>, root: &Path, submission: &Submission, job: i64) -> BTreeSet<(i64, i64)> {
    if !submission.mappings.is_empty() {
        return submission.mappings.iter().copied().collect();
    }
    let of_job = |operation: &Arc<Operation>| -> Vec<(i64, i64)> {
        let targets = operation.segments().iter().filter(|segment| segment.job_id == job);
        let tasks = operation.tasks().iter().filter(|task| task.job_id == job);
        let mappings = tasks.flat_map(|task| task.mappings.clone());
        targets.map(|it| (it.source_segment_id, it.segment_id)).chain(mappings).collect()
    };
    let told: BTreeSet<(i64, i64)> = trace.operations.iter().flat_map(of_job).collect();
    if i64::try_from(told.len()) == Ok(submission.segments) {
        return told;
    }
    let folder = root.join(submission.target_folder(0));
    let mut targets: Vec<i64> = folder.parent().map(folders).unwrap_or_default();
    targets.resize(usize::try_from(submission.segments).unwrap_or(0), 0);
    (tree::FIRST_SEGMENT..).zip(targets).collect()
}

/// The folders in a folder that are numbers, in their order.
fn folders(folder: &Path) -> Vec<i64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbers: BTreeSet<i64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, Sample, only};
    use super::*;
    use crate::traffic::facts::JobFact;
    use crate::traffic::history::{Answer, Request};

    /// A sample whose one job has this state, with its source and target in a folder.
    struct Story {
        folder: tempfile::TempDir,
        submission: Submission,
    }

    impl Story {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let mut submission = (*samples::submission("request")).clone();
            submission.source = folder.path().join("source");
            submission.target = folder.path().join("target");
            let story = Self { folder, submission };
            for (source, _) in &story.submission.mappings {
                story.write(&Path::new("source").join(Submission::source_folder(*source)).join("0/1"), source);
            }
            story
        }

        fn write(&self, file: &Path, content: &i64) {
            let path = self.folder.path().join(file);
            fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder can be made");
            fs::write(path, content.to_string()).expect("a file can be written");
        }

        fn copy(&self, target: i64, content: i64) {
            self.write(&Path::new("target").join(self.submission.target_folder(target)).join("0/1"), &content);
        }

        /// The copy's own snapshot, as far as it is looked at.
        fn snapshot(&self, targets: &[i64]) {
            let folder = Path::new("target/snapshots/200");
            self.write(&folder.join("metadata/9.json"), &0);
            for target in targets {
                self.write(&folder.join(format!("manifests/9/{target}.avro")), target);
            }
        }

        fn look(&self, state: JobState) -> (Vec<Violation>, FilesSeen) {
            let mut sample = Sample::new();
            let fact = JobFact { cleanup: CleanupState::Done, ..samples::job(state) };
            let answer = Answer::Submitted { job: fact, already_existed: false };
            sample.add(1, Request::Submit(Arc::new(self.submission.clone())), (0, 1), 5, answer);
            check(&sample.trace())
        }
    }

    #[test]
    fn whole_copies_and_clean_roots_are_accepted() {
        let story = Story::new();
        assert_eq!(story.look(JobState::Failed), (Vec::new(), FilesSeen { copies: 0, cleaned: 1 }));
        story.copy(50, 1_000);
        story.copy(51, 1_001);
        story.snapshot(&[50, 51]);
        assert_eq!(story.look(JobState::Completed), (Vec::new(), FilesSeen { copies: 2, cleaned: 0 }));
    }

    #[test]
    fn a_copy_that_is_no_snapshot_and_a_snapshot_of_no_copy_are_noticed() {
        let story = Story::new();
        story.copy(50, 1_000);
        story.copy(51, 1_001);
        only(&story.look(JobState::Completed).0, "has 0 metadata files");
        story.snapshot(&[50]);
        only(&story.look(JobState::Completed).0, "has manifests of {50}, not of {50, 51}");
        let story = Story::new();
        story.snapshot(&[]);
        only(&story.look(JobState::Failed).0, "1 files is left over");
    }

    #[test]
    fn a_copy_that_is_missing_or_differs_is_noticed() {
        let story = Story::new();
        story.copy(50, 1_000);
        only(&story.look(JobState::Completed).0, "does not equal");
        story.copy(51, 1_000);
        only(&story.look(JobState::Completed).0, "does not equal");
    }

    #[test]
    fn files_of_a_failed_job_and_files_beside_the_copies_are_noticed() {
        let story = Story::new();
        story.copy(50, 1_000);
        only(&story.look(JobState::Canceled).0, "1 files is left over");
        story.copy(51, 1_001);
        story.snapshot(&[50, 51]);
        story.copy(52, 1);
        only(&story.look(JobState::Completed).0, "1 files is left over");
    }

    #[test]
    fn a_job_whose_end_nobody_saw_is_judged_by_what_it_wrote() {
        let mut story = Story::new();
        story.copy(50, 1_000);
        story.copy(51, 1_001);
        story.snapshot(&[50, 51]);
        assert_eq!(story.look(JobState::Executing), (Vec::new(), FilesSeen { copies: 2, cleaned: 0 }));
        story.copy(51, 1_000);
        only(&story.look(JobState::Executing).0, "does not equal");

        // It failed on a file that it met there: that one is no copy of its own.
        story = Story::new();
        let foreign = story.submission.target_folder(50).join("0/1");
        let path = story.submission.target.join(&foreign);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder can be made");
        fs::write(path, FOREIGN_CONTENT).expect("a file can be written");
        story.submission.foreign = Some(foreign);
        assert_eq!(story.look(JobState::Executing), (Vec::new(), FilesSeen { copies: 0, cleaned: 1 }));
    }

    #[test]
    fn a_file_that_was_there_before_and_is_changed_is_noticed() {
        let mut story = Story::new();
        story.submission.foreign = Some(story.submission.target_folder(50).join("0/1"));
        story.copy(50, 7);
        only(&story.look(JobState::Failed).0, "was there before");
    }
}
