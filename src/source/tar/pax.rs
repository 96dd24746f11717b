//! pax records: what a typeflag `x` header says about the next entry, and a `g` header about all that follow.
//!
//! POSIX.1-2017, pax, "pax Extended Header"; star(5) for `SCHILY.*`; GNU tar manual, "Sparse Formats"; libarchive for
//! `LIBARCHIVE.xattr.*`. A record is `"%d %s=%s\n", length, keyword, value`, the length counting all of itself.
//!
//! Refused: anything that breaks this form, a keyword twice (readers differ in which counts), numbers with signs
//! where there can be none, NUL in names, NFSv4 ACLs. Keywords that only describe the archive, or where it came from,
//! are passed over; others that are not known are noted.

use super::acl;
use super::sparse::SparseRecords;
use crate::checksum::base64_decode;
use crate::error::{Error, Result, escape};
use crate::source::assembly::Notes;
use crate::tree::{Timestamp, Xattr, attribute};
use std::collections::HashSet;

/// Keywords that say nothing that a tree keeps: names of owners (numbers rule), other times, comments, where the
/// files once lay, the encoding of names (they are bytes either way).
const PASSED_OVER: [&[u8]; 14] = [
    b"atime",
    b"ctime",
    b"comment",
    b"uname",
    b"gname",
    b"charset",
    b"hdrcharset",
    b"LIBARCHIVE.creationtime",
    b"LIBARCHIVE.symlinktype",
    b"SCHILY.dev",
    b"SCHILY.ino",
    b"SCHILY.nlink",
    b"SCHILY.tarfiletype",
    b"SCHILY.acl.type",
];

/// Keywords of one header: few, but for hostile ones.
#[derive(Default)]
struct Seen<'a> {
    first: [&'a [u8]; 16],
    count: usize,
    more: HashSet<&'a [u8]>,
}

impl<'a> Seen<'a> {
    /// False if it is there already.
    fn insert(&mut self, keyword: &'a [u8]) -> bool {
        if self.first[..self.count].contains(&keyword) {
            return false;
        }
        match self.first.get_mut(self.count) {
            Some(place) => {
                *place = keyword;
                self.count += 1;
                true
            }
            None => self.more.insert(keyword),
        }
    }
}

/// What the records say, one field a keyword.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) devmajor: Option<u32>,
    pub(super) devminor: Option<u32>,
    /// `SCHILY.filetype`, the one way in which a tar can hold a socket.
    pub(super) is_socket: bool,
    /// `SCHILY.fflags`: what `chattr` sets.
    pub(super) attributes: Option<u32>,
    /// `ROOTVOL.project`, our own: no tar has a word for it.
    pub(super) project: Option<u32>,
    pub(super) sparse: SparseRecords,
    /// From `SCHILY.xattr.`, `SCHILY.acl.` and `RHT.security.selinux`.
    xattrs: Vec<Xattr>,
    /// From `LIBARCHIVE.xattr.`, beside which libarchive repeats all of them as `SCHILY.xattr.`.
    libarchive_xattrs: Vec<Xattr>,
}

impl Records {
    /// Reads the body of an `x` or `g` header.
    pub(super) fn parse(body: &[u8], notes: &mut Notes, entry: &[u8]) -> Result<Self> {
        let mut records = Self::default();
        let mut seen = Seen::default();
        let mut rest = body;
        while !rest.is_empty() {
            let (keyword, value, after) = split_record(rest)?;
            rest = after;
            if !seen.insert(keyword) && !SparseRecords::repeats(keyword) {
                return Err(Error::corrupt(format!("the pax record \"{}\" is given twice", escape(keyword))));
            }
            records.set(keyword, value, notes, entry).map_err(|error| error.within(format_args!("the pax record \"{}\"", escape(keyword))))?;
        }
        Ok(records)
    }

