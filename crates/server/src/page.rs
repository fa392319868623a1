//! Pages of lists: sizes and tokens. A token names the last row that was looked at, of one kind of list.

use crate::status::{Violations, invalid};
use tonic::Status;

/// Rows of a page where the request does not say.
const SIZE_DEFAULT: u32 = 100;
/// Rows of a page, and ids of one lookup, at most.
pub(crate) const SIZE_MAX: u32 = 1_000;
/// Rows one page looks at, so that no filter makes a call slow; the page may then be short or empty.
pub(crate) const SCANNED_MAX: usize = 10_000;
/// Rows read from the store at once while a page is filled.
const CHUNK_ROWS: usize = 500;

/// Which list a token belongs to; a token of another one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Jobs,
    Tasks,
    Segments,
    Workers,
}

impl List {
    fn letter(self) -> u8 {
        match self {
            Self::Jobs => b'j',
            Self::Tasks => b't',
            Self::Segments => b's',
            Self::Workers => b'w',
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    list: List,
    /// Rows to answer with, at most.
    pub(crate) size: usize,
    /// The id after which the page begins.
    pub(crate) after: Option<i64>,
}

impl Page {
    /// Reads size and token.
    pub(crate) fn of(list: List, size: u32, token: &str) -> Result<Self, Status> {
        let mut violations = Violations::default();
        violations.require(size <= SIZE_MAX, "page_size", || format!("is {size}: ask for at most {SIZE_MAX}"));
        violations.into_result()?;
        let size = if size == 0 { SIZE_DEFAULT } else { size };
        Ok(Self { list, size: size as usize, after: after(list, token)? })
    }

    /// The token of the page that begins after an id.
    fn token_after(&self, id: i64) -> String {
        let letter = char::from(self.list.letter());
        format!("{letter}{id:x}.{:02x}", check_byte(self.list.letter(), id))
    }
}

fn after(list: List, token: &str) -> Result<Option<i64>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let id = token.strip_prefix(char::from(list.letter())).and_then(|rest| {
        let (id, check) = rest.split_once('.')?;
        let id = i64::from_str_radix(id, 16).ok()?;
        (check == format!("{:02x}", check_byte(list.letter(), id))).then_some(id)
    });
    match id {
        Some(id) if id >= 0 => Ok(Some(id)),
        _ => Err(invalid("page_token", "is not a token of this list: pass on next_page_token as it was answered")),
    }
}

fn check_byte(letter: u8, id: i64) -> u8 {
    id.to_be_bytes().into_iter().fold(letter, |sum, byte| sum.rotate_left(3) ^ byte)
}

/// Fills a page. `scan` looks at up to so many rows after an id and gives those that can be seen, each with its id,
/// and where to go on; `keep` decides which are answered.
pub(crate) fn fill<R, T>(
    page: &Page,
    mut scan: impl FnMut(Option<i64>, usize) -> (Vec<(i64, R)>, Option<i64>),
    mut keep: impl FnMut(R) -> Option<T>,
) -> (Vec<T>, String) {
    let mut kept = Vec::new();
    let mut after = page.after;
    for _ in 0..SCANNED_MAX / CHUNK_ROWS {
        let (rows, next) = scan(after, CHUNK_ROWS);
        for (id, row) in rows {
            if kept.len() == page.size {
                return (kept, after.map(|id| page.token_after(id)).unwrap_or_default());
            }
            after = Some(id);
            kept.extend(keep(row));
        }
        if next.is_none() {
            return (kept, String::new());
        }
        after = next;
    }
    (kept, after.map(|id| page.token_after(id)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one look finds: numbers with their ids, and where to go on.
    type Looked = (Vec<(i64, i64)>, Option<i64>);

    /// A list of the numbers from 1 to `count`; as with hidden rows, every third is looked at but not seen.
    fn numbers(count: i64) -> impl FnMut(Option<i64>, usize) -> Looked {
        move |after, rows_max| {
            let looked_at: Vec<i64> = (after.unwrap_or(0) + 1..=count).take(rows_max).collect();
            let next = looked_at.last().copied().filter(|_| looked_at.len() == rows_max);
            (looked_at.into_iter().filter(|id| id % 3 != 0).map(|id| (id, id)).collect(), next)
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let mut token = String::new();
        let mut seen = Vec::new();
        loop {
            let page = Page::of(List::Jobs, 7, &token).unwrap();
            let (rows, next) = fill(&page, numbers(3_000), |row| (row % 2 == 0).then_some(row));
            assert!(rows.len() <= 7);
            seen.extend(rows);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, (1..=3_000).filter(|id| id % 2 == 0 && id % 3 != 0).collect::<Vec<_>>());
    }

    #[test]
    fn a_filter_that_matches_nothing_ends_a_page_after_the_scan_limit_and_not_the_list() {
        let page = Page::of(List::Jobs, 10, "").unwrap();
        let rows = i64::try_from(SCANNED_MAX).unwrap() + 1;
        assert_ne!(rows % 3, 0);
        let (kept, next) = fill(&page, numbers(rows), |row| (row == rows).then_some(row));
        assert_eq!(kept, Vec::<i64>::new());
        let page = Page::of(List::Jobs, 10, &next).unwrap();
        let (kept, next) = fill(&page, numbers(rows), |row| (row == rows).then_some(row));
        assert_eq!((kept, next), (vec![rows], String::new()));
    }

    #[test]
    fn a_full_last_page_says_that_the_list_is_at_its_end() {
        let page = Page::of(List::Jobs, 10, "").unwrap();
        let (kept, next) = fill(&page, numbers(15), Some);
        assert_eq!((kept.len(), next), (10, String::new()));
    }

    #[test]
    fn a_token_of_another_list_or_a_changed_one_is_refused() {
        let token = Page::of(List::Jobs, 1, "").unwrap().token_after(255);
        assert_eq!(Page::of(List::Jobs, 1, &token).unwrap().after, Some(255));
        for (list, token) in [
            (List::Tasks, token.as_str()),
            (List::Jobs, "jfe.00"),
            (List::Jobs, "j-1.00"),
            (List::Jobs, "jff"),
            (List::Jobs, "garbage"),
            (List::Jobs, "\u{0}"),
        ] {
            let status = Page::of(list, 1, token).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{token}");
            assert!(status.message().starts_with("page_token: "), "{}", status.message());
        }
    }

    #[test]
    fn a_page_larger_than_the_limit_is_refused() {
        let status = Page::of(List::Jobs, SIZE_MAX + 1, "").unwrap_err();
        assert!(status.message().contains("page_size: is 1001: ask for at most 1000"), "{}", status.message());
    }
}
