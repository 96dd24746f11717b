//! The command line. Words mean one thing everywhere: `--format` is the output's format, `--input-format` the input's.

use crate::boot::{Architecture, InitramfsChoice, LoaderChoice, RootBy};
use crate::disk::{BootMode, DiskSize};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Format, OpenOptions};
use crate::fs::ext4::Packing;
use crate::guid::Guid;
use crate::partition::TableKind;
use crate::recipe::{Owner, Recipe};
use crate::source::{self, Holes, IdMap};
use crate::units::Size;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Bootable, importable disk images for Amazon Machine Images from a root filesystem.
#[derive(Debug, Parser)]
#[command(name = "rootvol", version, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a disk image from directories, tars and other images, or from a recipe.
    Build(BuildArgs),
    /// Print what `build` would make: the layout and exact sizes. Writes nothing.
    Plan(PlanArgs),
    /// Show what is in an image: container, partitions, filesystems.
    Inspect(InspectArgs),
    /// List what is in a directory, a tar, or a filesystem of an image.
    Ls(LsArgs),
    /// Print the contents of a file in a source.
    Cat(CatArgs),
    /// Take entries out of a source, into a directory or a tar.
    Extract(ExtractArgs),
    /// Say what differs between two sources, and between two images block by block. A report or a block list can stand for an image's
    /// blocks. Exit code 1 where something differs.
    Diff(DiffArgs),
    /// Check that an image is what its report or block list says, and that its filesystems are sound. Exit code 1 where not.
    Verify(VerifyArgs),
    /// Say whether AWS will take an image, whether it will boot on Nitro, whether it is safe to share and well made. Exit code 1 where
    /// something must be mended.
    Lint(super::lint::LintArgs),
    /// Write the disk of an image in another format, or larger.
    Convert(ConvertArgs),
    /// Compute the block checksums of an image and their aggregate, as the EBS direct API takes them.
    Checksum(ChecksumArgs),
    /// Learn from traces of block reads what an image reads at boot, and write it as the file that `build --boot-order` takes.
    BootOrder(super::trace::BootOrderArgs),
    /// Say what a boot costs on a volume made from a snapshot: which blocks of 512 KiB a trace touches, how few would do, what caused
    /// the rest.
    FirstBoot(super::trace::FirstBootArgs),
    /// Show and make UEFI data: the UEFI variables of an AMI, with Secure Boot's keys.
    UefiData {
        #[command(subcommand)]
        command: super::uefi::UefiCommand,
    },
    /// Print a document for AWS, made of a build's report.
    Manifest(Box<super::manifest::ManifestArgs>),
}

