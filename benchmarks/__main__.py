"""Compare vaegan's speed with programs as a user would write them today: `python -m benchmarks`.

Reference and vaegan are measured in turn, each in its own process. The ratio is the median over the pairs; above 1
vaegan is better. Training steps are also compared with the roofline: operations per image times images per second,
divided by the measured rate of a large matrix product.
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

from benchmarks.speed.inputs import Inputs
from benchmarks.speed.machine import describe_machine
from benchmarks.speed.pairs import Bench, BenchOptions, PairedResult
from benchmarks.speed.rows import ROWS, Row

HEADER = ("row", "reference", "vaegan", "ratio (range)", "goal", "fraction of peak", "memory, MB", "notes")


def format_row(row: Row, result: PairedResult) -> list[str]:
    """Return the cells of a row of the table."""

    def format_median(values: list[float]) -> str:
        if not values:
            return "-"
        median = statistics.median(values)
        return f"{median:,.{0 if median >= 100 else 2}f} {result.unit}"

    ratios, peak_fractions = result.ratios(), result.peak_fractions()
    ratio = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "-"
    memory = [max((timing.peak_memory for timing in side), default=0) for side in (result.reference, result.ours)]
    return [
        row.name,
        format_median(result.values(result.reference)),
        format_median(result.values(result.ours)),
        ratio,
        row.goal or "-",
        f"{statistics.median(peak_fractions):.0%}" if peak_fractions else "-",
        " / ".join(f"{peak / 1e6:,.0f}" if peak else "-" for peak in memory),
        result.notes or row.description,
    ]


def select_rows(prefixes: list[str] | None) -> list[Row]:
    """Return the rows whose names start with one of the prefixes. Exits if a prefix matches no row."""
    if not prefixes:
        return list(ROWS)
    unknown = [prefix for prefix in prefixes if not any(row.name.startswith(prefix) for row in ROWS)]
    if unknown:
        sys.exit(f"--rows {' '.join(unknown)}: expected one of {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if row.name.startswith(tuple(prefixes))]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only the rows whose names start with NAME")
    parser.add_argument("--quick", action="store_true", help="run a short version of every row, one pair each")
    parser.add_argument("--pairs", type=int, help="measurements of each side (5; quick 1)")
    parser.add_argument("--seconds", type=float, help="duration of one measurement of a workload (10; quick 0.5)")
    parser.add_argument("--images", type=int, help="images in the dataset of the row cache (200,000; quick 8,192)")
    parser.add_argument("--minutes", type=float, help="value of --minutes in the row minutes (2; quick 0.1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all measurements to FILE")
    return parser.parse_args()


def make_options(args: argparse.Namespace) -> BenchOptions:
    defaults = BenchOptions(1, 0.5, True, 8192, 0.1) if args.quick else BenchOptions(5, 10.0, False, 200_000, 2.0)
    return BenchOptions(
        args.pairs or defaults.pairs,
        args.seconds or defaults.seconds,
        args.quick,
        args.images or defaults.num_images,
        args.minutes or defaults.minutes,
    )


def main() -> None:
    """Measure every row, print it, and write the JSON file."""
    args = parse_args()
    rows, options, machine, start_time = (
        select_rows(args.rows),
        make_options(args),
        describe_machine(),
        time.perf_counter(),
    )
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    print(f"{options.pairs} pairs, medians; {'quick: ratios are rough' if options.quick else 'full'}", flush=True)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}", flush=True)
    results: dict[str, Any] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vaegan-benchmarks-") as temp_dir:
        bench = Bench(options, Inputs(Path(temp_dir)))
        for row in rows:
            try:
                result = row.measure(bench)
            except Exception as error:  # go on with the other rows
                failed.append(row.name)
                print(f"| {row.name} | failed: {error} |", flush=True)
                continue
            print(f"| {' | '.join(format_row(row, result))} |", flush=True)
            results[row.name] = {"description": row.description, "goal": row.goal, **result.as_json()}
    print(f"{time.perf_counter() - start_time:.0f} s in total", flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": machine, "rows": results}, indent=2) + "\n")
    if failed:
        sys.exit(f"failed rows: {', '.join(failed)}")


if __name__ == "__main__":
    main()
