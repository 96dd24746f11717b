//! The scan of a directory: what is found folder by folder, put together into a tree.

use super::crew::{Crew, Job};
use super::files::Files;
use super::look::{Entry, Folder, Looker, More, Place, Stat};
use super::xattrs::XattrReader;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::source::assembly::{Assembly, RawMetadata};
use crate::source::options::Options;
use crate::tree::NewNode;
use rustix::fd::AsFd as _;
use rustix::fs::{FileType, OFlags};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Entries from which on other threads help: what starting them costs is then little.
const ALONE_ENTRIES: usize = 1000;

struct Scan<'a> {
    assembly: Assembly<'a>,
    files: Files,
    /// First path of what has more names, and how many are still to come. Only looked up in, never walked.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
}

/// Reads the tree in the directory `path`, which may be a link to one.
pub(super) fn open(path: &Path, options: &Options) -> Result<Source> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|errno| named(Error::io("cannot open", errno.into())));
    let (root, files) = (open()?, Files::new(open()?));
    let mut assembly = Assembly::new(options)?;
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        assembly.notes.add("extended attributes are not read on this system", b"");
    }
    let description = format!("{} (directory)", crate::source::shown_name(path));
    let stat = Stat::of(root.as_fd(), b"").map_err(named)?;
    let mut xattrs = XattrReader::new(path);
    xattrs.enter(root.as_fd(), b"");
    let raw = RawMetadata { metadata: stat.metadata(), xattrs: xattrs.read(b"").map_err(named)? };
    assembly.add(b"", raw, NewNode::Directory)?;
    let check_readable = !rustix::process::geteuid().is_root();
    let place = Place { root, root_device: stat.device, options, filter: Arc::clone(&assembly.filter), check_readable };
    let crew = Crew::new(&place, xattrs);
    let mut scan = Scan { assembly, files, links: HashMap::new() };
    let put = std::thread::scope(|scope| {
        // Dropped before the scope waits, also where something fails: no thread goes on then.
        let _stop = crew.stop_when_dropped();
        scan.put_together(Job::new(Folder::root(&stat)), &crew, &mut crew.looker(), || {
            for number in 1..options.threads {
                let thread = std::thread::Builder::new().name(format!("rootvol-scan-{number}"));
                thread.spawn_scoped(scope, || crew.work()).map_err(|error| Error::io("cannot start a thread", error))?;
            }
            Ok(())
        })
    });
    put.map_err(|error| crate::source::in_source(error, path.as_os_str().as_encoded_bytes()))?;
    let Scan { assembly, files, .. } = scan;
    let count = files.count();
    assembly.finish(description, vec![path.to_path_buf()], Arc::new(files), count)
}

impl Scan<'_> {
    /// Goes through all folders, calling `start_threads` once there is enough to do for them.
    fn put_together(&mut self, root: Arc<Job>, crew: &Crew<'_>, looker: &mut Looker<'_>, start_threads: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut start_threads = Some(start_threads);
        let mut count = 0;
        let mut pending = vec![root];
        while let Some(job) = pending.pop() {
            let found = crew.found(&job, looker);
            count += found.looked.entries.len();
            if count > ALONE_ENTRIES
                && let Some(start_threads) = start_threads.take()
            {
                start_threads()?;
            }
            pending.extend(found.next.into_iter().rev());
            let looked = found.looked;
            let mut path = job.folder.path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            let beginning = path.len();
            for entry in looked.entries {
                path.truncate(beginning);
                path.extend_from_slice(looked.names.get(entry.name));
                let put = self.put(&path, entry);
                put.map_err(|error| error.at_path(&path))?;
            }
            if let Some(error) = looked.error {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Puts an entry into the tree.
    fn put(&mut self, path: &[u8], entry: Entry) -> Result<()> {
        let Entry { stat, xattrs, more, .. } = entry;
        let has_links = stat.kind != FileType::Directory && stat.links > 1;
        if has_links && self.link(path, &stat)? {
            return Ok(());
        }
        let node = match (stat.kind, &more) {
            (FileType::RegularFile, more) => {
                let content = self.files.push(path, stat.stamp())?;
                let data = if let More::Data(data) = more { Some(data.as_slice()) } else { None };
                NewNode::File { content, length: stat.size, data }
            }
            (FileType::Symlink, More::Target(target)) => NewNode::Symlink(target),
            (FileType::Directory, _) => NewNode::Directory,
            (FileType::CharacterDevice, _) => NewNode::CharDevice(stat.special),
            (FileType::BlockDevice, _) => NewNode::BlockDevice(stat.special),
            (FileType::Fifo, _) => NewNode::Fifo,
            (FileType::Socket, _) => NewNode::Socket,
            (FileType::Symlink | FileType::Unknown, _) => return Err(Error::unsupported("is of a kind that is not known")),
        };
        self.assembly.add(path, RawMetadata { metadata: stat.metadata(), xattrs }, node)?;
        if has_links {
            self.links.insert(stat.identity(), (path.to_vec(), stat.links - 1));
        }
        Ok(())
    }

    /// Adds `path` as another name of something that was met before; false if it was not.
    fn link(&mut self, path: &[u8], stat: &Stat) -> Result<bool> {
        let identity = stat.identity();
        let Some((first, more)) = self.links.get_mut(&identity) else { return Ok(false) };
        self.assembly.link(path, first)?;
        *more -= 1;
        if *more == 0 {
            self.links.remove(&identity);
        }
        Ok(true)
    }
}
