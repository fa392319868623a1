//! The vote: a small file of its own, durable when `save` returns, whole or as it was after a crash.
//!
//! An election waits for this file on every voter, so a save costs one sync of a block that is there already: votes go into
//! two slots in turn, each a block of the file, and the one with the higher number counts. What a slot holds fits into one
//! sector, which disks write as a whole; so a slot that is damaged is no torn write, and may have held the newest vote.

use crate::disk::{Disk, SAVING_THE_VOTE};
use crate::files::{self, FileError, Named};
use ferry_planted::Bug;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

/// The vote cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VoteError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what this program writes: a node without its vote could vote twice in one term.
    #[error(
        "{} is damaged, and a node that forgot its vote could vote twice: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is gone though the node has taken part in a cluster.
    #[error(
        "{} is missing though this node has a log, and a node that forgot its vote could vote twice: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

/// The file that holds the vote.
#[derive(Debug, Clone)]
pub struct VoteFile {
    path: PathBuf,
    disk: Disk,
}

/// A vote and its number; votes are numbered from 1 on, odd ones go into the second slot.
struct Slot {
    number: u64,
    vote: Vec<u8>,
}

/// A block of a file system, so that writing one slot never writes the other.
const SLOT_BYTES: usize = 4_096;
const SECTOR_BYTES: usize = 512;
/// First byte of a slot that is not empty.
const FORMAT: u8 = 1;
/// Format, number, length of the vote.
const HEAD_BYTES: usize = 1 + 8 + 2;

impl VoteFile {
    /// Opens the file, or makes it without a vote.
    pub(crate) fn open(path: PathBuf, disk: Disk) -> Result<Self, VoteError> {
        if files::read_optional(&path)?.is_none() {
            files::write_atomically(&path, &[0; 2 * SLOT_BYTES])?;
        }
        let file = Self { path, disk };
        // It may have been written and not synced when the node ended: what is believed from here on must be durable, and
        // before the other slot is written.
        if let Some(newest) = file.newest()? {
            file.put(newest.number, &newest.vote)?;
        }
        Ok(file)
    }

    /// The error of a vote that is not there though it must have been saved.
    #[must_use]
    pub fn missing(&self) -> VoteError {
        VoteError::Missing { path: self.path.clone() }
    }

    /// The last vote saved; `None` before the first.
    pub fn load(&self) -> Result<Option<Vec<u8>>, VoteError> {
        Ok(self.newest()?.map(|slot| slot.vote))
    }

    /// Replaces the vote; durable on return.
    ///
    /// # Panics
    /// When the vote does not fit into a sector.
    pub fn save(&self, vote: &[u8]) -> Result<(), VoteError> {
        // A node that never wrote a vote does not start again, which would catch the bug before it bites.
        if ferry_planted::is(Bug::VoteNotSynced) && self.newest()?.is_some() {
            self.save_late(vote.to_vec());
            return Ok(());
        }
        self.disk.during(SAVING_THE_VOTE, || self.write(vote))
    }

    fn write(&self, vote: &[u8]) -> Result<(), VoteError> {
        let number = self.newest()?.map_or(0, |newest| newest.number) + 1;
        self.put(number, vote)
    }

    fn put(&self, number: u64, vote: &[u8]) -> Result<(), VoteError> {
        let offset = if number.is_multiple_of(2) { 0 } else { SLOT_BYTES as u64 };
        let file = OpenOptions::new().write(true).open(&self.path).named("open", &self.path)?;
        file.write_all_at(&encode(number, vote), offset).named("write", &self.path)?;
        Ok(file.sync_data().named("sync", &self.path)?)
    }

    /// What a planted bug takes for saving.
    fn save_late(&self, vote: Vec<u8>) {
        let file = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(5));
            file.write(&vote)
        });
    }

    fn newest(&self) -> Result<Option<Slot>, VoteError> {
        let bytes = fs::read(&self.path).named("read", &self.path)?;
        newest(&bytes).ok_or_else(|| VoteError::Damaged { path: self.path.clone() })
    }
}

