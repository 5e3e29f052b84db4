"""In which order workers take the tests: what takes longest begins first, and what waits runs beside what computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

APART = {
    "tests/system/test_demo.py": 100,
    "tests/system/test_faults.py": 40,
    "tests/system/test_roles_apart.py": 35,
    "tests/house/test_images.py": 25,
    "tests/house/test_checks.py": 20,
}
"""Files whose tests share nothing, so that each may run on a worker of its own, and about how long one takes in seconds."""

WHOLE_PROGRAMS = ("tests/system/", "tests/faults/", "tests/browser/", "tests/bench/", "tests/hub/broker/")
"""Folders of tests that wait for processes, brokers and browsers about half of their time; a file of them takes a minute."""

LONG_S = 60.0
SHORT_TEST_S = 0.1


class Order(LoadScopeScheduling):
    """A file's tests run together, on one worker, since they share what is dear to set up.

    Every second worker begins with the tests that wait, the others with those that compute: the machine is used and not crowded.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in APART else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = self.nodes.index(node) % 2 == 0
        scope = max(self.workqueue, key=lambda scope: (waits(scope) == first, self._length_s(scope)))
        self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)

    def _length_s(self, scope: str) -> float:
        apart_s = APART.get(scope.partition("::")[0])
        if apart_s is not None:
            return float(apart_s)
        return LONG_S if waits(scope) else SHORT_TEST_S * len(self.workqueue[scope])


def waits(scope: str) -> bool:
    """Whether the file, or the test of one, spends most of its time on waiting."""
    return scope.startswith(WHOLE_PROGRAMS) or scope.partition("::")[0] in APART
