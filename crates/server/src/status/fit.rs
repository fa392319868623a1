//! What an answer says of an error travels in headers, and clients give up on large ones: Python's begins to at 8 KiB. So
//! the first violations are told, then how many more there are, and long words, URIs mostly, are shortened in the middle.
//!
//! Invariant: message and details of an answer take less than 4 KiB as they travel.

use std::collections::BTreeSet;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Bytes of a message and its details, encoded as they travel.
const CARRIED_BYTES_MAX: usize = 4_000;
/// Bytes of a word that is told as it is, where there is room for it, and where there is not.
const WORD_BYTES_MAX: [usize; 2] = [400, 160];
/// Bytes of a long word that was told before.
const WORD_AGAIN_BYTES_MAX: usize = 48;
/// Bytes of the only violation, and of the name of its field, when nothing else helped: encoded in the worst way they fit.
const TEXT_BYTES_MAX: usize = 400;
const FIELD_BYTES_MAX: usize = 100;
/// Bytes of a message without violations when nothing else helped.
const MESSAGE_BYTES_MAX: usize = 1_200;

/// A status with the first of so many violations.
pub(super) fn with_violations(code: Code, violations: &[FieldViolation], total: usize) -> Status {
    debug_assert!(!violations.is_empty() && violations.len() <= total, "violations that are told are counted too");
    let mut short = Vec::new();
    for word_bytes_max in WORD_BYTES_MAX {
        short = shortened(violations, word_bytes_max);
        let status = told(code, &short, total);
        if fits(&status) {
            return status;
        }
    }
    for count in (1..short.len()).rev() {
        let status = told(code, &short[..count], total);
        if fits(&status) {
            return status;
        }
    }
    let first = short
        .first()
        .map(|first| FieldViolation::new(cut(&first.field, FIELD_BYTES_MAX), cut(&first.description, TEXT_BYTES_MAX)));
    told(code, first.as_slice(), total)
}

fn told(code: Code, violations: &[FieldViolation], total: usize) -> Status {
    let mut sentences: Vec<String> =
        violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect();
    let mut violations = violations.to_vec();
    let untold = total - violations.len();
    if untold > 0 {
        let count = format!("and {untold} more");
        sentences.push(count.clone());
        violations.push(FieldViolation::new("", count));
    }
    Status::with_error_details(code, sentences.join("; "), ErrorDetails::with_bad_request(violations))
}

/// The same status in less words, unless it fits as it is.
pub(crate) fn fitted(status: &Status) -> Option<Status> {
    if fits(status) {
        return None;
    }
    let violations = status.get_details_bad_request().map(|told| told.field_violations).unwrap_or_default();
    let mut short = match violations.len() {
        0 => Status::new(status.code(), short_message(status.message())),
        total => with_violations(status.code(), &violations, total),
    };
    *short.metadata_mut() = status.metadata().clone();
    Some(short)
}

fn short_message(message: &str) -> String {
    let [_, word_bytes_max] = WORD_BYTES_MAX;
    let shortened = Shortener { word_bytes_max, told: BTreeSet::new() }.shorten(message);
    let fits = encoded_bytes(&shortened) <= CARRIED_BYTES_MAX;
    if fits { shortened } else { cut(&shortened, MESSAGE_BYTES_MAX) }
}

fn shortened(violations: &[FieldViolation], word_bytes_max: usize) -> Vec<FieldViolation> {
    let mut shortener = Shortener { word_bytes_max, told: BTreeSet::new() };
    let mut shorten = |violation: &FieldViolation| {
        FieldViolation::new(cut(&violation.field, word_bytes_max), shortener.shorten(&violation.description))
    };
    violations.iter().map(&mut shorten).collect()
}

/// Shortens long words, most of all those that were told before.
struct Shortener {
    word_bytes_max: usize,
    told: BTreeSet<String>,
}

impl Shortener {
    fn shorten(&mut self, text: &str) -> String {
        text.split_inclusive(char::is_whitespace).map(|word| self.shorten_word(word)).collect()
    }

    fn shorten_word(&mut self, word: &str) -> String {
        let name = word.trim_matches(|letter: char| letter.is_whitespace() || ",;:.()\"'".contains(letter));
        if name.len() <= self.word_bytes_max {
            return word.to_owned();
        }
        let is_first = self.told.insert(name.to_owned());
        word.replace(name, &cut(name, if is_first { self.word_bytes_max } else { WORD_AGAIN_BYTES_MAX }))
    }
}

