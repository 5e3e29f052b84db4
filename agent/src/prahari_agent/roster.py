"""The peripherals that this box serves now: built, configured, started and stopped as the twin says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prahari_wire.display import OverrideSet
from prahari_wire.health import PeripheralHealth, State
from prahari_wire.presence import Peripheral as PeripheralInfo
from prahari_wire.twin import FieldError, PeripheralConfig

from prahari_agent.errors import AgentError, ConfigRefused, Rejected
from prahari_agent.log import get_logger
from prahari_agent.peripheral import Peripheral

log = get_logger("roster")

Build = Callable[[str], Peripheral]
"""Peripheral id → a new peripheral, not yet configured."""
BUSY_AFTER_S = 2.0


@dataclass
class _Served:
    peripheral: Peripheral
    config: PeripheralConfig
    lock: threading.Lock = field(default_factory=threading.Lock)


class Roster:
    """``build``: type of a configuration → how such a peripheral is made. Calls to one peripheral never overlap."""

    def __init__(self, build: Mapping[str, Build]) -> None:
        self._build = build
        self._lock = threading.RLock()
        self._served: dict[str, _Served] = {}

    def apply(self, wanted: Mapping[str, PeripheralConfig]) -> list[FieldError]:
        """Make the roster be ``wanted``; an error in any part leaves every peripheral as it was."""
        with self._lock:
            before = {peripheral_id: served.config for peripheral_id, served in self._served.items()}
            errors: list[FieldError] = []
            for peripheral_id, config in wanted.items():
                errors += self._one(peripheral_id, config)
            if errors:
                self._restore(before)
            else:
                self._drop(set(self._served) - set(wanted))
            return errors

    def resume(self, kept: Mapping[str, PeripheralConfig]) -> list[FieldError]:
        """Serve what can be served of a document that held before: a camera that fails now must not take the call box along."""
        with self._lock:
            return [
                error for peripheral_id, config in kept.items() for error in self._one(peripheral_id, config)
            ]

    def _restore(self, before: Mapping[str, PeripheralConfig]) -> None:
        self._drop(set(self._served) - set(before))
        for peripheral_id, config in before.items():
            for error in self._one(peripheral_id, config):
                log.error(
                    "the last good configuration does not apply any more",
                    peripheral=peripheral_id,
                    error=error.message,
                )

    def _one(self, peripheral_id: str, config: PeripheralConfig) -> list[FieldError]:
        served = self._served.get(peripheral_id)
        if served is not None and served.config == config:
            return []
        if served is not None and served.config.type != config.type:
            self._drop({peripheral_id})
            served = None
        try:
            if served is not None:
                with served.lock:
                    served.peripheral.configure(config)
                served.config = config
            else:
                self._served[peripheral_id] = self._begin(peripheral_id, config)
        except ConfigRefused as error:
            return [
                FieldError(path=f"peripherals.{peripheral_id}.{path}"[:120], message=text[:1000])
                for path, text in error.errors
            ]
        except AgentError as error:
            return [FieldError(path=f"peripherals.{peripheral_id}"[:120], message=str(error)[:1000])]
        except Exception as error:
            log.exception("a peripheral could not be configured", peripheral=peripheral_id)
            message = f"the {config.type} could not be set up ({type(error).__name__}): see the box's log"
            return [FieldError(path=f"peripherals.{peripheral_id}"[:120], message=message)]
        return []

    def _begin(self, peripheral_id: str, config: PeripheralConfig) -> _Served:
        if config.type not in self._build:
            raise ConfigRefused(
                ("type", f"this box serves {', '.join(sorted(self._build))}, not {config.type}")
            )
        peripheral = self._build[config.type](peripheral_id)
        peripheral.configure(config)
        peripheral.start()
        log.info("peripheral started", peripheral=peripheral_id, type=config.type)
        return _Served(peripheral, config)

    def _drop(self, peripheral_ids: set[str]) -> None:
        for peripheral_id in peripheral_ids:
            served = self._served.pop(peripheral_id)
            with served.lock:
                try:
                    served.peripheral.stop()
                except Exception:
                    log.exception("a peripheral did not stop cleanly", peripheral=peripheral_id)

    def stop(self) -> None:
        with self._lock:
            self._drop(set(self._served))

    def infos(self) -> list[PeripheralInfo]:
        return [served.peripheral.info for served in self._all()]

    def health(self) -> list[PeripheralHealth]:
        return [_health(peripheral_id, served) for peripheral_id, served in dict(self._served).items()]

    def footage_age_s(self) -> float | None:
        """How long ago the footage ends of the recording camera that is furthest behind; None where none records."""
        ages = [getattr(served.peripheral, "footage_age_s", None) for served in self._all()]
        return max((age_s for age_s in ages if age_s is not None), default=None)

    def night_light(self) -> dict[str, float]:
        """Brightness by night, 0 to 255, of each camera that knows it."""
        found = {
            peripheral_id: getattr(served.peripheral, "night_light", None)
            for peripheral_id, served in dict(self._served).items()
        }
        return {peripheral_id: level for peripheral_id, level in found.items() if level is not None}

    def types(self) -> list[str]:
        return sorted(self._build)

    def _all(self) -> list[_Served]:
        return list(self._served.values())

    def run(self, command: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a peripheral's command; ``args["peripheral"]`` chooses where several know it. Rejected says why not."""
        named = args.get("peripheral")
        able = {
            peripheral_id: served
            for peripheral_id, served in dict(self._served).items()
            if command in served.peripheral.commands() and named in (None, peripheral_id)
        }
        if not able:
            raise Rejected(
                f"no peripheral {named or ''} of this box knows the command {command}".replace("  ", " ")
            )
        if len(able) > 1:
            raise Rejected(f"{command} needs the argument peripheral: one of {', '.join(sorted(able))}")
        (served,) = able.values()
        with served.lock:
            return served.peripheral.commands()[command](args)

    def override(self, overrides: OverrideSet) -> None:
        """Hand a verified set to its display, which only queues it: an emergency waits for no command that runs."""
        served = self._served.get(overrides.display)
        take = getattr(served.peripheral, "override", None) if served else None
        if served is None or take is None:
            raise Rejected(f"this box has no display {overrides.display}")
        take(overrides)


def _health(peripheral_id: str, served: _Served) -> PeripheralHealth:
    if not served.lock.acquire(timeout=BUSY_AFTER_S):
        return PeripheralHealth(id=peripheral_id, state=State.UNKNOWN, note="busy with a command")
    try:
        return served.peripheral.health()
    except Exception:
        log.exception("a peripheral's health could not be read", peripheral=peripheral_id)
        return PeripheralHealth(
            id=peripheral_id, state=State.FAIL, note="its health could not be read, see the box's log"
        )
    finally:
        served.lock.release()
