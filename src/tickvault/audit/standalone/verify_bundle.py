#!/usr/bin/env python3
"""Verify a TickVault audit bundle. Needs nothing but Python 3.8 or later; read it before you trust it.

    python3 -I -S verify.py [FOLDER] [--keys FILE] [--head LINE|@FILE] [--tokens FOLDER]

What is checked, in this order:

1. every file has the size and SHA-256 that manifest.json says;
2. every block in blocks/ has the hash that is stored behind it, follows the block before it (number, first record's
   sequence, hash of the block before), and is signed by the key that has to sign there: with --keys, where that file
   says which block introduced a key, no other signs from there to the next one;
3. records.jsonl holds exactly the records of the blocks that lie in the bundle's range of time, line by line;
4. index.json, and what manifest.json and README.txt say of blocks, records, range and head, is what the blocks say;
5. with --head, the chain holds the block that a head line names which you kept elsewhere; of a file of them (@FILE)
   the last one whose block is in the bundle counts.

What is not: that the bundle holds all of the trail, or of a range of time (it says which part it is, loudly), and who
holds the keys. Without --keys they come from the bundle itself, and anybody can make a bundle with keys of their own.
The manifest is not signed: what of it, and of the files that it names, the blocks cannot show is printed as
"not proven".

Exit status: 0 all holds, 1 something does not, 2 it could not be looked at, or the bundle holds and the head is of a
block that is not in it.
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
#: Files that a bundle has; what others hold is told as not proven.
NAMED = ("README.txt", "index.json", "keys.json", "verify.py", "records.jsonl", "records.parquet")
U64, I64 = (0, 2**64 - 1), (-(2**63), 2**63 - 1)


class Fault(Exception):
    """The first thing that is wrong."""


class Unreached(Exception):
    """The head is of a block that is not in the bundle."""


def say(text, end="\n", file=None):
    """Print one line; what is not printable as an escape, so that no name in a bundle can write lines of its own."""
    print("".join(c if c.isprintable() and c.isascii() else ascii(c)[1:-1] for c in text), end=end, file=file)


def hex_of(text, size, what):
    """Return the bytes of hexadecimal digits; any number of them if no size is given."""
    fits = type(text) is str and len(text) % 2 == 0 and len(text) == (size or len(text))
    if not fits or set(text) - set("0123456789abcdefABCDEF"):
        raise Fault("%s is not made of %shexadecimal digits" % (what, "%d " % size if size else ""))
    return bytes.fromhex(text)


def check_int(value, bounds, what):
    """Check a whole number; to Python `true` and 83.0 would pass for one."""
    if type(value) is not int or not bounds[0] <= value <= bounds[1]:
        raise Fault("%s must be a whole number from %d to %d" % (what, *bounds))


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

    def __init__(self, manifest, keys, pinned, places):
        self.trail_id = bytes.fromhex(manifest["trail_id"])
        self.number, self.sequence = manifest["first_block"], manifest["first_sequence"]
        self.digest = bytes.fromhex(manifest["previous_hash"])
        self.keys, self.pinned, self.current = dict(keys), set(keys) if pinned else None, None
        # Block that introduces a key, as --keys says, to the key; what the bundle says of itself holds nothing.
        self.places = places if pinned else {}
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
        key, signature = self.signer(number, key_id, records if flags & 1 else []), raw[hash_at + 36 : end]
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

    def signer(self, number, key_id, records):
        """Return the key that has to have signed; a block of keys names the one that signs from the next block on."""
        new = None
        for raw in records:
            record = record_of(raw, 0)
            if record["action"] == KEY_ACTION and record["category"] == "system":
                key = hex_of(record["detail"].get("public_key"), 0, "the public key that it introduces")
                new = (record["detail"].get("algorithm", ""), key)
        new_id = hashlib.sha256(new[1]).digest()[:16] if new else None
        if key_id not in self.keys:
            hint = " that you gave; after a rotation give the new signers.json" if self.pinned is not None else ""
            raise Fault("it is signed by key %s, which is none of the public keys%s" % (key_id.hex(), hint))
        self.hold_against_places(number, key_id, new_id)
        if self.current is not None and key_id != self.current:
            # One that introduces itself: the one before was lost.
            if new_id != key_id or self.pinned is None or key_id not in self.pinned:
                raise Fault("it is signed by key %s, and must be by %s" % (key_id.hex(), self.current.hex()))
            if key_id in self.places.values() and self.places.get(number) != key_id:
                raise Fault("key %s introduces itself, and the keys you gave name another block for that: it was "
                            "replaced, or the trail is another one" % key_id.hex())  # fmt: skip
        signer, self.current = self.keys[key_id], key_id
        if new:
            self.keys[new_id], self.current = new, new_id
        return signer

    def hold_against_places(self, number, key_id, new_id):
        """Hold a block against the blocks that introduce keys, as --keys names them."""
        due = self.places.get(number)
        if due is not None and new_id != due:
            raise Fault("block %d must introduce key %s, and what follows must be signed by key %s, which the keys you "
                        "gave name from there on" % (number, due.hex(), due.hex()))  # fmt: skip
        since = max((place for place in self.places if place < number), default=0)
        allowed = [due] if due is not None else []
        if not since:
            # A key begins where it is named; before all that are, it is for the chain to tell.
            if self.current is None and key_id in self.places.values() and key_id not in allowed:
                raise Fault("block %d is signed by key %s, which the keys you gave name from a later block on"
                            % (number, key_id.hex()))  # fmt: skip
            return
        allowed.append(self.places[since])
        if number > max(self.places):
            if self.current is not None:
                return
            # The bundle begins behind them: their last key, or one whose place is not named.
            allowed += [key for key in self.keys if key not in self.places.values()]
        if key_id not in allowed:
            raise Fault("block %d must be signed by key %s, which the keys you gave name from block %d on, and is by %s"
                        % (number, self.places[since].hex(), since, key_id.hex()))  # fmt: skip


# -- the bundle


def load_json(path):
    with open(path, "rb") as file:
        return json.loads(file.read(1 << 28).decode("utf-8"), parse_constant=no_number)


def no_number(name):
    raise ValueError("%s is no number of JSON" % name)


def load_keys(path):
    """Return the keys by their ids, and the block that introduces a key to its id."""
    keys, places = {}, {}
    entries = load_json(path)
    entries = entries.get("signers") if type(entries) is dict else None
    if type(entries) is not list or not all(type(entry) is dict for entry in entries):
        raise Fault("%s is no list of public keys: it must be JSON with 'signers'" % path)
    for entry in entries:
        key, algorithm = hex_of(entry.get("public_key"), 0, "%s: a public key" % path), entry.get("algorithm")
        key_id, place = hashlib.sha256(key).digest()[:16], entry.get("first_block")
        if type(algorithm) is not str:
            raise Fault("%s: a public key has no algorithm" % path)
        if entry.get("key_id", key_id.hex()) != key_id.hex():
            raise Fault("%s: a public key stands under the id of another" % path)
        if place is not None:
            check_int(place, (1, U64[1]), "%s: first_block" % path)
            if places.setdefault(place, key_id) != key_id:
                raise Fault("%s: block %d introduces two keys; keep the list of each trail in a file of its own"
                            % (path, place))  # fmt: skip
        keys[key_id] = (algorithm, key)
    return keys, places


def check_manifest(manifest):
    """Check that all of manifest.json is of its form, before any of it is used."""
    if type(manifest) is not dict:
        raise Fault("manifest.json is no manifest: it must be a JSON object")
    missing = sorted(PROVEN - set(manifest))
    if type(manifest.get("format")) is not int or manifest["format"] != 1:
        raise Fault("the bundle has format %.40r, and this program knows 1" % (manifest.get("format"),))
    if missing:
        raise Fault("manifest.json does not say %s" % ", ".join(missing))
    for name in ("first_block", "last_block", "first_sequence", "last_sequence", "records"):
        check_int(manifest[name], U64, "manifest.json: %s" % name)
    for name in ("since_ns", "until_ns"):
        if manifest[name] is not None:
            check_int(manifest[name], I64, "manifest.json: the range of time, %s," % name)
    for name in ("tickvault", "made", "head", "trail_head"):
        if type(manifest[name]) is not str:
            raise Fault("manifest.json: %s must be a text" % name)
    hex_of(manifest["trail_id"], 32, "manifest.json: trail_id")
    hex_of(manifest["previous_hash"], 64, "manifest.json: previous_hash")
    for name in ("left_out", "files"):
        if type(manifest[name]) is not dict:
            raise Fault("manifest.json: %s must be an object" % name)
    for name, entry in manifest["files"].items():
        if type(entry) is not dict or {"size", "sha256"} - set(entry):
            raise Fault("manifest.json: %s must have its size and sha256" % name)
        check_int(entry["size"], U64, "manifest.json: the size of %s" % name)
        hex_of(entry["sha256"], 64, "manifest.json: the sha256 of %s" % name)
    for name in ("README.txt", "index.json", "keys.json"):
        if name not in manifest["files"]:
            raise Fault("%s is not in manifest.json" % name)


def check_files(folder, manifest):
    def refuse(error):
        raise error

    for root, folders, names in os.walk(folder, onerror=refuse):
        for name in (os.path.relpath(os.path.join(root, name), folder) for name in [*folders, *names]):
            if os.path.islink(os.path.join(folder, name)):
                raise Fault("%s is a symbolic link, and no bundle has one: where it leads is no part of it" % name)
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


def check_blocks(folder, manifest, keys, pinned, tokens, places=None):
    chain = Chain(manifest, keys, pinned, places or {})
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
                say("%d of %d blocks" % (chain.number - first, count), end="\r", file=sys.stderr)
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
    if since is not None and until is not None and since >= until:
        raise Fault("the range of time in manifest.json ends before it begins")
    for entry in (chain.index[0], chain.index[-1]):
        # A bundle begins and ends with a block that may hold a record of its range.
        late = since is not None and entry["last_time_ns"] < since
        if late or (until is not None and entry["first_time_ns"] >= until) or entry["kind"] != 1:
            raise Fault("block %d at an end of the bundle holds nothing of its range: the range was changed in "
                        "manifest.json" % entry["block"])  # fmt: skip
    # As texts: to Python `true` and 1.0 are equal to 1.
    said, shown = load_json(os.path.join(folder, "index.json")), {"blocks": chain.index}
    if json.dumps(said, sort_keys=True) != json.dumps(shown, sort_keys=True):
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
    others = [name for name in manifest["files"] if name not in NAMED and not name.startswith("blocks/")]
    open_claims += ["what %r holds: it fits the manifest, which nothing signs" % name for name in sorted(others)]
    open_claims.append("what keys.json says of keys that signed none of these blocks, and which block introduced each")
    if "verify.py" in manifest["files"]:
        open_claims.append("that the verify.py in the bundle is TickVault's: use the one of a release, or read it")
    return [*open_claims, "the other words of README.txt"]


def parse_head(line, what):
    """Return (trail, sequence, block, hash in hex, signature) of a head line."""
    parts = line.strip().split(":")
    numbers = [part for part in parts[2:4] if part.isascii() and part.isdigit() and len(part) < 20]
    if len(parts) != 6 or parts[0] != HEAD or len(numbers) != 2:
        raise Fault("%s is no head line" % what)
    trail, signature = (hex_of(parts[place], 0, "%s is no head line: a part of it" % what) for place in (1, 5))
    return trail, int(parts[2]), int(parts[3]), parts[4], signature


def read_heads(text):
    """Return the head lines that were given: one, or those of a file."""
    if not text.startswith("@"):
        return [text]
    with open(text[1:], "rb") as file:
        lines = file.read(1 << 28).decode("utf-8", "replace").split("\n")
    lines = [line for line in lines if line.strip().startswith(HEAD)]
    if not lines:
        raise Fault("--head %s: there is no head line in the file" % text)
    return lines


def check_head(lines, chain):
    """Check that the chain holds the block of the last head that lies in it; return its record's sequence."""
    first, last = min(chain.heads), max(chain.heads)
    heads = [parse_head(line, "--head") for line in lines]
    own = [head for head in heads if head[0] == chain.trail_id]
    if not own:
        raise Fault("the head is of another trail, %s" % heads[-1][0].hex())
    inside = [head for head in own if head[2] in chain.heads]
    if not inside:
        _, sequence, number = own[-1][:3]
        way = "up to" if number > last else "from"
        raise Unreached("it is of record %d (block %d), and the bundle has blocks %d to %d; give a head of one of "
                        "these blocks, or ask for an export %s that record"
                        % (sequence, number, first, last, way))  # fmt: skip
    _, sequence, number, named, signed = inside[-1]
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


