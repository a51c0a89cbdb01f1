"""What the audit trail is told of a request.

A change that was committed told of itself: its record rode in the commit, with the caller that `caller_of` names.
Everything else (reads, refusals, failures, requests that changed nothing) is put into the process's ring before the
answer is sent.

Invariants: every request that was answered is in the trail once, by its own record or by those of its changes and of
what was refused within it; no signature, secret or body is copied; what cannot be recorded is answered 503 and not done
again in silence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_to_bytes

from tickvault.audit.actor import Actor, bounded
from tickvault.audit.auditor import Auditor
from tickvault.audit.codec import NO_DETAIL, Detail, encode_detail, encode_read
from tickvault.audit.record import Category
from tickvault.doors.s3.body import EMPTY_BODY
from tickvault.doors.s3.errors import S3Error, as_s3_error, told_of
from tickvault.doors.s3.message import Request, Response
from tickvault.engine.attribution import Caller

_CREDENTIAL = re.compile(r"Credential=([^/,\s]{1,128})/")
_KEY_LENGTH_MAX = 1024


@functools.cache
def action_name(handler_name: str) -> str:
    """Return S3's name of an operation from that of the function that answers it.

    Examples
    --------
    >>> action_name("list_objects_v2")
    'ListObjectsV2'
    """
    return "".join(part.capitalize() for part in handler_name.split("_"))


def actor_of(request: Request) -> Actor:
    """Return who sent a request."""
    return Actor("s3", request.identity or request.access_key, request.remote, request.request_id, request.action)


def caller_of(request: Request) -> Caller:
    """Return who sent a request, as a commit takes it along; made once a request."""
    if request.caller is None:
        request.caller = actor_of(request).caller()
    return request.caller


def record_answer(auditor: Auditor, request: Request, response: Response) -> None:
    """Put what came of a request on its way into the trail, unless its change tells.

    Raises
    ------
    BusyError
        The trail takes nothing: the request is to be refused.
    """
    status = response.status
    headers = request.headers
    if status < 400:
        if request.caller is not None and request.caller.recorded:
            return
        detail = None if response.reason else _agent_detail(headers.get("user-agent"))
        if detail is not None:
            # By far the most there are, so made without a record in between.
            now_ns = auditor.now_ns()
            payload = encode_read(
                now_ns, auditor.clock_error_ns(now_ns), status, _size_of(request, response),
                request.action or request.method, "s3", request.identity or request.access_key, request.remote,
                request.request_id, request.bucket, request.key, _version_of(request, response), detail,
            )  # fmt: skip
            if payload is not None:
                auditor.put(payload)
                return
    told = {"reason": response.reason[:512]} if response.reason else {}
    if "user-agent" in headers:
        told["user_agent"] = headers["user-agent"][:256]
    auditor.record(
        actor_of(request),
        Category.READ if status < 400 else Category.REFUSAL,
        action=request.action or request.method,
        result="ok" if status < 400 else response.error or f"Http{status}",
        status=status,
        bucket=request.bucket,
        key=request.key,
        version_id=_version_of(request, response),
        size_bytes=_size_of(request, response) if status < 400 else 0,
        detail=told,
    )


def record_member(auditor: Auditor, request: Request, key: str, version_id: str | None, error: Exception) -> None:
    """Put what was refused within a request that is answered 200 on its way into the trail, as one of its own.

    The record stands for the request, whose own would say that all went well.

    Parameters
    ----------
    key, version_id
        As the request names them.
    error : Exception
        What a request for this one alone would have been answered with.

    Raises
    ------
    BusyError
        The trail takes nothing: the request is to be refused.
    """
    failure = as_s3_error(error)
    told, reason, locked_version = told_of(error, failure)
    detail = {"reason": reason[:512]} if reason else {}
    if "user-agent" in request.headers:
        detail["user_agent"] = request.headers["user-agent"][:256]
    auditor.record(
        actor_of(request),
        Category.REFUSAL,
        action="DeleteObject" if version_id is None else "DeleteObjectVersion",
        result=told,
        status=failure.status,
        bucket=request.bucket,
        key=key[:_KEY_LENGTH_MAX],
        version_id=bounded(locked_version or version_id or ""),
        detail=detail,
    )
    caller_of(request).recorded = True


def _version_of(request: Request, response: Response) -> str:
    if response.version_id:
        return response.version_id
    headers = response.headers
    if "x-amz-version-id" in headers:
        return headers["x-amz-version-id"]
    return request.query.get("versionId", "") if request.query else ""


def _size_of(request: Request, response: Response) -> int:
    """Return how many bytes of a body go out."""
    if request.method != "GET":
        return 0
    if response.length is not None:
        return response.length
    body = response.body
    return len(body) if isinstance(body, (bytes, memoryview, bytearray)) else 0


@functools.lru_cache(maxsize=1024)
def _agent_detail(agent: str | None) -> Detail | None:
    return encode_detail({"user_agent": agent[:256]}) if agent else NO_DETAIL


def record_unadmitted(
    auditor: Auditor,
    method: str,
    target: bytes,
    headers: Mapping[str, str],
    remote: str,
    request_id: str,
    response: Response,
) -> None:
    """Put a request that was refused before anybody knew who sent it on its way into the trail."""
    if not target:
        # It could not be made out as a request: whatever it was, it was refused.
        auditor.record(
            Actor("s3", "", remote, request_id, "Unreadable"),
            Category.REFUSAL,
            result=response.error or f"Http{response.status}",
            status=response.status,
        )
        return
    path = unquote_to_bytes(target.partition(b"?")[0]).decode("utf-8", "replace")
    bucket, _, key = path.lstrip("/").partition("/")
    detail = {}
    claimed = _CREDENTIAL.search(headers.get("authorization", ""))
    if claimed is not None:
        # Nothing proves that it was that one: it is what the request said.
        detail["claimed_access_key"] = claimed[1]
    agent = headers.get("user-agent")
    if agent:
        detail["user_agent"] = agent[:256]
    auditor.record(
        Actor("s3", "", remote, request_id, _action_of(method, target, bucket, key, headers)),
        Category.REFUSAL,
        result=response.error or f"Http{response.status}",
        status=response.status,
        bucket=bounded(bucket),
        key=key[:_KEY_LENGTH_MAX],
        detail=detail,
    )


def _action_of(method: str, target: bytes, bucket: str, key: str, headers: Mapping[str, str]) -> str:
    """Return S3's name of what was asked for, as far as the head tells; else the method."""
    from tickvault.doors.s3.router import find_operation

    query = dict(parse_qsl(target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True))
    asked = Request(method, "", bucket, key, query, headers, EMPTY_BODY, "", "")
    try:
        return action_name(find_operation(asked).__name__)
    except S3Error:
        return method
