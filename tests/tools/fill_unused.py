#!/usr/bin/env python3
"""fill_unused.py [--seed N] [--zero-too] IMAGE.raw BLOCKS.jsonl

Overwrites every 512-KiB block of a raw image that the block list calls unused
with random bytes (the same for the same seed). What an image's reader must not
depend on is then visibly garbage: the image must still mount, check and boot.

BLOCKS.jsonl, one JSON object per line:
  {"index":0,"state":"data","checksum":"base64 of the block's SHA-256"}
  {"index":4,"count":12,"state":"unused"}
count defaults to 1; states are data, zero and unused. Every block of the image
must be listed exactly once; the last block may be shorter than 512 KiB.
Before anything is written, data blocks that have a checksum are compared with
it (padded with zeros to 512 KiB) and zero blocks must be zero.
--zero-too fills the zero blocks too (to prove that a test notices).
Prints one JSON object with the counts. Exit: 0 done, 1 list and image disagree,
2 wrong use.
"""
import argparse, base64, hashlib, json, os, random, sys

BLOCK = 512 * 1024


class Disagree(Exception):
    pass


def read_list(path, blocks):
    state, checksum = [None] * blocks, {}
    with open(path, encoding='utf-8') as f:
        for n, line in enumerate(f, 1):
            if not line.strip():
                continue
            where = '%s:%d' % (path, n)
            try:
                e = json.loads(line)
                i, count, s = e['index'], e.get('count', 1), e['state']
            except (ValueError, KeyError, TypeError) as x:
                raise Disagree('%s: not a block entry: %r' % (where, x))
            if s not in ('data', 'zero', 'unused'):
                raise Disagree('%s: state %r' % (where, s))
            if type(i) is not int or type(count) is not int or i < 0 or count < 1 or i + count > blocks:
                raise Disagree('%s: blocks %r+%r, the image has %d' % (where, i, count, blocks))
            for k in range(i, i + count):
                if state[k] is not None:
                    raise Disagree('%s: block %d is listed twice' % (where, k))
                state[k] = s
            if e.get('checksum') is not None:
                if s != 'data' or count != 1:
                    raise Disagree('%s: a checksum belongs to one data block' % where)
                checksum[i] = base64.b64decode(e['checksum'], validate=True)
    if None in state:
        raise Disagree('%s: block %d is not listed' % (path, state.index(None)))
    return state, checksum


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('image')
    a.add_argument('blocks')
    a.add_argument('--seed', type=int, default=1)
    a.add_argument('--zero-too', action='store_true')
    n = a.parse_args()
    try:
        with open(n.image, 'r+b') as f:
            size = f.seek(0, os.SEEK_END)
            state, checksum = read_list(n.blocks, -(-size // BLOCK))
            zeros = bytes(BLOCK)
            for i, s in enumerate(state):
                if s == 'zero' or i in checksum:
                    f.seek(i * BLOCK)
                    b = f.read(BLOCK).ljust(BLOCK, b'\0')
                    if s == 'zero' and b != zeros:
                        raise Disagree('block %d is called zero and is not' % i)
                    if s == 'data' and hashlib.sha256(b).digest() != checksum[i]:
                        raise Disagree('block %d has another checksum' % i)
            filled = 0
            for i, s in enumerate(state):
                if s == 'unused' or (n.zero_too and s == 'zero'):
                    length = min(BLOCK, size - i * BLOCK)
                    f.seek(i * BLOCK)
                    f.write(random.Random(n.seed * 1000003 + i).randbytes(length))
                    filled += length
            f.flush()
            os.fsync(f.fileno())
    except OSError as e:
        print('fill_unused: %s' % e, file=sys.stderr)
        return 2
    except (Disagree, ValueError) as e:
        print('fill_unused: %s' % e, file=sys.stderr)
        return 1
    print(json.dumps({'blocks': len(state), 'data': state.count('data'), 'zero': state.count('zero'),
                      'unused': state.count('unused'), 'checksums_verified': len(checksum), 'filled_bytes': filled}))
    return 0


if __name__ == '__main__':
    sys.exit(main())
