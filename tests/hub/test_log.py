"""The log: JSON where a program reads, ids in fields of their own, no secrets, and no flood that fills the disk."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest
from prahari_hub import log as logs

PROGRAM = """
import logging, structlog
from prahari_hub import log as logs
logs.configure(form={form!r}, level="info", roles=("web", "ingest"))
log = logging.getLogger("prahari_hub.test")
with structlog.contextvars.bound_contextvars(request_id="r1"):
    log.info("refused %s", "pune-cam-01", extra=logs.about(device="pune-cam-01", incident="01J"))
log.warning("the token is %s", "prt_abcd1234_secretsecret")
structlog.get_logger("prahari_hub.other").warning("smtp://me:hunter2@mail failed", password="hunter2", device="box-1")
log.debug("not this")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed for %s", "x")
"""


def said(form: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(form=form)], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("form", ["json", "auto"])
def test_where_a_program_reads_each_line_is_json_with_its_ids(form: str) -> None:
    lines = [json.loads(line) for line in said(form).splitlines()]
    first = lines[0]
    assert first["event"] == "refused pune-cam-01" and first["level"] == "info"
    assert (first["device"], first["incident"], first["request_id"]) == ("pune-cam-01", "01J", "r1")
    assert first["roles"] == "web,ingest" and isinstance(first["process"], int)
    assert lines[2]["device"] == "box-1"
    assert "ZeroDivisionError" in lines[3]["exception"] and len(lines) == 4


def test_text_is_for_people() -> None:
    text = said("text")
    assert "refused pune-cam-01" in text and not text.startswith("{")


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_reaches_the_log(form: str) -> None:
    text = said(form)
    assert "secretsecret" not in text and "hunter2" not in text and logs.HIDDEN in text


@pytest.mark.parametrize(
    "secret",
    [
        "prt_8ZJK_aVeryLongSecret",
        "FLT1-ABCDEFGH-ABCDEFGHJKMNPQRSTVWXYZ01-K",
        "SUA" + "KXR4B7FVJW" * 5,
        "postgresql://prahari:pa55@db/prahari",
        "/login/link?token=abcdefghijklmnopqrstuvwxyz012345",
    ],
    ids=["API token", "claim", "nkey seed", "database password", "one-time link"],
)
def test_what_looks_like_a_secret_is_hidden_in_any_sentence(secret: str) -> None:
    line = logs.without_secrets(None, "info", {"event": f"failed with {secret} today"})
    assert logs.HIDDEN in line["event"] and "today" in line["event"]
    assert secret not in line["event"] and "pa55" not in line["event"]


class Clock:
    s = 0.0

    def __call__(self) -> float:
        return self.s


def test_a_line_that_repeats_is_spared_and_counted() -> None:
    clock, out = Clock(), io.StringIO()
    handler = logs.Sparing(out, mono=clock)

    def write(sentence: str, *values: object) -> None:
        handler.emit(logging.LogRecord("prahari_hub.x", logging.INFO, "", 0, sentence, values, None))

    for number in range(5000):
        write("refused %s", number)
    write("something else")
    lines = out.getvalue().splitlines()
    assert len(lines) == logs.BURST + 1 and lines[-1] == "something else"
    clock.s = logs.WINDOW_S + 1
    write("something else")
    assert f"{5000 - logs.BURST} more lines like this were left out: refused %s" in out.getvalue()
    write("refused %s", "again")
    assert out.getvalue().splitlines()[-1] == "refused again"


def test_a_flood_of_new_sentences_takes_no_memory() -> None:
    handler = logs.Sparing(io.StringIO(), mono=Clock())
    for number in range(3 * logs.MOST_KINDS):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, f"sentence {number}", (), None))
    assert len(handler._kinds) <= logs.MOST_KINDS
