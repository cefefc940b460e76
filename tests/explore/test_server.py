"""What the page's server answers: faces, latents, files; and what it says to garbage."""

import io
import json
import sys
import threading
import zipfile
import zlib

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

import vaegan
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.events import ignore_event
from vaegan.explore.server import MAX_UPLOAD_BYTES, make_app
from vaegan.explore.session import MAX_KEYFRAMES, STRIP_FRAMES, open_session, sanitize_latents, to_rgba_bytes
from vaegan.explore.websocket import FACE_MESSAGE, MAX_INVALID_MESSAGES, MESSAGE_HEADER, STRIPS_MESSAGE
from vaegan.utils.images import to_pil
from vaegan.utils.video import has_pyav

PORT = 8765
HOME = f"http://127.0.0.1:{PORT}"
LIVE = f"ws://127.0.0.1:{PORT}/live"


def png(picture):
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def message(kind, latent, decoder=0, number=1):
    return MESSAGE_HEADER.pack(kind, decoder, 0, number) + torch.tensor(latent).numpy().tobytes()


def close_to(content, pictures):
    """Whether RGBA shows pictures but for rounding."""
    found = torch.frombuffer(bytearray(content), dtype=torch.uint8).int()
    wanted = torch.frombuffer(bytearray(to_rgba_bytes(pictures)), dtype=torch.uint8).int()
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= 1)


def test_the_page_and_its_parts(client):
    page = client.get("/")
    assert page.status_code == 200 and "<main>" in page.text and page.headers["content-type"].startswith("text/html")
    for path in ("/explore.css", "/tokens.css", "/explore.js", "/latents.js", "/live.js", "/map.js"):
        part = client.get(path)
        assert part.status_code == 200 and "://" not in part.text.replace("ws://${location.host}", "")
    assert "://" not in page.text
    assert client.get("/../settings.py").status_code == 404 and client.get("/api/nothing").status_code == 404
    assert client.post("/").status_code == 405


def test_what_is_open(client, studio, prepared):
    about = client.get("/api/about").json()
    assert about["decoders"] == ["GAN", "VAE"] and about["encoder"] and about["encoded"]
    assert (about["size"], about["latent_dim"], about["axes"], about["faces"]) == (32, 8, 8, 39)
    latents = torch.frombuffer(bytearray(client.get("/api/map.latents").content), dtype=torch.float32).view(39, 8)
    train, _ = open_dataset(prepared).load()
    assert torch.allclose(latents, studio.model.encode(train))
    sprite = Image.open(io.BytesIO(client.get("/api/map.jpg").content))
    assert sprite.size == (39 * about["tile"], about["tile"])


def test_a_seed_is_the_seed_of_sample(client, gan_run):
    latent = client.get("/api/seed?seed=7&truncation=0.5").json()["latent"]
    assert torch.allclose(torch.tensor(latent), vaegan.load(gan_run).latents_from_seeds([7], 0.5)[0])
    for query in ("", "?seed=x&truncation=nan", "?seed=-3&truncation=1e99", "?seed=99999999999999999999"):
        assert len(client.get(f"/api/seed{query}").json()["latent"]) == 8


def test_faces_and_strips_over_the_socket(client, studio):
    latent = [0.5, -1.0, 0, 0, 0, 0, 0, 2.0]
    with client.websocket_connect(LIVE) as socket:
        socket.send_bytes(message(FACE_MESSAGE, latent, number=5))
        answer = socket.receive_bytes()
        assert MESSAGE_HEADER.unpack_from(answer) == (FACE_MESSAGE, 0, 2, 5)
        both = torch.cat([model.decode(torch.tensor([latent])) for model in studio.models.values()])
        assert close_to(answer[MESSAGE_HEADER.size :], both)
        socket.send_bytes(message(STRIPS_MESSAGE, latent, decoder=1, number=6))
        for axis in range(8):
            answer = socket.receive_bytes()
            assert MESSAGE_HEADER.unpack_from(answer) == (STRIPS_MESSAGE, axis, STRIP_FRAMES, 6)
            moved = torch.tensor([latent] * STRIP_FRAMES)
            moved[:, axis] = torch.linspace(-3, 3, STRIP_FRAMES)
            row = studio.models["VAE"].decode(moved).permute(1, 2, 0, 3).flatten(2)[None]
            assert close_to(answer[MESSAGE_HEADER.size :], row)


