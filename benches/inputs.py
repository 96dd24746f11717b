"""The inputs of the benches, made here and the same on every machine.

    a  the tree of a tar that is given
    b  100,000 files of 0 to 8 KiB in 1,000 directories
    c  4 files of 512 MiB and a file of 4 GiB of which 64 MiB, in 64 pieces, are data
    e  20,000 files, 500 MB: 16,000 of text, 0 to 32 KiB, like configuration and programs in languages that are read; 4,000 of bytes
    d  a directory of 50,000 entries, directories nested 1,000 deep, 20,000 hard links, 20,000 symbolic links
"""
import os, random, shutil, sys
from measure import GIB, MIB, sh

MTIME_NS = 1_700_000_000_123_456_789
sys.setrecursionlimit(10_000)  # directories nested deep


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def input_b(tree, scale):
    numbers = random.Random("case b")
    for directory in range(1000 // scale):
        os.mkdir(f"{tree}/directory-{directory:04}")
        for file in range(100):
            write(f"{tree}/directory-{directory:04}/file-{file:03}.txt", numbers.randbytes(numbers.randrange(8193)))


def input_c(tree, scale):
    numbers = random.Random("case c")
    for number in range(4):
        with open(f"{tree}/file-{number}", "wb") as f:
            for _ in range(128 // scale):
                f.write(numbers.randbytes(4 * MIB))
    with open(f"{tree}/sparse", "wb") as f:
        f.truncate(4 * GIB)
        for piece in range(64):
            f.seek(piece * 64 * MIB + 16 * MIB)
            f.write(numbers.randbytes(MIB))


def input_d(tree, scale):
    numbers = random.Random("case d")
    for name in ("many", "deep", "links", "symlinks"):
        os.mkdir(f"{tree}/{name}")
    for entry in range(50_000 // scale):
        write(f"{tree}/many/entry-{entry:05}-{numbers.getrandbits(32):08x}", b"")
    path = f"{tree}/deep"
    for _ in range(1000 // scale):
        path += "/d"
        os.mkdir(path)
    # 200 files of 101 names each.
    for file in range(200 // scale):
        write(f"{tree}/links/file-{file:03}", numbers.randbytes(1000))
        for name in range(100):
            os.link(f"{tree}/links/file-{file:03}", f"{tree}/links/name-{file:03}-{name:03}")
    for link in range(20_000 // scale):
        # One in ten is too long to lie in its inode.
        target = f"../many/entry-{link:05}" + ("/x" * 40 if link % 10 == 0 else "")
        os.symlink(target, f"{tree}/symlinks/link-{link:05}")


def input_e(tree, scale):
    numbers = random.Random("case e")
    words = [f"{w}" for w in "the of key = value # comment true false path /usr/share/x user host port token name: [section] \n \n return import def { } ; ( )".split(" ")]
    words += [numbers.randbytes(numbers.randrange(2, 9)).hex() for _ in range(200)]
    for directory in range(200 // scale):
        os.mkdir(f"{tree}/directory-{directory:03}")
        for file in range(80):
            text = " ".join(numbers.choices(words, k=numbers.randrange(4600)))
            write(f"{tree}/directory-{directory:03}/text-{file:02}.conf", text.encode())
        for file in range(20):
            write(f"{tree}/directory-{directory:03}/library-{file:02}.so", b"\x7fELF\2\1\1\0" + numbers.randbytes(numbers.randrange(120_000)))


def settle(tree):
    """Equal times everywhere, to the nanosecond; deepest first, because a new entry touches its directory."""
    for folder, directories, files in os.walk(tree, topdown=False):
        for name in files + directories:
            os.utime(f"{folder}/{name}", ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)
    os.utime(tree, ns=(MTIME_NS, MTIME_NS))


def make_input(case, tar, folder, scale=1):
    """(directory, tar) of a case; with a scale, of a part of it."""
    tree, packed = os.path.join(folder, "tree"), os.path.join(folder, "source.tar")
    os.mkdir(tree)
    if case == "a":
        shutil.copy(tar, packed)
        sh("tar", "-C", tree, "--xattrs", "--xattrs-include=*", "-xpf", packed)
    else:
        os.chmod(tree, 0o755)
        {"b": input_b, "c": input_c, "d": input_d, "e": input_e}[case](tree, scale)
        settle(tree)
        options = ["--format=pax", "--pax-option=delete=atime,delete=ctime", "--sparse", "--sort=name", "--numeric-owner"]
        sh("tar", "-C", tree, *options, "-cf", packed, ".")
    return tree, packed


def recipe(path, source, size):
    """A recipe for a bare ext4 filesystem; it lies beside its source."""
    write(path, f'''name = "bench"
[disk]
format = "raw"
table = "none"
size = "{size // MIB} MiB"
[boot]
mode = "none"
[[partition]]
type = "linux"
filesystem = "ext4"
source = ["{os.path.basename(source)}"]
'''.encode())
    return path


def header(name, size, kind, mode):
    fields = [(name, 100), (f"{mode:07o}", 8), ("0000000", 8), ("0000000", 8), (f"{size:011o}", 12), (f"{MTIME_NS // 10**9:011o}", 12), (" " * 8, 8)]
    block = bytearray(b"".join(text.encode().ljust(length, b"\0") for text, length in fields) + kind + bytes(100) + b"ustar\x0000").ljust(512, b"\0")
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def entries_tar(path, directories):
    """A tar of so many directories of 999 small files each."""
    with open(path, "wb") as f:
        f.write(header("./", 0, b"5", 0o755))
        for directory in range(directories):
            f.write(header(f"./directory-{directory:04}/", 0, b"5", 0o755))
            for file in range(999):
                text = f"{directory}/{file}\n".encode()
                f.write(header(f"./directory-{directory:04}/file-{file:03}.txt", len(text), b"0", 0o644) + text.ljust(512, b"\0"))
        f.write(bytes(1024))
