"""The port and the descriptors that a server needs before its workers start.

Invariants: what the system refuses is said with what to do about it; the port is held by a socket that never
listens.
"""

from __future__ import annotations

import errno
import resource
import socket

from tickvault.errors import InvalidInputError


def reserve_port(host: str, port: int) -> socket.socket:
    """Return a socket that holds the port for the workers and does not listen itself."""
    if not 0 <= port <= 65535:
        raise InvalidInputError(f"port must be 0 to 65535, was {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise InvalidInputError(f"host {host!r}: {error.strerror}; give an address of this machine") from None
    try:
        # Two servers that share a port would each get some of the connections: refused while anyone listens
        # there.
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        placeholder = socket.socket(family, kind, protocol)
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        placeholder.bind(address)
    except OSError as error:
        raise InvalidInputError(_refusal(host, port, error)) from None
    return placeholder


def bare_host(host: str) -> str:
    """Return a host as the system takes it: an IPv6 address without the brackets that it has in a URL.

    >>> bare_host("[::1]"), bare_host("::1"), bare_host("[localhost]")
    ('::1', '::1', '[localhost]')
    """
    return host[1:-1] if host.startswith("[") and host.endswith("]") and ":" in host else host


def url_host(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets.

    >>> url_host("::1"), url_host("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host


def _refusal(host: str, port: int, error: OSError) -> str:
    """Say why an address cannot be listened on, and what to do."""
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL):
        everywhere = "::" if ":" in host else "0.0.0.0"
        return (
            f"cannot listen on {host}: it is no address of this machine; give one of those that `ip address` shows, "
            f"or {everywhere} for all of them"
        )
    if error.errno == errno.EACCES:
        return (
            f"cannot listen on {url_host(host)}:{port}: this user may not take that port; choose one from 1024 on, or "
            "0 for a free one"
        )
    return (
        f"cannot listen on {url_host(host)}:{port}: {(error.strerror or str(error)).lower()}; choose another port, or "
        "0 for a free one"
    )


def bind_like(placeholder: socket.socket) -> socket.socket:
    """Return a socket for one worker, bound to the port that the placeholder holds."""
    listener = socket.socket(placeholder.family, placeholder.type, placeholder.proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(placeholder.getsockname())
    listener.setblocking(False)
    return listener


def raise_descriptor_limit() -> None:
    """Allow as many open connections as the system lets this user have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