def tell(options, manifest, chain, records, stamps, compared, reached, open_claims):
    """Print what was looked at, and what was not; `reached` is the record of the head, None if there is none."""
    tell_part(manifest, chain, records)
    if not compared:
        say("NOTE: THERE IS NO records.jsonl IN THIS BUNDLE: the records are in blocks/ only.")
    if stamps:
        say("note: %d RFC 3161 tokens are in the chain; to check one: --tokens FOLDER, then `openssl ts -verify "
            "-digest HASH -in FILE -token_in -CAfile AUTHORITY.pem`" % stamps)  # fmt: skip
    if options.keys is None:
        say("NOTE: THE PUBLIC KEYS CAME FROM THE BUNDLE ITSELF. Get signers.json another way and give --keys.")
    if "records.parquet" in manifest["files"]:
        say("note: records.parquet fits the manifest, which nothing signs: what it holds is not proven; %s."
            % ("records.jsonl is" if compared else "what blocks/ holds is"))  # fmt: skip
    if options.head is None:
        say("note: no --head was given; that the bundle is of the trail's latest state is not shown.")
    elif reached is not None and reached < chain.sequence - 1:
        say("note: the head is of record %d; that the %d records behind it are the trail's, the keys alone show."
            % (reached, chain.sequence - 1 - reached))  # fmt: skip
    for claim in open_claims:
        say("not proven: %s" % claim)


