#!/usr/bin/env python3
"""The ext4 writer, side by side with others: mke2fs -d and the crate mkext4.

    benches/peers.sh && benches/ext4.py [rootfs.tar] --work /dev/shm [--cases abcd] [--runs 5]

Every way makes one bare ext4 filesystem of one size (no partition table, raw, in --work) of the same entries, with the
defaults of mke2fs -t ext4: 4-KiB blocks, journal, 64bit, metadata checksums, an inode for each 16 KiB. rootvol's time has
the SHA-256 of every 512-KiB block in it, the report and the list of checksums; nobody else makes any of these.

    a  the tree of rootfs.tar (without one: skipped)
    b  100,000 files of 0 to 8 KiB in 1,000 directories
    c  4 files of 512 MiB and a file of 4 GiB of which 64 MiB, in 64 pieces, are data
    d  a directory of 50,000 entries, directories nested 1,000 deep, 20,000 hard links, 20,000 symbolic links

The inputs are made here and are the same on every machine. Each way runs once before it counts; that product is judged:
e2fsck -fn, and the kernel's view of it (loop mount, as root) against the source, entry by entry, so that a figure is known
to be for the same work; what a way loses or refuses is said. Then runs take turns, with a sync before each. The tables have
medians: wall seconds, CPU seconds (user + system), peak memory (about 9 MiB of it can be the launcher's), and the median of
the ratios of neighbouring runs to rootvol's from the same kind of source, with the least and the most.

Where files lie is told for case a. What is missing is a visible skip.
"""
import argparse, errno, fcntl, hashlib, os, re, stat, struct, subprocess, sys, tempfile
from inputs import make_input, recipe
from measure import GIB, MIB, in_turn, machine, missing, sh, skipped, table

SIZES = {"a": 2 * GIB, "b": 2 * GIB, "c": 8 * GIB, "d": 2 * GIB}
TITLES = {
    "a": "the tree of the tar",
    "b": "100,000 files of 0 to 8 KiB in 1,000 directories",
    "c": "4 × 512 MiB, and 4 GiB with 64 MiB of data",
    "d": "50,000 entries in a directory, 1,000 deep, 20,000 hard links, 20,000 symbolic links",
}


# ---- ways and runs

def ways_of(args, case, folder, tree, packed, image):
    """Name of the way: (command, kind of source)."""
    size, found = SIZES[case], {}
    build = [args.rootvol, "build", "-o", image, "--quiet", "--force"]
    for kind, source in (("directory", tree), ("tar", packed)):
        made = recipe(os.path.join(folder, f"{kind}.toml"), source, size)
        found[f"rootvol, {kind}"] = (build + ["--recipe", made], kind)
        found[f"rootvol, {kind}, one thread"] = (build + ["--threads", "1", "--recipe", made], kind)
    mke2fs, mkext4 = os.path.join(args.peers, "mke2fs"), os.path.join(args.peers, "mkext4")
    if os.access(mke2fs, os.X_OK):
        for kind, source in (("directory", tree), ("tar", packed)):
            # What mke2fs has by default beyond rootvol's features costs it nothing; off, so that all make the same.
            command = [mke2fs, "-q", "-F", "-t", "ext4", "-O", "^metadata_csum_seed,^orphan_file", "-d", source, image, f"{size // 1024}k"]
            found[f"mke2fs -d, {kind}"] = (command, kind)
    else:
        skipped(f"mke2fs, which benches/peers.sh makes, is not in {args.peers}")
    if os.access(mkext4, os.X_OK):
        found["mkext4, directory"] = ([mkext4, tree, image, str(size)], "directory")
    else:
        skipped(f"mkext4, which benches/peers.sh makes, is not in {args.peers}")
    return found


# ---- what was made

