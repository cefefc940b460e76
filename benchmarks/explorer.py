"""Measure how many different faces per second `vaegan explore` shows while the pointer is dragged, in Chromium.

python -m benchmarks.explorer RUN [--seconds 10]

The pointer moves in circles over the map, at up to 60 moves per second. In each animation frame a script hashes the
pixels of the first decoder's canvas and counts changes. Printed are the median and the minimum over all windows of one
second, which start every tenth of a second.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import shutil
import statistics
import subprocess
import sys
import time

WARMUP_SECONDS = 0.5
COUNT_CHANGES = """() => {
  const canvas = document.getElementById("face-0"), times = [];
  let previous = "";
  const check = () => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let hash = 0;
    for (let k = 0; k < pixels.length; k++) hash = (31 * hash + pixels[k]) | 0;
    if (hash !== previous) times.push(performance.now() / 1000);
    previous = hash;
    window.changes = { times, now: performance.now() / 1000 };
    requestAnimationFrame(check);
  };
  check();
}"""


def drag(url: str, seconds: float) -> tuple[list[int], float]:
    """Drag the pointer over the map; return the faces shown in each window of one second, and moves per second."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.wait_for_selector("html[data-ready=yes]", timeout=120_000)
        box = page.locator("#map").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.evaluate(COUNT_CHANGES)
        start_time, moves = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start_time) < seconds:
            page.mouse.move(x + 120 * math.cos(2 * elapsed), y + 120 * math.sin(2 * elapsed))
            moves += 1
            time.sleep(max(0.0, moves / 60 - (time.perf_counter() - start_time)))
        changes = page.evaluate("() => window.changes")
        page.mouse.up()
        browser.close()
    first, num_windows = changes["now"] - seconds + WARMUP_SECONDS, int((seconds - WARMUP_SECONDS - 1) * 10) + 1
    starts = [first + window / 10 for window in range(num_windows)]
    return [sum(start < t <= start + 1 for t in changes["times"]) for start in starts], moves / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of the dragging, at least 2")
    args = parser.parse_args()
    command = [sys.executable, "-m", "vaegan", "explore", args.run, "--no-browser", "--json", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            counts, moves = drag(json.loads(server.stdout.readline())["page"], args.seconds)
        finally:
            server.kill()
    print(f"{platform.processor() or platform.machine()}, {args.run}, dragged {args.seconds:g} s, {moves:.0f} moves/s")
    print(f"faces per second: median {statistics.median(counts):.0f}, minimum {min(counts)}")


if __name__ == "__main__":
    main()