    fn set(&mut self, keyword: &[u8], value: &[u8], notes: &mut Notes, entry: &[u8]) -> Result<()> {
        if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.push(Xattr::new(decode_name(name, b"=%"), value));
            return Ok(());
        }
        if let Some(name) = keyword.strip_prefix(b"LIBARCHIVE.xattr.") {
            self.libarchive_xattrs.push(Xattr::new(decode_name(name, &[]), decode_base64(value)?));
            return Ok(());
        }
        if self.sparse.set(keyword, value)? {
            return Ok(());
        }
        match keyword {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.linkpath = Some(name(value)?),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(small(value)?),
            b"gid" => self.gid = Some(small(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"SCHILY.devmajor" => self.devmajor = Some(small(value)?),
            b"SCHILY.devminor" => self.devminor = Some(small(value)?),
            b"SCHILY.filetype" => self.is_socket = value == b"socket",
            b"SCHILY.acl.access" => self.xattrs.extend(acl::from_text(value, acl::Which::Access)?),
            b"SCHILY.acl.default" => self.xattrs.extend(acl::from_text(value, acl::Which::Default)?),
            b"SCHILY.acl.ace" => return Err(Error::unsupported("an NFSv4 ACL; Linux filesystems hold POSIX ACLs only")),
            // GNU tar's; the attribute itself ends in NUL as the kernel has it.
            b"RHT.security.selinux" => self.xattrs.push(Xattr::new("security.selinux", [value, b"\0"].concat())),
            b"SCHILY.fflags" => match std::str::from_utf8(value).map_err(|_| "?").and_then(attribute::from_names) {
                Ok(attributes) if attributes & !attribute::SETTABLE == 0 => self.attributes = Some(attributes),
                _ => notes.add("file flags that chattr does not set are not kept", entry),
            },
            b"ROOTVOL.project" => self.project = Some(small(value)?),
            b"SCHILY.realsize" => return Err(Error::unsupported("star's own form of sparse files")),
            _ if keyword.starts_with(b"GNU.volume.") || keyword.starts_with(b"GNU.dumpdir") => {
                return Err(Error::unsupported("a part of a multi-volume or incremental archive"));
            }
            _ if PASSED_OVER.contains(&keyword) => {}
            _ => notes.add(&format!("the pax record \"{}\" is not known and not kept", escape(keyword)), entry),
        }
        Ok(())
    }

    /// Refuses what a `g` header must not say: one name or length for all entries, which readers take differently.
    pub(super) fn check_global(&self) -> Result<()> {
        let named = [(self.path.is_some(), "path"), (self.linkpath.is_some(), "linkpath"), (self.size.is_some(), "size")];
        let one = named.iter().find(|(given, _)| *given).map(|(_, name)| *name);
        if let Some(name) = one.or(self.sparse.is_given().then_some("GNU.sparse")) {
            return Err(Error::corrupt(format!("a global pax header gives \"{name}\" for all entries, which readers take differently")));
        }
        Ok(())
    }

    /// These records, and where they say nothing, `globals`.
    pub(super) fn over(mut self, globals: &Self) -> Self {
        self.uid = self.uid.or(globals.uid);
        self.gid = self.gid.or(globals.gid);
        self.mtime = self.mtime.or(globals.mtime);
        self.devmajor = self.devmajor.or(globals.devmajor);
        self.devminor = self.devminor.or(globals.devminor);
        let add = |own: &mut Vec<Xattr>, all: &[Xattr]| {
            let inherited: Vec<_> = all.iter().filter(|xattr| !own.iter().any(|own| own.name == xattr.name)).cloned().collect();
            own.extend(inherited);
        };
        add(&mut self.xattrs, &globals.xattrs);
        add(&mut self.libarchive_xattrs, &globals.libarchive_xattrs);
        self
    }

    /// The entry's xattrs. libarchive writes each in two forms; they must agree, because one of them cannot hold a
    /// `=` in a name.
    pub(super) fn take_xattrs(&mut self) -> Result<Vec<Xattr>> {
        let mut all = std::mem::take(&mut self.libarchive_xattrs);
        let two_forms = !all.is_empty();
        for xattr in std::mem::take(&mut self.xattrs) {
            match all.iter().find(|known| known.name == xattr.name) {
                Some(known) if *known == xattr => {}
                None if !two_forms || xattr.name.starts_with(b"system.posix_acl_") => all.push(xattr),
                _ => return Err(Error::corrupt(format!("the xattr {} is given in two ways that differ", escape(&xattr.name)))),
            }
        }
        Ok(all)
    }
}

/// Splits `"%d %s=%s\n"` off the front: keyword, value, the rest.
fn split_record(bytes: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let bad = |why: &str| Error::corrupt(format!("a malformed pax record: {why}"));
    // 20 digits are more than any length here.
    let digits = bytes.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || bytes.get(digits) != Some(&b' ') {
        return Err(bad("it does not begin with its length and a blank"));
    }
    let length = decimal(&bytes[..digits])?;
    let length = usize::try_from(length).ok().filter(|length| *length > digits + 1 && *length <= bytes.len());
    let length = length.ok_or_else(|| bad("its length is not within the header"))?;
    let (record, rest) = bytes.split_at(length);
    let body = record[digits + 1..].strip_suffix(b"\n").ok_or_else(|| bad("it does not end in a newline"))?;
    let equals = body.iter().position(|byte| *byte == b'=').ok_or_else(|| bad("it has no \"=\""))?;
    let (keyword, value) = (&body[..equals], &body[equals + 1..]);
    if keyword.is_empty() || keyword.contains(&0) {
        return Err(bad("its keyword is empty or has a NUL byte"));
    }
    Ok((keyword, value, rest))
}

fn name(value: &[u8]) -> Result<Vec<u8>> {
    if value.is_empty() || value.contains(&0) {
        return Err(Error::corrupt("a name that is empty or has a NUL byte"));
    }
    Ok(value.to_vec())
}

/// Decimal digits and nothing else.
pub(super) fn decimal(value: &[u8]) -> Result<u64> {
    let number = value.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    });
    number.filter(|_| !value.is_empty()).ok_or_else(|| Error::corrupt(format!("\"{}\" is no number from 0 to 2^64 - 1", escape(value))))
}

