"""Reads a project's private key in any form that people have it in, and returns the one form that the SDK reads."""

import base64
import binascii
import re

_BLOCK = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----\s.*?\s-----END \1-----", re.DOTALL)

# SEC1: version 1, then the number as an octet string; and the curve's object identifier.
_SEC1_NUMBER = re.compile(rb"\x02\x01\x01\x04([\x01-\x1f])", re.DOTALL)
# A curve that is written out instead of named (X9.62 prime-field), which cryptography does not read.
_EXPLICIT_OID = b"\x06\x07\x2a\x86\x48\xce\x3d\x01\x01"
_SECP256K1_OID = b"\x06\x05\x2b\x81\x04\x00\x0a"


def unwrap(text: str) -> str:
    """Undo what shells, env files and web consoles do to a PEM: surrounding quotes, and ``\\n`` for its line ends."""
    text = text.strip().strip("\"'").replace("\\r", "").replace("\\n", "\n").replace("\r\n", "\n")
    return text.strip() + "\n"


def read_key_file(path: str) -> str:
    """The text of a file. Raises ValueError with what is wrong with the path; it never quotes it."""
    if "-----BEGIN" in path:
        raise ValueError("holds a key and not a path")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        raise ValueError("names a file that is not text") from None
    except ValueError:
        raise ValueError("is not a path") from None
    except OSError as error:
        raise ValueError(f"names a file that cannot be read ({error.strerror})") from None


def sec1_pem(text: str) -> str:
    """Return the key in ``text`` as SEC1 PEM.

    Raises ValueError with what the text is instead, such as "a damaged key"; it never quotes the text.
    """
    # Imported here because only the key needs it, and it takes a while.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    if "-----BEGIN PUBLIC KEY-----" in text:
        raise ValueError("a public key and not the private one")
    block = _BLOCK.search(text)
    if block is None:
        raise ValueError("no whole PEM private key (from -----BEGIN to -----END, with its line ends)")
    pem = block[0].encode()
    key: object
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("a key that is protected by a password") from None
    except (ValueError, UnsupportedAlgorithm):
        if _EXPLICIT_OID in _der(pem):
            raise ValueError(
                "a key whose curve is written out and not named (openssl ec -in OLD.pem -param_enc named_curve -out "
                "NEW.pem names it)"
            ) from None
        number = _unpadded_number(pem)
        if number is None:
            raise ValueError("a damaged key") from None
        key = ec.derive_private_key(number, ec.SECP256K1())
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256K1):
        raise ValueError("a key that is not EC secp256k1")
    # Read: ellipticcurve 2.3.1 privateKey.py, fromPem takes SEC1 ("EC PRIVATE KEY") and refuses PKCS#8.
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def _unpadded_number(pem: bytes) -> int | None:
    """The number of a key that the bank's own SDK wrote without leading zeros; None for anything else.

    Read: ellipticcurve 2.3.1 toPem does not pad, so cryptography refuses about one of its keys in 256, which the bank
    accepts all the same.
    """
    der = _der(pem)
    found = _SEC1_NUMBER.search(der[:8])
    if found is None or _SECP256K1_OID not in der:
        return None
    return int.from_bytes(der[found.end() : found.end() + found[1][0]], "big") or None


def _der(pem: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(pem.splitlines()[1:-1]), validate=True)
    except binascii.Error:
        return b""
