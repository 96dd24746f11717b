//! Reading a file at a position, without moving anybody's cursor: what lets many threads share one handle.

use crate::units::u64_of;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};

/// Bytes between two pieces that are read with them and thrown away, in one call: about what a call costs.
#[cfg(target_os = "linux")]
const GAPS_MAX: usize = 16 * 1024;
/// Pieces in one call; Linux takes 1024 with the gaps between them (`IOV_MAX`).
#[cfg(target_os = "linux")]
const PIECES_MAX: usize = 256;

/// Fills `out` from `offset_bytes` of `file`.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] where the file ends before that; what the system reports.
pub(crate) fn read_exact_at(file: &File, mut offset_bytes: u64, mut out: &mut [u8]) -> Result<()> {
    while !out.is_empty() {
        match read_at(file, offset_bytes, out) {
            Ok(0) => return Err(Error::from(ErrorKind::UnexpectedEof)),
            Ok(count) => {
                offset_bytes += u64_of(count);
                out = &mut out[count..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what there is at `offset_bytes`, once; 0 at the end of the file.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, offset_bytes: u64, out: &mut [u8]) -> Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, offset_bytes)
}

/// Reads what there is at `offset_bytes`, once; 0 at the end of the file. Moves the cursor, which nobody here uses.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, offset_bytes: u64, out: &mut [u8]) -> Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, offset_bytes)
}

/// Fills every piece from its offset, as [`read_exact_at`]; pieces that follow each other closely in the file in one call.
///
/// # Errors
/// As [`read_exact_at`], with the offset of the piece.
pub(crate) fn read_pieces(file: &File, pieces: &mut [(u64, &mut [u8])]) -> std::result::Result<(), (u64, Error)> {
    let mut rest = pieces;
    while !rest.is_empty() {
        let (run, behind) = rest.split_at_mut(near_count(rest));
        read_run(file, run)?;
        rest = behind;
    }
    Ok(())
}

fn read_each(file: &File, pieces: &mut [(u64, &mut [u8])]) -> std::result::Result<(), (u64, Error)> {
    pieces.iter_mut().try_for_each(|(offset_bytes, out)| read_exact_at(file, *offset_bytes, out).map_err(|error| (*offset_bytes, error)))
}

/// How many pieces, one at least, are worth one call.
#[cfg(target_os = "linux")]
fn near_count(pieces: &[(u64, &mut [u8])]) -> usize {
    let mut gaps = 0;
    let near = pieces.windows(2).take(PIECES_MAX - 1).take_while(|pair| {
        let end = pair[0].0.checked_add(u64_of(pair[0].1.len()));
        let gap = end.and_then(|end| pair[1].0.checked_sub(end)).and_then(|gap| usize::try_from(gap).ok());
        gaps += gap.unwrap_or(GAPS_MAX + 1);
        gaps <= GAPS_MAX
    });
    near.count() + 1
}

/// One call for all; whatever it did not do is done one by one, which is also what finds the right error.
#[cfg(target_os = "linux")]
fn read_run(file: &File, pieces: &mut [(u64, &mut [u8])]) -> std::result::Result<(), (u64, Error)> {
    use arrayvec::ArrayVec;
    use std::io::IoSliceMut;
    if pieces.len() < 2 {
        return read_each(file, pieces);
    }
    let start = pieces[0].0;
    let mut gap_bytes = [0; GAPS_MAX];
    let mut gaps = &mut gap_bytes[..];
    let mut slices = ArrayVec::<_, { 2 * PIECES_MAX }>::new();
    let mut at = start;
    for (offset_bytes, out) in pieces.iter_mut() {
        let (gap, behind) = gaps.split_at_mut(usize::try_from(*offset_bytes - at).unwrap_or(0));
        gaps = behind;
        if !gap.is_empty() {
            slices.push(IoSliceMut::new(gap));
        }
        at = *offset_bytes + u64_of(out.len());
        slices.push(IoSliceMut::new(out));
    }
    let read = rustix::io::preadv(file, &mut slices, start);
    drop(slices);
    match read {
        Ok(count) if u64_of(count) == at - start => Ok(()),
        _ => read_each(file, pieces),
    }
}

#[cfg(not(target_os = "linux"))]
fn near_count(_pieces: &[(u64, &mut [u8])]) -> usize {
    1
}

#[cfg(not(target_os = "linux"))]
fn read_run(file: &File, pieces: &mut [(u64, &mut [u8])]) -> std::result::Result<(), (u64, Error)> {
    read_each(file, pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn pieces_are_filled_wherever_they_are_and_the_first_that_is_not_there_is_named() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let places = [(0, 10), (10, 5), (100, 0), (100, 50), (20_000, 1), (19_000, 500), (150_000, 40_000), (199_999, 1)];
        let mut out: Vec<Vec<u8>> = places.iter().map(|(_, len)| vec![0xee; *len]).collect();
        let mut pieces: Vec<(u64, &mut [u8])> = places.iter().zip(&mut out).map(|((at, _), out)| (u64_of(*at), out.as_mut_slice())).collect();
        read_pieces(&file, &mut pieces).unwrap();
        for ((at, len), out) in places.iter().zip(&out) {
            assert_eq!(out, &bytes[*at..at + len], "{at}");
        }
        let (mut a, mut b, mut c) = ([0; 10], [0; 10], [0; 10]);
        let (at, error) = read_pieces(&file, &mut [(199_980, &mut a[..]), (199_991, &mut b), (199_995, &mut c)]).unwrap_err();
        assert_eq!((at, error.kind()), (199_991, ErrorKind::UnexpectedEof));
    }
}
