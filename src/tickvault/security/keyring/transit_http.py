"""Requests to a transit engine (HashiCorp Vault, OpenBao) over HTTP.

Invariants: a token goes to the configured address only (no redirect is followed, no proxy of the environment is used),
and in the clear to this machine only; every request has an end, also when the answer drips; what may have had an effect
is not sent twice; no message shows a token or what was to be wrapped.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tickvault.errors import AccessDeniedError, BusyError, InvalidInputError, StorageError
from tickvault.seam.private_file import read_private

#: Longest time for one try, seconds.
TIMEOUT_S = 5.0
#: Tries of a request that may be repeated.
TRY_COUNT = 3
#: Largest answer, bytes.
ANSWER_SIZE_MAX = 256 * 1024
_TOKEN_SIZE_MAX = 4096
_PAUSE_S, _PAUSE_MAX_S = 0.1, 2.0
_REPEATED = frozenset({429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TOKEN = re.compile(r"[!-~]+")


class Answer(NamedTuple):
    """What the server said."""

    status: int
    data: Mapping[str, Any]
    """The answer's ``data``; empty if it has none."""
    errors: str
    """The server's own words, shortened, without secrets."""


class _Again(Exception):  # noqa: N818 -- not an error yet
    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


class TransitConnection:
    """Where the transit engine is, and how to ask it.

    Parameters
    ----------
    address : str
        ``https://host:8200``; ``http://`` for this machine only.
    token_file : str
        Private file that holds the token; read for each request, so that an agent may renew it.
    namespace : str
        ``X-Vault-Namespace``.
    ca_file : str
        Certificates to trust, PEM; empty: the system's.
    timeout_s : float
        For one try, 0.01 to 60.
    try_count : int
        Tries of a request that may be repeated, 1 to 10.
    """

    def __init__(
        self,
        address: str,
        token_file: str,
        *,
        namespace: str = "",
        ca_file: str = "",
        timeout_s: float = TIMEOUT_S,
        try_count: int = TRY_COUNT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            port = -1
        plain = parts.scheme == "http"
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1 or parts.username is not None:
            raise InvalidInputError(f"key service address {_shown(address)!r}: must be https://host:port")
        if parts.query or parts.fragment or parts.path.strip("/"):
            raise InvalidInputError(
                f"key service address {_shown(address)!r}: must have no path; the mount is an option"
            )
        if plain and parts.hostname not in _LOOPBACK:
            raise InvalidInputError(
                f"key service address {_shown(address)!r}: the token and the keys would travel in the clear; use https://"
            )
        if not 0.01 <= timeout_s <= 60 or not 1 <= try_count <= 10:
            raise InvalidInputError(f"timeout_s={timeout_s!r} must be 0.01 to 60, and try_count={try_count!r} 1 to 10")
        if namespace and not _TOKEN.fullmatch(namespace):
            raise InvalidInputError("the namespace must be printable ASCII without spaces")
        self.address = address.rstrip("/")
        self._host, self._port = parts.hostname, port or (80 if plain else 443)
        self._context = None if plain else _trusting(ca_file)
        self._token_file = token_file
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._try_count = try_count
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"TransitConnection({self.address!r})"

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, repeat: bool = True, secret: str = ""
    ) -> Answer:
        """Send a request and return the answer, whatever its status, but not 403 and not one that asks to try later.

        Parameters
        ----------
        path : str
            Behind ``/v1/``.
        repeat : bool
            It may be sent again: it has no effect, or the same one twice.
        secret : str
            Something of the body that must not appear in a message.

        Raises
        ------
        AccessDeniedError
            The server refuses the token.
        BusyError
            It did not answer, or asked to try later, each time.
        StorageError
            It cannot be reached, or is no transit engine.
        """
        tries = self._try_count if repeat else 1
        for number in range(1, tries + 1):
            try:
                return self._once(method, path, body, secret)
            except _Again as again:
                if not repeat:
                    raise StorageError(
                        f"{method} {self.address}/v1/{path}: {again}; whether it was done is not known, so it was not "
                        "sent again: look at the key, then decide"
                    ) from None
                if number == tries:
                    raise BusyError(
                        f"{method} {self.address}/v1/{path}: {again} ({number} of {tries} tries); "
                        "see whether the key service is up and unsealed, then try again"
                    ) from None
                pause = _PAUSE_S * 2 ** (number - 1) * random.uniform(0.5, 1)  # noqa: S311 -- spreads clients in time
                self._sleep(min(_PAUSE_MAX_S, max(pause, again.after_s)))
        raise AssertionError("every try returns or raises")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None, secret: str) -> Answer:
        token = self._token()
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true", "Accept": "application/json"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        payload = None
        if body is not None:
            payload = json.dumps(body).encode("ascii")
            headers["Content-Type"] = "application/json"
        status, after, data = self._exchange(method, f"/v1/{path}", payload, headers)
        document = self._parsed(method, path, status, data)
        errors = document.get("errors")
        told = "; ".join(each for each in errors if isinstance(each, str)) if isinstance(errors, list) else ""
        told = _clean(told, (token, secret))
        if status in _REPEATED:
            raise _Again(f"it answered {status} {told}".rstrip(), after)
        if status == 403:
            raise AccessDeniedError(
                f"{method} {self.address}/v1/{path}: the key service refuses the token ({told or 'permission denied'}"
                f"); renew the token in {self._token_file}, and let its policy allow this path"
            )
        if 300 <= status < 400:
            raise StorageError(
                f"{method} {self.address}/v1/{path}: it answered {status}, which points to another server; give the "
                "address of the active one"
            )
        inner = document.get("data")
        return Answer(status, inner if isinstance(inner, dict) else {}, told)

    def _exchange(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[int, float, bytes]:
        """Return status, ``Retry-After`` in seconds, and body."""
        where = f"{method} {self.address}{path}"
        connection: http.client.HTTPConnection
        if self._context is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=self._context
            )
        # The socket's own limit begins anew with every byte; this one ends an answer that drips.
        late = threading.Event()

        def end() -> None:
            late.set()
            opened = connection.sock
            if opened is not None:
                try:
                    opened.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        watch = threading.Timer(self._timeout_s, end)
        watch.daemon = True
        watch.start()
        try:
            connection.request(method, path, body=payload, headers=headers)
            response = connection.getresponse()
            data = response.read(ANSWER_SIZE_MAX + 1)
            if late.is_set():
                raise TimeoutError
            after = response.headers.get("Retry-After", "")
        except ssl.SSLCertVerificationError as error:
            raise StorageError(
                f"{where}: its certificate is not trusted ({error.verify_message}); give the right ca_file"
            ) from None
        except ssl.SSLError as error:
            raise StorageError(f"{where}: TLS failed ({error.reason or 'no reason given'})") from None
        except ConnectionRefusedError:
            raise _Again("nothing listens there") from None
        except socket.gaierror as error:
            raise StorageError(f"{where}: the name is not known ({error.strerror}); correct the address") from None
        except (OSError, http.client.HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise _Again(f"no answer within {self._timeout_s:g} s") from None
            raise _Again(f"the connection broke ({type(error).__name__})") from None
        finally:
            watch.cancel()
            connection.close()
        if len(data) > ANSWER_SIZE_MAX:
            raise StorageError(f"{where}: the answer is larger than {ANSWER_SIZE_MAX} bytes; this is no transit engine")
        return response.status, float(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0.0, data

    def _parsed(self, method: str, path: str, status: int, data: bytes) -> Mapping[str, Any]:
        try:
            document = json.loads(data) if data.strip() else {}
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            return document
        if status >= 300:
            return {}  # a proxy's page; the status says enough
        raise StorageError(
            f"{method} {self.address}/v1/{path}: the answer is not the JSON of a transit engine; see what answers there"
        )

    def _token(self) -> str:
        data = read_private(self._token_file, size_max=_TOKEN_SIZE_MAX)
        token = data.decode("ascii", "replace").strip()
        if not _TOKEN.fullmatch(token):
            raise InvalidInputError(f"{self._token_file}: must hold a token and nothing else")
        return token


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError):
        raise InvalidInputError(f"ca_file {ca_file}: must be a file of certificates in PEM") from None


def _shown(address: str) -> str:
    """Return an address without what may be a password."""
    return re.sub(r"//[^/]*@", "//…@", address)[:200]


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    """Return a server's words without secrets, in one printable line."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    return "".join(each if each.isprintable() else " " for each in text)[:300]
