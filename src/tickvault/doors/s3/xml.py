"""S3's XML: read with suspicion, written by hand.

Invariants: no document type, entity, or processing of anything outside the document is ever accepted; a
document has bounded size, depth and element count before any of it is looked at; namespaces are dropped,
since clients send S3's, an older one, or none. What is written is escaped everywhere, and a character that
XML 1.0 cannot hold is written as a numeric reference, as S3 does; a client that must read such keys asks for
``encoding-type=url``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from time import gmtime, strftime
from urllib.parse import quote
from xml.parsers import expat

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

#: Limits of a document from a client. A DeleteObjects of 1,000 keys of 1,024 bytes, each byte escaped as
#: five, fits.
DOCUMENT_SIZE_MAX = 8 << 20
DEPTH_MAX = 16
ELEMENT_COUNT_MAX = 50_000
TEXT_SIZE_MAX = 64 << 10

_SPECIAL = re.compile('[&<>"\\x00-\\x08\\x0b-\\x1f\\ud800-\\udfff\\ufffe\\uffff]')
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class MalformedXMLError(ValueError):
    """A client's document is not well formed, too large, or holds what is never accepted."""


class Element:
    """One element of a parsed document: a name without namespace, its text, its children.

    Attributes
    ----------
    name : str
        Local name.
    text : str
        Character data directly inside, unstripped.
    attributes : dict of str to str
        By local name.
    children : list of Element
        In document order.
    """

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str] | None = None) -> None:
        self.name = name
        self.text = ""
        self.attributes = attributes or {}
        self.children: list[Element] = []

    def find(self, name: str) -> Element | None:
        """Return the first child of that name, or None."""
        for child in self.children:
            if child.name == name:
                return child
        return None

    def all(self, name: str) -> Iterator[Element]:
        """Iterate over the children of that name."""
        return (child for child in self.children if child.name == name)

    def value(self, name: str, default: str | None = None) -> str | None:
        """Return the stripped text of the first child of that name, or `default`."""
        child = self.find(name)
        return default if child is None else child.text.strip()

    def raw(self, name: str) -> str | None:
        """Return the text of the first child of that name as it stands: a key may begin with spaces."""
        child = self.find(name)
        return None if child is None else child.text


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def parse(document: bytes, root: str | None = None) -> Element:
    """Parse a document of a client.

    Parameters
    ----------
    document : bytes
        At most `DOCUMENT_SIZE_MAX` bytes.
    root : str, optional
        Local name the root element must have.

    Returns
    -------
    Element

    Raises
    ------
    MalformedXMLError
        Not well formed, another root, a document type or entity declaration, or beyond a limit.

    Examples
    --------
    >>> parse(b'<Tag xmlns="x"><Key>a&amp;b</Key></Tag>').value("Key")
    'a&b'
    """
    if len(document) > DOCUMENT_SIZE_MAX:
        raise MalformedXMLError(f"document has {len(document)} bytes, at most {DOCUMENT_SIZE_MAX} are accepted")
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    top = Element("")
    stack = [top]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > ELEMENT_COUNT_MAX or len(stack) > DEPTH_MAX:
            raise MalformedXMLError("document has too many elements or is too deep")
        element = Element(_local(name), {_local(key): value for key, value in attributes.items()})
        stack[-1].children.append(element)
        stack.append(element)

    def end(_name: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        element = stack[-1]
        if element.children and data.isspace():
            return  # indentation
        if len(element.text) + len(data) > TEXT_SIZE_MAX:
            # The text is gathered by copying: the bound keeps the work from growing with its square.
            raise MalformedXMLError(f"an element holds more than {TEXT_SIZE_MAX} characters")
        element.text += data

    def forbid(*_arguments: object) -> int:
        # Without a document type there is no entity to expand and nothing external to fetch.
        raise MalformedXMLError("document types and entities are not accepted")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = forbid
    parser.EntityDeclHandler = forbid
    parser.UnparsedEntityDeclHandler = forbid
    parser.ExternalEntityRefHandler = forbid
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise MalformedXMLError(f"not well formed: {error}") from None
    except (LookupError, ValueError) as error:  # an encoding nobody knows, or a byte order that is not there
        raise MalformedXMLError(str(error)) from None
    element = top.children[0]
    if root is not None and element.name != root:
        raise MalformedXMLError(f"root element must be {root}, was {element.name}")
    return element


def _reference(match: re.Match[str]) -> str:
    character = match.group()
    return _NAMED.get(character) or f"&#x{ord(character):x};"


def escape(text: str) -> str:
    """Return text as character data; what XML 1.0 cannot hold becomes a numeric reference.

    Examples
    --------
    >>> escape('a<b>&"\\r')
    'a&lt;b&gt;&amp;&quot;&#xd;'
    """
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) is not None else text


def escape_url(text: str) -> str:
    """Return text for ``encoding-type=url``: percent-encoded UTF-8, slashes kept.

    Examples
    --------
    >>> escape_url("a b/+\\x01")
    'a%20b/%2B%01'
    """
    return quote(text, safe="/")


def tag(name: str, value: object) -> str:
    """Return ``<name>value</name>``, or nothing when the value is None."""
    return "" if value is None else f"<{name}>{escape(str(value))}</{name}>"


def document(name: str, *content: str) -> bytes:
    """Return a whole document with S3's namespace; `content` is escaped already."""
    return f'{DECLARATION}<{name} xmlns="{NAMESPACE}">{"".join(content)}</{name}>'.encode()


@lru_cache(maxsize=8192)
def _timestamp(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S.000Z", gmtime(second))


def timestamp(time_ns: int) -> str:
    """Return a time as S3's XML writes it: whole seconds, as the ``Last-Modified`` header has them."""
    return _timestamp(time_ns // 1_000_000_000)