/// What describes an image; the same for `build` and `plan`.
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    /// Directories, tars (plain, gzip, zstd or xz) and disk images, laid over each other in order; `-` is standard input.
    #[arg(value_name = "SOURCE", required_unless_present = "recipe", conflicts_with = "recipe")]
    pub(super) sources: Vec<OsString>,
    /// Take everything from this recipe; other options override it.
    #[arg(long, value_name = "FILE")]
    pub(super) recipe: Option<PathBuf>,
    /// Let a recipe take sources from this folder as well as its own.
    #[arg(long, value_name = "DIR")]
    pub(super) allow_source: Vec<PathBuf>,
    /// Format of the image: raw, vhd (dynamic) or vhd-fixed; without it the output's extension tells, else raw.
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<Format>,
    /// Name of the image; identifiers derive from it.
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Version of the image, for documents; it enters no identifier.
    #[arg(long, value_name = "VERSION")]
    pub(super) image_version: Option<String>,
    /// Seed that every identifier derives from, in place of the name.
    #[arg(long, value_name = "UUID")]
    pub(super) seed: Option<Guid>,
    /// Stay close to an earlier version, so that few blocks differ: its report (with its .layout beside it), its .layout, or the image
    /// itself. Identifiers, own times, sizes and places are its where nothing else is asked for; what it held and is not in use any
    /// more is sent as zeros.
    #[arg(long, value_name = "REPORT|IMAGE")]
    pub(super) parent: Option<PathBuf>,
    /// With --parent: place files as if there were none; identifiers, times and sizes stay.
    #[arg(long)]
    pub(super) repack: bool,
    /// How files lie where neither a parent nor a boot order decides: stable (small changes change few blocks of independent builds, for a
    /// tenth more blocks) or dense (the fewest blocks) [default: stable].
    #[arg(long)]
    pub(super) packing: Option<Packing>,
    /// Make it bootable (uefi) or not (none); without it: uefi where the tree has a kernel.
    #[arg(long, value_name = "MODE")]
    pub(super) boot: Option<BootMode>,
    /// Boot loader: auto, grub, uki or systemd-boot.
    #[arg(long)]
    pub(super) loader: Option<LoaderChoice>,
    /// Kernel command line; root= is added unless it is there.
    #[arg(long)]
    pub(super) cmdline: Option<String>,
    /// How the command line names the root filesystem: partuuid, uuid, label or none.
    #[arg(long, value_name = "HOW")]
    pub(super) root: Option<RootBy>,
    /// Kernel in the tree, in place of the newest.
    #[arg(long, value_name = "PATH")]
    pub(super) kernel: Option<String>,
    /// Initramfs in the tree, in place of the one that fits the kernel; `none` for none.
    #[arg(long, value_name = "PATH")]
    pub(super) initramfs: Option<InitramfsChoice>,
    /// Boot loader's file in the tree, in place of the one that is found.
    #[arg(long, value_name = "PATH")]
    pub(super) loader_path: Option<String>,
    /// What is read first at boot, as `rootvol boot-order` writes it: it lies together, in this order.
    #[arg(long, value_name = "FILE")]
    pub(super) boot_order: Option<PathBuf>,
    /// Partition table: gpt, mbr or none.
    #[arg(long)]
    pub(super) table: Option<TableKind>,
    /// Size of the disk, such as "8 GiB"; without it: what is needed plus --free.
    #[arg(long)]
    pub(super) size: Option<Size>,
    /// The disk's size is rounded up to a multiple of this [default: 1 GiB].
    #[arg(long, value_name = "SIZE")]
    pub(super) align_size: Option<Size>,
    /// Free space in the root filesystem, at least [default: 256 MiB where no size is given].
    #[arg(long, value_name = "SIZE")]
    pub(super) free: Option<Size>,
    /// Bytes in a sector: 512, or 4096 (raw only).
    #[arg(long, value_name = "BYTES")]
    pub(super) sector_size: Option<u32>,
    /// Leave out what matches, such as 'var/cache/**'; patterns match the whole path from the root.
    #[arg(long, value_name = "GLOB")]
    pub(super) exclude: Vec<String>,
    /// Leave out what is mounted inside a directory.
    #[arg(long)]
    pub(super) one_file_system: bool,
    /// Give every entry this owner and group, such as 0:0.
    #[arg(long, value_name = "UID:GID")]
    pub(super) owner: Option<Owner>,
    /// Map COUNT user and group ids from HOST on to IMAGE on (as in /etc/subuid).
    #[arg(long, value_name = "IMAGE:HOST:COUNT")]
    pub(super) map_ids: Vec<IdMap>,
    /// Holes of the sources: keep, or none (they become zeros).
    #[arg(long, value_name = "HOW")]
    pub(super) holes: Option<Holes>,
    #[command(flatten)]
    pub(super) reading: ReadingArgs,
    /// Architecture of the AMI: x86_64 or arm64; must agree with the kernel.
    #[arg(long)]
    pub(super) architecture: Option<Architecture>,
    /// S3 bucket that the image will be uploaded to; asks for the import documents.
    #[arg(long)]
    pub(super) bucket: Option<String>,
    /// S3 key that the image will have.
    #[arg(long)]
    pub(super) key: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    pub(super) image: ImageArgs,
    /// The image to write; `-` is standard output.
    #[arg(short, long, value_name = "OUT")]
    pub(super) output: OsString,
    /// With [ami] in the recipe: do not look whether AWS will take what is about to be written, and whether it will boot.
    #[arg(long)]
    pub(super) no_lint: bool,
    #[command(flatten)]
    pub(super) writing: WritingArgs,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) image: ImageArgs,
    /// Print as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The image.
    #[arg(value_name = "IMAGE")]
    pub(super) image: PathBuf,
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// Print as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What is read, and how; the same for all commands that look into a source.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// A directory, a tar, an image, or a partition of one: IMAGE:2, IMAGE:label; without it the root partition.
    #[arg(value_name = "SOURCE")]
    pub(super) source: OsString,
    #[command(flatten)]
    pub(super) reading: ReadingArgs,
}