def describe(root, wanted=None):
    """What a filesystem keeps of every entry beneath `root`, by path; `wanted` leaves the rest out."""
    found, names_of, pending = {}, {}, [b""]
    root = os.fsencode(root)
    while pending:
        relative = pending.pop()
        path = os.path.join(root, relative) if relative else root
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        entry = {"type": kind, "mode": stat.S_IMODE(status.st_mode), "owner": (status.st_uid, status.st_gid)}
        entry["mtime"], entry["nanoseconds"] = divmod(status.st_mtime_ns, 10**9)
        if kind == stat.S_IFREG:
            entry["length"], entry["bytes"] = status.st_size, digest(path)
            entry["space"] = (status.st_blocks * 512, status.st_size)
        elif kind == stat.S_IFLNK:
            entry["target"] = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            entry["device"] = status.st_rdev
        entry["xattrs"] = xattrs(path)
        found[relative] = entry
        if kind == stat.S_IFDIR:
            for name in os.listdir(path):
                if relative or name != b"lost+found":
                    pending.append(os.path.join(relative, name) if relative else name)
        else:
            names_of.setdefault(status.st_ino, []).append(relative)
    for names in names_of.values():
        for name in names:
            found[name]["links"] = min(names)
    return found


def xattrs(path):
    found = []
    try:
        for name in sorted(os.listxattr(path, follow_symlinks=False)):
            try:
                found.append((name, os.getxattr(path, name, follow_symlinks=False)))
            except OSError as error:  # such as an ACL that the kernel does not take from the disk
                found.append((name, error.errno))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
    return found


def digest(path):
    result = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as f:
        while data := f.read(MIB):
            result.update(data)
    return result.digest()


def differences(source, product):
    """How many entries differ, by what."""
    count = {}

    def add(what):
        count[what] = count.get(what, 0) + 1

    for path in source.keys() | product.keys():
        if path not in product or path not in source:
            add("missing entries" if path in source else "entries too many")
            continue
        ours, theirs = source[path], product[path]
        for what in ours.keys() | theirs.keys():
            if what == "space":
                # Blocks of metadata and a last block are no holes that were lost.
                if theirs[what][0] > ours[what][0] + 64 * 1024 and ours[what][0] < ours[what][1]:
                    add("holes")
            elif ours.get(what) != theirs.get(what):
                add(what)
    return count


def indexed(root):
    """Directories of more than a block, and how many of them have a hash index (FS_IOC_GETFLAGS, EXT4_INDEX_FL)."""
    large = index = 0
    for folder, directories, _ in os.walk(root):
        if os.path.basename(folder) != "lost+found" and os.lstat(folder).st_size > 4096:
            large += 1
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            flags = struct.unpack("l", fcntl.ioctl(fd, 0x80086601, bytes(8)))[0]
            os.close(fd)
            index += bool(flags & 0x1000)
    return large, index


