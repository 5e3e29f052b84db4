"""One address that guesses passwords waits, whatever names it tries."""

from __future__ import annotations

from typing import Any

from prahari_hub.web.app import WRONG_PASSWORDS

PASSWORD = "four unrelated words here"


def test_an_address_that_sends_wrong_passwords_waits_and_a_right_one_costs_nothing(console: Any) -> None:
    with console.client() as client:

        def log_in(name: str, password: str) -> int:
            return client.post("/login", data={"name": name, "password": password}).status_code

        assert log_in("the-operator", PASSWORD) == 303
        for number in range(WRONG_PASSWORDS):
            assert log_in(f"nobody-{number}", "x") == 403
        assert log_in("the-operator", PASSWORD) == 429
