"""Reading the operator's token from a header: as Bearer, or as the password of HTTP Basic."""

import base64

import pytest

from payments.authorization import carries_token, token_in


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


def test_a_header_carries_the_token_or_it_does_not() -> None:
    """An empty header is no empty token."""
    assert carries_token("Bearer abc", "abc")
    assert not carries_token("Bearer abcd", "abc")
    assert not carries_token("", "")
