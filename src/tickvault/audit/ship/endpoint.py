"""Where a receiver is, and how its TLS is checked.

Invariants: TLS is 1.2 or newer, and the receiver's certificate and name are checked, always; a connection without TLS
exists only where the settings say ``insecure``; what is shown of a URL is never more than scheme, host and port,
because paths hold secrets at some receivers.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass
from urllib.parse import urlsplit

from tickvault.errors import InvalidInputError

_URL_MAX = 2048


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a receiver."""

    scheme: str
    """``https``, ``http``, ``tls`` or ``tcp``."""
    host: str
    port: int
    target: str = "/"
    """Path, with the query where there is one; it begins with ``/``."""

    @property
    def shown(self) -> str:
        """The address for a message, without its path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme in ("https", "tls")


def parse_endpoint(url: str, ports: dict[str, int], *, insecure: bool, shown: bool = True) -> Endpoint:
    """Return the endpoint of a URL.

    Parameters
    ----------
    url : str
        ``scheme://host[:port][/path][?query]``, without a user, a password or a fragment.
    ports : dict of str to int
        The schemes that the receiver speaks, each with its default port.
    insecure : bool
        Whether a scheme without TLS is allowed.
    shown : bool
        Whether the URL may stand in a message; not where it comes from a secret file.
    """
    name = repr(url) if shown else "in the url_file"
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        host.encode("idna" if not host.isascii() else "ascii")
    except (ValueError, UnicodeError):
        raise InvalidInputError(f"url {name}: is not a URL; write scheme://host[:port]/path") from None
    if scheme not in ports:
        raise InvalidInputError(f"url {name}: must begin with one of {', '.join(f'{s}://' for s in ports)}")
    if not host or len(url) > _URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInputError(f"url {name}: must name a host, in printable ASCII, at most {_URL_MAX} characters long")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidInputError(
            f"url of {scheme}://{host}: must not hold a user, a password or a fragment; secrets come from files"
        )
    endpoint = Endpoint(
        scheme, host, port or ports[scheme], (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    )
    if not endpoint.is_secure and not insecure:
        raise InvalidInputError(
            f"url {name}: {scheme}:// sends audit records and secrets in the clear; use "
            f"{next(s for s in ports if s in ('https', 'tls'))}://, or set insecure: true for a trial on one machine"
        )
    return endpoint


def tls_context(ca_file: str | None, client_cert_file: str | None, client_key_file: str | None) -> ssl.SSLContext:
    """Return the context of a client.

    Parameters
    ----------
    ca_file : str, optional
        PEM with the certificates that are trusted; None: the system's.
    client_cert_file, client_key_file : str, optional
        PEM of the client's own certificate and of its key, without a passphrase.

    Raises
    ------
    InvalidInputError
        A file is missing or is not what it should be.
    """
    if (client_cert_file is None) != (client_key_file is None):
        raise InvalidInputError("client_cert_file and client_key_file must be set together")
    for path in (ca_file, client_cert_file, client_key_file):
        if path is not None:
            _check_file(path)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    except (ssl.SSLError, OSError):
        raise InvalidInputError(
            f"ca_file {ca_file}: cannot be used; give PEM with -----BEGIN CERTIFICATE-----"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_cert_file is not None:
        try:
            context.load_cert_chain(client_cert_file, client_key_file, password=_no_passphrase)
        except (ssl.SSLError, OSError, ValueError):
            raise InvalidInputError(
                f"client_cert_file {client_cert_file} and client_key_file {client_key_file}: cannot be used; both must "
                "be PEM, belong together, and the key must have no passphrase"
            ) from None
    return context


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted")


def _check_file(path: str) -> None:
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        raise InvalidInputError(f"{path}: {os.strerror(error.errno or 0)}; name a PEM file") from None
    if not is_file:
        raise InvalidInputError(f"{path}: must be a regular file; name a PEM file")
