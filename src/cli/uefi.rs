//! `rootvol uefi-data`.

use super::show;
use crate::error::{Error, ErrorKind, Result};
use crate::guid::Guid;
use crate::output;
use crate::uefi::{Key, SignatureList, UefiData, efi_time, read_signatures};
use clap::{Args, Subcommand};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest file that is read: a dbx of today has 30 KB.
const FILE_MAX_BYTES: u64 = 4 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum UefiCommand {
    /// Show the variables: names, lengths, digests, the certificates' fingerprints. Values are not shown.
    Show(ShowArgs),
    /// Make the text for RegisterImage's UefiData.
    Make(MakeArgs),
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// UEFI data in base64; `-` is standard input.
    #[arg(value_name = "FILE")]
    data: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct MakeArgs {
    /// Begin with the variables in this UEFI data; what is given replaces those of the same name.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The platform key, which turns Secure Boot on: a certificate (PEM, DER) or signature list (ESL).
    #[arg(long, value_name = "FILE")]
    pk: Option<PathBuf>,
    /// A key exchange key: certificates or signature lists. Can be given again, as --db and --dbx can.
    #[arg(long, value_name = "FILE")]
    kek: Vec<PathBuf>,
    /// What may boot: certificates or signature lists.
    #[arg(long, value_name = "FILE")]
    db: Vec<PathBuf>,
    /// What may not boot: certificates, signature lists, or the signed update (.auth) that is published.
    #[arg(long, value_name = "FILE")]
    dbx: Vec<PathBuf>,
    /// The owner of certificates [default: derived from the word rootvol].
    #[arg(long, value_name = "GUID")]
    owner: Option<Guid>,
    /// The time of the keys, in seconds since 1970: signed updates have to be later [default: none, so that any update is].
    #[arg(long, value_name = "SECONDS")]
    epoch: Option<i64>,
    /// Write the text here and not to standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing FILE.
    #[arg(long)]
    force: bool,
    /// Print what is in it as JSON; needs --output.
    #[arg(long, requires = "output")]
    json: bool,
}

pub(super) fn run(command: &UefiCommand) -> Result<()> {
    match command {
        UefiCommand::Show(args) => {
            let summary = data(&args.data)?.summary();
            if args.json { show::json(&summary) } else { show::text(&summary.to_string()) }
        }
        UefiCommand::Make(args) => make(args),
    }
}

fn make(args: &MakeArgs) -> Result<()> {
    let given = [(Key::Pk, args.pk.as_slice()), (Key::Kek, &args.kek), (Key::Db, &args.db), (Key::Dbx, &args.dbx)];
    if args.from.is_none() && given.iter().all(|(_, files)| files.is_empty()) {
        return Err(Error::new(ErrorKind::Usage, "nothing to make UEFI data of: give --pk, --kek, --db, --dbx or --from"));
    }
    let mut made = args.from.as_deref().map_or(Ok(UefiData::new()), data)?;
    let owner = args.owner.unwrap_or_else(|| Guid::from_name("rootvol"));
    let time = args.epoch.map_or(Ok([0; 16]), efi_time)?;
    for (key, files) in given.into_iter().filter(|(_, files)| !files.is_empty()) {
        let mut lists: Vec<SignatureList> = Vec::new();
        for file in files {
            let named = |error: Error| error.at_path(file.as_os_str().as_encoded_bytes());
            lists.extend(read_signatures(&read(file)?, owner).map_err(named)?);
        }
        made.enroll(key, &lists, time)?;
    }
    let text = format!("{}\n", made.to_base64()?);
    let summary = made.summary();
    for note in &summary.notes {
        show::say(&format!("rootvol: note: {}", crate::error::escape(note.as_bytes())));
    }
    match &args.output {
        None => show::text(&text),
        Some(path) => {
            output::write_atomic(path, text.as_bytes(), args.force)?;
            if args.json { show::json(&summary) } else { Ok(()) }
        }
    }
}

fn data(path: &Path) -> Result<UefiData> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let text = String::from_utf8(read(path)?).map_err(|_| named(Error::corrupt("UEFI data is base64, and this is not")))?;
    UefiData::from_base64(&text).map_err(named)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let cannot = |error| named(Error::io("cannot read", error));
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin().lock().take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        if !std::fs::metadata(path).map_err(cannot)?.is_file() {
            return Err(named(Error::invalid("no regular file")));
        }
        File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    }
    if crate::units::u64_of(bytes.len()) > FILE_MAX_BYTES {
        return Err(named(Error::limit(format!("over {FILE_MAX_BYTES} bytes, which no certificate and no list of signatures has"))));
    }
    Ok(bytes)
}
