"""Every file that a box's operating system gets, run through the tool that reads it there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml
from prahari_provisioning.boot import Board, Box, boards, box_files, fill, firmware_folder
from prahari_provisioning.writing import write_verified
from prahari_wire.seed import SEED_FILE, Seed

SEED = Seed(
    device="pune-cam-01",
    hub="https://hub.pune.example:8443",
    mqtt="hub.pune.example:8883",
    ca_spki_sha256="ab" * 32,
    token="FLT1-0123ABCD-0123456789ABCDEFGHJKMNPQ-Z",
    city="Pune",
    board="pi5",
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO technician: \"quoted\" & co"  # fmt: skip
FIXED = Box(
    address="10.4.0.7/24", gateway="10.4.0.1", nameservers=("10.4.0.1", "10.4.0.2"), management_net="10.9.0.0/24",
    ssh_keys=(KEY,), package_servers=False,
)  # fmt: skip
BOXES = pytest.mark.parametrize("box", [Box(), FIXED], ids=["plain", "fixed"])
PIS = pytest.mark.parametrize("board", ["pi4", "pi5"])
EACH_BOARD = pytest.mark.parametrize("board", boards())
Program = Callable[[str], str]


def written(tmp_path: Path, board: Board, box: Box) -> Path:
    """The running box's files under a folder."""
    for file in box_files(SEED, board, box):
        write_verified(tmp_path / file.path.lstrip("/"), file.text.encode(), mode=int(file.mode, 8))
    return tmp_path


def output(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload]
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return str(said)


@pytest.mark.needs("systemd-analyze")
def test_systemd_accepts_our_units(tmp_path: Path, program: Program):
    root = written(tmp_path, boards()["pi5"], Box())
    for path in ("opt/prahari/bin/prahari-agent", "usr/bin/true"):
        write_verified(root / path, b"#!/bin/sh\n", mode=0o755)
    units = [
        root / "etc/systemd/system" / name for name in ("prahari-agent.service", "prahari-first-boot.service")
    ]
    shutil.copy(firmware_folder() / "jetson/prahari-first-boot.service", units[1])
    for unit in units:
        text = unit.read_text()
        for folder in ("/opt/prahari", "/usr/local/sbin"):
            text = text.replace(f"={folder}", f"={root}{folder}")
        unit.write_text(text)
    said = output(program("systemd-analyze"), "verify", "--recursive-errors=no", "--man=no", *units)
    assert "prahari" not in said, said


@pytest.mark.needs("systemd-analyze")
def test_the_agents_unit_is_confined(program: Program):
    unit = firmware_folder() / "common/systemd/prahari-agent.service"
    said = output(program("systemd-analyze"), "security", "--offline=true", "--threshold=21", unit)
    score = re.search(r"exposure level for prahari-agent\.service: ([\d.]+)", said)
    assert score is not None, said
    assert float(score[1]) <= 2.1, "0.6 of it for asking the kernel of its clock: see test_time.py"


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", ["system.conf", "journald.conf"])
def test_systemd_knows_every_key_of_a_drop_in(tmp_path: Path, program: Program, name: str):
    """systemd-analyze cat-config shows what is read; the keys are compared with the manual's list in the distribution's file."""
    root = written(tmp_path, boards()["pi5"], Box())
    folder = root / "etc/systemd" / f"{name}.d"
    said = output(program("systemd-analyze"), f"--root={root}", "cat-config", f"systemd/{name}")
    assert folder.name in said
    known = Path("/etc/systemd") / name
    if not known.exists():
        pytest.skip(f"{known} is not on this machine")
    keys = set(re.findall(r"^#?([A-Z]\w+)=", known.read_text(), re.MULTILINE))
    for drop_in in folder.iterdir():
        assert set(re.findall(r"^([A-Z]\w+)=", drop_in.read_text(), re.MULTILINE)) <= keys


@cache
def knows_schema_types(cloud_init: str) -> bool:
    """Whether it can judge a network-config too."""
    return "--schema-type" in output(cloud_init, "schema", "--help")


@pytest.mark.needs("cloud-init")
@PIS
@BOXES
def test_cloud_init_accepts_the_seed(tmp_path: Path, program: Program, board: str, box: Box):
    for path, content in fill(SEED, boards()[board], box).files.items():
        (tmp_path / path).write_bytes(content)
    for name, kind in (("user-data", "cloud-config"), ("network-config", "network-config")):
        if kind == "network-config" and not knows_schema_types(program("cloud-init")):
            continue
        kinds = () if kind == "cloud-config" else ("--schema-type", kind)
        said = output(program("cloud-init"), "schema", *kinds, "--config-file", tmp_path / name)
        assert "Valid" in said


