//! Faults inside one process, by a preloaded library: slow or failing syncs, failing writes, a wrong wall clock.
//!
//! Invariant: the process and the test share one file, so a fault is switched while the process runs, and what bit is
//! counted where the test can see it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What building the library needs.
pub const TOOLS: &[&str] = &["cc"];

/// `EIO`, for [`Shim::fail_syncs`] and [`Shim::fail_writes`].
pub const IO_ERROR: i64 = nix::errno::Errno::EIO as i64;
/// `ENOSPC`, for the same.
pub const NO_SPACE: i64 = nix::errno::Errno::ENOSPC as i64;

/// The numbers in the shared file, in its order; `shim/faults.c` has the same.
#[derive(Debug, Clone, Copy)]
enum Field {
    SyncDelayMs,
    SyncError,
    WriteError,
    ClockOffsetS,
    SyncsSeen,
    SyncsDelayed,
    SyncsFailed,
    WritesFailed,
    ClocksShifted,
}

const FIELDS: u64 = Field::ClocksShifted as u64 + 1;

/// How often a process went through each of the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bites {
    /// Syncs that went through the library, with or without a fault.
    pub syncs_seen: i64,
    /// Syncs that took longer.
    pub syncs_delayed: i64,
    /// Syncs that failed.
    pub syncs_failed: i64,
    /// Writes that failed.
    pub writes_failed: i64,
    /// Looks at the wall clock that saw another time.
    pub clocks_shifted: i64,
}

/// The faults of one process, all of them off at first.
#[derive(Debug)]
pub struct Shim {
    control: PathBuf,
    file: File,
    under: PathBuf,
}

impl Shim {
    /// Faults for the files below the folder `under`, switched through the file `control`, which is made here.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[must_use]
    pub fn new(control: &Path, under: &Path) -> Self {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(control);
        let file = file.expect("the control file can be made");
        file.set_len(FIELDS * 8).expect("the control file can be made long enough");
        Self { control: control.to_path_buf(), file, under: under.to_path_buf() }
    }

    /// What the process must be started with.
    ///
    /// # Panics
    /// When the library cannot be built.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("LD_PRELOAD".to_owned(), text(library())),
            ("FERRY_FAULTS".to_owned(), text(&self.control)),
            ("FERRY_FAULTS_UNDER".to_owned(), text(&self.under)),
        ]
    }

    /// Every sync takes so much longer; zero switches it off and lets go those that wait.
    pub fn delay_syncs(&self, delay_ms: i64) {
        self.set(Field::SyncDelayMs, delay_ms);
    }

    /// Every sync fails with this error number; zero switches it off.
    pub fn fail_syncs(&self, errno: i64) {
        self.set(Field::SyncError, errno);
    }

    /// Every write fails with this error number; zero switches it off.
    pub fn fail_writes(&self, errno: i64) {
        self.set(Field::WriteError, errno);
    }

    /// The wall clock is so many seconds ahead, or behind; the monotonic one is not touched.
    pub fn shift_clock(&self, offset_s: i64) {
        self.set(Field::ClockOffsetS, offset_s);
    }

    /// What bit so far, over all processes that were started with this value.
    #[must_use]
    pub fn bites(&self) -> Bites {
        Bites {
            syncs_seen: self.get(Field::SyncsSeen),
            syncs_delayed: self.get(Field::SyncsDelayed),
            syncs_failed: self.get(Field::SyncsFailed),
            writes_failed: self.get(Field::WritesFailed),
            clocks_shifted: self.get(Field::ClocksShifted),
        }
    }

    fn set(&self, field: Field, value: i64) {
        self.file.write_all_at(&value.to_ne_bytes(), field as u64 * 8).expect("the control file can be written");
    }

    fn get(&self, field: Field) -> i64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, field as u64 * 8).expect("the control file can be read");
        i64::from_ne_bytes(bytes)
    }
}

/// The library, built once for each test process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/faults.c");
        let folder = crate::process::binary().parent().map(Path::to_path_buf).expect("the binary lies in a folder");
        let own = tempfile::NamedTempFile::new_in(&folder).expect("a file can be made beside the binary");
        let library = folder.join("libferry-faults.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([own.path(), source.as_path()])
            .output()
            .unwrap_or_else(|error| panic!("cc cannot be started: {error}; run scripts/setup"));
        assert!(built.status.success(), "the fault library: {}", String::from_utf8_lossy(&built.stderr));
        // Tests run at the same time in processes of their own, some as process 1 of a namespace: each replaces the file as
        // a whole, and shares no name with another on the way.
        own.persist(&library).expect("the library can be put in its place");
        library
    })
}
