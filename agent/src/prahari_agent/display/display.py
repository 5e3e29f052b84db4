"""A display as a peripheral of the agent."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

from prahari_wire.base import Refused, validate
from prahari_wire.command import CommandName
from prahari_wire.display import Content, DisplayConfig, OverrideSet, PreviewArgs, TextContent
from prahari_wire.display import Player as PlayerKind
from prahari_wire.health import PeripheralHealth, State
from prahari_wire.presence import Peripheral as PeripheralInfo
from prahari_wire.presence import PeripheralType
from prahari_wire.twin import PeripheralConfig

from prahari_agent.display.follower import Follower, Sign
from prahari_agent.display.frames import Frames, Refusal
from prahari_agent.display.mpv import MpvPlayer
from prahari_agent.display.overrides import OverrideBook
from prahari_agent.display.player import FramePlayer, Player
from prahari_agent.display.renderer import Frame, check_text
from prahari_agent.display.reports import Reporter, short
from prahari_agent.errors import ConfigRefused, Rejected
from prahari_agent.peripheral import Surroundings
from prahari_agent.session import boot_id

OVERRIDES_FILE = "overrides.json"
PREVIEW_WAIT_S, PREVIEW_POLL_S = 3.0, 0.02


class Display:
    """One sign. ``mpv_vo`` is mpv's video output where the configuration asks for mpv, its own choice if left out."""

    def __init__(
        self,
        peripheral: str,
        surroundings: Surroundings,
        *,
        boot: str | None = None,
        mpv_vo: str | None = None,
    ) -> None:
        self._id, self._surroundings, self._mpv_vo = peripheral, surroundings, mpv_vo
        surroundings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._config: DisplayConfig | None = None
        self._frames: Frames | None = None
        self._player: Player | None = None
        book = OverrideBook(surroundings.home / OVERRIDES_FILE, boot or str(boot_id(surroundings.home)))
        reporter = Reporter(peripheral, surroundings, time.monotonic)
        self.follower = Follower(book, reporter, surroundings.stamp)

    @property
    def info(self) -> PeripheralInfo:
        model = None
        if self._config is not None:
            model = f"{self._config.player} {self._config.width}x{self._config.height}"
        return PeripheralInfo(id=self._id, type=PeripheralType.DISPLAY, model=model)

    def configure(self, config: PeripheralConfig) -> None:
        """Show by ``config`` from now on; ConfigRefused names each text that could not be read on this sign."""
        if not isinstance(config, DisplayConfig):
            raise ConfigRefused(("type", f"the display {self._id} takes a configuration of type display"))
        _check(config)
        if self._player is None or self._config is None or self._config.player is not config.player:
            self._player = self._new_player(config.player)
        frames = Frames(config.width, config.height, self._surroundings.fetch, self.follower.wake)
        self._config, self._frames = config, frames
        self.follower.configure(Sign(config, frames, self._player))

    def start(self) -> None:
        self.follower.start()

    def stop(self) -> None:
        """Ends the thread and mpv; the frame file keeps its last picture."""
        self.follower.stop()

    def override(self, new: OverrideSet) -> None:
        """Take over by ``new``, whose signature the core has verified; returns at once, the answer is an event."""
        self.follower.post(new)

    def health(self) -> PeripheralHealth:
        faults = self.follower.faults()
        if "player" in faults or self.follower.showing is None:
            state = State.FAIL if "player" in faults else State.UNKNOWN
        else:
            state = State.WARN if faults else State.OK
        note = next(iter(faults.values()), None) or self._shows()
        return PeripheralHealth(id=self._id, state=state, faults=sorted(faults), note=short(note))

    def commands(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {CommandName.PREVIEW: self._preview}

    def _shows(self) -> str:
        showing = self.follower.showing
        if showing is None:
            return "nothing is shown yet"
        return f"shows {showing.item.source}" + (f" {showing.item.id}" if showing.item.id else "")

    def _preview(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The command display.preview: draw without showing, and have the frame uploaded."""
        try:
            wanted = validate(PreviewArgs, dict(args))
        except Refused as error:
            raise Rejected(f"The arguments of the preview are wrong: {error.detail}") from error
        frame = self._drawn(wanted.content)
        sha256 = self._surroundings.upload(frame.png, "image/png")
        return {
            "frame": {"sha256": sha256, "size": len(frame.png)},
            "width": frame.width,
            "height": frame.height,
        }

    def _drawn(self, content: Content) -> Frame:
        """Waits a little for a picture, never long: an override may stand behind this command."""
        if self._frames is None:
            raise Rejected("The display has no configuration yet: try again when its twin is applied.")
        deadline_s = time.monotonic() + PREVIEW_WAIT_S
        while (found := self._frames.look(content)) is None and time.monotonic() < deadline_s:
            time.sleep(PREVIEW_POLL_S)
        if found is None:
            raise Rejected("The picture is still being fetched: ask for the preview again in a moment.")
        if isinstance(found, Refusal):
            raise Rejected(found.reason)
        return found

    def _new_player(self, kind: PlayerKind) -> Player:
        match kind:
            case PlayerKind.FRAME:
                return FramePlayer(self._surroundings.home)
            case PlayerKind.MPV:
                program = shutil.which("mpv")
                if program is None:
                    raise ConfigRefused(
                        ("player", "mpv is not installed: apt install mpv, or set player to frame")
                    )
                return MpvPlayer(
                    self._surroundings.home, self.follower.wake, program=program, vo=self._mpv_vo
                )


def _check(config: DisplayConfig) -> None:
    """Refuse texts that cannot be read; a picture is judged when it has been fetched."""
    contents: list[tuple[str, Content]] = [("safe", config.safe)]
    contents += [(f"playlist.{index}.content", item.content) for index, item in enumerate(config.playlist)]
    refused = []
    for path, content in contents:
        if isinstance(content, TextContent):
            try:
                check_text(content, config.width, config.height)
            except Rejected as error:
                refused.append((f"{path}.text", str(error)))
    if refused:
        raise ConfigRefused(*refused)
