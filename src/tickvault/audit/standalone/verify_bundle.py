#!/usr/bin/env python3
"""Verify a TickVault audit bundle. Needs nothing but Python 3.8 or later; read it before you trust it.

    python3 -I -S verify.py [FOLDER] [--keys FILE] [--head LINE] [--tokens FOLDER]

What is checked, in this order:

1. every file has the size and SHA-256 that manifest.json says;
2. every block in blocks/ has the hash that is stored behind it, follows the block before it (number, first record's
   sequence, hash of the block before), and is signed by the key that has to sign there;
3. records.jsonl holds exactly the records of the blocks that lie in the bundle's range of time, line by line;
4. index.json, and what manifest.json and README.txt say of blocks, records, range and head, is what the blocks say;
5. with --head, the chain holds the block that a head line names which you kept elsewhere.

What is not: that the bundle holds all of the trail, or of a range of time (it says which part it is, loudly), and who
holds the keys. Without --keys they come from the bundle itself, and anybody can make a bundle with keys of their own.
The manifest is not signed: what of it the blocks cannot show is printed as "not proven".

Exit status: 0 all holds, 1 something does not, 2 it could not be looked at.
"""

# It has to run on Python 3.8 alone, which rules out much that the rest of the package does.
# ruff: noqa: D102, D103, UP031, B904, B905, RUF007, N818, SIM115
# mypy: ignore-errors

import argparse
import hashlib
import json
import os
import struct
import sys
import time
import zlib

HEADER = struct.Struct("<8sHBBBBHQQIIqqq16s16s32s64sII")
RECORD = struct.Struct("<BBHHHqqQq9Hxx")
#: The bytes are drawn in docs/formats/audit-trail.md of TickVault.
CATEGORIES = {1: "change", 2: "read", 3: "refusal", 4: "system"}
TEXTS = ("action", "result", "door", "identity", "source", "request_id", "bucket", "key", "version_id")
KEY_ACTION = "AddAuditSigner"
HEAD = "tickvault-head"
#: What manifest.json says and is held against the blocks, or told as not proven.
PROVEN = {
    "format", "tickvault", "made", "trail_id", "first_block", "last_block", "records", "first_sequence",
    "last_sequence", "since_ns", "until_ns", "previous_hash", "head", "trail_head", "left_out", "files",
}  # fmt: skip


class Fault(Exception):
    """The first thing that is wrong."""


# -- hashes


def sm3(data):
    """Return the SM3 hash (GB/T 32905-2016), for Pythons whose hashlib lacks it."""
    mask = 0xFFFFFFFF

    def rol(x, n):
        return (x << n % 32 | x >> (32 - n % 32)) & mask

    state = [0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E]
    padded = bytes(data) + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack(">Q", 8 * len(data))
    for at in range(0, len(padded), 64):
        w = list(struct.unpack_from(">16I", padded, at))
        for j in range(16, 68):
            x = w[j - 16] ^ w[j - 9] ^ rol(w[j - 3], 15)
            w.append(x ^ rol(x, 15) ^ rol(x, 23) ^ rol(w[j - 13], 7) ^ w[j - 6])
        a, b, c, d, e, f, g, h = state
        for j in range(64):
            ss1 = rol((rol(a, 12) + e + rol(0x79CC4519 if j < 16 else 0x7A879D8A, j)) & mask, 7)
            ss2 = ss1 ^ rol(a, 12)
            ff = a ^ b ^ c if j < 16 else (a & b) | (a & c) | (b & c)
            gg = e ^ f ^ g if j < 16 else (e & f) | (~e & mask & g)
            tt1 = (ff + d + ss2 + (w[j] ^ w[j + 4])) & mask
            tt2 = (gg + h + ss1 + w[j]) & mask
            d, c, b, a = c, rol(b, 9), a, tt1
            h, g, f, e = g, rol(f, 19), e, tt2 ^ rol(tt2, 9) ^ rol(tt2, 17)
        state = [x ^ y for x, y in zip(state, (a, b, c, d, e, f, g, h))]
    return struct.pack(">8I", *state)


