//! cpio archives from a stream: one entry after the other, data passed over.

use super::format::{HEADER_BYTES, Header, MAGIC_CRC, MAGIC_NEWC};
use super::{Entry, HEAD_MAX_BYTES, Limits, Summary};
use crate::compressed::unwrap_io;
use crate::error::{Error, Result, escape};
use crate::units::{Size, align_up, u64_of, usize_of};
use std::io::BufRead;
use std::ops::ControlFlow;

/// The kernel's PATH_MAX, with the NUL: longer names are not unpacked.
const NAME_MAX_BYTES: u32 = 4096;
/// The name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The bits of `st_mode` that are the type.
const S_IFMT: u32 = 0o170_000;
/// A regular file.
const S_IFREG: u32 = 0o100_000;

/// Gets an entry, and says whether to go on.
type Visit<'v> = dyn FnMut(&Entry<'_>) -> Result<ControlFlow<()>> + 'v;

/// Archives in a stream.
pub(super) struct Archives<'a, 'v> {
    input: &'a mut dyn BufRead,
    at: u64,
    limits: &'a Limits,
    summary: &'a mut Summary,
    visit: &'a mut Visit<'v>,
}

impl<'a, 'v> Archives<'a, 'v> {
    pub(super) fn new(input: &'a mut dyn BufRead, at: u64, limits: &'a Limits, summary: &'a mut Summary, visit: &'a mut Visit<'v>) -> Self {
        Self { input, at, limits, summary, visit }
    }

    /// All archives to the end of an unpacked stream, with zeros between them.
    pub(super) fn all(&mut self) -> Result<ControlFlow<()>> {
        loop {
            match self.next_byte()? {
                None => return Ok(ControlFlow::Continue(())),
                Some(0) => self.pass(1)?,
                Some(b'0') if !self.at.is_multiple_of(4) => {
                    return Err(Error::corrupt("an archive that does not begin at a multiple of 4 (the kernel: \"broken padding\")").at_offset(self.at));
                }
                Some(b'0') => {
                    if self.one(false)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Some(_) => return Err(Error::corrupt("no archive there (the kernel: \"junk within compressed archive\")").at_offset(self.at)),
            }
        }
    }

    /// One archive. The kernel does not mind one without end as the last of the file (`may_end`), and does in packed streams.
    pub(super) fn one(&mut self, may_end: bool) -> Result<ControlFlow<()>> {
        loop {
            let start = self.at;
            if may_end && self.next_byte()?.is_none() {
                return Ok(ControlFlow::Continue(()));
            }
            let header = self.header()?;
            let length = header.c_namesize();
            if length == 0 || length > NAME_MAX_BYTES {
                return Err(Error::corrupt(format!("c_namesize is {length}; the kernel takes 1 to {NAME_MAX_BYTES}")).at_offset(start));
            }
            let mut name = vec![0; usize_of(u64::from(length))];
            self.fill(&mut name)?;
            let Some((0, text)) = name.split_last() else { return Err(Error::corrupt("a name without NUL at its end").at_offset(start)) };
            self.pad(start)?;
            if text == TRAILER {
                self.pass(u64::from(header.c_filesize()))?;
                return Ok(ControlFlow::Continue(()));
            }
            self.summary.entries += 1;
            if self.summary.entries > self.limits.entries {
                return Err(Error::limit(format!("an initramfs of over {} entries", self.limits.entries)));
            }
            let flow = self.data(&header, text, start)?;
            if flow.is_break() {
                return Ok(flow);
            }
            if !(may_end && self.next_byte()?.is_none()) {
                self.pad(start)?;
            }
        }
    }

    fn header(&mut self) -> Result<Header> {
        let start = self.at;
        let mut bytes = [0; HEADER_BYTES];
        self.fill(&mut bytes[..MAGIC_NEWC.len()])?;
        if !bytes.starts_with(MAGIC_NEWC) && !bytes.starts_with(MAGIC_CRC) {
            let what = if bytes.starts_with(b"070707") {
                "a cpio archive of the old ASCII kind; the kernel takes newc alone (`cpio -H newc`)".to_owned()
            } else {
                format!("{:?} where a cpio header was expected", escape(&bytes[..MAGIC_NEWC.len()]))
            };
            return Err(Error::corrupt(what).at_offset(start));
        }
        self.fill(&mut bytes[MAGIC_NEWC.len()..])?;
        Header::decode(&bytes).ok_or_else(|| Error::corrupt("a cpio header with a number that is none").at_offset(start))
    }

    /// The data of an entry: its beginning is shown, its sum is checked where the header has one.
    fn data(&mut self, header: &Header, name: &[u8], start: u64) -> Result<ControlFlow<()>> {
        let size = u64::from(header.c_filesize());
        let mut head = [0; HEAD_MAX_BYTES];
        let shown = usize_of(size.min(u64_of(HEAD_MAX_BYTES)));
        self.fill(&mut head[..shown])?;
        let head = &head[..shown];
        let sum = head.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        // The size is known only when the data was there: nothing is said of an entry that is cut off.
        let rest = size - u64_of(shown);
        let sum = if header.has_checksum { self.sum(rest, sum)? } else { self.pass(rest).map(|()| sum)? };
        // Programs sum up files alone, and so does the kernel.
        if header.has_checksum && header.c_mode() & S_IFMT == S_IFREG && sum != header.c_chksum() && size > 0 {
            return Err(
                Error::corrupt(format!("{:?}: the sum of its bytes is {sum:#x}, the header has {:#x}", escape(name), header.c_chksum())).at_offset(start)
            );
        }
        (self.visit)(&Entry { name, mode: header.c_mode(), size_bytes: size, head })
    }

    /// To the next multiple of 4.
    fn pad(&mut self, start: u64) -> Result<()> {
        debug_assert!(self.at > start, "something was read since");
        self.pass(align_up(self.at, 4) - self.at)
    }

    fn buffer(&mut self) -> Result<&[u8]> {
        self.input.fill_buf().map_err(|error| unwrap_io("cannot read the initramfs", error))
    }

    fn next_byte(&mut self) -> Result<Option<u8>> {
        Ok(self.buffer()?.first().copied())
    }

    /// Gives pieces of the next `count` bytes to `take`.
    fn each(&mut self, mut count: u64, mut take: impl FnMut(&[u8])) -> Result<()> {
        while count > 0 {
            let at = self.at;
            let bytes = self.buffer()?;
            if bytes.is_empty() {
                return Err(Error::corrupt(format!("the archive ends {count} bytes too early")).at_offset(at));
            }
            let part = usize_of(count.min(u64_of(bytes.len())));
            take(&bytes[..part]);
            self.input.consume(part);
            let part = u64_of(part);
            (self.at, count) = (self.at + part, count - part);
            self.summary.unpacked_bytes += part;
            if self.summary.unpacked_bytes > self.limits.unpacked_bytes {
                return Err(Error::limit(format!("an initramfs that unpacks to over {}", Size::bytes(self.limits.unpacked_bytes))));
            }
        }
        Ok(())
    }

    fn pass(&mut self, count: u64) -> Result<()> {
        self.each(count, |_| {})
    }

    fn sum(&mut self, count: u64, mut sum: u32) -> Result<u32> {
        self.each(count, |bytes| sum = bytes.iter().fold(sum, |sum, byte| sum.wrapping_add(u32::from(*byte))))?;
        Ok(sum)
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        let mut at = 0;
        self.each(u64_of(out.len()), |bytes| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        })
    }
}
