#!/usr/bin/env python3
"""uefi_data.py DICTIONARY < lines

A second writer and reader of UEFI data (the store of UEFI variables of an AMI), with Python's zlib and nothing else: its
compressor is the one that python-uefivars writes stores with. Each line of standard input is a store in base64; it is read, written
again from what was read, and both texts have to be equal. Prints a line of JSON a store: its variables, as
[name, vendor GUID, attributes, time, digest, data], bytes in hex.
"""
import base64
import json
import struct
import sys
import uuid
import zlib


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def read(text, dictionary):
    store = base64.b64decode(text, validate=True)
    magic, crc, version = struct.unpack_from("<8sII", store)
    assert magic == b"AMZNUEFI" and version == 0 and crc == crc32c(store[12:])
    inflate = zlib.decompressobj(zdict=dictionary)
    data = inflate.decompress(store[16:])
    assert inflate.eof and not inflate.unused_data
    at = 8

    def take(count):
        nonlocal at
        at += count
        assert at <= len(data)
        return data[at - count : at]

    def counted():
        return take(struct.unpack("<Q", take(8))[0])

    variables = []
    for _ in range(struct.unpack_from("<Q", data)[0]):
        name, value, vendor = counted().decode(), counted(), uuid.UUID(bytes_le=take(16))
        (attributes,) = struct.unpack("<I", take(4))
        time, digest = (take(16), counted()) if attributes & 0x20 else (None, None)
        variables.append((name, vendor, attributes, time, digest, value))
    assert at == len(data)
    return variables


def write(variables, dictionary):
    data = struct.pack("<Q", len(variables))
    for name, vendor, attributes, time, digest, value in variables:
        name = name.encode()
        data += struct.pack("<Q", len(name)) + name + struct.pack("<Q", len(value)) + value + vendor.bytes_le + struct.pack("<I", attributes)
        if attributes & 0x20:
            data += time + struct.pack("<Q", len(digest)) + digest
    deflate = zlib.compressobj(9, zdict=dictionary)
    rest = struct.pack("<I", 0) + deflate.compress(data) + deflate.flush()
    return base64.b64encode(b"AMZNUEFI" + struct.pack("<I", crc32c(rest)) + rest).decode()


def main():
    dictionary = open(sys.argv[1], "rb").read()
    for number, line in enumerate(sys.stdin):
        line = line.strip()
        variables = read(line, dictionary)
        again = write(variables, dictionary)
        assert again == line, f"store {number}: zlib writes other bytes ({len(again)} characters, and {len(line)} are there)"
        shown = [[name, str(vendor), attributes, *(None if part is None else part.hex() for part in (time, digest)), value.hex()] for name, vendor, attributes, time, digest, value in variables]
        print(json.dumps(shown))


if __name__ == "__main__":
    main()
