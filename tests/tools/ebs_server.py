#!/usr/bin/env python3
"""ebs_server.py

A strict server of the EBS direct API's six routes (EBS direct API reference; service model 2019-11-02), for one test:
it holds snapshots in memory and refuses what AWS documents as an error, with the same names, reasons and status codes.
Prints its port and serves until it is killed or standard input ends.

What AWS leaves to prose is taken in its strictest meaning: a parent must be completed, no larger than its child, and is
inherited block by block; the aggregate is SHA-256 over the raw digests of exactly the blocks that were written to this
snapshot, ascending. AWS checks the aggregate after it has answered; this server answers with the refusal.

Beside the API:
  GET /volume/ID?bytes=N   the first N bytes of a volume made from a completed snapshot. A block that it does not hold is
                           zero, or random bytes where the snapshot is encrypted.
  PUT /encrypt-by-default  from now on the account encrypts every new snapshot.
  GET /refusals            {"known": [every refusal], "met": {refusal: how often}}
"""
import base64
import hashlib
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BLOCK = 524288
BLOCKS_A_GIB = 2048
KEY_ARN = re.compile(r"^arn:aws[a-z\-]*:kms:.*:[0-9]{12}:key/.*$")
SNAPSHOT = re.compile(r"^snap-[0-9a-f]+$")

# Every refusal, by a name of ours: status, error, reason (the service model's enumerations), message.
V, R = "ValidationException", "ResourceNotFoundException"
REFUSALS = {
    "unsigned": (403, "AccessDeniedException", "UNAUTHORIZED_ACCOUNT", "the request is not signed"),
    "start-body": (400, V, "INVALID_PARAMETER_VALUE", "the body is no JSON object, or has unknown members"),
    "volume-size": (400, V, "INVALID_VOLUME_SIZE", "VolumeSize is 1 to 65536"),
    "parent-and-encrypted": (400, V, "INVALID_PARAMETER_VALUE", "Encrypted and ParentSnapshotId exclude each other"),
    "key-not-encrypted": (400, V, "INVALID_PARAMETER_VALUE", "KmsKeyArn needs Encrypted"),
    "key-arn": (400, V, "INVALID_CUSTOMER_KEY", "KmsKeyArn is no ARN of a key"),
    "timeout": (400, V, "INVALID_PARAMETER_VALUE", "Timeout is 10 to 4320"),
    "description": (400, V, "INVALID_PARAMETER_VALUE", "Description has 1 to 255 characters"),
    "tags": (400, V, "INVALID_TAG", "at most 50 tags; keys of 1 to 127 characters, not aws:, once each; values of at most 255"),
    "token": (400, V, "INVALID_PARAMETER_VALUE", "ClientToken has 1 to 64 printable ASCII characters"),
    "token-conflict": (409, "ConflictException", None, "the same ClientToken came with other parameters"),
    "parent-not-found": (404, R, "SNAPSHOT_NOT_FOUND", "no such parent"),
    "parent-pending": (400, V, "INVALID_SNAPSHOT_ID", "the parent is not completed"),
    "parent-larger": (400, V, "INVALID_VOLUME_SIZE", "a snapshot is not smaller than its parent"),
    "parent-unencrypted": (400, V, "INVALID_PARAMETER_VALUE", "the account encrypts by default, the parent is not encrypted"),
    "not-found": (404, R, "SNAPSHOT_NOT_FOUND", "no such snapshot"),
    "put-completed": (400, V, "INVALID_SNAPSHOT_ID", "the snapshot is not pending any more"),
    "put-index": (400, V, "INVALID_BLOCK", "the block index is not inside the volume"),
    "put-algorithm": (400, V, "INVALID_PARAMETER_VALUE", "x-amz-Checksum-Algorithm is SHA256"),
    "put-data-length": (400, V, "INVALID_PARAMETER_VALUE", "x-amz-Data-Length is 524288"),
    "put-body-length": (400, V, "INVALID_BLOCK", "the data is not 524288 bytes"),
    "put-checksum-form": (400, V, "INVALID_PARAMETER_VALUE", "x-amz-Checksum is 32 bytes in base64"),
    "put-checksum": (400, V, "INVALID_BLOCK", "the data has another checksum"),
    "put-progress": (400, V, "INVALID_PARAMETER_VALUE", "x-amz-Progress is 0 to 100"),
    "put-payload-hash": (400, V, "INVALID_BLOCK", "x-amz-content-sha256 is neither UNSIGNED-PAYLOAD nor that of the data"),
    "complete-completed": (400, V, "INVALID_SNAPSHOT_ID", "the snapshot is not pending any more"),
    "complete-count": (400, V, "INVALID_PARAMETER_VALUE", "x-amz-ChangedBlocksCount is not how many blocks were written"),
    "complete-algorithm": (400, V, "INVALID_PARAMETER_VALUE", "a checksum comes with SHA256 and LINEAR"),
    "complete-checksum": (400, V, "INVALID_PARAMETER_VALUE", "the blocks that were written have another LINEAR checksum"),
    "read-pending": (400, V, "INVALID_SNAPSHOT_ID", "only completed snapshots are read"),
    "max-results": (400, V, "INVALID_PARAMETER_VALUE", "MaxResults is 100 to 10000"),
    "page-token": (400, V, "INVALID_PAGE_TOKEN", "no page token of this listing"),
    "block-token": (400, V, "INVALID_BLOCK_TOKEN", "no token of this block"),
    "unrelated": (400, V, "UNRELATED_SNAPSHOTS", "the snapshots are not related"),
}


