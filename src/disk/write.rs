//! Writing a planned disk: into a file, any [`Write`], a block device, or a sink that takes it block by block.

use super::Disk;
use crate::checksum::BlockChecksums;
use crate::content::Contents as _;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{self, Format, Identity, ImagePlan};
use crate::output::{self, AtomicFile, Device, Output, Pipe};
use crate::report::{FileSummary, REPORT_VERSION, Report};
use crate::stream::{self, BlockSink, Blocks, Cancel, OnProgress, StreamOptions};
use crate::units::Size;
use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

/// How a disk is written.
pub struct WriteOptions<'a> {
    /// Replace an existing file.
    pub force: bool,
    /// Threads, and whether the file is hashed as a whole.
    pub stream: StreamOptions,
    /// Told how far it is, on the caller's thread, at most ten times a second; `Break` cancels.
    pub progress: Box<OnProgress<'a>>,
    /// A wish to stop, from anywhere.
    pub cancel: Cancel,
}

impl Default for WriteOptions<'_> {
    /// Replaces nothing, all threads, no progress.
    fn default() -> Self {
        Self { force: false, stream: StreamOptions::default(), progress: Box::new(|_| ControlFlow::Continue(())), cancel: Cancel::new() }
    }
}

impl fmt::Debug for WriteOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteOptions").field("force", &self.force).field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// What was written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Written {
    /// The report, from which every document is written.
    pub report: Report,
    /// State and digest of every 512-KiB block.
    pub checksums: BlockChecksums,
}

/// An image that is complete but does not have its name yet.
#[derive(Debug)]
pub struct Unnamed {
    file: AtomicFile,
}

impl Unnamed {
    /// Gives the image its name.
    ///
    /// # Errors
    /// As [`AtomicFile::commit`].
    pub fn commit(self) -> Result<()> {
        self.file.commit()
    }
}

impl Disk {
    /// Writes the disk into a file that appears under its name when it is whole; replaces nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`], also where the file is one of the sources; those of the sources; I/O.
    pub fn write_file(&self, path: impl AsRef<Path>, format: Format) -> Result<Report> {
        let (written, image) = self.write_unnamed(path, format, WriteOptions::default())?;
        image.commit()?;
        Ok(written.report)
    }

    /// Writes the disk into a file that gets its name by [`Unnamed::commit`]: what belongs beside it can be put there
    /// first. Dropped, it leaves nothing behind.
    ///
    /// # Errors
    /// As [`Disk::write_file`]; [`ErrorKind::Cancelled`].
    pub fn write_unnamed(&self, path: impl AsRef<Path>, format: Format, options: WriteOptions<'_>) -> Result<(Written, Unnamed)> {
        let path = path.as_ref();
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        self.refuse_inputs(path)?;
        let mut file = AtomicFile::create(path, options.force)?;
        // The sources name their own paths; only what has none is the output's.
        let written = self.stream_into(&mut file, format, options).map_err(named)?;
        Ok((written, Unnamed { file }))
    }

    /// Writes the disk to anything that takes bytes. It is left alone where this fails: what it got is to be thrown away.
    ///
    /// # Errors
    /// Those of the sources and of `to`; [`ErrorKind::Cancelled`].
    pub fn write_to(&self, to: impl Write, format: Format, options: WriteOptions<'_>) -> Result<Written> {
        self.stream_into(&mut Pipe::new(to), format, options)
    }

    /// Writes the disk onto a block device, in place: data and zeros are written, unused blocks left as they are.
    ///
    /// # Errors
    /// A device that is too small or in use; those of the sources; I/O. The device's old contents are gone then.
    pub fn write_device(&self, path: impl AsRef<Path>, options: WriteOptions<'_>) -> Result<Written> {
        let path = path.as_ref();
        self.refuse_inputs(path)?;
        let mut device = Device::open(path, self.size_bytes())?;
        self.stream_into(&mut device, Format::Raw, options).map_err(|error| error.at_path(path.as_os_str().as_encoded_bytes()))
    }

    /// Gives every used block to `sink`, ascending, with its state and checksum. What the sink loses,
    /// [`Disk::read_block`] makes again, from any thread.
    ///
    /// # Errors
    /// Those of the sources and of the sink; [`ErrorKind::Cancelled`].
    pub fn send_to(&self, sink: &mut dyn BlockSink, mut options: WriteOptions<'_>) -> Result<Written> {
        let checksums = stream::run_to_sink(self.blocks(), sink, &options.stream, &mut options.progress, &options.cancel)?;
        let file = FileSummary { format: Format::Raw.to_string(), size_bytes: self.size_bytes(), sha256: None };
        Ok(Written { report: self.report(file, &checksums), checksums })
    }

    fn stream_into(&self, output: &mut dyn Output, format: Format, mut options: WriteOptions<'_>) -> Result<Written> {
        let image = self.plan_image(format)?;
        let summary = stream::run(self.blocks(), image, output, &options.stream, &mut options.progress, &options.cancel)?;
        Ok(Written { report: self.report(summary.file, &summary.checksums), checksums: summary.checksums })
    }

    fn blocks(&self) -> Blocks<'_> {
        Blocks { layout: &*self.0, contents: &self.0.contents, map: &self.0.allocation }
    }

    /// Refuses to replace what the disk is made from: a source, or a file in a directory that is one.
    pub(crate) fn refuse_inputs(&self, path: &Path) -> Result<()> {
        let refused = |message: &str| Err(Error::new(ErrorKind::Exists, message).at_path(path.as_os_str().as_encoded_bytes()));
        if self.0.inputs.iter().any(|input| output::same_file(input, path)) {
            return refused("the output is one of the inputs");
        }
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() && self.0.contents.reads(&metadata) => {
                refused("the output is one of the inputs: it lies in a source directory (write elsewhere, or leave it out with --exclude)")
            }
            _ => Ok(()),
        }
    }

    /// Whether the disk can be written in `format`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for sectors that the format does not have, [`ErrorKind::LimitExceeded`] for a disk that it cannot hold.
    pub fn check_format(&self, format: Format) -> Result<()> {
        self.plan_image(format).map(drop)
    }

    fn plan_image(&self, format: Format) -> Result<ImagePlan> {
        let sector_bytes = self.0.summary.sector_bytes;
        if sector_bytes != 512 && format != Format::Raw {
            return Err(Error::unsupported(format!("sectors of {sector_bytes} bytes in the format {format}; a VHD has sectors of 512, raw takes both")));
        }
        format::plan(format, &self.0.allocation, &Identity { id: self.0.image_id, created: self.0.epoch.seconds })
    }

    fn report(&self, file: FileSummary, checksums: &BlockChecksums) -> Report {
        let inner = &*self.0;
        let mut notes = inner.notes.clone();
        if file.sha256.is_some() {
            let size = Size::bytes(file.size_bytes);
            notes
                .push(format!("the SHA-256 of the file, one serial stream over all its {size}, holes included, was the limit of how fast it could be written"));
        }
        Report {
            report_version: REPORT_VERSION,
            rootvol_version: env!("CARGO_PKG_VERSION").into(),
            name: inner.name.clone(),
            version: inner.version.clone(),
            file,
            disk: inner.summary.clone(),
            partitions: inner.partitions.clone(),
            blocks: checksums.summary(),
            boot: inner.boot.clone(),
            sources: inner.sources.clone(),
            notes,
            removed: inner.removed.clone(),
        }
    }
}
