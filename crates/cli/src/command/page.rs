//! Lists page by page: as many items as were asked for, however the node cuts its pages.

use crate::output::note;
use clap::Args;

/// The most items one page may have.
const PAGE_SIZE_MAX: u32 = 1000;

/// How much of a list to get.
#[derive(Debug, Clone, Args)]
pub(super) struct PageOptions {
    /// List at most this many; 0: all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Go on where an earlier list ended.
    #[arg(long, value_name = "TOKEN", default_value = "")]
    page_token: String,
}

/// A page of a list.
pub(super) struct Page<I> {
    pub(super) items: Vec<I>,
    /// Empty at the end of the list.
    pub(super) next_page_token: String,
}

impl PageOptions {
    /// Gets pages, each by size and token, until there are enough items or no more.
    pub(super) async fn collect<I, F, Fut>(&self, get: F) -> Result<Page<I>, ferry_client::Error>
    where
        F: Fn(u32, String) -> Fut,
        Fut: Future<Output = Result<Page<I>, ferry_client::Error>>,
    {
        let mut page = Page { items: Vec::new(), next_page_token: self.page_token.clone() };
        while let Some(size) = self.missing(page.items.len()) {
            let next = get(size, page.next_page_token).await?;
            page.items.extend(next.items);
            page.next_page_token = next.next_page_token;
            if page.next_page_token.is_empty() {
                return Ok(page);
            }
        }
        note(&format!(
            "there may be more: go on with --page-token {}, or list all with --limit 0",
            page.next_page_token
        ));
        Ok(page)
    }

    /// The size of the next page; none when there are enough.
    fn missing(&self, have: usize) -> Option<u32> {
        if self.limit == 0 {
            return Some(PAGE_SIZE_MAX);
        }
        let have = u32::try_from(have).unwrap_or(u32::MAX);
        Some(self.limit.saturating_sub(have).min(PAGE_SIZE_MAX)).filter(|missing| *missing > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, PageOptions};

    /// Numbers from 0 to 9 in pages of at most 3, the second of which is empty.
    async fn numbers(size: u32, token: String) -> Result<Page<u32>, ferry_client::Error> {
        let (from, empty): (u32, bool) = match token.as_str() {
            "" => (0, false),
            "gap" => (3, true),
            from => (from.parse().expect("a token of ours"), false),
        };
        let to = if empty { from } else { (from + size.min(3)).min(10) };
        let next_page_token = match to {
            3 if !empty && from == 0 => "gap".to_owned(),
            10 => String::new(),
            to => to.to_string(),
        };
        Ok(Page { items: (from..to).collect(), next_page_token })
    }

    async fn collected(limit: u32, page_token: &str) -> (Vec<u32>, String) {
        let options = PageOptions { limit, page_token: page_token.to_owned() };
        let page = options.collect(numbers).await.expect("pages");
        (page.items, page.next_page_token)
    }

    #[tokio::test]
    async fn a_list_goes_on_over_short_and_empty_pages_to_its_end() {
        assert_eq!(collected(0, "").await, ((0..10).collect(), String::new()));
        assert_eq!(collected(100, "").await, ((0..10).collect(), String::new()));
    }

    #[tokio::test]
    async fn a_list_stops_at_its_limit_and_goes_on_from_there() {
        assert_eq!(collected(5, "").await, ((0..5).collect(), "5".to_owned()));
        assert_eq!(collected(2, "5").await, (vec![5, 6], "7".to_owned()));
    }
}
