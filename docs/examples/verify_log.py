#!/usr/bin/env python3
"""Verifies what `weft audit --raw --json` printed, with no code of weft.

    weft audit --raw --json >log.jsonl && verify_log.py log.jsonl

Proves that every membership record is signed by the device that issued it, that each device was
admitted, that every change is part of its log's hash chain, and that the chain is signed by the
device the log belongs to.  Needs PyNaCl (Debian: python3-nacl).  Exit 0: all of it holds; 1: the
first thing that does not is named.  docs/disk.md and docs/wire.md describe the bytes.
"""
import hashlib
import json
import sys

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


class Bad(Exception):
    pass


def blake(data, person=b"", salt=b""):
    return hashlib.blake2b(data, digest_size=32, person=person, salt=salt).digest()


def check_signature(key, message, signature, what):
    try:
        VerifyKey(key).verify(message, signature)
    except (BadSignatureError, ValueError) as error:
        raise Bad(f"{what}: the signature does not hold") from error


class Records:
    """Membership records: version, kind, flags, space, author, dependencies, body, signature."""

    def __init__(self):
        self.space = None
        self.grants = {}  # record id -> the device that it lets write
        self.seen = set()

    def take(self, raw):
        kind, author, body_at = raw[1], raw[35:67], 68 + 32 * raw[67]
        rid = blake(raw[:-64], person=b"weft-record-v1")
        what = f"record {rid.hex()[:12]}"
        check_signature(author, b"weft-v1 record" + rid, raw[-64:], what)
        deps = {raw[at:at + 32] for at in range(68, body_at, 32)}
        if not deps <= self.seen:
            raise Bad(f"{what}: it names records that do not stand before it")
        body = raw[body_at + 2:-64]
        if kind == 1:  # GENESIS: its id is the space's
            if self.space is not None:
                raise Bad(f"{what}: a second beginning")
            self.space = rid
            self.grants[rid] = author
        elif raw[3:35] != self.space:
            raise Bad(f"{what}: it belongs to another space")
        elif kind == 4:  # ADMIT: device 32, x 32, role, invite 32, two signatures, name
            device, invite = body[:32], body[65:97]
            redeem = self.space + invite + body[:64]
            check_signature(invite, b"weft-v1 redeem" + redeem, body[97:161], what + " (ticket)")
            check_signature(device, b"weft-v1 join" + redeem, body[161:225], what + " (device)")
            self.grants[rid] = device
        self.seen.add(rid)


class Log:
    """One log: a chain that begins with START and is signed here and there."""

    def __init__(self, records, log_id):
        self.records, self.id = records, log_id
        self.seq, self.device, self.signed = 0, None, 0
        self.ids = [blake(log_id, person=b"weft-seq0-v1")]

    def take(self, seq, raw, signature):
        what = f"log {self.id.hex()[:12]} change {seq}"
        if seq != self.seq + 1:
            raise Bad(f"{what}: change {self.seq + 1} is missing")
        space = self.records.space
        self.ids.append(blake(self.ids[-1] + raw, salt=space[:16], person=space[16:]))
        self.seq = seq
        if seq == 1:
            self.start(raw, what)
        if signature is not None:
            message = b"weft-v1 sig" + space + self.id + seq.to_bytes(8, "big") + self.ids[-1]
            check_signature(self.device, message, signature, what)
            self.signed = seq
        return self.ids[-1]

    def start(self, raw, what):
        if raw[:3] != b"\x01\x01\x00":
            raise Bad(f"{what}: it is no START")
        at = 12  # behind version, kind, flags, clock and a count of claims, which is 0
        device, incarnation, lane = raw[at:at + 32], raw[at + 32:at + 48], raw[at + 48:at + 49]
        grant = raw[at + 49:at + 81]
        if raw[11] or blake(self.records.space + device + incarnation + lane,
                             person=b"weft-log-v1") != self.id:
            raise Bad(f"{what}: the log does not belong to the device that began it")
        if self.records.grants.get(grant) != device:
            raise Bad(f"{what}: nothing lets this device write")
        self.device = device


def verify(lines):
    records, logs, changes = Records(), {}, 0
    for line in lines:
        item = json.loads(line)
        raw = bytes.fromhex(item["raw"])
        if item["kind"] == "record":
            records.take(raw)
            continue
        log_id = bytes.fromhex(item["log"])
        log = logs.setdefault(log_id, Log(records, log_id))
        signature = bytes.fromhex(item["sig"]) if "sig" in item else None
        if log.take(item["seq"], raw, signature).hex() != item["change"]:
            raise Bad(f"change {item['change'][:12]}: its bytes give another id")
        changes += 1
    if records.space is None:
        raise Bad("no record begins a space")
    for log in logs.values():
        if log.signed != log.seq:
            raise Bad(f"log {log.id.hex()[:12]}: what follows change {log.signed} is not signed")
    return len(records.seen), len(logs), changes


def main():
    with open(sys.argv[1], encoding="utf-8") if len(sys.argv) > 1 else sys.stdin as lines:
        try:
            records, logs, changes = verify(lines)
        except Bad as why:
            print(f"NOT VERIFIED: {why}")
            return 1
        except (KeyError, ValueError, IndexError) as error:
            print(f"NOT VERIFIED: a line is not what weft audit --raw prints: {error!r}")
            return 1
    print(f"verified: {records} records, {logs} logs, {changes} changes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
