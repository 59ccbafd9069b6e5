"""Who is let in, and what the bank signs."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import coincurve
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from emulator.protocol.credentials import in_memory, open_folder
from emulator.protocol.keys import BadKeyFile

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def code(signed: Any, headers: dict[str, str], body: bytes = b"") -> str:
    response = signed.client.request("POST", "/v2/invoice", content=body, headers=headers)
    assert response.status_code == 400
    return str(response.json()["errors"][0]["code"])


@pytest.mark.parametrize("access_time", ["1795233431.362302", "1795233431", "1795233431.0", "0", "nonsense"])
def test_access_time_is_verified_as_text_and_its_age_is_not_judged(signed: Any, access_time: str) -> None:
    """An old or odd Access-Time is accepted as long as the signature covers it."""
    response = signed.client.get("/v2/balance", headers=signed.headers(access_time=access_time))
    assert response.status_code == 200


def test_header_names_come_in_any_case(signed: Any) -> None:
    """The Access headers are found whatever their case."""
    headers = {name.upper(): value for name, value in signed.headers().items()}
    assert signed.client.get("/v2/balance", headers=headers).status_code == 200


@pytest.mark.parametrize("escape", [True, False])
def test_raw_utf8_and_escaped_bodies_are_both_verified_over_their_bytes(signed: Any, escape: bool) -> None:
    """The signature is checked over the bytes received, not over a re-encoded body."""
    invoice = {"amount": 1, "name": "Conceição", "taxId": "529.982.247-25"}
    body = json.dumps({"invoices": [invoice]}, ensure_ascii=escape).encode()
    status, answer = signed.call("POST", "/v2/invoice", body)
    assert (status, answer["invoices"][0]["name"]) == (200, "Conceição")


def test_a_high_s_in_a_request_is_as_good_as_a_low_one(signed: Any) -> None:
    """Both forms of an ECDSA signature are valid, as SDKs send both."""
    headers = signed.headers()
    r, s = decode_dss_signature(base64.b64decode(headers["Access-Signature"]))
    headers["Access-Signature"] = base64.b64encode(encode_dss_signature(r, ORDER - s)).decode()
    assert signed.client.get("/v2/balance", headers=headers).status_code == 200


def test_a_changed_body_a_strangers_key_and_junk_are_invalid_credentials(signed: Any) -> None:
    """A signature that does not match gets invalidCredentials, whatever is wrong with it."""
    body = b'{"invoices": []}'
    assert code(signed, signed.headers(body), body + b" ") == "invalidCredentials"
    stranger = coincurve.PrivateKey()
    signed.key, mine = stranger, signed.key
    assert code(signed, signed.headers(body), body) == "invalidCredentials"
    signed.key = mine
    for junk in ("", "x", "MEUCIQ==", "é"):
        headers = {**signed.headers(body), "Access-Signature": junk.encode("latin-1").decode("latin-1")}
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        assert code(signed, encoded, body) == "invalidCredentials"


def test_an_unknown_project_is_told_apart_from_a_bad_signature(signed: Any) -> None:
    """An unknown id gets invalidProject, a known one with a wrong signature invalidCredentials."""
    for access_id in ("project/1", "organization/5656565656565656", "5656565656565656", "project/"):
        assert code(signed, {**signed.headers(), "Access-Id": access_id}) == "invalidProject"


def test_missing_headers_are_invalid_credentials_except_for_the_public_key(signed: Any) -> None:
    """Every call but GET public-key needs the three headers."""
    assert code(signed, {}) == "invalidCredentials"
    assert signed.client.get("/v2/public-key").status_code == 200
    bad = {**signed.headers(), "Access-Signature": "MEUCIQ=="}
    assert signed.client.get("/v2/public-key", headers=bad).status_code == 400


def test_signatures_verify_with_the_published_key_and_about_half_have_a_high_s() -> None:
    """Event signatures verify with the public key, and both forms of S occur, as at the bank."""
    credentials, _ = in_memory(seed=1)
    key = serialization.load_pem_public_key(credentials.public_keys()[0]["content"].encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    high = 0
    for number in range(200):
        signature = base64.b64decode(credentials.sign(b"body", str(number)))
        key.verify(signature, b"body", ec.ECDSA(hashes.SHA256()))
        high += decode_dss_signature(signature)[1] > ORDER // 2
    assert 70 <= high <= 130
    assert credentials.sign(b"body", "1") == credentials.sign(b"body", "1")
    assert credentials.sign(b"body", "1") != credentials.sign(b"body", "1", forged=True)


def test_a_rotated_key_comes_first_and_the_old_one_stays_after_a_restart(tmp_path: Path) -> None:
    """After a rotation the new key signs and is listed first; the old one stays listed."""
    credentials = open_folder(tmp_path, seed=1)
    (old,) = credentials.public_keys()
    new = credentials.rotate(datetime.now(UTC))
    again = open_folder(tmp_path, seed=1)
    assert [key["content"] for key in again.public_keys()] == [new["content"], old["content"]]
    assert again.project.project_id == credentials.project.project_id
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.pem")} == {0o600}


def test_a_key_of_another_curve_is_refused_by_name(tmp_path: Path) -> None:
    """A key file on another curve ends with a message that names the file."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "project-key.pem").write_bytes(pem)
    with pytest.raises(BadKeyFile, match=r"project-key\.pem is not a secp256k1 key"):
        open_folder(tmp_path, seed=1)
