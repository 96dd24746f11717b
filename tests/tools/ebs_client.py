#!/usr/bin/env python3
"""ebs_client.py execute  ENDPOINT PLAN IMAGE BLOCKS [--encrypted]
   ebs_client.py refusals ENDPOINT PLAN IMAGE
   ebs_client.py moto     PLAN IMAGE

Executes the plan of a snapshot (`rootvol manifest ebs-snapshot`) with boto3 as the client of the EBS direct API.

execute   starts, puts, completes; reads the snapshot back through the API (list, get) and as a volume, and compares both
          with the disk in IMAGE, byte for byte. A VHD is read by libvhdi, so that the disk is not what the tool under test
          thinks it is. BLOCKS is the image's block list. With --encrypted the
          account encrypts by default: what the snapshot does not hold reads as random
          bytes, and the blocks that the list calls data or zero are compared. Prints {"SnapshotId":…,"put":…,"held":…}.
refusals  spoils the plan in every way that the server (ebs_server.py) refuses, and checks name, reason and status of each
          error; fails where the server knows a refusal that was not met.
moto      executes the plan against moto: a second opinion on the wire format alone, for moto checks no checksums.
"""
import base64
import hashlib
import json
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

BLOCK = 524288
ZEROS = bytes(BLOCK)


class Disk:
    """The disk in an image, in blocks; a short last one is padded."""

    def __init__(self, path):
        if path.endswith(".vhd"):
            import pyvhdi

            self.file = pyvhdi.file()
            self.file.open(path)
            self.size = self.file.get_media_size()
        else:
            self.file = open(path, "rb")
            self.size = self.file.seek(0, 2)

    def block(self, index):
        self.file.seek(index * BLOCK)
        left = max(0, min(BLOCK, self.size - index * BLOCK))
        data = self.file.read(left) if left else b""
        assert len(data) == left, f"block {index}: {len(data)} of {left} bytes"
        return data + bytes(BLOCK - left)


def client(endpoint):
    # Nothing is checked here: what is wrong has to be refused by the server.
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1}, max_pool_connections=8)
    return boto3.client("ebs", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="x", config=config)


def puts(plan):
    """Every request of the list: the members of PutSnapshotBlock, and whether it is zeros."""
    for line in plan["PutSnapshotBlock"]:
        line = dict(line)
        state, count = line.pop("State"), line.pop("Count", 1)
        for index in range(line["BlockIndex"], line["BlockIndex"] + count):
            yield {**line, "BlockIndex": index}, state == "zero"


def put_all(ebs, snapshot, plan, disk):
    with ThreadPoolExecutor(4) as pool:
        pending = []
        for request, zero in puts(plan):
            data = ZEROS if zero else disk.block(request["BlockIndex"])
            pending.append(pool.submit(ebs.put_snapshot_block, SnapshotId=snapshot, BlockData=data, **request))
            if len(pending) > 16:
                pending.pop(0).result()
        for one in pending:
            one.result()


def held_blocks(ebs, snapshot):
    held, token = {}, {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=100, **token)
        for block in page["Blocks"]:
            got = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=block["BlockIndex"], BlockToken=block["BlockToken"])
            data = got["BlockData"].read()
            assert base64.b64encode(hashlib.sha256(data).digest()).decode() == got["Checksum"]
            held[block["BlockIndex"]] = data
        if "NextToken" not in page:
            return held, page["VolumeSize"]
        token = {"NextToken": page["NextToken"]}


def used_blocks(path):
    for line in open(path):
        line = json.loads(line)
        if line["state"] != "unused":
            yield from range(line["index"], line["index"] + line.get("count", 1))


