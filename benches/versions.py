"""Versions of a tree, for benches/next_version.py: a tar, its successors by seeded changes, and where an ext4 image keeps its files.

The same tar and seed give the same versions on every machine.
"""
import copy, io, mmap, random, struct, tarfile

# The first version's own times are those of the tar; what a version changes has the time of that version.
FIRST = 1_700_100_000
# What a build reads and a random change would break: kernels, loaders, what names the system.
KEPT = ("boot/", "usr/lib/shim/", "usr/lib/grub/", "usr/lib/systemd/boot/", "etc/fstab", "etc/os-release", "usr/lib/os-release", "etc/default/grub", "etc/kernel/")
VERSION_FILE = "etc/debian_version"


class Tree:
    """The entries of a tar in its order; contents of files by name, as bytes or as a part of the tar that is mapped."""

    def __init__(self, tar, seed):
        self.seed, self.generation, self.files = seed, 0, {}
        with open(tar, "rb") as f:
            self.mapped = memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ))
        with tarfile.open(tar) as read:
            self.entries = read.getmembers()
            for entry in self.entries:
                if entry.isreg():
                    plain = not entry.issparse()
                    self.files[entry.name] = self.mapped[entry.offset_data : entry.offset_data + entry.size] if plain else read.extractfile(entry).read()
                    entry.type, entry.sparse = tarfile.REGTYPE, None
                # tarfile says anew what it knows itself.
                entry.pax_headers = {k: v for k, v in entry.pax_headers.items() if not k.startswith("GNU.sparse.") and k not in ("size", "path", "linkpath")}
        self.linked = {entry.linkname for entry in self.entries if entry.islnk()}

    def next(self):
        """A copy that may be changed: contents are shared."""
        new = copy.copy(self)
        new.entries, new.files, new.generation = list(self.entries), dict(self.files), self.generation + 1
        return new

    def numbers(self, what):
        return random.Random(f"{self.seed} {self.generation} {what}")

    def candidates(self):
        """Places, in the list of entries, of files that may change. A file of several names is left alone."""
        plain = lambda e: e.isreg() and e.name not in self.linked and not e.name.removeprefix("./").startswith(KEPT)
        return [place for place, entry in enumerate(self.entries) if plain(entry)]

    def put(self, place, contents):
        """Other contents and the time of this version, in place of an entry; entries are shared with earlier versions, so it is a new one."""
        entry = copy.copy(self.entries[place])
        entry.size, entry.mtime = len(contents), FIRST + self.generation
        entry.pax_headers = {k: v for k, v in entry.pax_headers.items() if k not in ("mtime", "atime", "ctime")}
        self.entries[place], self.files[entry.name] = entry, contents

    def touch(self, directories):
        """A directory with an entry more or less has a new time."""
        for place, entry in enumerate(self.entries):
            if entry.isdir() and entry.name in directories:
                entry = self.entries[place] = copy.copy(entry)
                entry.mtime = FIRST + self.generation
                entry.pax_headers = {k: v for k, v in entry.pax_headers.items() if k not in ("mtime", "atime", "ctime")}

    def change(self, percent):
        """So many of the files get other contents, of a length up to a fifth more or less. How many files, how many bytes."""
        numbers, places = self.numbers("change"), self.candidates()
        chosen = numbers.sample(places, max(1, round(len(places) * percent / 100)))
        for place in chosen:
            length = self.entries[place].size
            self.put(place, numbers.randbytes(max(0, length + numbers.randint(-length // 5, length // 5))))
        return len(chosen), sum(self.entries[place].size for place in chosen)

    def one_byte(self):
        """One byte of one file of some size; nothing else, not even a time."""
        place = self.numbers("byte").choice([p for p in self.candidates() if self.entries[p].size > 10_000])
        entry = self.entries[place]
        contents = bytearray(self.files[entry.name])
        contents[len(contents) // 2] ^= 1
        self.files[entry.name] = bytes(contents)
        return 1, 1

    def version_string(self):
        """A version in one file, one digit longer, and its time."""
        place = next((p for p in self.candidates() if self.entries[p].name.removeprefix("./") == VERSION_FILE), None)
        place = self.candidates()[0] if place is None else place
        contents = bytes(self.files[self.entries[place].name]).rstrip(b"\n") + b".%d\n" % self.generation
        self.put(place, contents)
        return 1, len(contents)

    def replace(self, percent):
        """So many of the files removed, as many added beside files that stay, of lengths that files have."""
        numbers, places = self.numbers("replace"), self.candidates()
        count = max(1, round(len(places) * percent / 100))
        chosen = numbers.sample(places, 2 * count)
        gone, beside = set(chosen[:count]), chosen[count:]
        parents, added = {self.entries[place].name.rpartition("/")[0] for place in chosen}, []
        for number, place in enumerate(beside):
            entry = copy.copy(self.entries[place])
            entry.name = f"{entry.name.rpartition('/')[0]}/added-{self.generation}-{number}"
            length = self.entries[numbers.choice(places)].size
            entry.size, entry.mtime, entry.pax_headers = length, FIRST + self.generation, {}
            self.files[entry.name] = numbers.randbytes(length)
            added.append(entry)
        for place in gone:
            del self.files[self.entries[place].name]
        self.entries = [entry for place, entry in enumerate(self.entries) if place not in gone] + added
        self.touch(parents)
        return count, sum(entry.size for entry in added)

    def write(self, path):
        with open(path, "wb") as f, tarfile.open(fileobj=f, mode="w", format=tarfile.PAX_FORMAT) as to:
            for entry in self.entries:
                to.addfile(copy.copy(entry), io.BytesIO(self.files[entry.name]) if entry.isreg() else None)
        return path


# ---- where an ext4 image keeps its files

class Ext4:
    """Just enough of a reader to count pieces: 64bit or not, flex_bg or not; extents only."""

    def __init__(self, path, offset=0):
        self.file, self.offset = open(path, "rb"), offset
        sb = self.at(1024, 1024)
        word = lambda at: struct.unpack_from("<I", sb, at)[0]
        self.block, self.per_group, self.inodes = 1024 << word(24), word(40), word(0)
        self.inode_bytes = struct.unpack_from("<H", sb, 88)[0]
        self.used_inodes, self.free_blocks = word(0) - word(16), word(12)
        wide = word(96) & 0x80
        each = struct.unpack_from("<H", sb, 254)[0] if wide else 32
        groups = -(-self.inodes // self.per_group)
        table = self.at((word(20) + 1) * self.block, groups * each)
        self.tables = []
        for group in range(groups):
            low, = struct.unpack_from("<I", table, group * each + 8)
            high = struct.unpack_from("<I", table, group * each + 40)[0] if wide else 0
            self.tables.append(low | high << 32)

    def at(self, offset, length):
        self.file.seek(self.offset + offset)
        return self.file.read(length)

    def runs(self, node):
        """The extents beneath a node of the tree: (logical block, physical block, count), in order."""
        magic, entries, _, depth, _ = struct.unpack_from("<HHHHI", node)
        if magic != 0xF30A:
            return []
        found = []
        for entry in range(entries):
            if depth:
                _, low, high, _ = struct.unpack_from("<IIHH", node, 12 + 12 * entry)
                found += self.runs(self.at((low | high << 32) * self.block, self.block))
            else:
                logical, count, high, low = struct.unpack_from("<IHHI", node, 12 + 12 * entry)
                found.append((logical, low | high << 32, count - 32768 if count > 32768 else count))
        return found

    def pieces(self):
        """Of each regular file that has contents in blocks: how many pieces it lies in. Holes and full extents make none."""
        found = {}
        for group, table in enumerate(self.tables):
            data = self.at(table * self.block, self.per_group * self.inode_bytes)
            for index in range(self.per_group):
                inode = data[index * self.inode_bytes : index * self.inode_bytes + 128]
                number = group * self.per_group + index + 1
                # Regular, linked, mapped by extents; the first ten are the filesystem's own.
                mode, = struct.unpack_from("<H", inode)
                if number <= 10 or mode & 0xF000 != 0x8000 or not struct.unpack_from("<H", inode, 26)[0] or not struct.unpack_from("<I", inode, 32)[0] & 0x80000:
                    continue
                runs = self.runs(inode[40:100])
                if runs:
                    found[number] = 1 + sum(a[1] + a[2] != b[1] for a, b in zip(runs, runs[1:]))
        return found
