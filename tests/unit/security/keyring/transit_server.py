"""A strict stand-in for a transit engine: it checks each request and really binds what it encrypts."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.secret-token-of-the-test"


class TransitServer:
    """Serves one engine on the loopback until `close`."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        self.keys: dict[str, dict[int, bytes]] = {}
        self.deletable: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Any] = []
        """For the next requests: a status, (status, headers, bytes), "hang", "drip", "drop"; "pass" for none."""
        self.stop = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def _do(self) -> None:
                outer.answer(self)

            do_GET = do_POST = do_DELETE = do_PUT = _do

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length", 0))
        body = request.rfile.read(length)
        self.requests.append((request.command, request.path))
        fault = self.faults.pop(0) if self.faults else "pass"
        if fault == "hang":
            self.stop.wait(10)
            request.close_connection = True
            return
        if fault == "drop":
            request.close_connection = True
            return
        if fault == "drip":
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            try:
                while not self.stop.is_set():
                    request.wfile.write(b"X: y\r\n"[:3])
                    time.sleep(0.02)
            except OSError:
                pass
            return
        if isinstance(fault, int):
            fault = (fault, {}, json.dumps({"errors": [f"told: {TOKEN} {body.decode()}"]}).encode())
        if isinstance(fault, tuple):
            self.send(request, *fault)
            return
        status, document = self.judge(request, body)
        self.send(request, status, {}, b"" if document is None else json.dumps(document).encode())

    def send(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        try:
            request.wfile.write(body)
        except OSError:
            pass

    def judge(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        if request.headers.get("X-Vault-Token") != TOKEN or request.headers.get("X-Vault-Request") != "true":
            return 403, {"errors": ["permission denied"]}
        if request.headers.get("X-Vault-Namespace", "") != self.namespace:
            return 404, {"errors": ["no handler for route"]}
        found = re.fullmatch(r"/v1/transit/(encrypt|decrypt|keys)/([A-Za-z0-9._-]+)(/rotate|/config)?", request.path)
        if found is None:
            return 404, {"errors": ["no handler for route"]}
        verb, name, more = found.groups()
        fields: dict[str, Any] = {}
        if request.command == "POST":
            if request.headers.get("Content-Type") != "application/json":
                return 415, {"errors": ["content type"]}
            fields = json.loads(body)
        elif body:
            return 400, {"errors": ["unexpected body"]}
        handler = getattr(self, f"do_{request.command}_{verb}{(more or '').replace('/', '_')}", None)
        return handler(name, fields) if handler else (405, {"errors": ["unsupported operation"]})

    def do_GET_keys(self, name: str, fields: dict[str, Any]) -> tuple[int, Any]:
        if name not in self.keys:
            return 404, {"errors": []}
        versions = {str(number): 1_700_000_000 + number for number in self.keys[name]}
        return 200, {"data": {"type": "aes256-gcm96", "latest_version": max(self.keys[name]), "keys": versions}}

    def do_POST_keys(self, name: str, fields: dict[str, Any]) -> tuple[int, Any]:
        if fields != {"type": "aes256-gcm96", "exportable": False, "allow_plaintext_backup": False}:
            return 400, {"errors": ["unexpected fields"]}
        self.keys.setdefault(name, {1: AESGCM.generate_key(256)})
        return 204, None

    def do_POST_keys_rotate(self, name: str, fields: dict[str, Any]) -> tuple[int, Any]:
        self.keys[name][max(self.keys[name]) + 1] = AESGCM.generate_key(256)
        return 200, {"data": {}}

    def do_POST_keys_config(self, name: str, fields: dict[str, Any]) -> tuple[int, Any]:
        if fields == {"deletion_allowed": True}:
            self.deletable.add(name)
        return 204, None

    def do_DELETE_keys(self, name: str, fields: dict[str, Any]) -> tuple[int, Any]:
        if name not in self.deletable:
            return 400, {"errors": ["deletion is not allowed for this key"]}
        del self.keys[name]
        return 204, None

    def do_POST_encrypt(self, name: str, fields: dict[str, Any]) -> tuple[int, Any]:
        if set(fields) != {"plaintext", "associated_data", "key_version"}:
            return 400, {"errors": ["unexpected fields"]}
        plain = base64.b64decode(fields["plaintext"], validate=True)
        bound = base64.b64decode(fields["associated_data"], validate=True)
        keys = self.keys.setdefault(name, {1: AESGCM.generate_key(256)})  # as the real one does
        nonce = AESGCM.generate_key(128)[:12]
        sealed = nonce + AESGCM(keys[fields["key_version"]]).encrypt(nonce, plain, bound)
        return 200, {"data": {"ciphertext": f"vault:v{fields['key_version']}:{base64.b64encode(sealed).decode()}"}}

    def do_POST_decrypt(self, name: str, fields: dict[str, Any]) -> tuple[int, Any]:
        if set(fields) != {"ciphertext", "associated_data"}:
            return 400, {"errors": ["unexpected fields"]}
        if name not in self.keys:
            return 400, {"errors": ["encryption key not found"]}
        _, version, text = fields["ciphertext"].split(":")
        bound = base64.b64decode(fields["associated_data"], validate=True)
        key = self.keys[name].get(int(version[1:]))
        if key is None:
            return 400, {"errors": ["ciphertext or signature version is disallowed by policy (too old)"]}
        try:
            sealed = base64.b64decode(text, validate=True)
            plain = AESGCM(key).decrypt(sealed[:12], sealed[12:], bound)
        except (InvalidTag, ValueError):
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}