@PIS
@BOXES
def test_the_cards_files_say_what_was_meant(board: str, box: Box):
    files = {str(path): content.decode() for path, content in fill(SEED, boards()[board], box).files.items()}
    user = yaml.safe_load(files["user-data"])
    assert user["hostname"] == yaml.safe_load(files["meta-data"])["local-hostname"] == "pune-cam-01"
    assert {file["path"]: file["content"] for file in user["write_files"]} == {
        file.path: file.text for file in box_files(SEED, boards()[board], box)
    }
    assert user["ssh_pwauth"] is False
    assert all(one["lock_passwd"] is True and "passwd" not in one for one in user["users"])
    network = yaml.safe_load(files["network-config"])["ethernets"]["eth0"]
    if box is FIXED:
        assert network["addresses"] == ["10.4.0.7/24"]
        assert user["users"][1]["ssh_authorized_keys"] == [KEY]
        assert ["systemctl", "enable", "--now", "ssh.service"] in user["runcmd"]
    else:
        assert network["dhcp4"] is True
        assert ["systemctl", "disable", "--now", "ssh.service"] in user["runcmd"]


@pytest.mark.needs("nft")
@BOXES
def test_nftables_accepts_the_rules(tmp_path: Path, program: Program, box: Box):
    rules = written(tmp_path, boards()["pi5"], box) / "etc/nftables.conf"
    command: list[str | Path] = [program("nft"), "-c", "-f", rules]
    if (
        os.geteuid() != 0
        or subprocess.run([program("nft"), "list", "tables"], capture_output=True, check=False).returncode
    ):
        if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
            pytest.skip("nft needs root, or a kernel that lets a user make namespaces")
        command = ["unshare", "-rn", *command]
    output(*command)


@BOXES
def test_the_rules_let_in_ssh_from_the_management_network_alone(tmp_path: Path, box: Box):
    text = (written(tmp_path, boards()["pi5"], box) / "etc/nftables.conf").read_text()
    opened = [line.strip() for line in text.splitlines() if "dport 22" in line]
    assert opened == (
        ["ip saddr 10.9.0.0/24 tcp dport 22 ct state new limit rate 10/minute accept"] if box is FIXED else []
    )
    assert "tcp dport { 8443, 8883 } accept" in text
    assert text.count("policy drop") == 3


@pytest.mark.needs("chronyd")
@EACH_BOARD
def test_chrony_accepts_its_configuration(tmp_path: Path, program: Program, board: str):
    config = written(tmp_path, boards()[board], Box()) / "etc/chrony/chrony.conf"
    user = ("-u", "root") if os.geteuid() == 0 else ()
    said = output(program("chronyd"), "-p", *user, "-f", config)
    assert "samay1.nic.in" in said
    assert "port 0" in said
    assert "rtcsync" in said.split(), "without it the kernel hears nothing of a time server, nor the agent"


@EACH_BOARD
def test_the_first_boot_script_is_sound(tmp_path: Path, board: str):
    script = written(tmp_path, boards()[board], Box()) / "usr/local/sbin/prahari-first-boot"
    output("sh", "-n", script)
    if shutil.which("shellcheck"):
        output("shellcheck", script)


@EACH_BOARD
@BOXES
def test_no_secret_and_no_open_listener_in_any_file(board: str, box: Box):
    filled = fill(SEED, boards()[board], box)
    assert {path.name for path in filled.private} == {SEED_FILE}
    for path, content in filled.files.items():
        text = content.decode()
        assert not re.search(r"(?<![\d.])0\.0\.0\.0(?!/)|\[::\]", text), path
        if path not in filled.private:
            assert SEED.token not in text, path
            harmless = text.replace("lock_passwd: true", "").replace("NOPASSWD:ALL", "")
            assert not re.search(r"(?i)(password|passwd|secret)\s*[:=]\s*\S", harmless), path


def test_every_board_profile_names_files_that_exist():
    folder = firmware_folder()
    assert set(boards()) == {"pi4", "pi5", "jetson-orin"}
    for board in boards().values():
        if board.config_txt:
            assert (folder / "raspberrypi/config.txt.d" / board.config_txt).is_file()


def test_the_readme_names_every_file():
    folder = firmware_folder()
    text = (folder / "README.md").read_text()
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "README.md":
            assert path.name in text or f"{path.parent.relative_to(folder)}/" in text, path


def test_the_wheel_carries_the_templates(root: Path):
    settings = tomllib.loads((root / "provisioning/pyproject.toml").read_text())
    included = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"../firmware-config": "prahari_provisioning/firmware"}
