"""How fast vaegan is, beside what a user would write today: `python -m benchmarks`.

Every row is measured in pairs, in turn (reference, ours, reference, ours, ...), each side in a process of its own;
the median of the paired ratios counts, and is how many times better ours is. Training steps are also set against the
roofline: operations a picture times pictures a second over the measured rate of a large matrix product.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.machine import describe
from benchmarks.speed.material import Material
from benchmarks.speed.pairs import Bench, Effort, Found
from benchmarks.speed.rows import ROWS, Row

HEADS = ("row", "reference", "vaegan", "ratio (range)", "goal", "share of peak", "memory, MB", "notes")


def cells(row: Row, found: Found) -> list[str]:
    """A line of the table."""

    def amount(side: list[float]) -> str:
        return (
            f"{statistics.median(side):,.{0 if statistics.median(side) >= 100 else 2}f} {found.unit}" if side else "-"
        )

    ratios, shares = found.ratios(), found.shares()
    ratio = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "-"
    memory = [max((taken.memory for taken in side), default=0) for side in (found.reference, found.ours)]
    return [
        row.name,
        amount(found.values(found.reference)),
        amount(found.values(found.ours)),
        ratio,
        row.goal or "-",
        f"{statistics.median(shares):.0%}" if shares else "-",
        " / ".join(f"{peak / 1e6:,.0f}" if peak else "-" for peak in memory),
        found.notes or row.about,
    ]


def chosen(names: list[str] | None) -> list[Row]:
    """Rows by name, or by the beginning of it. Ends the program for names that none has."""
    if not names:
        return list(ROWS)
    unknown = [name for name in names if not any(row.name.startswith(name) for row in ROWS)]
    if unknown:
        sys.exit(f"--rows {' '.join(unknown)}: there are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if any(row.name.startswith(name) for name in names)]


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these, or those whose names begin so")
    parser.add_argument("--quick", action="store_true", help="a short version of every row, one pair each")
    parser.add_argument("--pairs", type=int, help="turns of each side (5; quick 1)")
    parser.add_argument("--seconds", type=float, help="of a training step's or a feeder's turn (10; quick 0.5)")
    parser.add_argument("--pictures", type=int, help="of the generated set of the row cache (200,000; quick 8,192)")
    parser.add_argument("--minutes", type=float, help="that the row minutes asks for (2; quick 0.1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to FILE")
    return parser.parse_args()


def effort_of(said: argparse.Namespace) -> Effort:
    usual = Effort(1, 0.5, True, 8192, 0.1) if said.quick else Effort(5, 10.0, False, 200_000, 2.0)
    return Effort(
        said.pairs or usual.pairs,
        said.seconds or usual.seconds,
        said.quick,
        said.pictures or usual.pictures,
        said.minutes or usual.minutes,
    )


def main() -> None:
    """Measure, print each row when it is there, and write the file."""
    said = asked()
    rows, effort, machine, began = chosen(said.rows), effort_of(said), describe(), time.perf_counter()
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    print(f"{effort.pairs} pairs in turn, medians; {'quick: ratios are rough' if effort.quick else 'full'}", flush=True)
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}", flush=True)
    told: dict[str, Any] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vaegan-benchmarks-") as place:
        bench = Bench(effort, Material(Path(place)))
        for row in rows:
            try:
                found = row.measure(bench)
            except Exception as error:  # the other rows are worth having
                failed.append(row.name)
                print(f"| {row.name} | could not be measured: {error} |", flush=True)
                continue
            print(f"| {' | '.join(cells(row, found))} |", flush=True)
            told[row.name] = {"about": row.about, "goal": row.goal, **found.as_json()}
    print(f"{time.perf_counter() - began:.0f} s in all; GPU: unmeasured", flush=True)
    if said.json is not None:
        said.json.write_text(json.dumps({"machine": machine, "rows": told}, indent=2) + "\n")
    if failed:
        sys.exit(f"could not be measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