class Refused(Exception):
    pass


class Snapshot:
    def __init__(self, number, request, parent, encrypted):
        self.id = "snap-%017x" % number
        self.gib = request["VolumeSize"]
        self.request = request
        self.parent = parent
        self.encrypted = encrypted
        self.status = "pending"
        self.blocks = dict(parent.blocks) if parent else {}
        self.written = {}  # index -> digest, of this snapshot alone
        self.started = time.time()

    def token(self, index):
        return base64.b64encode(hashlib.sha256(f"{self.id}/{index}".encode()).digest()).decode()


class Ebs:
    def __init__(self):
        self.encrypt_by_default = False
        self.lock = threading.Lock()
        self.snapshots = {}
        self.tokens = {}
        self.met = {}

    def refuse(self, name, unless=False):
        if not unless:
            self.met[name] = self.met.get(name, 0) + 1
            raise Refused(name)

    # --- StartSnapshot
    def start(self, body):
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        members = {"VolumeSize", "ParentSnapshotId", "Tags", "Description", "ClientToken", "Encrypted", "KmsKeyArn", "Timeout"}
        self.refuse("start-body", isinstance(request, dict) and set(request) <= members)
        size = request.get("VolumeSize")
        self.refuse("volume-size", type(size) is int and 1 <= size <= 65536)
        parent_id, encrypted, key = request.get("ParentSnapshotId"), request.get("Encrypted"), request.get("KmsKeyArn")
        self.refuse("parent-and-encrypted", parent_id is None or (encrypted is None and key is None))
        self.refuse("key-not-encrypted", key is None or encrypted is True)
        self.refuse("key-arn", key is None or (isinstance(key, str) and KEY_ARN.match(key)))
        timeout, text = request.get("Timeout", 60), request.get("Description")
        self.refuse("timeout", type(timeout) is int and 10 <= timeout <= 4320)
        self.refuse("description", text is None or (isinstance(text, str) and 1 <= len(text) <= 255))
        self.check_tags(request.get("Tags", []))
        token = request.get("ClientToken")
        self.refuse("token", token is None or (isinstance(token, str) and re.fullmatch(r"[!-~]{1,64}", token)))
        same = {name: value for name, value in request.items() if name != "ClientToken"}
        with self.lock:
            if token in self.tokens:
                known, snapshot = self.tokens[token]
                self.refuse("token-conflict", known == same)
                return snapshot
            parent = self.parent(parent_id, size)
            encrypted = parent.encrypted if parent else bool(encrypted) or self.encrypt_by_default
            snapshot = Snapshot(len(self.snapshots) + 0xABC0, request, parent, encrypted)
            self.snapshots[snapshot.id] = snapshot
            if token is not None:
                self.tokens[token] = (same, snapshot)
            return snapshot

    def check_tags(self, tags):
        good = isinstance(tags, list) and len(tags) <= 50 and all(isinstance(tag, dict) and set(tag) == {"Key", "Value"} for tag in tags)
        keys = [tag["Key"] for tag in tags] if good else []
        good = good and len(set(keys)) == len(keys)
        good = good and all(1 <= len(tag["Key"]) <= 127 and not tag["Key"].lower().startswith("aws:") and len(tag["Value"]) <= 255 for tag in tags)
        self.refuse("tags", good)

    def parent(self, parent_id, size):
        if parent_id is None:
            return None
        parent = self.snapshots.get(parent_id) if SNAPSHOT.match(str(parent_id)) else None
        self.refuse("parent-not-found", parent is not None)
        self.refuse("parent-pending", parent.status == "completed")
        self.refuse("parent-larger", parent.gib <= size)
        self.refuse("parent-unencrypted", parent.encrypted or not self.encrypt_by_default)
        return parent

    def find(self, snapshot_id):
        snapshot = self.snapshots.get(snapshot_id)
        self.refuse("not-found", snapshot is not None)
        return snapshot

    # --- PutSnapshotBlock
    def put(self, snapshot_id, index, headers, data):
        snapshot = self.find(snapshot_id)
        self.refuse("put-completed", snapshot.status == "pending")
        self.refuse("put-index", re.fullmatch("[0-9]{1,9}", index) and int(index) < snapshot.gib * BLOCKS_A_GIB)
        self.refuse("put-algorithm", headers.get("x-amz-Checksum-Algorithm") == "SHA256")
        self.refuse("put-data-length", headers.get("x-amz-Data-Length") == str(BLOCK))
        self.refuse("put-body-length", len(data) == BLOCK)
        digest = decoded(headers.get("x-amz-Checksum"))
        self.refuse("put-checksum-form", digest is not None)
        actual = hashlib.sha256(data).digest()
        payload = headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        self.refuse("put-payload-hash", payload in ("UNSIGNED-PAYLOAD", actual.hex()))
        self.refuse("put-checksum", digest == actual)
        self.refuse("put-progress", re.fullmatch("[0-9]{1,2}|100", headers.get("x-amz-Progress", "0")))
        with self.lock:
            self.refuse("put-completed", snapshot.status == "pending")
            snapshot.blocks[int(index)] = data
            snapshot.written[int(index)] = digest

    # --- CompleteSnapshot
    def complete(self, snapshot_id, headers):
        snapshot = self.find(snapshot_id)
        with self.lock:
            self.refuse("complete-completed", snapshot.status == "pending")
            self.refuse("complete-count", headers.get("x-amz-ChangedBlocksCount") == str(len(snapshot.written)))
            checksum = headers.get("x-amz-Checksum")
            kind = (headers.get("x-amz-Checksum-Algorithm"), headers.get("x-amz-Checksum-Aggregation-Method"))
            self.refuse("complete-algorithm", kind == (("SHA256", "LINEAR") if checksum else (None, None)))
            linear = hashlib.sha256(b"".join(digest for _, digest in sorted(snapshot.written.items()))).digest()
            self.refuse("complete-checksum", checksum is None or decoded(checksum) == linear)
            snapshot.status = "completed"
            return snapshot

    # --- reading
    def readable(self, snapshot_id):
        snapshot = self.find(snapshot_id)
        self.refuse("read-pending", snapshot.status == "completed")
        return snapshot

    def page(self, query, indexes):
        most = query.get("maxResults", "1000")
        self.refuse("max-results", most.isdigit() and 100 <= int(most) <= 10000)
        token = query.get("pageToken")
        self.refuse("page-token", token is None or re.fullmatch("page[0-9]{1,9}", token))
        first = int(token[4:]) if token else int(query.get("startingBlockIndex", "0"))
        indexes = [index for index in indexes if index >= first]
        page, rest = indexes[: int(most)], indexes[int(most) :]
        return page, f"page{rest[0]}" if rest else None

    def list_blocks(self, snapshot_id, query):
        snapshot = self.readable(snapshot_id)
        page, more = self.page(query, sorted(snapshot.blocks))
        return listing("Blocks", [{"BlockIndex": index, "BlockToken": snapshot.token(index)} for index in page], snapshot, more)

    def list_changed(self, second_id, query):
        second = self.readable(second_id)
        first, blocks = None, {}
        if "firstSnapshotId" in query:
            first = self.readable(query["firstSnapshotId"])
            ancestor = second.parent
            while ancestor is not None and ancestor is not first:
                ancestor = ancestor.parent
            self.refuse("unrelated", ancestor is not None)
            blocks = first.blocks
        changed = sorted(index for index in set(blocks) | set(second.blocks) if blocks.get(index) != second.blocks.get(index))
        page, more = self.page(query, changed)
        entries = []
        for index in page:
            entry = {"BlockIndex": index}
            if index in blocks:
                entry["FirstBlockToken"] = first.token(index)
            if index in second.blocks:
                entry["SecondBlockToken"] = second.token(index)
            entries.append(entry)
        return listing("ChangedBlocks", entries, second, more)

    def get(self, snapshot_id, index, query):
        snapshot = self.readable(snapshot_id)
        known = index.isdigit() and int(index) in snapshot.blocks
        self.refuse("block-token", known and query.get("blockToken") == snapshot.token(int(index)))
        return snapshot.blocks[int(index)]

    def volume(self, snapshot_id, query):
        snapshot = self.readable(snapshot_id)
        left = int(query.get("bytes", snapshot.gib * BLOCKS_A_GIB * BLOCK))
        index = 0
        while left > 0:
            block = snapshot.blocks.get(index)
            if block is None:
                block = os.urandom(BLOCK) if snapshot.encrypted else bytes(BLOCK)
            yield block[: min(left, BLOCK)]
            left -= min(left, BLOCK)
            index += 1


