//! `peer-tools blocks FILE THREADS`: the SHA-256 of every 512-KiB block that is not zero, each block read at its offset and
//! hashed by itself as one stream, by THREADS workers that take turns: what uploaders of snapshots (coldsnap and its like) do,
//! without the upload. Prints the number of blocks and a digest over the digests.
//!
//! `peer-tools read DIR THREADS`: reads every regular file beneath DIR once and does nothing with it: the least that any
//! program must do which takes a directory in: list, open relative to the directory, read, close. A file that is shorter than
//! the buffer is read by one call. Entries in the order of the listing; with more threads each takes whole directories.
//! Prints the numbers of files and bytes.

use ring::digest::{Context, SHA256, digest};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

const BLOCK: usize = 512 * 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, path, threads] = arguments.as_slice() else { return Err(io::Error::other("peer-tools blocks|read PATH THREADS")) };
    let threads: usize = threads.parse().map_err(io::Error::other)?;
    match what.as_str() {
        "blocks" => blocks(path, threads),
        "read" => read(path, threads),
        _ => Err(io::Error::other("blocks or read")),
    }
}

fn blocks(path: &str, threads: usize) -> io::Result<()> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let next = AtomicU64::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| hash_some(&file, size, &next, &found))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    let mut found = found.into_inner().expect("no worker panics");
    found.sort_unstable();
    let mut all = Context::new(&SHA256);
    found.iter().for_each(|(_, digest): &(u64, [u8; 32])| all.update(digest));
    println!("{} blocks, {:?}", found.len(), all.finish());
    Ok(())
}

fn hash_some(file: &File, size: u64, next: &AtomicU64, found: &Mutex<Vec<(u64, [u8; 32])>>) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        // Holes are passed over, as those do that ask the filesystem for them.
        let at = next.load(Ordering::Relaxed);
        let data = if at >= size {
            return Ok(());
        } else {
            match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
                Ok(data) => data / BLOCK as u64 * BLOCK as u64,
                Err(rustix::io::Errno::NXIO) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        };
        let data = data.max(at);
        if next.compare_exchange(at, data + BLOCK as u64, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            continue;
        }
        let length = (size - data).min(BLOCK as u64) as usize;
        file.read_exact_at(&mut block[..length], data)?;
        block[length..].fill(0);
        if block.iter().any(|&byte| byte != 0) {
            let digest = digest(&SHA256, &block).as_ref().try_into().expect("SHA-256 has 32 bytes");
            found.lock().expect("no worker panics").push((data, digest));
        }
    }
}

#[derive(Default)]
struct Queue {
    folders: Vec<OwnedFd>,
    working: usize,
}

fn read(path: &str, threads: usize) -> io::Result<()> {
    let top = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let queue = Mutex::new(Queue { folders: vec![top], working: 0 });
    let (changed, files, bytes) = (Condvar::new(), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| read_some(&queue, &changed, &files, &bytes))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    println!("{} files, {} bytes", files.into_inner(), bytes.into_inner());
    Ok(())
}

fn read_some(queue: &Mutex<Queue>, changed: &Condvar, files: &AtomicU64, bytes: &AtomicU64) -> io::Result<()> {
    let (mut buffer, mut names) = (vec![0; BLOCK], vec![MaybeUninit::uninit(); 64 * 1024]);
    loop {
        let folder = {
            let mut held = queue.lock().expect("no worker panics");
            loop {
                if let Some(folder) = held.folders.pop() {
                    held.working += 1;
                    break folder;
                }
                if held.working == 0 {
                    changed.notify_all();
                    return Ok(());
                }
                held = changed.wait(held).expect("no worker panics");
            }
        };
        let done = read_folder(&folder, &mut buffer, &mut names, queue, changed);
        queue.lock().expect("no worker panics").working -= 1;
        changed.notify_all();
        let (its_files, its_bytes) = done?;
        files.fetch_add(its_files, Ordering::Relaxed);
        bytes.fetch_add(its_bytes, Ordering::Relaxed);
    }
}

fn read_folder(folder: &OwnedFd, buffer: &mut [u8], names: &mut [MaybeUninit<u8>], queue: &Mutex<Queue>, changed: &Condvar) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let mut entries = RawDir::new(folder.as_fd(), names);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => FileType::from_raw_mode(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        if kind == FileType::Directory {
            let inner = rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
            queue.lock().expect("no worker panics").folders.push(inner);
            changed.notify_one();
        } else if kind == FileType::RegularFile {
            let file = rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?;
            files += 1;
            loop {
                let length = rustix::io::read(&file, &mut *buffer)?;
                bytes += length as u64;
                if length < buffer.len() {
                    break;
                }
            }
        }
    }
    Ok((files, bytes))
}
