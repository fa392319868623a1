//! `ferry cluster backup`: one file with all rows, of a cluster that runs or of the folder of a stopped node. The file
//! is there whole, under its name and on the disk, or not at all.

use crate::command::Context;
use crate::connection::ReadOptions;
use crate::exit::Failure;
use crate::output::note;
use anyhow::Context as _;
use clap::Args;
use ferry_proto::v1::BackupRequest;
use ferry_proto::v1::backup_response::Part;
use ferry_server::{BackupFileError, BackupHeader, read_backup};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

/// Write the rows of the cluster to one file, from any node; `ferry cluster restore` makes a new cluster of it.
///
/// With --data-dir the file is made from the folder of a node that does not run: the way out when a cluster has lost
/// its quorum for ever. Everything in that node's log goes in, to its last entry: what the node did not know to be
/// committed may have been acknowledged. Where more than one folder is left, back up each, and take the file with the
/// highest term, and of those the one with the highest revision. A node whose folder gave such entries does not start
/// again.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    overwrite: bool,
    /// The folder of a stopped node, instead of a cluster that runs.
    #[arg(long, value_name = "DIR", conflicts_with = "stale")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    read: ReadOptions,
}

impl Backup {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.file.exists() && !self.overwrite {
            let path = self.file.display();
            return Err(
                Failure::Usage(format!("{path} is there already: name another file, or add --overwrite")).into()
            );
        }
        let temporary = temporary_of(&self.file)?;
        let made = self.make(&temporary, context).await;
        let header = made.inspect_err(|_| {
            // What cannot be removed is in nobody's way: the next backup has a name of its own.
            let _ = std::fs::remove_file(&temporary);
        })?;
        std::fs::rename(&temporary, &self.file)
            .with_context(|| format!("{} cannot be given its name", self.file.display()))?;
        File::open(folder_of(&self.file))
            .and_then(|folder| folder.sync_all())
            .context("the folder cannot be synced")?;
        note(&format!(
            "{} holds cluster {} as of term {}, revision {}; make new nodes of it with `ferry cluster restore --file {}`",
            self.file.display(),
            header.cluster_id,
            header.term,
            header.index,
            self.file.display()
        ));
        Ok(())
    }

    /// Writes the file, syncs it and reads it again.
    async fn make(&self, temporary: &Path, context: &Context) -> anyhow::Result<BackupHeader> {
        let at = || format!("{} cannot be written", temporary.display());
        let mut file = File::create_new(temporary).with_context(at)?;
        match &self.data_dir {
            Some(folder) => ferry_server::backup_of_folder(folder)?.write(&mut file)?,
            None => self.fetch(&mut file, context).await?,
        }
        file.sync_all().with_context(at)?;
        let written = BufReader::new(File::open(temporary).with_context(at)?);
        Ok(read_backup(written, |_, _, _| Ok::<_, BackupFileError>(()))?)
    }

    async fn fetch(&self, file: &mut File, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.read.call.timeout)?;
        let mut parts = client.backup(BackupRequest { consistency: self.read.consistency() }).await?.message;
        let mut bytes = 0;
        while let Some(part) =
            parts.message().await.map_err(|status| Failure::BrokenOff(status.message().to_owned()))?
        {
            match part.part {
                Some(Part::Chunk(chunk)) => {
                    let fits = chunk.offset == bytes && crc32c::crc32c(&chunk.data) == chunk.crc32c;
                    if !fits {
                        return Err(Failure::BrokenOff(format!("it was damaged on its way, at byte {bytes}")).into());
                    }
                    file.write_all(&chunk.data).with_context(|| format!("{} is not written", self.file.display()))?;
                    bytes += chunk.data.len() as u64;
                }
                Some(Part::End(end)) if end.bytes == bytes => return Ok(()),
                Some(Part::End(_)) | None => break,
            }
        }
        Err(Failure::BrokenOff(format!("it ended after {bytes} bytes")).into())
    }
}

fn temporary_of(output: &Path) -> anyhow::Result<PathBuf> {
    let name = output.file_name().ok_or_else(|| Failure::Usage("--file names no file".to_owned()))?;
    Ok(output.with_file_name(format!("{}.{}.partial", name.to_string_lossy(), std::process::id())))
}

fn folder_of(output: &Path) -> &Path {
    output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