def test_only_the_newest_face_counts(client, studio, monkeypatch):
    busy, draw = threading.Event(), type(studio).decode_fast

    def slowly(*given):
        assert busy.wait(60)
        return draw(*given)

    monkeypatch.setattr(type(studio), "decode_fast", slowly)
    with client.websocket_connect(LIVE) as socket:
        for number in range(1, 101):
            socket.send_bytes(message(FACE_MESSAGE, [number / 100.0] * 8, number=number))
        socket.send_text("all of them are read when this is answered")
        assert "error" in json.loads(socket.receive_text())
        busy.set()
        seen = [MESSAGE_HEADER.unpack_from(socket.receive_bytes())[3] for _ in range(2)]
        assert seen[0] <= 100 and seen[1] == 100


def test_numbers_that_are_none_are_tamed(client):
    with client.websocket_connect(LIVE) as socket:
        socket.send_bytes(message(FACE_MESSAGE, [float("nan"), float("inf"), -float("inf"), 1e30, 0.0, 0, 0, 0]))
        assert len(socket.receive_bytes()) == MESSAGE_HEADER.size + 2 * 32 * 32 * 4
    assert sanitize_latents(torch.tensor([float("nan"), float("inf"), 3.0])).tolist() == [0, 20, 3]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"x" * 39,
        b"x" * 41,
        message(3, [0.0] * 8),
        message(0, [0.0] * 8),
        message(FACE_MESSAGE, [0.0] * 8, decoder=2),
    ],
)
def test_garbage_on_the_socket_is_answered(client, content):
    with client.websocket_connect(LIVE) as socket:
        socket.send_bytes(content)
        assert "error" in json.loads(socket.receive_text())
        socket.send_text("hello")
        assert "error" in json.loads(socket.receive_text())
        socket.send_bytes(message(FACE_MESSAGE, [0.0] * 8))
        assert MESSAGE_HEADER.unpack_from(socket.receive_bytes())[0] == FACE_MESSAGE


def test_nothing_but_garbage_ends_the_socket_and_only_that(client):
    with client.websocket_connect(LIVE) as socket:
        for _ in range(MAX_INVALID_MESSAGES):
            socket.send_text("{}")
            socket.receive_text()
        assert socket.receive()["type"] == "websocket.close"
    with client.websocket_connect(LIVE) as socket:
        socket.send_bytes(message(FACE_MESSAGE, [0.0] * 8))
        assert socket.receive_bytes()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_anywhere_are_answered_in_a_line(client, content):
    for path in ("encode", "png", "gif", "mp4", "latents"):
        answer = client.post(f"/api/{path}", content=content)
        assert answer.status_code == 400 and "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    "value", [None, 3, "x", [], [[0.0] * 7], [["a"] * 8], [[10**400] * 8], [[True] * 8], [[[0.0]] * 8], {"a": 1}]
)
def test_latents_that_are_none_are_refused(client, value):
    for path, field in (("gif", "latents"), ("latents", "latents"), ("png", "latent")):
        answer = client.post(f"/api/{path}", json={field: value})
        assert answer.status_code == 400, (path, answer.text)


def test_a_picture_is_squared_encoded_and_shown(client, studio, prepared):
    picture = open_dataset(prepared).load()[0][3]
    answer = client.post("/api/encode", content=png(to_pil(picture))).json()
    assert torch.allclose(torch.tensor(answer["latent"]), studio.model.encode(picture[None])[0], atol=1e-5)
    assert answer["picture"].startswith("data:image/png;base64,") and answer["psnr"] > 0
    fitted = client.post("/api/encode?steps=30", content=png(to_pil(picture))).json()
    assert fitted["psnr"] >= answer["psnr"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (300, 40), (33, 200)])
def test_pictures_of_other_sizes_and_modes(client, mode, size):
    content = io.BytesIO()
    Image.new(mode, size).save(content, "TIFF")
    answer = client.post("/api/encode", content=content.getvalue())
    assert answer.status_code == 200 and len(answer.json()["latent"]) == 8


def bomb():
    """A PNG of a few hundred bytes that claims 30,000 x 30,000 pixels."""
    picture = png(Image.new("L", (8, 8)))
    head = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + picture[24:29]
    return picture[:12] + head + zlib.crc32(head).to_bytes(4, "big") + picture[33:]