def decoded(checksum):
    try:
        digest = base64.b64decode(checksum or "", validate=True)
    except ValueError:
        return None
    return digest if len(digest) == 32 and base64.b64encode(digest).decode() == checksum else None


def listing(name, entries, snapshot, more):
    answer = {name: entries, "ExpiryTime": int(time.time()) + 3600, "VolumeSize": snapshot.gib, "BlockSize": BLOCK}
    return answer | ({"NextToken": more} if more else {})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ebs = None

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # a client that has found a difference does not read on
            self.close_connection = True

    def json(self, status, value, headers=()):
        self.answer(status, json.dumps(value).encode(), [("Content-Type", "application/json"), *headers])

    def handle_request(self):
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if parts[0] == "snapshots":
                self.ebs.refuse("unsigned", self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential="))
            self.route(self.command, parts, query, body)
        except Refused as refused:
            status, name, reason, message = REFUSALS[refused.args[0]]
            answer = {"Message": message} | ({"Reason": reason} if reason else {})
            self.json(status, answer, [("x-amzn-ErrorType", name)])

    def route(self, method, parts, query, body):
        ebs = self.ebs
        match (method, parts):
            case ("POST", ["snapshots"]):
                snapshot = ebs.start(body)
                answer = {"SnapshotId": snapshot.id, "OwnerId": "012345678910", "Status": snapshot.status, "StartTime": snapshot.started,
                          "VolumeSize": snapshot.gib, "BlockSize": BLOCK, "Tags": snapshot.request.get("Tags", [])}
                for name in ("Description", "ParentSnapshotId", "KmsKeyArn"):
                    if name in snapshot.request:
                        answer[name] = snapshot.request[name]
                self.json(201, answer)
            case ("PUT", ["snapshots", snapshot_id, "blocks", index]):
                ebs.put(snapshot_id, index, self.headers, body)
                checksum = self.headers["x-amz-Checksum"]
                self.answer(201, b"", [("x-amz-Checksum", checksum), ("x-amz-Checksum-Algorithm", "SHA256")])
            case ("POST", ["snapshots", "completion", snapshot_id]):
                self.json(202, {"Status": ebs.complete(snapshot_id, self.headers).status})
            case ("GET", ["snapshots", snapshot_id, "blocks"]):
                self.json(200, ebs.list_blocks(snapshot_id, query))
            case ("GET", ["snapshots", snapshot_id, "changedblocks"]):
                self.json(200, ebs.list_changed(snapshot_id, query))
            case ("GET", ["snapshots", snapshot_id, "blocks", index]):
                data = ebs.get(snapshot_id, index, query)
                checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
                headers = [("x-amz-Data-Length", str(BLOCK)), ("x-amz-Checksum", checksum), ("x-amz-Checksum-Algorithm", "SHA256")]
                self.answer(200, data, [("Content-Type", "application/octet-stream"), *headers])
            case ("GET", ["volume", snapshot_id]):
                self.answer(200, b"".join(ebs.volume(snapshot_id, query)))
            case ("PUT", ["encrypt-by-default"]):
                ebs.encrypt_by_default = True
                self.answer(200, b"")
            case ("GET", ["refusals"]):
                self.json(200, {"known": list(REFUSALS), "met": ebs.met})
            case _:
                self.answer(404, b"")

    do_GET = do_PUT = do_POST = handle_request


def main():
    Handler.ebs = Ebs()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
