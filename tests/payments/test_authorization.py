"""Reading the operator's token from a header: as Bearer, or as the password of HTTP Basic."""

import base64

import pytest

from payments.authorization import Account, account_in, read_operators, session_secret, token_in


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("", None),
        ("Bearer abc", "abc"),
        ("BEARER abc", "abc"),
        ("Basic " + base64.b64encode(b"ana:a:b").decode(), "a:b"),
        ("Basic %%%", ""),
        ("Basic /w==", ""),
        ("Basic \u00e9", ""),
        ("Digest abc", ""),
        ("abc", ""),
    ],
)
def test_what_a_request_brings_is_read_or_counts_as_wrong(header: str, token: str | None) -> None:
    """Nothing in the header is an error of ours."""
    assert token_in(header) == token


ANA = Account("Ana Souza", True, "ana-has-a-token:of-24-signs")
BIA = Account("Bia", False, "bia-reads-with-this-token")
TEXT = f"Ana Souza:operator:{ANA.token}, Bia : reader:{BIA.token}"


def test_a_header_carries_someones_token_or_no_ones() -> None:
    """An empty header is no empty token; every account is compared."""
    assert account_in(f"Bearer {BIA.token}", (ANA, BIA)) == BIA
    assert account_in(f"Bearer {BIA.token}x", (ANA, BIA)) is None
    assert account_in("", (Account("", True, ""),)) is None


def test_operators_are_read_with_their_roles() -> None:
    """A token may hold a colon; a changed role, name or token changes what sessions are signed with."""
    assert read_operators(TEXT) == (ANA, BIA)
    secrets = {session_secret(each) for each in ((ANA, BIA), (ANA,), (ANA, Account("Bia", True, BIA.token)))}
    assert len(secrets) == 3
    assert ANA.token not in repr(ANA)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "has no name of 1 to 64 characters in entry 1"),
        (f"{TEXT},", "has no name of 1 to 64 characters in entry 3"),
        (f"{'x' * 65}:reader:{BIA.token}", "has no name of 1 to 64 characters in entry 1"),
        (f"Caio:admin:{BIA.token}", "has a role in entry 1 that is neither operator nor reader"),
        ("Caio", "has a role in entry 1 that is neither operator nor reader"),
        ("Caio:reader:", "has a token in entry 1 that is empty, which would protect nothing"),
        ("Caio:reader:short", "has a token in entry 1 that is shorter than 16 characters"),
        ("Caio:reader:sixteen letters and", "has a token in entry 1 that has characters that do not travel"),
        (f"{TEXT}, ana souza:reader:another-token-of-hers", "has the name of entry 3 twice"),
        (f"{TEXT}, Caio:reader:{BIA.token}", "has the token of entry 3 twice"),
    ],
)
def test_a_wrong_entry_is_named_by_its_number_and_never_by_its_token(text: str, wrong: str) -> None:
    """So that nothing secret reaches a terminal or a log."""
    with pytest.raises(ValueError, match="entry") as error:
        read_operators(text)
    assert wrong in str(error.value)
    assert not any(token in str(error.value) for token in (ANA.token, BIA.token, "short,", "sixteen"))