def block_hash(code, data):
    """Return the hash of a block by the number of its algorithm."""
    try:
        return hashlib.new("sha256" if code == 1 else "sm3", data).digest()
    except ValueError:
        return sm3(data)


# -- Ed25519 (RFC 8032, section 5.1), verification only; points are (X, Y, Z, T) of section 5.1.4

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def point_add(a, b):
    e0, e1 = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = e1 - e0, d - c, d + c, e1 + e0
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_decompress(raw):
    """Return the point that 32 bytes encode, None if they encode none (section 5.1.3)."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = point_decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verify(key, message, signature):
    """Return whether a signature is one of the message by the key (section 5.1.7)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r = point_decompress(key), point_decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    # s·B − k·A must be R; both products in one pass over the bits.
    minus_a = (P - a[0], a[1], 1, P - a[3])
    sums = {(1, 0): BASE, (0, 1): minus_a, (1, 1): point_add(BASE, minus_a)}
    q = (0, 1, 1, 0)
    for bit in range(max(s.bit_length(), k.bit_length()) - 1, -1, -1):
        q = point_add(q, q)
        pick = (s >> bit & 1, k >> bit & 1)
        if pick != (0, 0):
            q = point_add(q, sums[pick])
    return (q[0] * r[2] - r[0] * q[2]) % P == 0 and (q[1] * r[2] - r[1] * q[2]) % P == 0


# -- records


def text_of(raw):
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "surrogateescape")


def time_text(ns):
    seconds, rest = divmod(ns, 10**9)
    return "%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)), rest)


def record_of(raw, sequence):
    """Return a record's fields in the order of records.jsonl."""
    if len(raw) < RECORD.size or raw[0] != 1 or raw[1] not in CATEGORIES:
        raise Fault("record %d is of no known version or category" % sequence)
    fields = RECORD.unpack_from(raw)
    _, category, _, status, detail_count, time_ns, clock_error_ns, size_bytes, vault_sequence = fields[:9]
    texts, at = {}, RECORD.size
    for name, length in zip(TEXTS, fields[9:]):
        texts[name], at = text_of(raw[at : at + length]), at + length
    detail, end = {}, at + 4 * detail_count
    if detail_count > 32 or end > len(raw):
        raise Fault("record %d is shorter than its texts" % sequence)
    for name_size, value_size in struct.iter_unpack("<HH", raw[at:end]):
        name = text_of(raw[end : end + name_size])
        detail[name] = text_of(raw[end + name_size : end + name_size + value_size])
        end += name_size + value_size
    if end != len(raw):
        raise Fault("record %d: its lengths add up to %d bytes, but it has %d" % (sequence, end, len(raw)))
    return {
        "sequence": sequence, "time": time_text(time_ns), "time_ns": time_ns, "clock_error_ns": clock_error_ns,
        "category": CATEGORIES[category], "action": texts["action"], "result": texts["result"], "status": status,
        "door": texts["door"], "identity": texts["identity"], "source": texts["source"],
        "request_id": texts["request_id"], "bucket": texts["bucket"], "key": texts["key"],
        "version_id": texts["version_id"], "size_bytes": size_bytes, "vault_sequence": vault_sequence,
        "detail": detail,
    }  # fmt: skip


# -- blocks


