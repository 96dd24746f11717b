//! `peer-ext4view IMAGE`: every path of the filesystem in the file IMAGE with its metadata, files with their SHA-256, one by one, as the
//! crate ext4-view gives them.

use ext4_view::{Ext4, PathBuf};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = std::env::args().nth(1).ok_or("peer-ext4view IMAGE")?;
    let fs = Ext4::load_from_path(std::path::Path::new(&image))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut folders = vec![PathBuf::new("/")];
    while let Some(folder) = folders.pop() {
        for entry in fs.read_dir(&folder)? {
            let entry = entry?;
            if matches!(entry.file_name().as_ref(), b"." | b"..") {
                continue;
            }
            let path = entry.path();
            let metadata = fs.symlink_metadata(&path)?;
            let mut digest = String::new();
            if metadata.file_type().is_regular_file() {
                for byte in Sha256::digest(fs.read(&path)?) {
                    write!(digest, "{byte:02x}")?;
                }
            }
            writeln!(out, "{} {:o} {} {} {} {digest}", path.display(), metadata.mode(), metadata.uid(), metadata.gid(), metadata.len())?;
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    out.flush()?;
    Ok(())
}