/// How images are opened; the same for every command that reads one.
#[derive(Debug, Args)]
pub(super) struct InputArgs {
    /// Format of an image: raw, vhd or vhd-fixed; without it the file's magic tells (raw also in gzip, zstd or xz).
    #[arg(long, value_name = "FORMAT")]
    pub(super) input_format: Option<Format>,
    /// Parent of a differencing VHD, and each of that one's parents; nothing that the image names is opened.
    #[arg(long, value_name = "FILE")]
    pub(super) vhd_parent: Vec<PathBuf>,
    /// Folder for what has to be spooled from compressed or piped input.
    #[arg(long, value_name = "DIR")]
    pub(super) spool_dir: Option<PathBuf>,
}

impl InputArgs {
    /// The library's options.
    pub(super) fn open_options(&self) -> OpenOptions {
        let mut options = OpenOptions::of(self.input_format);
        options.vhd_parents.clone_from(&self.vhd_parent);
        options.spool.folder.clone_from(&self.spool_dir);
        options
    }
}

/// How sources are read.
#[derive(Debug, Args)]
pub(super) struct ReadingArgs {
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// Partition of an image, by number, name or label.
    #[arg(long, value_name = "WHICH")]
    pub(super) partition: Option<String>,
    /// Take what can be read of a damaged image; what cannot is said, and the exit code is 3.
    #[arg(long)]
    pub(super) keep_going: bool,
}

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Where in the source [default: its root].
    #[arg(value_name = "PATH")]
    pub(super) path: Option<OsString>,
    /// All that is beneath.
    #[arg(long, short = 'R')]
    pub(super) recursive: bool,
    /// SHA-256 of every file.
    #[arg(long)]
    pub(super) hash: bool,
    /// Threads that hash [default: what there is].
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Print as JSON, a line an entry.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CatArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// The file.
    #[arg(value_name = "PATH")]
    pub(super) path: OsString,
}

#[derive(Debug, Args)]
pub(super) struct ExtractArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// What to take, each with all that is beneath it [default: everything].
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<OsString>,
    /// A directory, or a tar by its name's end (.tar, .tar.gz, .tgz, .tar.zst); `-` is a tar on standard output.
    #[arg(short, long, value_name = "DIR|FILE.tar")]
    pub(super) output: PathBuf,
    /// Give everything its owner and group (into a directory: as root).
    #[arg(long)]
    pub(super) same_owner: bool,
    /// Keep setuid and setgid bits of files.
    #[arg(long)]
    pub(super) setuid: bool,
    /// Make devices.
    #[arg(long)]
    pub(super) devices: bool,
    /// Set extended attributes.
    #[arg(long)]
    pub(super) xattrs: bool,
    /// All of --same-owner, --setuid, --devices, --xattrs.
    #[arg(long)]
    pub(super) all: bool,
    /// Extract into a directory that is not empty; replace a tar that exists.
    #[arg(long)]
    pub(super) force: bool,
    /// Print as JSON what was done.
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but errors.
    #[arg(long, short)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The old side: a source, or a report (with the block list beside it) or a block list.
    #[arg(value_name = "OLD")]
    pub(super) old: OsString,
    /// The new side.
    #[arg(value_name = "NEW")]
    pub(super) new: OsString,
    #[command(flatten)]
    pub(super) reading: ReadingArgs,
    /// Threads that hash [default: what there is].
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Print as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The image.
    #[arg(value_name = "IMAGE")]
    pub(super) image: PathBuf,
    /// The report (with the block list beside it) or the block list.
    #[arg(value_name = "REPORT|BLOCKS", required_unless_present = "fs")]
    pub(super) expected: Option<PathBuf>,
    /// Read and check the filesystems too.
    #[arg(long)]
    pub(super) fs: bool,
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// Threads that read and hash [default: what there is].
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Print as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but errors: the exit code says it.
    #[arg(long, short)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// The image, or `-` for standard input (raw), which is spooled.
    #[arg(value_name = "IN")]
    pub(super) image: PathBuf,
    /// The image to write; `-` is standard output.
    #[arg(value_name = "OUT")]
    pub(super) output: OsString,
    /// Format of the new image: raw, vhd (dynamic) or vhd-fixed; without it the output's extension tells, else raw.
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<Format>,
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// Grow the disk to this size; a GPT's backup moves to its end.
    #[arg(long, value_name = "SIZE")]
    pub(super) resize: Option<Size>,
    /// Name of the image, for its report.
    #[arg(long)]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) writing: WritingArgs,
}

