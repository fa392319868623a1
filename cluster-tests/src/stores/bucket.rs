//! One bucket of a server, filled from folders and emptied into them by a client that is not Ferry's.

use super::Server;
use crate::tree;
use std::path::Path;
use std::sync::Arc;

/// A bucket; the server runs for as long as somebody has one.
#[derive(Debug, Clone)]
pub struct Bucket {
    server: Arc<Server>,
    name: &'static str,
}

impl Bucket {
    /// Makes it.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn make(server: Arc<Server>, name: &'static str) -> Self {
        server.make_bucket(name);
        Self { server, name }
    }

    /// The URI of what lies below a path in it.
    #[must_use]
    pub fn uri(&self, path: &Path) -> String {
        self.server.uri(self.name, &path.to_string_lossy())
    }

    /// Puts every file of a folder below a prefix, which ends in a slash.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn fill(&self, folder: &Path, prefix: &str) {
        for file in tree::files(folder) {
            self.server.put_file(self.name, &format!("{prefix}{}", file.display()), &folder.join(&file));
        }
    }

    /// Writes every object into a folder, below its key.
    ///
    /// # Panics
    /// When the server refuses, or a file cannot be written.
    pub fn fetch(&self, folder: &Path) {
        for key in self.server.keys(self.name, "") {
            let path = folder.join(&key);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder can be made");
            std::fs::write(&path, self.server.object(self.name, &key)).expect("a file can be written");
        }
    }

    /// The keys of uploads that nobody has finished or aborted.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn unfinished_uploads(&self) -> Vec<String> {
        self.server.unfinished_uploads(self.name)
    }
}
