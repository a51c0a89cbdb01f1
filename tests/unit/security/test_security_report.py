from __future__ import annotations

import json

import cryptography
import pytest

from tickvault.security import report
from tickvault.security.cipher import SM4_GCM, sm4_gcm
from tickvault.security.report import security_report


def test_it_tells_who_does_the_work_and_claims_nothing() -> None:
    told = security_report()
    assert json.loads(json.dumps(told)) == told
    assert set(told["suites"]) == {"aes-256-gcm", "sm4-gcm"}
    assert told["suites"]["aes-256-gcm"]["key_bits"] == 256
    assert told["suites"]["sm4-gcm"]["key_bits"] == 128
    assert "OpenSSL" in told["suites"]["aes-256-gcm"]["module"]
    assert told["modules"]["cryptography"]["version"] == cryptography.__version__
    assert told["modules"]["cryptography"]["fips_mode"] in (True, False, None)
    assert told["certification"].startswith("No certification is claimed")
    used = told["modules"]["libgcrypt"]["used"]
    assert ("libgcrypt" in told["suites"]["sm4-gcm"]["module"]) is used
    assert (told["modules"]["libgcrypt"]["reason"] is None) is used


def test_without_libgcrypt_the_other_module_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = None, "libgcrypt is not installed"
    monkeypatch.setattr(sm4_gcm, "libgcrypt", lambda: absent)
    monkeypatch.setattr(report, "libgcrypt", lambda: absent)
    told = security_report()
    assert told["modules"]["libgcrypt"] == {"used": False, "version": None, "fips_mode": None, "reason": absent[1]}
    assert "OpenSSL" in told["suites"]["sm4-gcm"]["module"]
    assert isinstance(SM4_GCM.aead(bytes(16)), sm4_gcm.OpensslSm4Gcm)


def test_a_library_that_is_missing_or_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise OSError("no such library")

    sm4_gcm._libgcrypt.cache_clear()
    try:
        monkeypatch.setattr(sm4_gcm, "Libgcrypt", missing)
        assert sm4_gcm.libgcrypt()[0] is None
        assert "apt-get install libgcrypt20" in sm4_gcm.libgcrypt()[1]
    finally:
        monkeypatch.undo()
        sm4_gcm._libgcrypt.cache_clear()
    assert not sm4_gcm.known_answer(sm4_gcm.OpensslSm4Gcm(bytes(16)))
