"""Every way in which a model can be unusable gives one clear sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prahari_agent.camera.manifest import ModelRefused, load_model

Write = Callable[..., Path]


def sentence(path: Path) -> str:
    with pytest.raises(ModelRefused) as caught:
        load_model(path)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_a_good_manifest_gives_the_model_and_its_labels(write_model: Write) -> None:
    model = load_model(write_model())
    assert model.manifest.name == "tiny"
    assert model.labels == ["person", "tv"]


def test_a_missing_manifest(tmp_path: Path) -> None:
    assert "manifest" in sentence(tmp_path / "none.toml")


def test_a_missing_model_file(write_model: Write, tmp_path: Path) -> None:
    path = write_model()
    (tmp_path / "tiny.tflite").unlink()
    assert "tiny.tflite is missing: copy it there" in sentence(path)


def test_a_wrong_hash(write_model: Write, tmp_path: Path) -> None:
    path = write_model()
    (tmp_path / "tiny.tflite").write_bytes(b"another model")
    assert "has SHA-256" in sentence(path)


def test_missing_labels(write_model: Write) -> None:
    assert "the label file" in sentence(write_model(labels=None))


def test_labels_that_are_no_text(write_model: Write, tmp_path: Path) -> None:
    path = write_model()
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    assert "no text" in sentence(path)


def test_a_label_that_does_not_exist(write_model: Write) -> None:
    assert "'auto-rickshaw'" in sentence(write_model(allowed='allowed = ["auto-rickshaw"]'))


def test_an_environment_variable_that_is_not_set(write_model: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRAHARI_NOWHERE", raising=False)
    assert "PRAHARI_NOWHERE" in sentence(write_model(file='file = "${PRAHARI_NOWHERE}/tiny.tflite"'))


def test_an_environment_variable_that_is_set(
    write_model: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRAHARI_SOMEWHERE", str(tmp_path))
    assert load_model(write_model(file='file = "${PRAHARI_SOMEWHERE}/tiny.tflite"')).content


@pytest.mark.parametrize(
    ("field", "line", "says"),
    [
        ("name", "name = ", "no TOML"),
        ("name", 'name = "tiny"\ncolour = 1', "colour"),
        ("sha256", 'sha256 = "abc"', "sha256"),
        ("input", 'input = { width = "16", height = 16 }', "input.width"),
        ("output", 'output = { format = "tensor" }', "'ssd_postprocess', 'yolo', 'grid'"),
        ("output", 'output = { format = "grid", box = "xyxy" }', "output.grid.box"),
        ("thresholds", "thresholds = { default = 1.5 }", "thresholds.default"),
        ("file", "", "file"),
    ],
    ids=["not toml", "unknown field", "hash", "width", "format", "box", "threshold", "no file"],
)
def test_a_typo_names_the_field(write_model: Write, field: str, line: str, says: str) -> None:
    assert says in sentence(write_model(**{field: line}))