fn small(value: &[u8]) -> Result<u32> {
    u32::try_from(decimal(value)?).map_err(|_| Error::corrupt(format!("{} is over 2^32 - 1", escape(value))))
}

/// Seconds with an optional sign and fraction; digits behind the nanosecond are dropped towards the past.
pub(super) fn time(value: &[u8]) -> Result<Timestamp> {
    let bad = || Error::corrupt(format!("\"{}\" is no time in seconds", escape(value)));
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let whole = i64::try_from(decimal(parts.next().ok_or_else(bad)?).map_err(|_| bad())?).map_err(|_| bad())?;
    let fraction = parts.next().unwrap_or(b"0");
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let nine = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = nine.fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let more = fraction.iter().skip(9).any(|digit| *digit != b'0');
    if !negative {
        return Ok(Timestamp { seconds: whole, nanoseconds });
    }
    // -1.25 s is 0.75 s after the second -2.
    let below = nanoseconds + u32::from(more);
    Ok(match below {
        0 => Timestamp::from_seconds(-whole),
        below => Timestamp { seconds: -whole - 1, nanoseconds: 1_000_000_000 - below },
    })
}

/// A name with `%XX` decoded: those that stand for one of `only`, or all of them where it is empty.
fn decode_name(name: &[u8], only: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = code.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit())).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|byte| only.is_empty() || only.contains(byte)) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// Base64 (RFC 4648), with or without the padding that libarchive leaves out.
fn decode_base64(text: &[u8]) -> Result<Vec<u8>> {
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut padded = String::from_utf8_lossy(digits).into_owned();
    padded.extend(std::iter::repeat_n('=', digits.len().next_multiple_of(4) - digits.len()));
    base64_decode(&padded).ok_or_else(|| Error::corrupt("a value that is no base64"))
}

#[cfg(test)]
mod tests {
    use super::super::make::record;
    use super::*;

    fn parse(body: &[u8]) -> Result<Records> {
        Records::parse(body, &mut Notes::default(), b"entry")
    }

