"""CORS: what a bucket's rules say, and the headers that follow from them.

Invariants: the first rule that matches decides; without a match no header is added, so that a browser
refuses; the credentials header is never given together with an origin of ``*``.

Sources: Amazon S3 API Reference, PutBucketCors; S3 User Guide, "Using cross-origin resource sharing (CORS)";
the Fetch standard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.xml import Element, document, tag

RULE_COUNT_MAX = 100
METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")
_VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+").fullmatch

CorsRule = Mapping[str, Any]


def from_element(root: Element) -> dict[str, Any]:
    """Return the ``cors`` document of a CORSConfiguration.

    Raises
    ------
    S3Error
        ``MalformedXML``; ``InvalidRequest`` for a method S3 does not know, two wildcards in one origin or
        header, or an exposed header that is none.
    """
    rules = []
    for element in root.children:
        if element.name != "CORSRule":
            raise S3Error("MalformedXML")
        origins = [child.text.strip() for child in element.all("AllowedOrigin")]
        methods = [child.text.strip() for child in element.all("AllowedMethod")]
        headers = [child.text.strip() for child in element.all("AllowedHeader")]
        if not origins or not methods:
            raise S3Error("MalformedXML")
        for method in methods:
            if method not in METHODS:
                raise S3Error(
                    "InvalidRequest",
                    f"Found unsupported HTTP method in CORS config. Unsupported method is {method}",
                )
        for pattern, kind in [(o, "AllowedOrigin") for o in origins] + [(h, "AllowedHeader") for h in headers]:
            if pattern.count("*") > 1:
                raise S3Error("InvalidRequest", f'{kind} "{pattern}" can not have more than one wildcard.')
        exposed = [child.text.strip() for child in element.all("ExposeHeader")]
        for name in exposed:
            # They are sent as they stand: a line break in one would spoil every answer to that origin.
            if not _HEADER_NAME(name):
                raise S3Error("InvalidRequest", f'ExposeHeader "{name}" is not the name of a header.')
        age = element.value("MaxAgeSeconds")
        if age is not None and not (age.isascii() and age.isdigit() and len(age) <= 9):
            raise S3Error("MalformedXML")
        rules.append(
            {
                "id": element.value("ID"),
                "allowed_origins": origins,
                "allowed_methods": methods,
                "allowed_headers": headers,
                "expose_headers": exposed,
                "max_age_seconds": None if age is None else int(age),
            }
        )
    if not 1 <= len(rules) <= RULE_COUNT_MAX:
        raise S3Error("MalformedXML")
    return {"rules": rules}


def to_document(cors: Mapping[str, Any]) -> bytes:
    """Return the CORSConfiguration of a ``cors`` document."""
    content = []
    for rule in cors["rules"]:
        lists = (
            ("allowed_origins", "AllowedOrigin"),
            ("allowed_methods", "AllowedMethod"),
            ("allowed_headers", "AllowedHeader"),
            ("expose_headers", "ExposeHeader"),
        )
        values = "".join(tag(name, value) for field, name in lists for value in rule[field])
        content.append(
            f"<CORSRule>{tag('ID', rule['id'])}{values}{tag('MaxAgeSeconds', rule['max_age_seconds'])}</CORSRule>"
        )
    return document("CORSConfiguration", *content)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)


def find_rule(cors: Mapping[str, Any] | None, origin: str, method: str, headers: Sequence[str] = ()) -> CorsRule | None:
    """Return the first rule that allows an origin, a method and headers (lower case); None when none does."""
    for rule in cors["rules"] if cors else ():
        if (
            method in rule["allowed_methods"]
            and any(_pattern(pattern).fullmatch(origin) for pattern in rule["allowed_origins"])
            and all(
                any(_pattern(pattern.lower()).fullmatch(header) for pattern in rule["allowed_headers"])
                for header in headers
            )
        ):
            return rule  # type: ignore[no-any-return]
    return None


def rule_headers(rule: CorsRule, origin: str) -> dict[str, str]:
    """Return the headers a matching rule adds to an answer."""
    anyone = "*" in rule["allowed_origins"]
    headers = {
        "Access-Control-Allow-Origin": "*" if anyone else origin,
        "Access-Control-Allow-Methods": ", ".join(rule["allowed_methods"]),
        "Vary": _VARY,
    }
    if not anyone:
        headers["Access-Control-Allow-Credentials"] = "true"
    if rule["expose_headers"]:
        headers["Access-Control-Expose-Headers"] = ", ".join(rule["expose_headers"])
    if rule["max_age_seconds"] is not None:
        headers["Access-Control-Max-Age"] = str(rule["max_age_seconds"])
    return headers
