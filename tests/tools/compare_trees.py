#!/usr/bin/env python3
"""compare_trees.py A B [--ignore PATH ...]

Compares two directories as the kernel shows them: names as bytes, type, mode, owner, size, mtime to the nanosecond,
device numbers, hard links (which names share an inode), targets, xattrs (POSIX ACLs and capabilities among them) and
contents. Prints every difference and exits 1 if there is one. Directory sizes, inode numbers and atimes do not count.
"""
import hashlib, os, stat, sys

args = sys.argv[1:]
ignore = set()
while "--ignore" in args:
    at = args.index("--ignore")
    ignore.add(os.fsencode(args[at + 1].strip("/")))
    del args[at : at + 2]
if len(args) != 2:
    sys.exit(__doc__)


def describe(root):
    root = os.fsencode(root)
    found, inodes = {}, {}
    pending = [b""]
    while pending:
        rel = pending.pop()
        path = os.path.join(root, rel) if rel else root
        st = os.lstat(path)
        d = {
            "type": stat.S_IFMT(st.st_mode), "mode": oct(stat.S_IMODE(st.st_mode)), "uid": st.st_uid, "gid": st.st_gid,
            "mtime_ns": st.st_mtime_ns,
        }
        if stat.S_ISREG(st.st_mode):
            d["size"] = st.st_size
            h = hashlib.sha256()
            with open(path, "rb") as f:
                while c := f.read(1 << 20):
                    h.update(c)
            d["sha256"] = h.hexdigest()
        if stat.S_ISLNK(st.st_mode):
            d["target"] = os.readlink(path)
        if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            d["rdev"] = (os.major(st.st_rdev), os.minor(st.st_rdev))
        try:
            names = os.listxattr(path, follow_symlinks=False)
            d["xattrs"] = {n: os.getxattr(path, n, follow_symlinks=False).hex() for n in sorted(names)}
        except OSError as e:
            d["xattrs"] = {} if e.errno == 95 else {"error": str(e)}
        if not stat.S_ISDIR(st.st_mode):
            inodes.setdefault((st.st_dev, st.st_ino), []).append(rel)
        found[rel] = d
        if stat.S_ISDIR(st.st_mode):
            for name in os.listdir(path):
                child = os.path.join(rel, name) if rel else name
                if child not in ignore:
                    pending.append(child)
    for names in inodes.values():
        for name in names:
            found[name]["links"] = sorted(names)
    return found


a, b = describe(args[0]), describe(args[1])
wrong = 0
for path in sorted(set(a) | set(b)):
    if path not in a or path not in b:
        print(f"{path!r}: only in {'B' if path not in a else 'A'}")
        wrong += 1
        continue
    for key in sorted(set(a[path]) | set(b[path])):
        if a[path].get(key) != b[path].get(key):
            print(f"{path!r}: {key}: {a[path].get(key)!r} / {b[path].get(key)!r}")
            wrong += 1
print(f"{len(a)} entries compared, {wrong} differences")
sys.exit(1 if wrong else 0)
