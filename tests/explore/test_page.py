"""The page in a real browser: drag, keys, sliders, upload, walk, downloads, a lost connection. Needs Chromium."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
from PIL import Image

from vaegan.checkpoint import load_tensors
from vaegan.explore.websocket import FACE_MESSAGE, MESSAGE_HEADER

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


@contextlib.contextmanager
def served(run, port="0"):
    """The address of an explorer of `run`, in a process of its own."""
    command = [sys.executable, "-m", "vaegan", "explore", str(run), "--no-browser", "--json", "-q"]
    command += ["--port", port] if port != "0" else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as server:
        try:
            yield json.loads(server.stdout.readline())["page"]
        finally:
            server.kill()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as made:
        chromium = made.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(gan_run):
    with served(gan_run) as url:
        yield url


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(60_000)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: wrong.append(request.url) if not request.url.startswith((address, "data:", "blob:")) else None,
    )
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]")
    yield page
    context.close()
    assert wrong == []


def pixels(page, canvas):
    return page.evaluate(f"document.getElementById('{canvas}').toDataURL()")


def changes(page, canvas, act):
    """Do something and wait until a canvas shows something else."""
    before = pixels(page, canvas)
    act()
    page.wait_for_function(f"before => document.getElementById('{canvas}').toDataURL() !== before", arg=before)


def test_dragging_moves_the_face_and_the_sliders(page):
    box = page.locator("#map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag():
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 90, middle[1] - 60, steps=8)
        page.mouse.up()

    changes(page, "face-0", drag)
    page.wait_for_function("() => [0, 1].every((axis) => document.getElementById(`axis-${axis}`).value > 0.1)")
    value = "document.getElementById('value-0').innerText"
    still = f"() => {{ const was = window.was; window.was = {value}; return was === window.was; }}"
    page.wait_for_function(still, polling=300)  # the last move may not have been drawn yet
    before = page.locator("#value-0").inner_text()
    page.mouse.wheel(0, -400)
    page.mouse.move(*middle)
    assert page.locator("#value-0").inner_text() == before  # zooming moves nothing


def test_keys_move_the_point_and_take_a_face(page):
    page.focus("#map")
    page.keyboard.press("Enter")
    before = float(page.locator("#axis-0").input_value())
    changes(page, "face-1", lambda: page.keyboard.press("Shift+ArrowRight"))
    page.wait_for_function(f"() => Math.abs(document.getElementById('axis-0').value - {before + 0.5}) < 0.06")
    page.wait_for_function("() => document.getElementById('said').textContent.startsWith('Axis 1 at')")


def test_the_browsers_own_keys_do_not_move_the_point(page):
    page.focus("#map")
    page.evaluate("window.kept = 0; addEventListener('keydown', (event) => { window.kept += event.defaultPrevented; })")
    for key in ("Control+Equal", "Control+Minus", "Alt+ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("window.kept") == 0
    page.keyboard.press("ArrowUp")
    assert page.evaluate("window.kept") == 1


def test_sliders_seeds_and_truncation(page):
    page.fill("#seed", "7")
    changes(page, "face-0", lambda: page.keyboard.press("Enter"))
    page.wait_for_function("() => document.getElementById('said').textContent.startsWith('Seed 7')")
    page.focus("#axis-2")
    changes(page, "face-0", lambda: page.keyboard.press("Home"))
    page.wait_for_function(
        "() => document.getElementById('strip-5').getContext('2d').getImageData(0, 0, 1, 1).data[3] === 255"
    )
    before = float(page.locator("#value-3").inner_text())
    page.focus("#truncation")
    page.keyboard.press("Home")
    assert float(page.locator("#value-3").inner_text()) == pytest.approx(before * 0.1, abs=0.02)


def test_ones_own_picture(page, tmp_path):
    Image.effect_noise((90, 50), 80).convert("RGB").save(tmp_path / "mine.png")
    (tmp_path / "no.png").write_bytes(b"no picture")
    changes(page, "face-0", lambda: page.set_input_files("#file", tmp_path / "mine.png"))
    page.wait_for_selector("#yours:not([hidden])")
    assert re.search(r"PSNR -?[\d.]+ dB", page.locator("#said").inner_text())
    page.set_input_files("#file", tmp_path / "no.png")
    page.wait_for_selector("#said.wrong")
    page.click("#forget")
    page.wait_for_selector("#yours", state="hidden")


def test_kept_faces_walk_blend_and_files(page, tmp_path):
    assert page.locator("#gif").is_disabled()
    for _ in range(2):
        changes(page, "face-0", lambda: page.click("#random"))
        page.click("#keep")
    page.click("#keep")
    page.locator("#kept .drop").nth(2).click()
    assert page.locator("#kept li").count() == 2
    page.focus("#along")
    changes(page, "face-0", lambda: page.keyboard.press("PageUp"))
    changes(page, "face-0", lambda: page.click("#blend"))
    page.locator("#kept input").first.focus()
    changes(page, "face-0", lambda: page.keyboard.press("Home"))
    files = {"#png": "face.png", "#gif": "walk.gif", "#latents": "faces.safetensors"}
    files |= {"#mp4": "walk.mp4"} if find_spec("av") else {}
    assert page.locator("#mp4").is_enabled() == ("#mp4" in files)
    for button, name in files.items():
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename == f"gan-{name}"
        download.value.save_as(tmp_path / name)
    assert Image.open(tmp_path / "walk.gif").n_frames > 10 and Image.open(tmp_path / "face.png").size == (384, 384)
    assert load_tensors(tmp_path / "faces.safetensors")["latents"].shape == (2, 8)


def test_faces_that_others_overtook_are_not_waited_for(browser, address):
    """The server skips what is no longer wanted: here it answers every second request only."""
    page, asked = browser.new_page(), []

    def serve(socket):
        def take(content):
            kind, _, _, number = MESSAGE_HEADER.unpack_from(content)
            asked.extend([number] if kind == FACE_MESSAGE else [])
            if kind == FACE_MESSAGE and len(asked) % 2 == 0:
                socket.send(MESSAGE_HEADER.pack(FACE_MESSAGE, 0, 2, number) + bytes(2 * 32 * 32 * 4))

        socket.on_message(take)

    page.route_web_socket("**/live", serve)
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]")
    for _ in range(5):
        page.click("#random")
        page.wait_for_function("() => said.textContent.startsWith(`Seed ${seed.value}:`)")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.click("#average")
    page.wait_for_function("() => document.documentElement.dataset.facesPerSecond > 0")
    page.close()
    assert len(asked) >= 6


def test_everything_that_is_pressed_has_a_name(page):
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, select, canvas[tabindex]')].filter((part) => part.offsetParent
        && !(part.textContent.trim() || part.labels?.length || part.ariaLabel)).map((part) => part.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_lost_connection_comes_back(browser, gan_run):
    page = browser.new_page()
    with served(gan_run) as url:
        page.goto(url)
        page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    page.wait_for_selector("#link:not(.linked)", timeout=60_000)
    page.click("#random")
    page.wait_for_selector("#said.wrong")
    with served(gan_run, port=re.search(r":(\d+)/", url).group(1)):
        page.wait_for_selector("#link.linked", timeout=60_000)
        changes(page, "face-0", lambda: page.click("#random"))
    page.close()