/// A text of so many bytes at most: of a longer one, what it begins and ends with.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    const GAP: &str = "...";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let kept = bytes_max.saturating_sub(GAP.len());
    let (head, tail) = (text.floor_char_boundary(kept / 2), text.ceil_char_boundary(text.len() - (kept - kept / 2)));
    format!("{}{GAP}{}", &text[..head], &text[tail..])
}

fn fits(status: &Status) -> bool {
    encoded_bytes(status.message()) + status.details().len().div_ceil(3) * 4 <= CARRIED_BYTES_MAX
}

/// Bytes of a message in its header, where some are escaped as three.
fn encoded_bytes(message: &str) -> usize {
    let escaped = |byte: &u8| !byte.is_ascii_graphic() || b"\"#%<>`?{}".contains(byte);
    message.len() + 2 * message.as_bytes().iter().filter(|byte| escaped(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(letter: char, end: &str) -> String {
        format!("s3://bucket/{}/{end}", letter.to_string().repeat(4_000))
    }

    fn violations(count: usize, description: impl Fn(usize) -> String) -> Vec<FieldViolation> {
        (0..count).map(|index| FieldViolation::new(format!("id_mappings[{index}]"), description(index))).collect()
    }

    /// Violations as a client finds them.
    fn found(status: &Status) -> Vec<FieldViolation> {
        status.get_details_bad_request().expect("details").field_violations
    }

    #[test]
    fn what_fits_is_told_as_it_is() {
        let told = violations(3, |index| format!("is {index}, which the snapshot {} lacks", uri('a', "b").len()));
        let status = with_violations(Code::InvalidArgument, &told, 3);
        let pairs = |violations: &[FieldViolation]| -> Vec<(String, String)> {
            violations.iter().map(|one| (one.field.clone(), one.description.clone())).collect()
        };
        assert_eq!(pairs(&found(&status)), pairs(&told));
        assert!(status.message().starts_with("id_mappings[0]: is 0, which"), "{}", status.message());
        assert!(fitted(&status).is_none());
    }

    #[test]
    fn the_first_violations_are_told_and_the_others_counted() {
        let status = with_violations(Code::InvalidArgument, &violations(8, |_| "x".repeat(150)), 100);
        let found = found(&status);
        let (count, told) = found.split_last().expect("some");
        assert!(!told.is_empty() && told.len() < 8);
        assert_eq!((count.field.as_str(), count.description.clone()), ("", format!("and {} more", 100 - told.len())));
        assert!(status.message().ends_with(&format!("; and {} more", 100 - told.len())), "{}", status.message());
        assert!(fits(&status));
    }

    #[test]
    fn a_long_uri_is_told_once_and_keeps_its_ends() {
        let uri = uri('a', "metadata/5.json");
        let told = violations(3, |index| format!("is {index}, which the snapshot {uri} does not have: see {uri}, too"));
        let status = with_violations(Code::NotFound, &told, 3);
        let found = found(&status);
        assert_eq!(found.len(), 3);
        assert!(found[0].description.contains("snapshot s3://bucket/aaa"), "{}", found[0].description);
        assert!(found[0].description.contains("aaa/metadata/5.json does not have"), "{}", found[0].description);
        assert!(found[1].description.len() < 150, "{}", found[1].description);
        assert!(found[1].description.ends_with("metadata/5.json, too"), "{}", found[1].description);
        assert!(fits(&status), "{}", status.message());
    }

    #[test]
    fn whatever_a_status_says_fits() {
        let texts =
            [uri('a', "b"), "ü".repeat(4_000), "% ".repeat(4_000), "a b ".repeat(4_000), "\u{1F980}".repeat(900)];
        for text in &texts {
            for count in [1, 8] {
                let many = violations(count, |index| format!("{index} {text}"));
                assert!(fits(&with_violations(Code::InvalidArgument, &many, 1_000_000)), "{text:.20}");
                let field = FieldViolation::new(text.clone(), text.clone());
                assert!(fits(&with_violations(Code::InvalidArgument, &vec![field; count], 8)), "{text:.20}");
            }
            let mut long = Status::unavailable(format!("the store of {text} does not answer: {text}"));
            long.metadata_mut().insert("ferry-revision", tonic::metadata::MetadataValue::from(7));
            let short = fitted(&long).expect("it does not fit");
            assert!(fits(&short) && short.code() == Code::Unavailable, "{}", short.message());
            assert!(short.message().starts_with("the store of") && short.metadata().contains_key("ferry-revision"));
        }
    }
}
