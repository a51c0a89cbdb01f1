"""Checksums of objects made of parts.

Invariants: a COMPOSITE checksum is the digest of the parts' digests followed by ``-`` and their count; a
FULL_OBJECT checksum equals the checksum of the whole object's bytes and is combined from the parts without
reading them.

Source: S3 User Guide, "Checking object integrity for data uploads", "Full object and composite checksum
types".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tickvault.doors.s3 import checksums
from tickvault.doors.s3.digests import DEFAULT_ALGORITHM, algorithm_named
from tickvault.doors.s3.errors import S3Error
from tickvault.objects.model import PartInfo, UploadInfo

FULL_OBJECT = "FULL_OBJECT"
COMPOSITE = "COMPOSITE"
_COMBINABLE = frozenset({"crc32", "crc32c", "crc64nvme"})


def upload_checksum(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return (algorithm, type) that a CreateMultipartUpload asks for; (None, None) when it asks for none.

    Raises
    ------
    S3Error
        ``InvalidRequest`` for a type without an algorithm, and for pairs S3 does not know: a full-object SHA,
        a composite CRC-64/NVME.
    """
    name = headers.get("x-amz-checksum-algorithm")
    kind = headers.get("x-amz-checksum-type")
    if not name:
        if kind:
            raise S3Error(
                "InvalidRequest",
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )
        return None, None
    algorithm = algorithm_named(name)
    kind = kind.upper() if kind else (FULL_OBJECT if algorithm == DEFAULT_ALGORITHM else COMPOSITE)
    if kind not in (FULL_OBJECT, COMPOSITE):
        raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
    unknown = algorithm not in _COMBINABLE if kind == FULL_OBJECT else algorithm == DEFAULT_ALGORITHM
    if unknown:
        raise S3Error(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.",
        )
    return algorithm, kind


def part_algorithms(upload: UploadInfo, claimed: str | None) -> tuple[str, ...]:
    """Return the checksums to keep of a part: the upload's and, if another, the one its request names.

    Raises
    ------
    S3Error
        ``InvalidRequest`` when the upload was made for another algorithm.
    """
    wanted = upload.checksum_algorithm
    if wanted is None:
        if claimed is None or claimed == DEFAULT_ALGORITHM:
            return (DEFAULT_ALGORITHM,)
        return (claimed, DEFAULT_ALGORITHM)
    if claimed is not None and claimed != wanted:
        raise S3Error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {wanted}, actual checksum Type: {claimed}",
        )
    return (wanted,)


def object_checksum(upload: UploadInfo, parts: Sequence[PartInfo]) -> tuple[dict[str, str], str | None]:
    """Return (checksums, type) of the object an upload becomes; ({}, None) when a part lacks its checksum."""
    algorithm = upload.checksum_algorithm or DEFAULT_ALGORITHM
    if not parts or any(algorithm not in part.checksums for part in parts):
        return {}, None
    if upload.checksum_algorithm is not None and upload.checksum_type == COMPOSITE:
        return {algorithm: checksums.composite(algorithm, [p.checksums[algorithm] for p in parts])}, COMPOSITE
    total = checksums.combine(algorithm, [(p.checksums[algorithm], p.size) for p in parts])
    return {algorithm: total}, FULL_OBJECT