def execute(endpoint, plan_path, image, blocks, encrypted=None):
    plan, disk, ebs = json.load(open(plan_path)), Disk(image), client(endpoint)
    if encrypted:
        encrypt_by_default(endpoint)
    snapshot = ebs.start_snapshot(**plan["StartSnapshot"])["SnapshotId"]
    again = ebs.start_snapshot(**plan["StartSnapshot"])["SnapshotId"]
    assert again == snapshot, "the same token and request is the same snapshot"
    put_all(ebs, snapshot, plan, disk)
    ebs.complete_snapshot(SnapshotId=snapshot, **plan["CompleteSnapshot"])

    held, gib = held_blocks(ebs, snapshot)
    assert gib == plan["StartSnapshot"]["VolumeSize"] and gib * 1024**3 >= disk.size
    for index, data in held.items():
        # What the image does not use, or is behind its end, can be held as zeros only.
        assert data == disk.block(index), f"block {index} is not that of the image"
    volume = urllib.request.urlopen(f"{endpoint}/volume/{snapshot}?bytes={disk.size}")
    used = set(used_blocks(blocks))
    for index in range(-(-disk.size // BLOCK)):
        actual, expected = volume.read(BLOCK), disk.block(index)
        if index in used or not encrypted:
            assert actual == expected[: len(actual)], f"block {index} of the volume is not that of the image"
    if encrypted:
        assert not used - set(held), "blocks that somebody reads are not held"
    print(json.dumps({"SnapshotId": snapshot, "put": plan["CompleteSnapshot"]["ChangedBlocksCount"], "held": len(held)}))


def refusals(endpoint, plan_path, image):
    plan, disk, ebs = json.load(open(plan_path)), Disk(image), client(endpoint)
    start, complete = plan["StartSnapshot"], plan["CompleteSnapshot"]
    (put, _), *_ = [(put, zero) for put, zero in puts(plan) if not zero]
    data = disk.block(put["BlockIndex"])
    tokens = iter(range(10**6))

    def refused(refusal, call, name, reason, status, **request):
        before = met(endpoint)["met"].get(refusal, 0)
        try:
            call(**request)
        except ClientError as error:
            answer = error.response
            there = (answer["Error"]["Code"], answer.get("Reason"), answer["ResponseMetadata"]["HTTPStatusCode"])
            assert there == (name, reason, status), f"{refusal}: {there}"
            assert met(endpoint)["met"].get(refusal, 0) == before + 1, f"{refusal}: refused for another reason: {answer['Error']}"
            print(f"{refusal}: {name} {reason} {status}")
        else:
            raise AssertionError(f"{refusal} was not refused")

    invalid = ("ValidationException", "INVALID_PARAMETER_VALUE", 400)
    missing = ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", 404)
    state = ("ValidationException", "INVALID_SNAPSHOT_ID", 400)
    block = ("ValidationException", "INVALID_BLOCK", 400)
    size = ("ValidationException", "INVALID_VOLUME_SIZE", 400)

    def started(**changes):
        return {**start, "ClientToken": f"spoiled-{next(tokens)}", **changes}

    def spoiled_start(refusal, error, **changes):
        refused(refusal, ebs.start_snapshot, *error, **started(**changes))

    done = ebs.start_snapshot(**started(VolumeSize=2))["SnapshotId"]
    put_all(ebs, done, plan, disk)
    ebs.complete_snapshot(SnapshotId=done, **complete)
    pending = ebs.start_snapshot(**start)["SnapshotId"]
    key = "arn:aws:kms:us-east-1:012345678910:key/abcd"

    unsigned = urllib.request.Request(f"{endpoint}/snapshots", b"{}", method="POST")
    try:
        urllib.request.urlopen(unsigned)
        raise AssertionError("an unsigned request was not refused")
    except urllib.error.HTTPError as error:
        assert (error.code, error.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    body = urllib.request.Request(f"{endpoint}/snapshots", b"[]", {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, method="POST")
    try:
        urllib.request.urlopen(body)
        raise AssertionError("a body that is no object was not refused")
    except urllib.error.HTTPError as error:
        assert (error.code, json.load(error)["Reason"]) == (400, "INVALID_PARAMETER_VALUE")

    for wrong in (0, 65537, -1):
        spoiled_start("volume-size", size, VolumeSize=wrong)
    spoiled_start("parent-and-encrypted", invalid, ParentSnapshotId=done, VolumeSize=2, Encrypted=True)
    spoiled_start("parent-and-encrypted", invalid, ParentSnapshotId=done, VolumeSize=2, Encrypted=False)
    spoiled_start("key-not-encrypted", invalid, KmsKeyArn=key)
    spoiled_start("key-arn", ("ValidationException", "INVALID_CUSTOMER_KEY", 400), KmsKeyArn="alias/x", Encrypted=True)
    for wrong in (9, 4321):
        spoiled_start("timeout", invalid, Timeout=wrong)
    for wrong in ("", "x" * 256):
        spoiled_start("description", invalid, Description=wrong)
    for wrong in ([{"Key": "", "Value": ""}], [{"Key": "aws:x", "Value": ""}], [{"Key": "x", "Value": "y" * 256}], [{"Key": "x", "Value": ""}] * 2,
                  [{"Key": str(number), "Value": ""} for number in range(51)]):
        spoiled_start("tags", ("ValidationException", "INVALID_TAG", 400), Tags=wrong)
    for wrong in ("x" * 65, "a b", "ü"):
        spoiled_start("token", invalid, ClientToken=wrong)
    refused("token-conflict", ebs.start_snapshot, "ConflictException", None, 409, **{**start, "VolumeSize": start["VolumeSize"] + 1})
    for wrong in ("snap-0f0f", "vol-1"):
        spoiled_start("parent-not-found", missing, ParentSnapshotId=wrong)
    spoiled_start("parent-pending", state, ParentSnapshotId=pending)
    spoiled_start("parent-larger", size, ParentSnapshotId=done, VolumeSize=1)

    def spoiled_put(refusal, error, snapshot=pending, drop=None, **changes):
        request = {**put, "BlockData": data, **changes}
        request.pop(drop, None)
        refused(refusal, ebs.put_snapshot_block, *error, SnapshotId=snapshot, **request)

    spoiled_put("not-found", missing, snapshot="snap-0f0f")
    spoiled_put("put-completed", state, snapshot=done)
    for wrong in (start["VolumeSize"] * 2048, -1, 2**40):
        spoiled_put("put-index", block, BlockIndex=wrong)
    spoiled_put("put-algorithm", invalid, ChecksumAlgorithm="SHA512")
    spoiled_put("put-algorithm", invalid, drop="ChecksumAlgorithm")
    for wrong in (512, 0, 524289):
        spoiled_put("put-data-length", invalid, DataLength=wrong)
    spoiled_put("put-data-length", invalid, drop="DataLength")
    for wrong in (data[:-1], data + b"\0", b""):
        spoiled_put("put-body-length", block, BlockData=wrong)
    for wrong in (hashlib.sha256(data).hexdigest(), put["Checksum"][:-4], "=" * 44):
        spoiled_put("put-checksum-form", invalid, Checksum=wrong)
    spoiled_put("put-checksum-form", invalid, drop="Checksum")
    spoiled_put("put-checksum", block, BlockData=bytes([data[0] ^ 1]) + data[1:])
    spoiled_put("put-checksum", block, Checksum=base64.b64encode(hashlib.sha256(b"").digest()).decode())
    spoiled_put("put-progress", invalid, Progress=101)
    lying = urllib.request.Request(f"{endpoint}/snapshots/{pending}/blocks/0", data, {
        "Authorization": "AWS4-HMAC-SHA256 Credential=x", "x-amz-Checksum": put["Checksum"], "x-amz-Checksum-Algorithm": "SHA256",
        "x-amz-Data-Length": str(BLOCK), "x-amz-content-sha256": "00" * 32}, method="PUT")
    try:
        urllib.request.urlopen(lying)
        raise AssertionError("a payload hash that lies was not refused")
    except urllib.error.HTTPError as error:
        assert json.load(error)["Reason"] == "INVALID_BLOCK"

    # A plan with one block left out, one too many, or one in another's place.
    put_all(ebs, pending, {"PutSnapshotBlock": plan["PutSnapshotBlock"][:-1]}, disk)

    def spoiled_completion(refusal, error, snapshot=pending, drop=None, **changes):
        request = {**complete, **changes}
        request.pop(drop, None)
        refused(refusal, ebs.complete_snapshot, *error, SnapshotId=snapshot, **request)

    spoiled_completion("complete-count", invalid)
    put_all(ebs, pending, plan, disk)
    for wrong in (0, complete["ChangedBlocksCount"] - 1, complete["ChangedBlocksCount"] + 1):
        spoiled_completion("complete-count", invalid, ChangedBlocksCount=wrong)
    spoiled_completion("complete-count", invalid, drop="ChangedBlocksCount")
    spoiled_completion("complete-algorithm", invalid, ChecksumAlgorithm="SHA512")
    spoiled_completion("complete-algorithm", invalid, ChecksumAggregationMethod="TREE")
    spoiled_completion("complete-algorithm", invalid, drop="ChecksumAggregationMethod")
    texts = "".join(request["Checksum"] for request, _ in puts(plan)).encode()  # the mistake that was seen in the field
    for wrong in (put["Checksum"], base64.b64encode(hashlib.sha256(texts).digest()).decode()):
        spoiled_completion("complete-checksum", invalid, Checksum=wrong)
    spoiled_completion("not-found", missing, snapshot="snap-0f0f")
    spoiled_completion("complete-completed", state, snapshot=done)

    refused("read-pending", ebs.list_snapshot_blocks, *state, SnapshotId=pending)
    refused("read-pending", ebs.list_changed_blocks, *state, SecondSnapshotId=pending)
    refused("read-pending", ebs.get_snapshot_block, *state, SnapshotId=pending, BlockIndex=0, BlockToken="x")
    for wrong in (99, 10001):
        refused("max-results", ebs.list_snapshot_blocks, *invalid, SnapshotId=done, MaxResults=wrong)
    refused("page-token", ebs.list_snapshot_blocks, "ValidationException", "INVALID_PAGE_TOKEN", 400, SnapshotId=done, NextToken="x")
    refused("block-token", ebs.get_snapshot_block, "ValidationException", "INVALID_BLOCK_TOKEN", 400, SnapshotId=done, BlockIndex=put["BlockIndex"], BlockToken="x")
    ebs.complete_snapshot(SnapshotId=pending, **complete)
    related = ebs.start_snapshot(**started(ParentSnapshotId=done, VolumeSize=2))["SnapshotId"]
    nothing = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    ebs.complete_snapshot(SnapshotId=related, **{**complete, "ChangedBlocksCount": 0, "Checksum": nothing})
    assert ebs.list_changed_blocks(FirstSnapshotId=done, SecondSnapshotId=related)["ChangedBlocks"] == []
    refused("unrelated", ebs.list_changed_blocks, "ValidationException", "UNRELATED_SNAPSHOTS", 400, FirstSnapshotId=done, SecondSnapshotId=pending)

    encrypt_by_default(endpoint)
    spoiled_start("parent-unencrypted", invalid, ParentSnapshotId=done, VolumeSize=2)
    there = met(endpoint)
    left = [name for name in there["known"] if name not in there["met"]]
    assert not left, f"refusals that were not met: {left}"


def encrypt_by_default(endpoint):
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/encrypt-by-default", b"", method="PUT"))


def met(endpoint):
    return json.load(urllib.request.urlopen(f"{endpoint}/refusals"))


def moto(plan_path, image):
    from moto import mock_aws

    plan, disk = json.load(open(plan_path)), Disk(image)
    with mock_aws():
        ebs = boto3.client("ebs", region_name="eu-central-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="x")
        started = ebs.start_snapshot(**plan["StartSnapshot"])
        snapshot = started["SnapshotId"]
        assert started["VolumeSize"] == plan["StartSnapshot"]["VolumeSize"] and started["Description"] == plan["StartSnapshot"]["Description"]
        count = 0
        for request, zero in puts(plan):
            data = ZEROS if zero else disk.block(request["BlockIndex"])
            answer = ebs.put_snapshot_block(SnapshotId=snapshot, BlockData=data, **request)
            assert answer["Checksum"] == request["Checksum"]
            count += 1
        assert ebs.complete_snapshot(SnapshotId=snapshot, **plan["CompleteSnapshot"])["Status"] == "completed"
        for block in ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]:
            got = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=block["BlockIndex"], BlockToken=block["BlockToken"])
            assert got["BlockData"].read() == disk.block(block["BlockIndex"])
            count -= 1
        assert count == 0


if __name__ == "__main__":
    {"execute": execute, "refusals": refusals, "moto": moto}[sys.argv[1]](*sys.argv[2:])
