"""A scenario as an H.264 file with its truth beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
from av.video.frame import VideoFrame

from prahari_agent.errors import SetupError
from prahari_agent.street.scenario import Scenario
from prahari_agent.street.scene import Scene
from prahari_agent.street.truth import Truth
from prahari_agent.street.truth import write as write_truth

_ENCODER = {"preset": "veryfast", "crf": "23", "threads": "1", "bf": "0"}
GOP_S = 2.0
_TICKS = 90_000


def truth_path(video: Path) -> Path:
    return video.with_suffix(".truth.jsonl")


def write(video: Path, scenario: Scenario) -> Path:
    """Write the video and, beside it, its truth; both appear whole or not at all. A frame that the camera did not give is a gap in
    the video's time. SetupError says why they cannot be written.
    """
    try:
        video.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=video.parent) as folder:
            draft = Path(folder) / video.name
            write_truth(truth_path(draft), _encode(draft, scenario))
            truth_path(draft).replace(truth_path(video))
            draft.replace(video)
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise SetupError(
            f"the clip {video} cannot be written ({said}): choose another place or free space."
        ) from error
    return video


def _encode(path: Path, scenario: Scenario) -> Iterator[Truth]:
    cv2.setNumThreads(1)
    view = scenario.view
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(scenario.fps).limit_denominator(1000), options=_ENCODER
        )
        stream.width, stream.height, stream.pix_fmt = view.width, view.height, "yuv420p"
        stream.codec_context.gop_size = round(GOP_S * scenario.fps)
        stream.codec_context.time_base = Fraction(1, _TICKS)
        for picture, truth in Scene(scenario):
            if picture is not None:
                frame = VideoFrame.from_ndarray(picture, format="bgr24")
                frame.pts, frame.time_base = round(truth.time_s * _TICKS), Fraction(1, _TICKS)
                container.mux(stream.encode(frame))
            yield truth
        container.mux(stream.encode(None))