class Chain:
    """The blocks, one after the other, each checked against the one before."""

    def __init__(self, manifest, keys, pinned):
        self.trail_id = bytes.fromhex(manifest["trail_id"])
        self.number, self.sequence = manifest["first_block"], manifest["first_sequence"]
        self.digest = bytes.fromhex(manifest["previous_hash"])
        self.keys, self.pinned, self.current = keys, pinned, None
        self.heads, self.index = {}, []

    def take(self, raw, at):
        """Check the block at an offset; return (end, kind, first sequence, records as bytes, signature, key)."""
        if len(raw) - at < HEADER.size:
            raise Fault("the header is cut off")
        (magic, version, kind, hash_code, signature_code, flags, header_size, number, sequence, count, body_size, _,
         earliest, latest, trail_id, key_id, previous, _, crc, zero) = HEADER.unpack_from(raw, at)  # fmt: skip
        if magic != b"TVAUBLK1" or crc != zlib.crc32(raw[at : at + HEADER.size - 8]) or zero:
            raise Fault("the header was changed, or no block begins here")
        known = version == 1 and header_size == HEADER.size and hash_code in (1, 2)
        if not known or kind not in (1, 2) or (kind == 2 and count):
            raise Fault("version, hash or kind of the block is not known")
        if number != self.number:
            raise Fault("block %d stands here: blocks are missing or out of order" % number)
        if trail_id != self.trail_id:
            raise Fault("it belongs to another trail")
        if previous != self.digest:
            raise Fault("the block before it is not the one it was chained to")
        if sequence != self.sequence:
            raise Fault("its first record must have sequence %d, had %d" % (self.sequence, sequence))
        hash_at = at + HEADER.size + body_size
        digest, size = raw[hash_at : hash_at + 32], int.from_bytes(raw[hash_at + 32 : hash_at + 36], "little")
        end = hash_at + 36 + size
        if not 0 < size <= 1024 or end > len(raw):
            raise Fault("it is cut off")
        if block_hash(hash_code, memoryview(raw)[at:hash_at]) != digest:
            raise Fault("its hash does not match: a byte of the block was changed")
        records = self.records(raw[at + HEADER.size : hash_at], count) if kind == 1 else []
        key, signature = self.signer(key_id, records if flags & 1 else []), raw[hash_at + 36 : end]
        if signature_code != 1 or key[0] != "ed25519":
            raise Fault("its signature is of an algorithm that this program does not check (%s)" % key[0])
        if not ed25519_verify(key[1], digest, signature):
            raise Fault("its signature does not match its hash")
        self.number, self.sequence, self.digest = number + 1, sequence + count, digest
        self.heads[number] = (sequence + count - 1, digest, signature, key[1])
        times = [RECORD.unpack_from(payload)[5] for payload in records]
        if times and (min(times), max(times)) != (earliest, latest):
            raise Fault("its header tells other times than its records")
        self.index.append({
            "offset": at, "size": end - at, "block": number, "kind": kind, "first_sequence": sequence,
            "last_sequence": sequence + count - 1, "first_time_ns": earliest, "last_time_ns": latest,
            "hash": digest.hex(),
        })  # fmt: skip
        return end, kind, sequence, records, raw[at + HEADER.size : hash_at], previous

    def records(self, body, count):
        table = 4 * (count + 1)
        if not 0 < count <= 4096 or table > len(body):
            raise Fault("its table of offsets does not fit")
        offsets = struct.unpack_from("<%dI" % (count + 1), body)
        if offsets[0] or offsets[-1] != len(body) - table or any(a >= b for a, b in zip(offsets, offsets[1:])):
            raise Fault("the offsets of its records do not ascend within it")
        return [body[table + a : table + b] for a, b in zip(offsets, offsets[1:])]

    def signer(self, key_id, records):
        """Return the key that has to have signed; a block of keys names the one that signs from the next block on."""
        new = None
        for raw in records:
            record = record_of(raw, 0)
            if record["action"] == KEY_ACTION and record["category"] == "system":
                new = (record["detail"].get("algorithm", ""), bytes.fromhex(record["detail"].get("public_key", "")))
        new_id = hashlib.sha256(new[1]).digest()[:16] if new else None
        if key_id not in self.keys:
            raise Fault("it is signed by key %s, which is none of the public keys" % key_id.hex())
        if self.current is not None and key_id != self.current and not (self.pinned and new_id == key_id):
            raise Fault("it is signed by key %s, and must be by %s" % (key_id.hex(), self.current.hex()))
        signer, self.current = self.keys[key_id], key_id
        if new:
            self.keys[new_id], self.current = new, new_id
        return signer


