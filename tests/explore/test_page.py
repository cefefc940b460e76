"""The page in Chromium: map, keys, sliders, upload, keyframes, downloads, a lost connection."""

import contextlib
import json
import math
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
def explorer(run, port="0"):
    """Start vaegan explore in another process and yield its URL."""
    command = [sys.executable, "-m", "vaegan", "explore", str(run), "--no-browser", "--json", "-q"]
    command += ["--port", port] if port != "0" else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as server:
        try:
            yield json.loads(server.stdout.readline())["page"]
        finally:
            server.kill()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def url(gan_run):
    with explorer(gan_run) as url:
        yield url


@contextlib.contextmanager
def open_page(browser, url):
    """Open the page; afterwards, check that it had no errors and asked no other server."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(0)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: errors.append(request.url) if not request.url.startswith((url, "data:", "blob:")) else None,
    )
    page.goto(url)
    page.wait_for_selector("html[data-ready=yes]")
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def page(browser, url):
    with open_page(browser, url) as page:
        yield page


@pytest.fixture
def own_page(browser, gan_run, copy):
    """The page of a run that may change."""
    with explorer(copy(gan_run)) as url, open_page(browser, url) as page:
        yield page


def canvas_content(page, canvas):
    return page.evaluate(f"document.getElementById('{canvas}').toDataURL()")


def wait_for_change(page, canvas, action):
    """Perform an action and wait until the canvas shows something else."""
    before = canvas_content(page, canvas)
    action()
    page.wait_for_function(f"before => document.getElementById('{canvas}').toDataURL() !== before", arg=before)


def test_dragging_on_the_map_changes_the_image_and_the_sliders(page):
    box = page.locator("#map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag():
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 90, middle[1] - 60, steps=8)
        page.mouse.up()

    wait_for_change(page, "face-0", drag)
    page.wait_for_function("() => [0, 1].every((dim) => document.getElementById(`dim-${dim}`).value > 0.1)")
    value = "document.getElementById('value-0').innerText"
    is_stable = f"() => {{ const old = window.old; window.old = {value}; return old === window.old; }}"
    page.wait_for_function(is_stable, polling=300)  # the last move may not have been drawn yet
    before = page.locator("#value-0").inner_text()
    page.mouse.wheel(0, -400)
    page.mouse.move(*middle)
    assert page.locator("#value-0").inner_text() == before  # zooming does not change the latent


def test_keys_move_the_point_and_use_the_nearest_image(page):
    page.focus("#map")
    page.keyboard.press("Enter")
    before = float(page.locator("#dim-0").input_value())
    wait_for_change(page, "face-1", lambda: page.keyboard.press("Shift+ArrowRight"))
    page.wait_for_function(f"() => Math.abs(document.getElementById('dim-0').value - {before + 0.5}) < 0.06")
    page.wait_for_function("() => document.getElementById('status').textContent.startsWith('Dimension 1 is')")


def test_shortcuts_of_the_browser_do_not_move_the_point(page):
    page.focus("#map")
    page.evaluate("window.used = 0; addEventListener('keydown', (event) => { window.used += event.defaultPrevented; })")
    for key in ("Control+Equal", "Control+Minus", "Alt+ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("window.used") == 0
    page.keyboard.press("ArrowUp")
    assert page.evaluate("window.used") == 1


def test_sliders_seeds_and_truncation(page):
    page.fill("#seed", "7")
    wait_for_change(page, "face-0", lambda: page.keyboard.press("Enter"))
    page.wait_for_function("() => document.getElementById('status').textContent.startsWith('Seed 7')")
    page.focus("#dim-2")
    wait_for_change(page, "face-0", lambda: page.keyboard.press("Home"))
    page.wait_for_function(
        "() => document.getElementById('strip-5').getContext('2d').getImageData(0, 0, 1, 1).data[3] === 255"
    )
    before = float(page.locator("#value-3").inner_text())
    page.focus("#truncation")
    page.keyboard.press("Home")
    assert float(page.locator("#value-3").inner_text()) == pytest.approx(before * 0.1, abs=0.02)


def test_uploaded_images(page, tmp_path):
    Image.effect_noise((90, 50), 80).convert("RGB").save(tmp_path / "image.png")
    (tmp_path / "invalid.png").write_bytes(b"not an image")
    wait_for_change(page, "face-0", lambda: page.set_input_files("#file", tmp_path / "image.png"))
    page.wait_for_selector("#uploaded:not([hidden])")
    assert re.search(r"PSNR -?[\d.]+ dB", page.locator("#status").inner_text())
    before = float(re.search(r"PSNR (-?[\d.]+) dB", page.locator("#status").inner_text()).group(1))
    page.click("#optimize")
    page.wait_for_selector("#optimize:disabled")
    page.wait_for_function("() => /PSNR/.test(document.getElementById('status').textContent)")
    assert float(re.search(r"PSNR (-?[\d.]+) dB", page.locator("#status").inner_text()).group(1)) >= before
    page.set_input_files("#file", tmp_path / "invalid.png")
    page.wait_for_selector("#status.error")
    page.click("#remove-uploaded")
    page.wait_for_selector("#uploaded", state="hidden")


def test_the_first_face_is_a_typical_one_and_changes_are_undone(page):
    first = page.evaluate("() => fetch('/api/about').then((answer) => answer.json())")["first_seed"]
    assert page.locator("#seed").input_value() == str(first) and page.locator("#undo").is_disabled()
    face = canvas_content(page, "face-0")
    wait_for_change(page, "face-0", lambda: page.click("#average"))
    assert page.locator("#seed").input_value() == ""  # the face is no longer that of a seed
    page.focus("#dim-1")
    wait_for_change(page, "face-0", lambda: page.keyboard.press("Home"))
    page.click("#undo")
    page.wait_for_function("() => document.getElementById('value-1').textContent === '0.00'")
    page.click("#undo")
    page.wait_for_function("before => document.getElementById('face-0').toDataURL() === before", arg=face)
    assert page.locator("#seed").input_value() == str(first) and page.locator("#undo").is_disabled()


def test_a_seed_that_no_command_takes_is_refused(page):
    page.fill("#seed", "-5")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status.error")
    assert "Seed -5: expected a whole number from 0 to 2147483647" in page.locator("#status").inner_text()


def test_the_keys_zoom_around_the_point(page):
    page.focus("#map")
    for key in ("Shift+ArrowRight", "Shift+ArrowUp"):
        page.keyboard.press(key)
    place = "() => document.querySelector('.map-point').style.transform"
    before = page.evaluate(place)
    page.keyboard.press("+")
    assert page.evaluate(place) == before


def test_keyframes_are_interpolated_blended_and_saved(page, tmp_path):
    assert page.locator("#save-gif").is_disabled()
    for _ in range(2):
        wait_for_change(page, "face-0", lambda: page.click("#random"))
        page.click("#add-keyframe")
    page.click("#add-keyframe")
    page.locator("#keyframe-list .remove").nth(2).click()
    assert page.locator("#keyframe-list li").count() == 2
    page.focus("#position")
    wait_for_change(page, "face-0", lambda: page.keyboard.press("PageUp"))
    wait_for_change(page, "face-0", lambda: page.click("#blend"))
    page.locator("#keyframe-list input").first.focus()
    wait_for_change(page, "face-0", lambda: page.keyboard.press("Home"))
    files = {"#save-png": "face.png", "#save-gif": "interpolation.gif", "#save-latents": "latents.safetensors"}
    files |= {"#save-mp4": "interpolation.mp4"} if find_spec("av") else {}
    assert page.locator("#save-mp4").is_enabled() == ("#save-mp4" in files)
    for button, name in files.items():
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename == f"gan-{name}"
        download.value.save_as(tmp_path / name)
    assert Image.open(tmp_path / "interpolation.gif").n_frames > 10 and Image.open(tmp_path / "face.png").size == (
        384,
        384,
    )
    assert load_tensors(tmp_path / "latents.safetensors")["latents"].shape == (2, 8)


def test_keyframes_are_there_again_after_a_reload(page):
    for seed in (1, 2):
        page.fill("#seed", str(seed))
        wait_for_change(page, "face-0", lambda: page.keyboard.press("Enter"))
        page.click("#add-keyframe")
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.locator("#keyframe-list li").count() == 2
    wait_for_change(page, "face-0", lambda: page.locator("#keyframe-list .thumbnail").first.click())
    latent = page.evaluate("() => fetch('/api/seed?seed=1').then((answer) => answer.json())")["latent"]
    expected = f"{latent[0]:.2f}"
    page.wait_for_function("expected => document.getElementById('value-0').textContent === expected", arg=expected)
    page.locator("#keyframe-list .remove").first.click()
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.locator("#keyframe-list li").count() == 1


def test_the_page_does_not_wait_for_skipped_faces(browser, url):
    """The server skips outdated requests. Here it answers only every second one."""
    page, numbers = browser.new_page(), []

    def serve(socket):
        def answer(message):
            kind, _, _, number = MESSAGE_HEADER.unpack_from(message)
            numbers.extend([number] if kind == FACE_MESSAGE else [])
            if kind == FACE_MESSAGE and len(numbers) % 2 == 0:
                socket.send(MESSAGE_HEADER.pack(FACE_MESSAGE, 0, 2, number) + bytes(2 * 32 * 32 * 4))

        socket.on_message(answer)

    page.route_web_socket("**/live", serve)
    page.goto(url)
    page.wait_for_selector("html[data-ready=yes]")
    for _ in range(5):
        page.click("#random")
        page.wait_for_function("() => document.getElementById('status').textContent.startsWith(`Seed ${seed.value}:`)")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.click("#average")
    page.wait_for_function("() => document.documentElement.dataset.facesPerSecond > 0")
    page.close()
    assert len(numbers) >= 6


def test_every_control_has_an_accessible_name(page):
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, select, canvas[tabindex]')].filter((part) => part.offsetParent
        && !(part.textContent.trim() || part.labels?.length || part.ariaLabel)).map((part) => part.outerHTML)"""
    )
    assert unnamed == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_does_not_scroll_horizontally(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_lost_connection_is_restored(browser, gan_run):
    page = browser.new_page()
    with explorer(gan_run) as url:
        page.goto(url)
        page.wait_for_selector("html[data-ready=yes]", timeout=0)
    page.wait_for_selector("#connection:not(.connected)", timeout=0)
    page.click("#random")
    page.wait_for_selector("#status.error")
    with explorer(gan_run, port=re.search(r":(\d+)/", url).group(1)):
        page.wait_for_selector("#connection.connected", timeout=0)
        wait_for_change(page, "face-0", lambda: page.click("#random"))
    page.close()


def test_playing_starts_although_a_frame_is_older_than_the_click(page):
    for seed in ("1", "2"):
        page.fill("#seed", seed)
        wait_for_change(page, "face-0", lambda: page.keyboard.press("Enter"))
        page.click("#add-keyframe")
    # browsers give the time at which a frame began, which may be before the click
    page.evaluate(
        "() => { const draw = requestAnimationFrame; window.requestAnimationFrame = (f) => draw((t) => f(t - 1000)); }"
    )
    page.click("#play")
    page.wait_for_function("() => document.getElementById('position').value > 0.02")
    assert page.locator("#play").inner_text() == "Pause"


def test_the_image_stays_in_sight_while_a_slider_moves(browser, url):
    for width in (1280, 390):
        context = browser.new_context(viewport={"width": width, "height": 800})
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector("html[data-ready=yes]")
        page.evaluate("scrollTo(0, document.getElementById('dims').offsetTop + 200)")
        box = page.locator("#face-0").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 800
        context.close()


def test_an_attribute_of_marked_faces_moves_the_face_and_composes_with_the_sliders(own_page):
    page = own_page
    page.locator("#mark-faces summary").click()
    for side, seeds in (("more", (1, 2, 3)), ("less", (4, 5))):
        for seed in seeds:
            wait_for_change(
                page, "face-0", lambda seed=seed: (page.fill("#seed", str(seed)), page.keyboard.press("Enter"))
            )
            page.click(f"#mark-{side}")
    assert page.locator("#marked-more button").count() == 3
    page.locator("#marked-more button").first.click()
    assert page.locator("#marked-more button").count() == 2 and page.locator("#make-attribute").is_disabled()
    page.fill("#attribute-name", "wide")
    page.click("#make-attribute")
    slider = page.locator("#attribute-sliders input")
    slider.wait_for()
    assert page.locator("#marked-more button").count() == 0 and page.locator("#no-attributes").is_hidden()
    wait_for_change(page, "face-0", lambda: slider.fill(slider.get_attribute("max")))

    # the reading of another face is that of its latent
    about = page.evaluate("() => fetch('/api/about').then((answer) => answer.json())")
    latent = page.evaluate("() => fetch('/api/seed?seed=9').then((answer) => answer.json())")["latent"]
    (attribute,) = about["attributes"]
    score = attribute["bias"] + sum(w * z for w, z in zip(attribute["weight"], latent, strict=True))
    page.fill("#seed", "9")
    page.keyboard.press("Enter")
    expected = f"{100 / (1 + math.exp(-score)):.0f} %"
    page.locator("#attribute-sliders output", has_text=expected).wait_for()
