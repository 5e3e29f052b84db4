"""Golden frames let a model pass that is read rightly, and name what is wrong with one that is not."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from prahari_agent import golden
from prahari_agent.camera.manifest import ModelRefused
from prahari_agent.commandline import typer_app
from prahari_agent.errors import SetupError
from typer.testing import CliRunner

Copy = Callable[..., Path]
PASSERS = {
    130: (0.505, 0.035, 0.669, 0.905),
    330: (0.497, 0.015, 0.705, 0.885),
    600: (0.538, 0.0, 0.732, 0.9),
    800: (0.477, 0.075, 0.648, 0.878),
}
"""Where the person stands in frames of the clip of the media, as seen by a person."""


@pytest.fixture(scope="session")
def street(root: Path) -> Path:
    """The manifest of the project's own model."""
    path = root / "models/street/street.toml"
    assert path.exists(), "models/street holds no trained model: its README says how to train it"
    return path


@pytest.fixture(scope="module")
def frames() -> Sequence[golden.Golden]:
    return golden.drawn()


@pytest.fixture
def copy(street: Path, tmp_path: Path) -> Copy:
    """copy(old, new, …) writes our model once more, its manifest changed; gives the manifest's path."""

    def write(*changes: tuple[str, str], labels: str | None = None, content: bytes | None = None) -> Path:
        text = street.read_text()
        if content is not None:
            text = text.replace(tomllib.loads(text)["sha256"], hashlib.sha256(content).hexdigest())
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "street.tflite").write_bytes(content or street.with_name("street.tflite").read_bytes())
        (tmp_path / "labels.txt").write_text(labels or street.with_name("labels.txt").read_text())
        path = tmp_path / "street.toml"
        path.write_text(text)
        return path

    return write


def sentence(manifest: Path, frames: Sequence[golden.Golden]) -> str:
    with pytest.raises(ModelRefused) as caught:
        golden.check(manifest, frames)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def taking_floats(content: bytes) -> bytes:
    """The same model with pixels of its input as shares, 0 to 1, in 32 bits each."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    picture = graph.tensors[graph.inputs[0]]
    picture.type, picture.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_the_same_frames_are_drawn_each_time(frames: Sequence[golden.Golden]) -> None:
    again = golden.drawn()
    assert all((one.picture == other.picture).all() for one, other in zip(frames, again, strict=True))
    assert {label for one in frames for label, _ in one.known} >= {"person", "two-wheeler", "car", "animal"}


def test_our_own_model_is_read_rightly(street: Path, frames: Sequence[golden.Golden]) -> None:
    report = golden.check(street, frames)
    asked, found, false = (
        sum(getattr(one, part) for one in report.labels.values()) for part in ("asked", "found", "false")
    )
    assert found >= 0.9 * asked
    assert false <= 0.25 * asked
    assert any(line.startswith("person: found ") for line in report.lines())


def test_shifted_labels_are_refused(copy: Copy, frames: Sequence[golden.Golden]) -> None:
    text = sentence(copy(labels="animal\nperson\ntwo-wheeler\ncar\n"), frames)
    assert "shifted by 1, write offset = 1" in text


def test_labels_in_another_order_are_refused(copy: Copy, frames: Sequence[golden.Golden]) -> None:
    assert "in another order" in sentence(copy(labels="animal\ncar\ntwo-wheeler\nperson\n"), frames)


def test_a_label_too_many_is_refused(copy: Copy, frames: Sequence[golden.Golden]) -> None:
    labels = "???\nperson\ntwo-wheeler\ncar\nanimal\n"
    assert "a grid (boxes, scores) with 5 labels" in sentence(copy(labels=labels), frames)


def test_swapped_box_orders_are_refused(copy: Copy, frames: Sequence[golden.Golden]) -> None:
    text = sentence(copy(('box = "cxcywh"', 'box = "cycxhw"')), frames)
    assert 'with box = "cxcywh" under [output]' in text


def test_scores_that_are_logits_are_refused_as_shares(copy: Copy, frames: Sequence[golden.Golden]) -> None:
    path = copy(('scores = "logits"', 'scores = "shares"'), ("default = 0.4", "default = 1.0"))
    text = sentence(path, frames)
    assert 'scores = "logits"' in text or "no other reading" in text


def test_pixels_in_another_range_are_refused(
    copy: Copy, street: Path, frames: Sequence[golden.Golden]
) -> None:
    content = taking_floats(street.with_name("street.tflite").read_bytes())
    right = 'dtype = "float32"\nmean = 0.0\nscale = 0.00392156862745098'
    assert golden.check(copy(('dtype = "uint8"', right), content=content), frames).frames == len(frames)
    wrong = 'dtype = "float32"\nmean = 0.0\nscale = 1.0'
    text = sentence(copy(('dtype = "uint8"', wrong), content=content), frames)
    assert "mean = 0.0 and scale = 0.00392157 under [input]" in text


def test_another_shape_is_refused(copy: Copy, frames: Sequence[golden.Golden]) -> None:
    assert "takes uint8 1x192x320x3" in sentence(copy(("width = 320", "width = 300")), frames)


def test_a_model_of_other_things_asks_for_frames_of_its_own(
    copy: Copy, frames: Sequence[golden.Golden]
) -> None:
    path = copy(
        ('allowed = ["person", "two-wheeler", "car", "animal"]', ""),
        ("two-wheeler = 0.5\nanimal = 0.5\ncar = 0.5\n", ""),
        labels="boat\nplane\ntrain\nkite\n",
    )
    assert "--frames" in sentence(path, frames)


@pytest.fixture
def clip_frames(media: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder of golden frames from the clip of the media, as a city makes one of its own."""

    def fill(folder: Path) -> None:
        lines = []
        with av.open(str(media / "one-by-one-person-detection.mp4")) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in PASSERS:
                    cv2.imwrite(str(folder / f"{number}.png"), frame.to_ndarray(format="bgr24"))
                    known = [{"label": "person", "box": PASSERS[number]}]
                    lines.append(json.dumps({"file": f"{number}.png", "objects": known}))
                if number >= max(PASSERS):
                    break
        (folder / "truth.jsonl").write_text("\n".join(lines))

    return made_once("golden-clip", fill)