/// How an image is written; the same for all commands that write one.
#[derive(Debug, Args)]
pub(super) struct WritingArgs {
    /// Replace an existing output.
    #[arg(long)]
    pub(super) force: bool,
    /// Write to the block device that OUT names, in place.
    #[arg(long)]
    pub(super) device: bool,
    /// Threads that read, hash and encode [default: what there is].
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Compute the SHA-256 of the image file too: one serial stream over every byte.
    #[arg(long)]
    pub(super) file_sha256: bool,
    /// Write the report here in place of OUT.report.json.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Write the block checksums here in place of OUT.blocks.jsonl.
    #[arg(long, value_name = "FILE")]
    pub(super) blocks: Option<PathBuf>,
    /// Write what lies where, for a next version to stay close to, here in place of OUT.layout.
    #[arg(long, value_name = "FILE")]
    pub(super) layout: Option<PathBuf>,
    /// Write the import documents into this folder in place of beside OUT.
    #[arg(long, value_name = "DIR")]
    pub(super) manifests: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but errors.
    #[arg(long, short)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct ChecksumArgs {
    /// The image: a file, a block device, or `-` for standard input (raw).
    #[arg(value_name = "IMAGE")]
    pub(super) image: PathBuf,
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// Threads that read and hash [default: what there is].
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// What blocks count as that the image does not store: zero (an upload makes them so) or unused (it leaves them out).
    #[arg(long, value_enum, value_name = "HOW", default_value_t = HolesAs::Zero, hide_possible_values = true)]
    pub(super) holes: HolesAs,
    /// Write state and checksum of every block here, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub(super) blocks: Option<PathBuf>,
    /// Replace an existing FILE.
    #[arg(long)]
    pub(super) force: bool,
    /// Print as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but the aggregate, or the JSON that was asked for.
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// What holes of an image count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum HolesAs {
    Zero,
    Unused,
}

impl ImageArgs {
    /// Lays the options over a recipe.
    pub(super) fn lay_over(&self, recipe: &mut Recipe) {
        set(&mut recipe.name, self.name.clone());
        set(&mut recipe.version, self.image_version.clone());
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.parent, self.parent.clone());
        recipe.repack |= self.repack;
        recipe.disk.table = self.table.unwrap_or(recipe.disk.table);
        if let Some(size) = self.size {
            recipe.disk.size = DiskSize::Exact(size);
        }
        set(&mut recipe.disk.align_size, self.align_size);
        set(&mut recipe.disk.sector_size, self.sector_size);
        let mut boot = recipe.boot.take().unwrap_or_default();
        boot.mode = self.boot.unwrap_or(boot.mode);
        boot.loader = self.loader.unwrap_or(boot.loader);
        set(&mut boot.cmdline, self.cmdline.clone());
        boot.root = self.root.unwrap_or(boot.root);
        set(&mut boot.kernel, self.kernel.clone());
        if let Some(initramfs) = &self.initramfs {
            boot.initramfs = initramfs.clone();
        }
        set(&mut boot.loader_path, self.loader_path.clone());
        set(&mut boot.order, self.boot_order.clone());
        recipe.boot = Some(boot);
        let mut ami = recipe.ami.take();
        if self.architecture.is_some() || self.bucket.is_some() || self.key.is_some() {
            let ami = ami.get_or_insert_default();
            set(&mut ami.architecture, self.architecture);
            set(&mut ami.bucket, self.bucket.clone());
            set(&mut ami.key, self.key.clone());
        }
        recipe.ami = ami;
    }

    /// How sources of the command line are read.
    pub(super) fn source_options(&self) -> Result<source::Options> {
        let mut options = super::source::options(&self.reading);
        options.mounts = true;
        options.exclude.clone_from(&self.exclude);
        options.one_file_system = self.one_file_system;
        options.owner = self.owner.map(|owner| (owner.uid, owner.gid));
        options.map_ids.clone_from(&self.map_ids);
        options.holes = self.holes.unwrap_or_default();
        options.check()?;
        Ok(options)
    }
}

/// A number of threads of the command line.
pub(super) fn check_threads(threads: Option<usize>) -> Result<()> {
    match threads {
        Some(0) => Err(Error::new(ErrorKind::Usage, "0 threads; at least 1 was expected for --threads")),
        _ => Ok(()),
    }
}

/// The option wins over what is there.
fn set<T>(place: &mut Option<T>, option: Option<T>) {
    if option.is_some() {
        *place = option;
    }
}