def verified(options):
    """Check the bundle and print what came out; return the exit status."""
    manifest = load_json(os.path.join(options.folder, "manifest.json"))
    check_manifest(manifest)
    check_files(options.folder, manifest)
    pinned = options.keys is not None
    keys, places = load_keys(options.keys if pinned else os.path.join(options.folder, "keys.json"))
    chain, records, stamps, compared = check_blocks(options.folder, manifest, keys, pinned, options.tokens, places)
    open_claims = check_claims(options.folder, manifest, chain)
    reached, unreached = None, None
    try:
        if options.head is not None:
            reached = check_head(read_heads(options.head), chain)
    except Unreached as error:
        unreached = error
    facts = "trail %s, blocks %d to %d, %d records%s" % (
        chain.trail_id.hex(), min(chain.heads), max(chain.heads), records,
        ", and records.jsonl is exactly these" if compared else "")  # fmt: skip
    if unreached:
        say("ERROR  the head cannot be held against this bundle: %s" % unreached)
        say("What is in the bundle holds: %s" % facts)
    else:
        say("PASS  %s" % facts)
    tell(options, manifest, chain, records, stamps, compared, reached, open_claims)
    return 2 if unreached else 0


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Verify a TickVault audit bundle.")
    parser.add_argument("folder", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--keys", help="file of public keys (signers.json) that you got from elsewhere")
    parser.add_argument("--head", help="head line that you kept elsewhere, or @FILE of them")
    parser.add_argument("--tokens", help="write RFC 3161 tokens into this folder as BLOCK-HASH.token")
    options = parser.parse_args(arguments)
    try:
        return verified(options)
    except Fault as fault:
        say("FAIL  %s" % fault)
        return 1
    except (OSError, MemoryError) as error:
        say("ERROR  %s" % (str(error) or "there is not enough memory"))
        return 2
    except Exception as error:
        # Whatever somebody put into a file: a reason, and never a traceback.
        say("FAIL  a file of the bundle, or --keys, is not of its form (%s: %s)" % (type(error).__name__, error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