# -- the bundle


def load_json(path):
    with open(path, "rb") as file:
        return json.loads(file.read(1 << 28).decode("utf-8"))


def load_keys(path):
    keys = {}
    for entry in load_json(path)["signers"]:
        key = bytes.fromhex(entry["public_key"])
        key_id = hashlib.sha256(key).digest()[:16]
        if entry.get("key_id", key_id.hex()) != key_id.hex():
            raise Fault("%s: a public key stands under the id of another" % path)
        keys[key_id] = (entry["algorithm"], key)
    return keys


def check_files(folder, manifest):
    for root, _, names in os.walk(folder):
        for name in (os.path.relpath(os.path.join(root, name), folder) for name in names):
            if name not in manifest["files"] and name != "manifest.json":
                raise Fault("%s is not named in manifest.json: it is no part of the bundle" % name)
    for name in sorted(manifest["files"]):
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise Fault("manifest.json names a file outside the bundle: %r" % name)
        if not os.path.isfile(os.path.join(folder, name)):
            raise Fault("%s is missing" % name)
        digest, size = hashlib.sha256(), 0
        with open(os.path.join(folder, name), "rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
                size += len(piece)
        if size != manifest["files"][name]["size"] or digest.hexdigest() != manifest["files"][name]["sha256"]:
            raise Fault("%s was changed: its size or SHA-256 is not the one in manifest.json" % name)


def check_blocks(folder, manifest, keys, pinned, tokens):
    chain = Chain(manifest, keys, pinned)
    first, count = manifest["first_block"], manifest["last_block"] - manifest["first_block"] + 1
    since, until = manifest["since_ns"], manifest["until_ns"]
    lines = open(os.path.join(folder, "records.jsonl"), "rb") if "records.jsonl" in manifest["files"] else None
    records, stamps, shown = 0, 0, time.monotonic()
    for name in sorted(name for name in manifest["files"] if name.startswith("blocks/")):
        with open(os.path.join(folder, name), "rb") as file:
            raw = file.read()
        at = 0
        while at < len(raw):
            number = chain.number
            try:
                end, kind, sequence, payloads, body, before = chain.take(raw, at)
                if kind == 2:
                    stamps += 1
                    if tokens:
                        with open(os.path.join(tokens, "%d-%s.token" % (number, before.hex())), "wb") as token:
                            token.write(body)
                for place, payload in enumerate(payloads):
                    record = record_of(payload, sequence + place)
                    if (since is None or record["time_ns"] >= since) and (until is None or record["time_ns"] < until):
                        records += 1
                        line = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
                        if lines is not None and lines.readline() != line:
                            raise Fault("line %d of records.jsonl is not record %d" % (records, record["sequence"]))
            except Fault as fault:
                raise Fault("%s, block %d at byte %d (records from %d on): %s"
                            % (name, number, at, chain.sequence, fault))  # fmt: skip
            at = end
            chain.index[-1] = dict(chain.index[-1], file=name)
            if time.monotonic() - shown > 1 and sys.stderr.isatty():
                shown = time.monotonic()
                print("%d of %d blocks" % (chain.number - first, count), end="\r", file=sys.stderr)
    if lines is not None:
        if lines.readline():
            raise Fault("records.jsonl has more lines than the blocks have records in the range")
        lines.close()
    held = (chain.number - 1, chain.sequence - 1, records)
    if held != (manifest["last_block"], manifest["last_sequence"], manifest["records"]):
        raise Fault("the blocks end with %d at record %d, and %d are in the range: manifest.json says others" % held)
    return chain, records, stamps, lines is not None


def check_claims(folder, manifest, chain):
    """Check what the bundle says of itself against the blocks; return what they cannot show."""
    if not chain.index:
        raise Fault("there is no block in the bundle")
    since, until = manifest["since_ns"], manifest["until_ns"]
    for bound in (since, until):
        if bound is not None and type(bound) is not int:
            raise Fault("the range in manifest.json is none")
    for entry in (chain.index[0], chain.index[-1]):
        # A bundle begins and ends with a block that may hold a record of its range.
        late = since is not None and entry["last_time_ns"] < since
        if late or (until is not None and entry["first_time_ns"] >= until) or entry["kind"] != 1:
            raise Fault("block %d at an end of the bundle holds nothing of its range: the range was changed in "
                        "manifest.json" % entry["block"])  # fmt: skip
    if load_json(os.path.join(folder, "index.json")) != {"blocks": chain.index}:
        raise Fault("index.json is not what the blocks say")
    last = max(chain.heads)
    sequence, digest, signature, _ = chain.heads[last]
    head = ":".join((HEAD, chain.trail_id.hex(), str(sequence), str(last), digest.hex(), signature.hex()))
    if manifest["head"] != head:
        raise Fault("the head in manifest.json is not that of the last block")
    end = parse_head(manifest["trail_head"], "the head of the trail in manifest.json")
    if end[0] != chain.trail_id or end[2] < last or (end[2] == last and manifest["trail_head"] != head):
        raise Fault("the head of the trail in manifest.json does not fit the last block")
    for name, reason in manifest["left_out"].items():
        if "records." + name in manifest["files"] or name not in ("jsonl", "parquet") or type(reason) is not str:
            raise Fault("manifest.json says that %r was left out, which is not so" % name)
    for name in ("README.txt", "index.json", "keys.json"):
        if name not in manifest["files"]:
            raise Fault("%s is not in manifest.json" % name)
    span = "".join(
        " %s %s" % (word, time_text(bound)) for word, bound in (("from", since), ("until", until)) if bound is not None
    )
    said = "Trail %s, blocks %d to %d, %d records%s.\nExported %s by TickVault %s.\n" % (
        manifest["trail_id"], manifest["first_block"], last, manifest["records"], span, manifest["made"],
        manifest["tickvault"],
    )  # fmt: skip
    with open(os.path.join(folder, "README.txt"), "rb") as file:
        if said not in file.read(1 << 20).decode("utf-8"):
            raise Fault("README.txt tells of another bundle than manifest.json")
    open_claims = ["that it was made %r by TickVault %r" % (manifest["made"], manifest["tickvault"])]
    if end[2] > last:
        open_claims.append("that the trail ended with record %d in block %d then" % (end[1], end[2]))
    if manifest["first_block"] > 1 or end[2] > last:
        open_claims.append("that no block before or behind these holds a record of the range")
    open_claims += ["why %s was left out (%r)" % pair for pair in sorted(manifest["left_out"].items())]
    open_claims += ["what manifest.json says of %r" % name for name in sorted(set(manifest) - PROVEN)]
    return [*open_claims, "which block introduced each key of keys.json", "the other words of README.txt"]


def parse_head(line, what):
    """Return (trail, sequence, block, hash in hex, signature) of a head line."""
    parts = line.strip().split(":")
    if len(parts) != 6 or parts[0] != HEAD:
        raise Fault("%s is no head line" % what)
    return bytes.fromhex(parts[1]), int(parts[2]), int(parts[3]), parts[4], bytes.fromhex(parts[5])


def check_head(line, chain):
    """Check that the chain holds the block of a head; return its record's sequence."""
    trail, sequence, number, named, signed = parse_head(line, "--head")
    if trail != chain.trail_id:
        raise Fault("the head is of another trail, %s" % trail.hex())
    if number not in chain.heads:
        first, last = min(chain.heads), max(chain.heads)
        where = (
            "ends at record %d (block %d)" % (chain.heads[last][0], last)
            if number > last
            else "begins with block %d" % first
        )
        raise Fault("this bundle %s, your head is of record %d (block %d): ask for a bundle that reaches it, or give a "
                    "head of blocks %d to %d" % (where, sequence, number, first, last))  # fmt: skip
    last, digest, signature, key = chain.heads[number]
    if digest.hex() != named or last != sequence:
        raise Fault("block %d is not the one that the head names: the trail was replaced" % number)
    if signature != signed and not ed25519_verify(key, digest, signed):
        raise Fault("the signature in the head is not of the trail's key")
    return sequence


def tell_part(manifest, chain, records):
    """Print what the bundle is a part of, so that nobody takes it for the whole."""
    total = chain.sequence - manifest["first_sequence"]
    bounds = (("from", manifest["since_ns"]), ("until", manifest["until_ns"]))
    span = " ".join("%s %s" % (word, time_text(bound)) for word, bound in bounds if bound is not None)
    if span or records != total:
        selected = (records, total, span)
        print("NOTE: THIS IS A SELECTION: %d OF %d RECORDS OF THESE BLOCKS, those with a time %s." % selected)
    end = parse_head(manifest["trail_head"], "trail_head")
    if manifest["first_block"] > 1 or end[2] >= chain.number:
        print("NOTE: THIS IS A PART OF THE TRAIL: records %d to %d; the trail begins with record 1%s." % (
            manifest["first_sequence"], chain.sequence - 1,
            " and went on to record %d (not proven)" % end[1] if end[2] >= chain.number else ""))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="Verify a TickVault audit bundle.")
    parser.add_argument("folder", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--keys", help="file of public keys (signers.json) that you got from elsewhere")
    parser.add_argument("--head", help="head line that you kept elsewhere")
    parser.add_argument("--tokens", help="write RFC 3161 tokens into this folder as BLOCK-HASH.token")
    options = parser.parse_args()
    try:
        manifest = load_json(os.path.join(options.folder, "manifest.json"))
        if manifest["format"] != 1:
            raise Fault("the bundle has format %r, and this program knows 1" % manifest["format"])
        check_files(options.folder, manifest)
        keys = load_keys(options.keys or os.path.join(options.folder, "keys.json"))
        chain, records, stamps, compared = check_blocks(options.folder, manifest, keys, options.keys, options.tokens)
        open_claims = check_claims(options.folder, manifest, chain)
        reached = check_head(options.head, chain) if options.head else 0
    except Fault as fault:
        print("FAIL  %s" % fault)
        return 1
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, struct.error) as error:
        print("FAIL  a file of the bundle, or --keys, is not of its form (%s: %s)" % (type(error).__name__, error))
        return 1
    except OSError as error:
        print("ERROR  %s" % error)
        return 2
    facts = (chain.trail_id.hex(), min(chain.heads), max(chain.heads), records)
    print(
        "PASS  trail %s, blocks %d to %d, %d records" % facts, "and records.jsonl is exactly these" if compared else ""
    )
    tell_part(manifest, chain, records)
    if not compared:
        print("NOTE: THERE IS NO records.jsonl IN THIS BUNDLE: the records are in blocks/ only.")
    if stamps:
        print("note: %d RFC 3161 tokens are in the chain; to check one: --tokens FOLDER, then `openssl ts -verify "
              "-digest HASH -in FILE -token_in -CAfile AUTHORITY.pem`" % stamps)  # fmt: skip
    if not options.keys:
        print("NOTE: THE PUBLIC KEYS CAME FROM THE BUNDLE ITSELF. Get signers.json another way and give --keys.")
    if "records.parquet" in manifest["files"]:
        print(
            "note: records.parquet is the file that was exported; whether it says what the blocks say was not compared."
        )
    if not options.head:
        print("note: no --head was given; that the bundle is of the trail's latest state is not shown.")
    elif reached < chain.sequence - 1:
        print("note: the head is of record %d; that the %d records behind it are the trail's, the keys alone show."
              % (reached, chain.sequence - 1 - reached))  # fmt: skip
    for claim in open_claims:
        print("not proven: %s" % claim)
    return 0


if __name__ == "__main__":
    sys.exit(main())