/// CRC32C (big-endian) of what follows, the format, the number, the length, the vote; zeros up to the end.
fn encode(number: u64, vote: &[u8]) -> [u8; SLOT_BYTES] {
    assert!(4 + HEAD_BYTES + vote.len() <= SECTOR_BYTES, "a vote of {} bytes does not fit into a sector", vote.len());
    let length = u16::try_from(vote.len()).expect("it fits into a sector");
    let content = [&[FORMAT][..], &number.to_be_bytes(), &length.to_be_bytes(), vote].concat();
    let mut slot = [0; SLOT_BYTES];
    slot[..4].copy_from_slice(&crc32c::crc32c(&content).to_be_bytes());
    slot[4..4 + content.len()].copy_from_slice(&content);
    slot
}

/// The slot that counts, if there is one; nothing where the file is damaged.
fn newest(bytes: &[u8]) -> Option<Option<Slot>> {
    let (even, odd) = bytes.split_at_checked(SLOT_BYTES).filter(|(_, odd)| odd.len() == SLOT_BYTES)?;
    match (decode(even, 0)?, decode(odd, 1)?) {
        (None, None) => Some(None),
        (None, Some(first)) => (first.number == 1).then_some(Some(first)),
        // Every second vote follows a first one.
        (Some(_), None) => None,
        (Some(even), Some(odd)) if even.number + 1 == odd.number => Some(Some(odd)),
        (Some(even), Some(odd)) => (odd.number + 1 == even.number).then_some(Some(even)),
    }
}

/// What a slot holds, `None` while it is empty; nothing where it is damaged.
fn decode(slot: &[u8], parity: u64) -> Option<Option<Slot>> {
    if slot.iter().all(|byte| *byte == 0) {
        return Some(None);
    }
    let (stored, content) = slot.split_first_chunk::<4>()?;
    let (head, rest) = content.split_first_chunk::<HEAD_BYTES>()?;
    let [format, number @ .., high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (vote, padding) = rest.split_at_checked(length)?;
    let number = u64::from_be_bytes(number);
    let whole = crc32c::crc32c(&content[..HEAD_BYTES + length]) == u32::from_be_bytes(*stored)
        && format == FORMAT
        && number % 2 == parity
        && padding.iter().all(|byte| *byte == 0);
    whole.then(|| Some(Slot { number, vote: vote.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(even: Option<u64>, odd: Option<u64>) -> Vec<u8> {
        let slot = |number: Option<u64>| number.map_or([0; SLOT_BYTES], |number| encode(number, b"a vote"));
        [slot(even), slot(odd)].concat()
    }

    fn counts(even: Option<u64>, odd: Option<u64>) -> Option<Option<u64>> {
        newest(&file_of(even, odd)).map(|slot| slot.map(|slot| slot.number))
    }

    #[test]
    fn the_later_of_two_votes_counts_and_one_that_lacks_its_neighbour_is_damaged() {
        assert_eq!(counts(None, None), Some(None));
        assert_eq!(counts(None, Some(1)), Some(Some(1)));
        assert_eq!(counts(Some(2), Some(1)), Some(Some(2)));
        assert_eq!(counts(Some(2), Some(3)), Some(Some(3)));
        for (even, odd) in [(Some(2), None), (None, Some(3)), (Some(2), Some(5)), (Some(6), Some(3)), (Some(1), None)] {
            assert_eq!(counts(even, odd), None, "{even:?}, {odd:?}");
        }
    }

    #[test]
    fn no_byte_of_the_file_can_change_unseen() {
        let file = file_of(Some(2), Some(3));
        for place in 0..file.len() {
            let mut damaged = file.clone();
            damaged[place] ^= 1;
            assert!(newest(&damaged).is_none(), "byte {place}");
        }
    }

    #[test]
    fn the_bytes_of_a_vote_stay_as_they_were_first_written() {
        let written = encode(3, b"term 1");
        let head: String = written[..21].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(&head[8..], "010000000000000003".to_owned() + "0006" + "7465726d2031");
        assert!(written[21..].iter().all(|byte| *byte == 0));
        assert_eq!(written[..4], crc32c::crc32c(&written[4..21]).to_be_bytes());
    }
}
