"""How many faces a second `vaegan explore` shows while a point is dragged over its map, counted in Chromium.

    python -m benchmarks.explorer RUN [SECONDS]

The page counts the faces that have arrived and been drawn in the last second; a pointer goes round the map in circles
meanwhile, at about 60 moves a second. Printed: the median and the lowest of ten counts a second.
"""

import json
import math
import platform
import shutil
import statistics
import subprocess
import sys
import time

from playwright.sync_api import sync_playwright


def count(url, seconds):
    """Counts of faces a second while dragging."""
    with sync_playwright() as made:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = made.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.wait_for_selector("html[data-ready=yes]", timeout=120_000)
        box = page.locator("#map").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        counts, began, moves = [], time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            page.mouse.move(x + 120 * math.cos(2 * spent), y + 120 * math.sin(2 * spent))
            moves += 1
            if spent > 1.5 and moves % 6 == 0:
                counts.append(int(page.evaluate("document.documentElement.dataset.facesPerSecond")))
            time.sleep(max(0.0, moves / 60 - (time.perf_counter() - began)))
        page.mouse.up()
        browser.close()
    return counts, moves / seconds


def main(run, seconds=10.0):
    command = [sys.executable, "-m", "vaegan", "explore", run, "--no-browser", "--json", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            counts, moves = count(json.loads(server.stdout.readline())["page"], float(seconds))
        finally:
            server.kill()
    print(f"{platform.processor() or platform.machine()}, {run}, {seconds} s of dragging, {moves:.0f} moves/s")
    print(f"faces a second: median {statistics.median(counts):.0f}, lowest {min(counts)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