def test_hostile_uploads(client, drawn):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(next(drawn.glob("*.png")), "face.png")
    for content, word in ((bomb(), "large"), (archive.getvalue(), "picture"), (b"<svg/>", "picture"), (b"", "empty")):
        answer = client.post("/api/encode", content=content)
        assert answer.status_code == 400 and word in answer.json()["error"] and "/" not in answer.json()["error"]
    assert client.post("/api/encode", content=b"\0" * (MAX_UPLOAD_BYTES + 1)).status_code == 413
    assert client.get("/api/about").status_code == 200


def test_files_to_keep(client, gan_run, tmp_path, monkeypatch):
    latents = [[0.1 * k] * 8 for k in range(3)]
    picture = Image.open(io.BytesIO(client.post("/api/png", json={"latent": latents[1], "decoder": 1}).content))
    assert picture.size == (384, 384) and "vae" in picture.text["Comment"]
    animation = Image.open(io.BytesIO(client.post("/api/gif", json={"latents": latents, "loop": True}).content))
    assert animation.format == "GIF" and animation.n_frames > 10 and animation.size == (384, 384)
    film = client.post("/api/mp4", json={"latents": latents, "loop": False})
    assert film.content[4:8] == b"ftyp" if has_pyav() else "vaegan[video]" in film.json()["error"]
    place = tmp_path / "kept.safetensors"
    place.write_bytes(client.post("/api/latents", json={"latents": latents}).content)
    monkeypatch.chdir(tmp_path)
    assert main(["decode", str(gan_run), str(place), "--out", "again.png", "-q"]) == 0
    assert client.post("/api/gif", json={"latents": latents[:1]}).status_code == 400
    assert client.post("/api/gif", json={"latents": latents * MAX_KEYFRAMES}).status_code == 400


def test_without_pyav_the_rest_works_and_mp4_says_why(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install 'vaegan[video]'" in client.get("/api/about").json()["no_mp4"]
    refused = client.post("/api/mp4", json={"latents": [[0.0] * 8, [1.0] * 8]})
    assert refused.status_code == 400 and "pip install 'vaegan[video]'" in refused.json()["error"]


def test_a_fault_of_ours_is_told_and_the_server_goes_on(client, studio, monkeypatch):
    monkeypatch.setattr(type(studio), "render_png", lambda *_: 1 / 0)
    answer = client.post("/api/png", json={"latent": [0.0] * 8})
    assert answer.status_code == 500 and "ZeroDivisionError" in answer.json()["error"]
    assert client.get("/api/about").status_code == 200


def test_a_gan_from_scratch_does_what_needs_no_encoder(prepared, tmp_path):
    run = tmp_path / "scratch"
    arguments = ["--steps", "1", "--preset", "tiny", "--latent-dim", "6", "--batch-size", "8", "--precision", "fp32"]
    assert main(["train-gan", str(prepared), "--run", str(run), *arguments, "-q"]) == 0
    studio = open_session(run, "scratch", "cpu", ignore_event)
    client = TestClient(make_app(studio, PORT), base_url=HOME)
    about = client.get("/api/about").json()
    assert about["decoders"] == ["GAN"] and not about["encoder"] and not about["encoded"] and about["axes"] == 6
    assert "no encoder" in about["map"]
    assert len(client.get("/api/map.latents").content) == 512 * 6 * 4
    picture = png(Image.new("RGB", (40, 40), "red"))
    refused = client.post("/api/encode", content=picture)
    assert refused.status_code == 400 and "Fit" in refused.json()["error"]
    assert client.post("/api/encode?steps=3", content=picture).status_code == 200


def test_a_vae_alone_and_a_set_or_a_vae_that_is_gone(vae_run, gan_run, copy):
    assert open_session(vae_run, "vae", "cpu", ignore_event).describe()["decoders"] == ["VAE"]
    run = copy(gan_run)
    config = json.loads((run / "config.json").read_text())
    config["data"]["path"], config["from_vae"]["path"] = str(run / "gone"), str(run / "gone.safetensors")
    (run / "config.json").write_text(json.dumps(config))
    about = open_session(run, "gan", "cpu", ignore_event).describe()
    assert about["decoders"] == ["GAN"] and "gone" in about["notes"][0]
    assert about["encoder"] and not about["encoded"] and "does not exist" in about["map"]