@pytest.fixture
def ssd(media: Path, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Copy:
    """ssd(old, new) writes the manifest of the model of the media, changed."""
    monkeypatch.setenv("PRAHARI_MEDIA", str(media.resolve()))

    def write(*changes: tuple[str, str]) -> Path:
        text = (root / "tests/data/models/ssd_mobilenet_v1_coco.toml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "ssd.toml"
        path.write_text(text)
        return path

    return write


def test_an_ssd_is_read_rightly_on_frames_of_its_own(ssd: Copy, clip_frames: Path) -> None:
    report = golden.check(ssd(), golden.from_folder(clip_frames))
    assert report.labels["person"].found == len(PASSERS)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("offset = 1", "offset = 0", "shifted by 1, write offset = 1"),
        ("offset = 1", "offset = 2", "correct the name or the labels' offset"),
        ('box = "yxyx"', 'box = "xyxy"', 'with box = "yxyx"'),
        ('box = "yxyx"', 'box = "cycxhw"', 'with box = "yxyx"'),
    ],
)
def test_an_ssd_read_wrongly_is_refused(ssd: Copy, clip_frames: Path, old: str, new: str, says: str) -> None:
    assert says in sentence(ssd((old, new)), golden.from_folder(clip_frames))


def test_the_command_tells_figures_or_one_sentence(copy: Copy, street: Path) -> None:
    runner = CliRunner()
    passed = runner.invoke(typer_app, ["model", "check", str(street)])
    assert (passed.exit_code, "golden frames" in passed.output) == (0, True)
    swapped = runner.invoke(typer_app, ["model", "check", str(copy(('box = "cxcywh"', 'box = "cycxhw"')))])
    assert (swapped.exit_code, swapped.output.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (None, "truth.jsonl cannot be read"),
        ('{"file": "1.png"}', "line 1"),
        ("not json", "line 1"),
        ('{"file": "1.png", "objects": [{"label": "car", "box": [0, 0, 640, 360]}]}', "line 1"),
        ('{"file": "1.png", "objects": []}', "1.png is no picture"),
    ],
    ids=["no truth", "no objects", "no json", "pixels", "no picture"],
)
def test_a_folder_of_frames_that_cannot_be_read_says_why(tmp_path: Path, line: str | None, says: str) -> None:
    if line is not None:
        (tmp_path / "truth.jsonl").write_text(line)
    with pytest.raises(SetupError) as caught:
        golden.from_folder(tmp_path)
    assert says in str(caught.value)
    assert str(caught.value).endswith(".")
