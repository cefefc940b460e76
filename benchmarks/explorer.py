"""How many faces a second `vaegan explore` shows while a point is dragged over its map, counted in Chromium.

    python -m benchmarks.explorer RUN [SECONDS]

A pointer goes round the map in circles, at up to 60 moves a second. What is counted is not what the page says of
itself: in each frame of the screen the first decoder's canvas is read, and it counts where it shows another face than
in the frame before. Printed: the median and the lowest of the counts of all seconds, a new one beginning every tenth.
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

LEAD = 0.5
WATCH = """() => {
  const canvas = document.getElementById("face-0"), times = [];
  let before = "";
  const look = () => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let sum = 0;
    for (let k = 0; k < pixels.length; k++) sum = (31 * sum + pixels[k]) | 0;
    if (sum !== before) times.push(performance.now() / 1000);
    before = sum;
    window.watched = { times, now: performance.now() / 1000 };
    requestAnimationFrame(look);
  };
  look();
}"""


def drag(url, seconds):
    """Drag for a while; returns the counts of distinct faces shown in each second, and the moves a second."""
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
        page.evaluate(WATCH)
        began, moves = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            page.mouse.move(x + 120 * math.cos(2 * spent), y + 120 * math.sin(2 * spent))
            moves += 1
            time.sleep(max(0.0, moves / 60 - (time.perf_counter() - began)))
        seen = page.evaluate("() => window.watched")
        page.mouse.up()
        browser.close()
    starts = [seen["now"] - seconds + LEAD + k / 10 for k in range(int((seconds - LEAD - 1) * 10) + 1)]
    return [sum(start < at <= start + 1 for at in seen["times"]) for start in starts], moves / seconds


def main(run, seconds=10.0):
    command = [sys.executable, "-m", "vaegan", "explore", run, "--no-browser", "--json", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            counts, moves = drag(json.loads(server.stdout.readline())["page"], float(seconds))
        finally:
            server.kill()
    print(f"{platform.processor() or platform.machine()}, {run}, {seconds} s of dragging, {moves:.0f} moves/s")
    print(f"faces a second: median {statistics.median(counts):.0f}, lowest {min(counts)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
