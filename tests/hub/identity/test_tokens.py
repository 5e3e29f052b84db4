"""The text of a claim."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prahari_hub.identity.tokens import ALPHABET, new_token, read_token
from prahari_wire.seed import Seed


def test_a_token_fits_into_a_seed_and_is_read_back() -> None:
    for _ in range(200):
        token = new_token()
        assert read_token(token.text) == token
        assert Seed(
            device="pune-cam-01",
            hub="https://hub:8443",
            mqtt="hub:8883",
            ca_spki_sha256="0" * 64,
            token=token.text,
        )


@given(st.integers(5, 37), st.sampled_from(ALPHABET))
def test_one_wrong_symbol_is_noticed(position: int, symbol: str) -> None:
    text = new_token().text
    changed = text[:position] + symbol + text[position + 1 :]
    if text[position] != "-" and changed != text:
        assert read_token(changed) is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert read_token(text) is None
