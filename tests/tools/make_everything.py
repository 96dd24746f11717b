#!/usr/bin/env python3
"""make_everything.py DIR

Makes a directory that holds everything a root filesystem can hold; needs root. Always the same but for what the kernel
decides (inode numbers). Used as the source that must come through an image without loss.
"""
import os, random, socket, stat, struct, sys

top = os.fsencode(sys.argv[1])
os.makedirs(top, exist_ok=True)
os.chdir(top)
os.umask(0)
rng = random.Random(1)


def file(name, data=b"", mode=0o644, uid=0, gid=0):
    with open(name, "wb") as f:
        f.write(data)
    os.chown(name, uid, gid, follow_symlinks=False)
    os.chmod(name, mode)


def at(name, ns):
    os.utime(name, ns=(ns, ns), follow_symlinks=False)


# Names: every byte but NUL and slash, 255 bytes, what looks like options or escapes.
os.mkdir("names")
for b in range(1, 256):
    if b not in (0x2F, 0x2E):
        file(b"names/" + bytes([b]), bytes([b]))
file(b"names/" + b"\xff\xfe not UTF-8")
file("names/" + "n" * 255)
file(b"names/" + bytes(range(0x80, 0x100)))
for odd in ("-rf", "a\nb", "\x1b[31mred", " lead and trail ", "..." , "ünïcödé", "NUL_not"):
    file("names/" + odd)

# Modes: all bits on files and directories.
os.mkdir("modes")
for mode in (0, 0o1, 0o400, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777):
    file(f"modes/f{mode:04o}", mode=mode)
    os.mkdir(f"modes/d{mode:04o}")
    os.chmod(f"modes/d{mode:04o}", mode)

# Owners to 2^32 - 2 (the kernel takes 2^32 - 1 as "leave it").
os.mkdir("owners")
for uid, gid in ((1, 2), (65534, 65535), (65536, 70000), (2**31, 2**31 - 1), (2**32 - 2, 2**32 - 2)):
    file(f"owners/{uid}-{gid}", uid=uid, gid=gid)

# Sizes around every boundary, and data that is zero.
os.mkdir("sizes")
for n in (0, 1, 59, 60, 61, 155, 156, 157, 511, 512, 1023, 4095, 4096, 4097, 8191, 8192, 65535, 524287, 524288, 524289, 3 << 20):
    file(f"sizes/{n}", rng.randbytes(n))
file("sizes/zeros", bytes(700_000))

# Links.
os.mkdir("links")
for n in (1, 59, 60, 61, 100, 1000, 4094, 4095):
    os.symlink("t" * n, f"links/symlink-{n}")
os.symlink(b"\xff\xfe/../..", "links/symlink-bytes")
os.lchown("links/symlink-1", 1234, 5678)
file("links/hard-1", b"shared")
for n in range(2, 12):
    os.link("links/hard-1", f"links/hard-{n}")
os.link("links/symlink-100", "links/hard-to-symlink")

# Devices, pipes, sockets.
os.mkdir("special")
for name, kind, major, minor in (("null", stat.S_IFCHR, 1, 3), ("big-char", stat.S_IFCHR, 4095, 1048575), ("disk", stat.S_IFBLK, 8, 1), ("big-block", stat.S_IFBLK, 259, 300)):
    os.mknod("special/" + name, kind | 0o660, os.makedev(major, minor))
os.link("special/null", "special/null-again")
os.mkfifo("special/fifo", 0o600)
s = socket.socket(socket.AF_UNIX)
s.bind("special/socket")
s.close()

# xattrs: in the inode, in a block of their own, both; every namespace; ACLs and capabilities.
os.mkdir("xattrs")
def x(name, **values):
    for k, v in values.items():
        os.setxattr(name, k.replace("__", "."), v, follow_symlinks=False)
file("xattrs/small"); x("xattrs/small", user__a=b"1", user__b=b"")
file("xattrs/many"); [os.setxattr("xattrs/many", f"user.name-{i:03}", b"v" * i) for i in range(40)]
file("xattrs/same-1"); file("xattrs/same-2")
for n in ("xattrs/same-1", "xattrs/same-2"):
    os.setxattr(n, "user.large", b"L" * 2000); os.setxattr(n, "security.selinux", b"system_u:object_r:etc_t:s0\0")
for n in range(1, 130, 8):
    file(f"xattrs/inode-{n}"); os.setxattr(f"xattrs/inode-{n}", "user.x", b"i" * n)
file("xattrs/largest"); os.setxattr("xattrs/largest", "user.x", rng.randbytes(3900))
file("xattrs/trusted"); x("xattrs/trusted", trusted__t=b"\x00\xff")
file("xattrs/capable", mode=0o755)
os.setxattr("xattrs/capable", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
acl = lambda *e: struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, i) for t, p, i in e)
NONE = 0xFFFFFFFF
access = acl((1, 6, NONE), (2, 7, 1234), (2, 4, 70000), (4, 4, NONE), (8, 5, 99), (16, 7, NONE), (32, 0, NONE))
file("xattrs/acl", mode=0o670); os.setxattr("xattrs/acl", "system.posix_acl_access", access)
os.mkdir("xattrs/acl-dir", 0o770); os.setxattr("xattrs/acl-dir", "system.posix_acl_default", access)
os.symlink("nowhere", "xattrs/link"); os.setxattr("xattrs/link", "trusted.onlink", b"yes", follow_symlinks=False)
os.setxattr("xattrs", "user.directory", b"d" * 300)

# Holes.
os.mkdir("holes")
def holes(name, size, *ranges):
    with open(name, "wb") as f:
        f.truncate(size)
        for off, n in ranges:
            f.seek(off); f.write(rng.randbytes(n))
holes("holes/all", 10 << 20)
holes("holes/front", 1 << 20, ((1 << 20) - 5, 5))
holes("holes/many", 64 << 20, *((i << 16, 4096) for i in range(0, 1024, 2)))
holes("holes/odd", 12345678, (5000, 3), (9999999, 1234))
holes("holes/huge", 1 << 30, ((1 << 29) + 7, 10))

# Directories: deep, wide, empty.
os.mkdir("wide")
for i in range(3000):
    file(f"wide/entry-with-quite-a-long-name-{i:05}", b"%d" % i if i % 3 else b"")
os.makedirs("deep/" + "/".join(["d"] * 120))
os.mkdir("empty")

# Times: before 1970, past 2038, nanoseconds; directories last, as making entries touches them.
os.mkdir("times")
for n, ns in enumerate((0, 1, -1, -10**9, 999_999_999, 2**31 * 10**9 + 1, 2**32 * 10**9 - 1, -(2**31) * 10**9, 15_032_385_535 * 10**9, 1_700_000_000_123_456_789)):
    file(f"times/{n}"); at(f"times/{n}", ns)
os.symlink("x", "times/link"); at("times/link", 86_400 * 10**9 + 42)
for folder, names, files in os.walk(b".", topdown=False):
    for name in sorted(files):
        path = os.path.join(folder, name)
        if not folder.startswith(b"./times"):
            at(path, 1_600_000_000 * 10**9 + len(name))
    at(folder, 1_500_000_000 * 10**9 + len(folder))
at("times", -5)