    #[test]
    fn r11_malformed_records_are_refused() {
        for body in [
            &b"12 path=abc\n "[..],
            b"12 path=abcd",
            b"13 path=abc\n",
            b"11 path=abc\n",
            b"+12 path=abc\n",
            b" 12 path=abc\n",
            b"-1 path=abc\n",
            b"0 path=abc\n",
            b"3 \n",
            b"10 pathabc\n",
            b"7 =abc\n",
            b"12 pa\0h=abc\n",
            b"12path=abc\n",
            b"99999999999999999999 path=abc\n",
            b"340282366920938463463374607431768211456 path=abc\n",
            b"12 path=abc\n12 path=abc\n",
        ] {
            assert!(parse(body).is_err(), "{}", escape(body));
        }
        for (keyword, value) in [
            ("path", "a\0c"),
            ("path", ""),
            ("size", "-1"),
            ("size", "+1"),
            ("size", " 1"),
            ("size", ""),
            ("size", "18446744073709551616"),
            ("uid", "4294967296"),
            ("mtime", "1."),
            ("mtime", ".5"),
            ("mtime", "1e5"),
            ("mtime", "--12"),
            ("SCHILY.acl.ace", "owner@:rw::allow"),
            ("SCHILY.realsize", "5"),
            ("GNU.volume.size", "5"),
        ] {
            assert!(parse(&record(keyword, value)).is_err(), "{keyword}={value}");
        }
        assert_eq!(parse(b"12 path=abc\n").unwrap().path.unwrap(), b"abc");
        assert_eq!(parse(&record("path", "a=bc")).unwrap().path.unwrap(), b"a=bc");
        assert_eq!(parse(&record("size", "18446744073709551615")).unwrap().size, Some(u64::MAX));
    }

    #[test]
    fn times_are_kept_to_the_nanosecond_also_before_1970() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("1.123456789", 1, 123_456_789),
            ("1.1234567899", 1, 123_456_789),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("-0.000000001", -1, 999_999_999),
            ("-0.0000000001", -1, 999_999_999),
            ("-1.000", -1, 0),
            ("9223372036854775807", i64::MAX, 0),
        ] {
            assert_eq!(time(text.as_bytes()).unwrap(), Timestamp { seconds, nanoseconds }, "{text}");
        }
        assert!(time(b"9223372036854775808").is_err());
        assert!(time(b"-9223372036854775807.5").is_ok());
    }

    #[test]
    fn xattrs_come_in_three_forms_and_must_agree() {
        let xattrs = |records: &[Vec<u8>]| parse(&records.concat()).unwrap().take_xattrs();
        let schily = record("SCHILY.xattr.user.a", "xy");
        let odd = record("SCHILY.xattr.user.%3D%25%41", b"\x00\xff\n");
        let expected = [Xattr::new("user.a", "xy"), Xattr::new("user.=%%41", b"\x00\xff\n")];
        assert_eq!(xattrs(&[schily.clone(), odd]).unwrap(), expected);
        assert_eq!(xattrs(&[schily, record("LIBARCHIVE.xattr.user.a", "eHk")]).unwrap(), [Xattr::new("user.a", "xy")]);
        assert!(xattrs(&[record("SCHILY.xattr.user.a", "xz"), record("LIBARCHIVE.xattr.user.a", "eHk")]).is_err());
        // The name "user.a=b" in the form that cannot hold it.
        assert!(xattrs(&[record("SCHILY.xattr.user.a", "b=xy"), record("LIBARCHIVE.xattr.user.a%3Db", "eHk")]).is_err());
        assert_eq!(xattrs(&[record("RHT.security.selinux", "x")]).unwrap(), [Xattr::new("security.selinux", "x\0")]);
    }

    #[test]
    fn base64_with_and_without_padding() {
        for (text, bytes) in [("", &b""[..]), ("Zg", b"f"), ("Zg==", b"f"), ("Zm8", b"fo"), ("Zm9v", b"foo"), ("Zm9vYmE=", b"fooba"), ("//+/", b"\xff\xff\xbf")]
        {
            assert_eq!(decode_base64(text.as_bytes()).unwrap(), bytes, "{text}");
        }
        for text in ["Z", "Zm9vY", "Zm!v", "Zg=x"] {
            assert!(decode_base64(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn global_records_stand_behind_local_ones_and_cannot_name() {
        let globals = parse(&[record("uid", "7"), record("gid", "8"), record("SCHILY.xattr.user.a", "xy")].concat()).unwrap();
        globals.check_global().unwrap();
        let mut records = parse(&record("uid", "9")).unwrap().over(&globals);
        assert_eq!((records.uid, records.gid), (Some(9), Some(8)));
        assert_eq!(records.take_xattrs().unwrap().len(), 1);
        for keyword in ["path", "linkpath", "size", "GNU.sparse.size"] {
            assert!(parse(&record(keyword, "0")).unwrap().check_global().is_err(), "{keyword}");
        }
    }
}
