"""The port, the certificate and the descriptors that a server needs before its workers start.

Invariants: what the system refuses is said with what to do about it; the port is held by a socket that never
listens.
"""

from __future__ import annotations

import resource
import socket
import ssl

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
        raise InvalidInputError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from None
    return placeholder


def bind_like(placeholder: socket.socket) -> socket.socket:
    """Return a socket for one worker, bound to the port that the placeholder holds."""
    listener = socket.socket(placeholder.family, placeholder.type, placeholder.proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(placeholder.getsockname())
    listener.setblocking(False)
    return listener


def tls_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return the context of a certificate and key in PEM, None without them; raises `InvalidInputError`."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise InvalidInputError("TLS needs both a certificate file and a key file")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(f"TLS certificate {certificate} with key {key}: {error}") from None
    return context


def raise_descriptor_limit() -> None:
    """Allow as many open connections as the system lets this user have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
