"""A request's XML body: bounded, checked against its digests, parsed.

Invariants: a document is looked at only after its body was read to the end, where every digest that the
request announced is compared.
"""

from __future__ import annotations

from tickvault.doors.s3 import xml
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request
from tickvault.doors.s3.xml import Element, MalformedXMLError

CONFIGURATION_SIZE_MAX = 1 << 20


async def read_optional(
    request: Request, root: str | None, *, size_max: int = CONFIGURATION_SIZE_MAX
) -> Element | None:
    """Read and parse the body of a request; None when it is empty.

    Parameters
    ----------
    request : Request
    root : str or None
        Name the root element must have; None accepts any.
    size_max : int
        In bytes.

    Raises
    ------
    S3Error
        ``MaxMessageLengthExceeded`` beyond `size_max`; ``MalformedXML``; ``BadDigest``.
    """
    body = request.body
    if body.length is not None and body.length > size_max:
        raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=size_max)
    try:
        data = await body.read(size_max)
    except S3Error as error:
        if error.code == "EntityTooLarge":
            raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=size_max) from None
        raise
    return parsed(bytes(data), root) if data else None


async def read_required(request: Request, root: str | None, *, size_max: int = CONFIGURATION_SIZE_MAX) -> Element:
    """Read and parse a body that must be there, else ``MissingRequestBodyError``; see `read_optional`."""
    element = await read_optional(request, root, size_max=size_max)
    if element is None:
        raise S3Error("MissingRequestBodyError")
    return element


def parsed(data: bytes, root: str | None) -> Element:
    """Parse a client's document; ``MalformedXML`` when it is none."""
    try:
        return xml.parse(data, root)
    except MalformedXMLError:
        raise S3Error("MalformedXML") from None