def judge(image, source, work):
    """What is to be said of a product: what is wrong, what is lost; and where its files lie."""
    said, placed = [], None
    done = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True)
    said.append("e2fsck clean" if done.returncode == 0 else f"e2fsck: status {done.returncode}: {done.stdout.strip().splitlines()[-1]}")
    mount = os.path.join(work, "..", "mount")
    os.makedirs(mount, exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop,ro", image, mount], capture_output=True, text=True)
    if done.returncode:
        said.append(f"SKIPPED: comparison, as it cannot be mounted here: {done.stderr.strip()}")
        return said, placed
    try:
        lost = differences(source, describe(mount))
        said.append("differs in " + ", ".join(f"{what} ({n})" for what, n in sorted(lost.items())) if lost else "equal to the source")
        large, index = indexed(mount)
        if large:
            said.append(f"{index} of {large} directories over a block indexed")
        placed = placement(mount)
    finally:
        sh("umount", mount)
    return said, placed


# ---- where files lie

def extents(path, flags):
    """(physical, length) of what lies on the disk for a file: FS_IOC_FIEMAP, 512 extents a call."""
    fd, found, at = os.open(path, flags), [], 0
    try:
        while True:
            answer = bytearray(struct.pack("=QQLLLL", at, (1 << 63) - 1 - at, 0, 0, 512, 0) + bytes(56 * 512))
            fcntl.ioctl(fd, 0xC020660B, answer)
            mapped = struct.unpack_from("=L", answer, 20)[0]
            for number in range(mapped):
                logical, physical, length, _, _, kind = struct.unpack_from("=QQQQQL", answer, 32 + 56 * number)
                found.append((logical, physical, length))
                at = logical + length
            if mapped == 0 or kind & 1:  # FIEMAP_EXTENT_LAST
                return found
    finally:
        os.close(fd)


def tree_order(root):
    """(path, status) of everything but links met before: a directory before its entries, these by the bytes of their names."""
    pending, seen = [os.fsencode(root)], set()
    while pending:
        path = pending.pop()
        status = os.lstat(path)
        if status.st_ino in seen:
            continue
        seen.add(status.st_ino)
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            pending += [os.path.join(path, name) for name in sorted(os.listdir(path), reverse=True) if name != b"lost+found"]


def placement(mount):
    files = pieces = broken = jumps = 0
    end, distance, folders = None, 0, []
    for path, status in tree_order(mount):
        if stat.S_ISDIR(status.st_mode):
            folders += [physical for _, physical, _ in extents(path, os.O_RDONLY | os.O_DIRECTORY)]
        elif stat.S_ISREG(status.st_mode):
            found = extents(path, os.O_RDONLY)
            # A hole parts a file without breaking it: what counts is whether the next data follows on the disk.
            breaks = sum(1 for a, b in zip(found, found[1:]) if a[1] + a[2] != b[1])
            files += bool(found)
            pieces += bool(found) + breaks
            broken += breaks > 0
            for _, physical, length in found:
                if end is not None and physical != end:
                    jumps += 1
                    distance += abs(physical - end)
                end = physical + length
    text = f"{files} files with data in {pieces} pieces, {broken} of them broken; reading them in tree order jumps {jumps} times, {distance / GIB:.2f} GiB in all"
    text += f"; blocks of directories within {(max(folders) - min(folders)) / MIB:.0f} MiB"
    done = subprocess.run(["e4defrag", "-c", mount], capture_output=True, text=True) if not missing("e4defrag") else None
    score = re.search(r"Fragmentation score\s+(\d+)", done.stdout) if done else None
    return text + (f"; e4defrag score {score[1]}" if score else "; SKIPPED: e4defrag")


# ---- tables

def run_case(args, case, top):
    folder, work = os.path.join(top, case), os.path.join(top, "work")
    os.mkdir(folder), os.mkdir(work)
    image = os.path.join(work, "image.raw")
    print(f"\n## ({case}) {TITLES[case]}; filesystem of {SIZES[case] // GIB} GiB\n", flush=True)
    tree, packed = make_input(case, args.tar, folder)
    ways = ways_of(args, case, folder, tree, packed, image)
    source, notes = describe(tree), {}

    def first(name):
        notes[name], placed = judge(image, source, work)
        notes[name] += [placed] if case == "a" and placed else []

    results, failures = in_turn(work, {name: command for name, (command, _) in ways.items()}, args.runs, first=first)
    table(results, failures, lambda name: f"rootvol, {ways[name][1]}")
    print()
    for name, said in notes.items():
        alike = next(other for other, its in notes.items() if its == said)
        print(f"- {name}: {'; '.join(said) if alike == name else 'as ' + alike}")
    sys.stdout.flush()
    sh("rm", "-rf", folder, work)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tar", nargs="?")
    a.add_argument("--cases", default="abcd")
    a.add_argument("--runs", type=int, default=5)
    a.add_argument("--work")
    here = os.path.dirname(os.path.abspath(__file__))
    a.add_argument("--peers", default=os.path.join(here, "../target/peers"))
    a.add_argument("--rootvol", default="target/release/rootvol")
    args = a.parse_args()
    args.rootvol, args.peers = os.path.abspath(args.rootvol), os.path.abspath(args.peers)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    lacks = missing("tar", "e2fsck", "mount", "timeout")
    if lacks or os.geteuid() != 0:
        skipped(f"everything, which needs root (to unpack, to mount) and {', '.join(lacks) or 'nothing else'}")
        return
    top = tempfile.mkdtemp(prefix="rootvol-ext4.", dir=args.work)
    mke2fs = subprocess.run([os.path.join(args.peers, "mke2fs"), "-V"], capture_output=True, text=True) if os.path.exists(os.path.join(args.peers, "mke2fs")) else None
    version = mke2fs.stderr.splitlines()[0] if mke2fs else "no mke2fs"
    print(f"{machine(top, args.runs)}; {version}")
    try:
        for case in args.cases:
            if case == "a" and not args.tar:
                skipped("case a, without a tar")
            else:
                run_case(args, case, top)
    finally:
        sh("rm", "-rf", top)


if __name__ == "__main__":
    main()
