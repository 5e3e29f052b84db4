"""In which order workers take the tests: what takes longest begins first, and what waits runs beside what computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

APART = {
    "tests/system/test_demo.py": 100,
    "tests/house/test_checks.py": 20,
    "tests/house/test_images.py": 10,
}
"""Files whose tests share nothing, so that each may run on a worker of its own, and about how long one takes in seconds."""

TOGETHER = {
    "tests/faults/test_clocks.py": "tests/faults/",
    "tests/faults/test_disks.py": "tests/faults/",
    "tests/faults/test_floods.py": "tests/faults/",
    "tests/faults/test_kills.py": "tests/faults/",
    "tests/faults/test_links.py": "tests/faults/",
}
"""Files whose tests share one place with its hub, boxes and field: on one worker they start it once."""

WHOLE_PROGRAMS = (
    "tests/system/",
    "tests/faults/",
    "tests/browser/",
    "tests/bench/",
    "tests/hub/broker/",
    "tests/agent/camera/recorder/",
    "tests/agent/camera/test_camera.py",
    "tests/agent/camera/test_stream.py",
    "tests/agent/test_main.py",
)
"""Tests that wait for processes, brokers, cameras and browsers about half of their time."""

LONG_S = {
    "tests/system/test_roles_apart.py": 80,
    "tests/faults/": 300,
    "tests/system/test_faults.py": 170,
    "tests/hub/broker/test_cluster.py": 160,
    "tests/system/test_footage.py": 105,
    "tests/browser/test_footage.py": 50,
    "tests/browser/test_incidents.py": 50,
    "tests/browser/test_pages.py": 50,
    "tests/system/test_privacy.py": 50,
    "tests/agent/camera/test_camera.py": 40,
    "tests/browser/test_device.py": 40,
    "tests/browser/test_displays.py": 40,
    "tests/browser/test_map.py": 40,
    "tests/system/test_spine.py": 40,
    "tests/system/test_spine_on_postgres.py": 35,
    "tests/agent/camera/recorder/test_live.py": 35,
    "tests/agent/camera/rules/test_with_a_tracker.py": 30,
    "tests/agent/test_main.py": 30,
    "tests/browser/test_login.py": 30,
    "tests/agent/camera/test_pipeline.py": 25,
    "tests/faults/test_postgres.py": 25,
    "tests/system/test_identity.py": 25,
    "tests/system/test_restore.py": 25,
    "tests/system/test_root_cause.py": 25,
}
"""About how long a file takes in seconds, where its number of tests does not tell."""

WAITING_S, COMPUTING_S = 1.5, 0.1
"""About how long a test takes in files of which nothing is said, by what it does."""


class Order(LoadScopeScheduling):
    """A file's tests run together, on one worker, since they share what is dear to set up.

    Every fourth worker begins with the tests that compute, the others with those that wait, so that there is something to compute
    until the end: the machine is used and not crowded.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in APART else TOGETHER.get(file, file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = self.nodes.index(node) % 4 != 1
        scope = max(self.workqueue, key=lambda scope: (waits(scope) == first, self._length_s(scope)))
        self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)

    def _length_s(self, scope: str) -> float:
        file = scope.partition("::")[0]
        said_s = APART.get(file) or LONG_S.get(file)
        if said_s is not None:
            return float(said_s)
        return len(self.workqueue[scope]) * (WAITING_S if waits(scope) else COMPUTING_S)


def waits(scope: str) -> bool:
    """Whether the file, or the test of one, spends most of its time on waiting."""
    return scope.startswith(WHOLE_PROGRAMS) or scope.partition("::")[0] in APART
