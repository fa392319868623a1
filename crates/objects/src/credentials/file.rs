//! Credentials in a file, which is read again when it has changed: whoever renews them need not start the process again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use object_store::CredentialProvider;

use crate::blocking::blocking;
use crate::connect::failed;

/// The file is looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A larger file is no file of credentials.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Gives the credentials that a file's content means.
type Provider<C> = Arc<dyn CredentialProvider<Credential = C>>;
/// Makes them of the content, or says what is wrong with it without repeating any of it.
type Read<C> = dyn Fn(&str) -> Result<Provider<C>, String> + Send + Sync;

/// Tells one content of a file from the next.
type Stamp = (u64, Option<SystemTime>);

/// Credentials that follow a file.
pub(crate) struct Watched<C> {
    path: PathBuf,
    store: &'static str,
    read: Arc<Read<C>>,
    state: Mutex<State<C>>,
}

struct State<C> {
    stamp: Stamp,
    looked: Instant,
    provider: Provider<C>,
}

impl<C: Send + Sync + 'static> Watched<C> {
    /// Reads the file for the first time; `store` names the kind of store in errors.
    pub(crate) fn new(
        path: &Path,
        store: &'static str,
        read: impl Fn(&str) -> Result<Provider<C>, String> + Send + Sync + 'static,
    ) -> object_store::Result<Self> {
        let read: Arc<Read<C>> = Arc::new(read);
        let (stamp, provider) = load(path, read.as_ref()).map_err(|fault| failed(store, fault))?;
        let state = Mutex::new(State { stamp, looked: Instant::now(), provider });
        Ok(Self { path: path.to_owned(), store, read, state })
    }

    /// Those that were read last, where the file need not be looked at again.
    fn fresh(&self) -> Result<Provider<C>, (Stamp, Provider<C>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK_EVERY {
            return Ok(Arc::clone(&state.provider));
        }
        state.looked = Instant::now();
        Err((state.stamp, Arc::clone(&state.provider)))
    }

    async fn provider(&self) -> Provider<C> {
        let (stamp, last) = match self.fresh() {
            Ok(provider) => return provider,
            Err(last) => last,
        };
        let (path, read) = (self.path.clone(), Arc::clone(&self.read));
        let changed = blocking(move || match stamp_of(&path) {
            Ok(now) if now == stamp => Ok(None),
            Ok(_) => load(&path, read.as_ref()).map(Some),
            Err(fault) => Err(fault),
        });
        match changed.await {
            Ok(None) => last,
            Ok(Some((stamp, provider))) => {
                tracing::info!(file = %self.path.display(), "credentials were read again");
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                (state.stamp, state.provider) = (stamp, Arc::clone(&provider));
                provider
            }
            // Whoever replaces the file may be in the middle of it: the next look tells.
            Err(fault) => {
                tracing::warn!(%fault, store = self.store, "the last credentials are used on");
                last
            }
        }
    }
}

fn stamp_of(path: &Path) -> Result<Stamp, String> {
    let meta = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(format!("the credentials file {} is larger than {FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok((meta.len(), meta.modified().ok()))
}

fn load<C>(path: &Path, read: &Read<C>) -> Result<(Stamp, Provider<C>), String> {
    let stamp = stamp_of(path)?;
    let content = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let provider = read(&content).map_err(|fault| format!("the credentials file {}: {fault}", path.display()))?;
    Ok((stamp, provider))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("the credentials file {} cannot be read: {error}", path.display())
}

#[async_trait]
impl<C: Send + Sync + 'static> CredentialProvider for Watched<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        self.provider().await.get_credential().await
    }
}

impl<C> fmt::Debug for Watched<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watched").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::StaticCredentialProvider;

    fn words(content: &str) -> Result<Provider<String>, String> {
        match content.trim() {
            "" => Err("it is empty".to_owned()),
            word => Ok(Arc::new(StaticCredentialProvider::new(word.to_owned()))),
        }
    }

    async fn until(watched: &Watched<String>, word: &str) {
        let began = Instant::now();
        while *watched.get_credential().await.unwrap() != word {
            assert!(began.elapsed() < Duration::from_mins(1), "{word:?} was not read");
            tokio::time::sleep(LOOK_EVERY / 10).await;
        }
    }

    #[tokio::test]
    async fn credentials_follow_their_file_and_stay_while_it_says_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Watched::new(file.path(), "S3", words).unwrap_err().to_string().contains("it is empty"));
        std::fs::write(file.path(), "first").unwrap();
        let watched = Watched::new(file.path(), "S3", words).unwrap();
        until(&watched, "first").await;
        std::fs::write(file.path(), "second one").unwrap();
        until(&watched, "second one").await;
        std::fs::write(file.path(), "").unwrap();
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert_eq!(*watched.get_credential().await.unwrap(), "second one");
        std::fs::remove_file(file.path()).unwrap();
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert_eq!(*watched.get_credential().await.unwrap(), "second one");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Watched::new(Path::new("/nowhere/credentials"), "S3", words).unwrap_err().to_string();
        assert!(error.contains("/nowhere/credentials cannot be read"), "{error}");
    }
}
