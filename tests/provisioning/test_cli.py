"""prahari-provision against an HTTP server that answers as the hub's API does."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prahari_provisioning.cli import app
from prahari_wire.base import parse
from prahari_wire.seed import SEED_FILE, Seed
from typer.testing import CliRunner, Result

CLAIM = "FLT1-0123ABCD-0123456789ABCDEFGHJKMNPQ-Z"
SPKI = "ab" * 32
API_TOKEN = "flt_technician_secret"


@dataclass
class Answers:
    """What the hub answers: (method, path) → (status, document); ``seen`` keeps what was asked."""

    table: dict[tuple[str, str], tuple[int, dict[str, Any] | str]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, Any], str | None]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def hub() -> Iterator[Answers]:
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            answers.seen.append((self.command, self.path, body, self.headers.get("Authorization")))
            status, document = answers.table.get((self.command, self.path), (404, {"title": "Not Found"}))
            content = document if isinstance(document, str) else json.dumps(document)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content.encode())))
            self.end_headers()
            self.wfile.write(content.encode())

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        answers.url = f"http://127.0.0.1:{server.server_port}"
        answers.table = {
            ("GET", "/api/v1/enrolment"): (
                200,
                {
                    "hub": "https://hub.pune.example:8443",
                    "mqtt": "hub.pune.example:8883",
                    "city": "Pune",
                    "ca_spki_sha256": SPKI,
                },
            ),
            ("POST", "/api/v1/claims"): (
                201,
                {
                    "id": "0123ABCD",
                    "token": CLAIM,
                    "device": "pune-cam-01",
                    "expires_at": "2026-11-28T10:00:00Z",
                },
            ),
            ("POST", "/api/v1/devices/pune-cam-01/revoke"): (204, ""),
        }
        yield answers
        server.shutdown()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(API_TOKEN + "\n")
    return path


def run(hub: Answers | str, token_file: Path, *arguments: str) -> Result:
    url = hub if isinstance(hub, str) else hub.url
    return CliRunner().invoke(app, [*arguments, "--hub", url, "--token-file", str(token_file)])


def boot_partition(tmp_path: Path) -> Path:
    folder = tmp_path / "bootfs"
    folder.mkdir()
    (folder / "config.txt").write_text("# For more options see the documentation\ndtparam=audio=on\n")
    return folder


def test_a_claim_is_printed_once_and_alone(hub: Answers, token_file: Path):
    result = run(hub, token_file, "claim", "pune-cam-01", "--site", "bridge", "--ttl", "15m")
    assert result.exit_code == 0, result.output
    assert result.stdout == CLAIM + "\n"
    assert hub.seen == [
        (
            "POST",
            "/api/v1/claims",
            {"device": "pune-cam-01", "site": "bridge", "ttl_s": 900},
            f"Bearer {API_TOKEN}",
        )
    ]


@pytest.mark.parametrize("as_folder", [True, False], ids=["folder", "file"])
def test_a_seed_is_written_read_back_and_named_by_its_hash(
    hub: Answers, token_file: Path, tmp_path: Path, as_folder: bool
):
    out = tmp_path if as_folder else tmp_path / "other-name.json"
    result = run(hub, token_file, "seed", "pune-cam-01", "--out", str(out), "--board", "simulated")
    assert result.exit_code == 0, result.output
    written = tmp_path / SEED_FILE if as_folder else out
    seed = parse(Seed, written.read_bytes())
    assert (seed.device, seed.hub, seed.mqtt) == (
        "pune-cam-01",
        "https://hub.pune.example:8443",
        "hub.pune.example:8883",
    )
    assert (seed.token, seed.ca_spki_sha256, seed.board, seed.timezone) == (
        CLAIM,
        SPKI,
        "simulated",
        "Asia/Kolkata",
    )
    assert written.stat().st_mode & 0o777 == 0o600
    assert result.stdout.strip() == hashlib.sha256(written.read_bytes()).hexdigest()
    assert CLAIM not in result.output


def test_a_card_gets_everything_and_the_claim_in_the_seed_alone(
    hub: Answers, token_file: Path, tmp_path: Path
):
    folder = boot_partition(tmp_path)
    for _ in range(2):  # a card may be seeded again
        result = run(hub, token_file, "seed", "pune-cam-01", "--boot", str(folder), "--board", "pi5")
        assert result.exit_code == 0, result.output
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.txt", "prahari.txt", "user-data", "network-config", "meta-data", SEED_FILE}
    assert [path.name for path in folder.iterdir() if CLAIM in path.read_text()] == [SEED_FILE]
    assert (folder / "config.txt").read_text().count("include prahari.txt") == 1
    assert "dtparam=audio=on" in (folder / "config.txt").read_text()
    assert API_TOKEN not in "".join(path.read_text() for path in folder.iterdir())


def test_each_card_gets_an_instance_id_of_its_own(hub: Answers, token_file: Path, tmp_path: Path):
    folder = boot_partition(tmp_path)
    found = []
    for last in "ZY":
        claimed = {
            "id": "x",
            "token": CLAIM[:-1] + last,
            "device": "pune-cam-01",
            "expires_at": "2026-11-28T10:00:00Z",
        }
        hub.table["POST", "/api/v1/claims"] = (201, claimed)
        assert (
            run(hub, token_file, "seed", "pune-cam-01", "--boot", str(folder), "--board", "pi4").exit_code
            == 0
        )
        found.append((folder / "meta-data").read_text())
    assert found[0] != found[1]


def test_wheels_travel_on_the_card(hub: Answers, token_file: Path, tmp_path: Path):
    folder, wheels = boot_partition(tmp_path), tmp_path / "wheels"
    wheels.mkdir()
    arguments = ("seed", "pune-cam-01", "--boot", str(folder), "--board", "pi5", "--wheels", str(wheels))
    assert "must hold agent.txt" in run(hub, token_file, *arguments).output
    for name in ("agent.txt", "prahari_agent-0.1.0-py3-none-any.whl"):
        (wheels / name).write_bytes(name.encode())
    assert run(hub, token_file, *arguments).exit_code == 0
    assert {path.name for path in (folder / "prahari").iterdir()} == {path.name for path in wheels.iterdir()}


def test_a_jetson_is_seeded_through_its_rootfs(hub: Answers, token_file: Path, tmp_path: Path):
    (tmp_path / "etc").mkdir()
    result = run(hub, token_file, "seed", "pune-cam-01", "--boot", str(tmp_path), "--board", "jetson-orin")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "var/lib/prahari-seed" / SEED_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "usr/local/sbin/prahari-first-boot").stat().st_mode & 0o111
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants/prahari-first-boot.service"
    assert wanted.resolve() == (tmp_path / "etc/systemd/system/prahari-first-boot.service").resolve()


def test_revoke_tells_the_hub_why(hub: Answers, token_file: Path):
    result = run(hub, token_file, "revoke", "pune-cam-01", "--reason", "stolen")
    assert result.exit_code == 0, result.output
    assert hub.seen[0][:3] == ("POST", "/api/v1/devices/pune-cam-01/revoke", {"reason": "stolen"})


MISFIT = {"hub": "http://x", "mqtt": "y", "city": "z", "ca_spki_sha256": "q"}
SEED = ("seed", "pune-cam-01", "--out", "seed.json")


@pytest.mark.parametrize(
    ("arguments", "path", "answer", "says"),
    [
        pytest.param(("claim", "pune-cam-01"), "claims", (401, {"title": "Unauthorized"}), "does not accept your token", id="401"),
        pytest.param(("claim", "pune-cam-01"), "claims", (403, {"detail": "no role."}), "may not do this: no role", id="403"),
        pytest.param(("claim", "pune-cam-01"), "claims", (404, {"title": "no"}), "does not know the device pune-cam-01", id="404"),
        pytest.param(("claim", "pune-cam-01"), "claims", (409, {"detail": "it is revoked"}), "refuses this: it is revoked", id="409"),
        pytest.param(("claim", "pune-cam-01"), "claims", (429, {}), "Wait a minute", id="429"),
        pytest.param(("claim", "pune-cam-01"), "claims", (500, "<html>"), "The hub failed (500)", id="500"),
        pytest.param(("claim", "pune-cam-01"), "claims", (200, "<html>"), "not as a Prahari hub", id="other-server"),
        pytest.param(("claim", "pune-cam-01"), "claims", (200, "[1]"), "not as a Prahari hub", id="list"),
        pytest.param(SEED, "enrolment", (200, MISFIT), "field hub", id="misfit"),
        pytest.param(("revoke", "pune-cam-01"), "devices/pune-cam-01/revoke", (404, {}), "prahari-hub device add", id="revoke-404"),
    ],
)  # fmt: skip
def test_each_refusal_is_one_sentence(
    hub: Answers,
    token_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    path: str,
    answer: tuple[int, Any],
    says: str,
):
    monkeypatch.chdir(tmp_path)
    method = "GET" if path == "enrolment" else "POST"
    hub.table[method, f"/api/v1/{path}"] = answer
    result = run(hub, token_file, *arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    assert API_TOKEN not in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("claim", "Pune/+"), "is not a device id"),
        (("claim", "pune-cam-01", "--ttl", "soon"), "write for instance 15m"),
        (("seed", "pune-cam-01"), "--out FILE"),
        (("seed", "pune-cam-01", "--out", "a", "--boot", "b"), "--out FILE"),
        (("seed", "pune-cam-01", "--out", "nowhere/seed.json"), "cannot be written"),
        (("seed", "pune-cam-01", "--boot", ".", "--board", "pi9"), "choose one of jetson-orin, pi4, pi5"),
        (("seed", "pune-cam-01", "--boot", ".", "--board", "pi5"), "no config.txt"),
        (("seed", "pune-cam-01", "--out", ".", "--timezone", "India"), "no time zone"),
        (
            ("seed", "pune-cam-01", "--out", ".", "--address", "10.0.0.300/24"),
            "--address 10.0.0.300/24 is not understood",
        ),
        (("seed", "pune-cam-01", "--out", ".", "--address", "10.0.0.3/24"), "also needs --gateway"),
        (("seed", "pune-cam-01", "--out", ".", "--ssh-key", "token"), "must hold public keys"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_costs_no_claim(
    hub: Answers,
    token_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
):
    monkeypatch.chdir(tmp_path)
    result = run(hub, token_file, *arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert not any(method == "POST" for method, *_ in hub.seen)


def test_a_hub_that_does_not_answer_is_named(token_file: Path, free_port: Any):
    address = f"http://127.0.0.1:{free_port()}"
    result = run(address, token_file, "claim", "pune-cam-01")
    assert result.exit_code == 1
    assert f"The hub at {address} does not answer" in result.stderr


@pytest.mark.parametrize("content", [None, "", "two words\n"], ids=["missing", "empty", "two-words"])
def test_a_bad_token_file_is_named(hub: Answers, tmp_path: Path, content: str | None):
    path = tmp_path / "my-token"
    if content is not None:
        path.write_text(content)
    result = run(hub, path, "claim", "pune-cam-01")
    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert not hub.seen


def test_a_password_in_the_hubs_address_is_not_repeated(token_file: Path, free_port: Any):
    result = run(f"http://me:secret-word@127.0.0.1:{free_port()}", token_file, "claim", "pune-cam-01")
    assert result.exit_code == 1
    assert "secret-word" not in result.output


def test_hub_and_token_also_come_from_the_environment(hub: Answers, token_file: Path):
    done = subprocess.run(
        [Path(sys.executable).with_name("prahari-provision"), "claim", "pune-cam-01"],
        env={"PRAHARI_HUB": hub.url, "PRAHARI_TOKEN": str(token_file), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == CLAIM + "\n"


def test_a_card_that_is_write_protected_is_said(hub: Answers, token_file: Path, tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = run(hub, token_file, "seed", "pune-cam-01", "--out", str(blocked / "seed.json"))
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
