"""What a camera costs and sees: ``python -m bench cameras``, or a part of it: ``python -m bench.cameras [PART …]``.

contest: ours and peers on the real clip (PRAHARI_MEDIA names its folder; without it this part is left out, which is said). rules: on
drawn streets. faults: of the picture. four: cameras at once. All of it writes its section of docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prahari_agent.street.clip import ensure_clip

from bench.camera import REAL_MODEL
from bench.cameras import contest, film, fitness, four, rules
from bench.cameras.page import write
from bench.results import Results

STREET_MODEL = Path(__file__).parent.parent.parent / "models" / "street" / "street.toml"
MODEL_SEEDS, SHORT_SEEDS = (21, 22), (21,)
HOUR_S, SHORT_HOUR_S = 3600.0, 600.0


def contest_part(results: Results, folder: Path, short: bool) -> None:
    clip = Path(os.environ.get("PRAHARI_MEDIA", "")) / film.NAME
    if clip.is_file():
        results.take("contest", partial(contest.take, results, clip, REAL_MODEL, folder, short=short))
    else:
        results.row("the real clip", "not measured: PRAHARI_MEDIA names no folder that holds it")


def rules_part(results: Results, folder: Path, short: bool) -> None:
    results.take("rules by truth", partial(rules.take_truth, results))
    if STREET_MODEL.is_file():
        rules.take_model(results, STREET_MODEL, folder, SHORT_SEEDS if short else MODEL_SEEDS)
    else:
        results.row("rules by the model's eyes", f"not measured: there is no {STREET_MODEL.name}")


def faults_part(results: Results, _folder: Path, short: bool) -> None:
    results.take("faults of the picture", partial(fitness.take_faults, results))
    results.take("an hour", partial(fitness.take_hour, results, SHORT_HOUR_S if short else HOUR_S))


def four_part(results: Results, folder: Path, short: bool) -> None:
    if not STREET_MODEL.is_file():
        results.row("four cameras at once", f"not measured: there is no {STREET_MODEL.name}")
        return
    clips = [ensure_clip(folder / f"street-{seed}.mp4", seed) for seed in range(1, 2 if short else 5)]
    seconds = four.SHORT_S if short else four.SECONDS
    results.take("four", partial(four.take, results, clips, STREET_MODEL, folder, seconds))


PARTS: dict[str, Callable[[Results, Path, bool], None]] = {
    "contest": contest_part,
    "rules": rules_part,
    "faults": faults_part,
    "four": four_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if left out")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/performance.md as it is")
    parser.add_argument(
        "--short", action="store_true", help="fewer streets, the beginning of the clip; nothing is written"
    )
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    results = Results("cameras")
    try:
        with tempfile.TemporaryDirectory(prefix="prahari-bench-cameras-") as folder:
            for name, part in PARTS.items():
                if name in given.parts or not given.parts:
                    part(results, Path(folder), given.short)
    finally:
        results.print()
        if not (given.parts or given.no_docs or given.short):
            write(results)


if __name__ == "__main__":
    main()
