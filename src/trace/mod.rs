//! Traces of block reads: what a boot reads of an image, and what that costs on a volume made from a snapshot.
//!
//! ```text
//! QEMU's log, offsets and lengths ─► Trace: first reads, by disk ─┐
//!                                                                 ├─► boot_order: BootOrder, the file that a build takes
//! image ─► its filesystems ─► ImageMap: whose every byte is ──────┘   first_boot: blocks of 512 KiB, bound, causes, a picture
//! ```
//!
//! Nothing is believed: a trace is text of any length from anywhere. Reads outside of the image are counted and told; a trace of which most
//! falls on what the image does not use is refused as one of another image.

mod first_boot;
mod learn;
mod map;
mod picture;
mod ranges;
mod read;

pub use first_boot::{FirstBoot, Share, first_boot};
pub use learn::{Learnt, boot_order};
pub use map::ImageMap;
pub use picture::Picture;
pub use read::{Trace, TracedDisk};
