"""The responses of the server: images, latents and files, and errors for invalid requests."""

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
from vaegan.data.preprocess.skip_reasons import EMPTY_FILE, NOT_AN_IMAGE, TOO_LARGE
from vaegan.events import ignore_event
from vaegan.explore.server import MAX_UPLOAD_BYTES, PAGE_FILES, make_app
from vaegan.explore.session import MAX_KEYFRAMES, STRIP_FRAMES, open_session, sanitize_latents, to_rgba_bytes
from vaegan.explore.websocket import FACE_MESSAGE, MAX_INVALID_MESSAGES, MESSAGE_HEADER, STRIPS_MESSAGE
from vaegan.utils.images import to_pil
from vaegan.utils.video import has_pyav

PORT = 8765
HOME = f"http://127.0.0.1:{PORT}"
WEBSOCKET_URL = f"ws://127.0.0.1:{PORT}/live"


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def message(kind, latent, decoder=0, number=1):
    return MESSAGE_HEADER.pack(kind, decoder, 0, number) + torch.tensor(latent).numpy().tobytes()


def is_close(rgba_bytes, images):
    """Whether RGBA bytes show the images except for rounding."""
    result = torch.frombuffer(bytearray(rgba_bytes), dtype=torch.uint8).int()
    expected = torch.frombuffer(bytearray(to_rgba_bytes(images)), dtype=torch.uint8).int()
    return result.shape == expected.shape and bool((result - expected).abs().max() <= 1)


def test_the_page_and_its_files(client):
    page = client.get("/")
    assert page.status_code == 200 and "<main>" in page.text and page.headers["content-type"].startswith("text/html")
    for path in ("/tokens.css", *(f"/{name}" for name in PAGE_FILES)):
        file = client.get(path)
        assert file.status_code == 200 and "://" not in file.text.replace("ws://${location.host}", "")
    assert "://" not in page.text
    assert client.get("/../settings.py").status_code == 404 and client.get("/api/nothing").status_code == 404
    assert client.post("/").status_code == 405


def test_the_session_is_described(client, session, prepared):
    about = client.get("/api/about").json()
    assert about["decoders"] == ["GAN", "VAE"] and about["has_encoder"] and about["map_is_encoded"]
    assert (about["image_size"], about["latent_dim"], about["num_slider_dims"]) == (32, 8, 8)
    assert about["num_map_images"] == 39
    latents = torch.frombuffer(bytearray(client.get("/api/map.latents").content), dtype=torch.float32).view(39, 8)
    train, _ = open_dataset(prepared).load()
    assert torch.allclose(latents, session.model.encode(train))
    sprite_sheet = Image.open(io.BytesIO(client.get("/api/map.jpg").content))
    assert sprite_sheet.size == (39 * about["tile_size"], about["tile_size"])


def test_a_seed_gives_the_latent_of_vaegan_sample(client, gan_run):
    latent = client.get("/api/seed?seed=7&truncation=0.5").json()["latent"]
    assert torch.allclose(torch.tensor(latent), vaegan.load(gan_run).latents_from_seeds([7], 0.5)[0])
    for query in ("", "?seed=x&truncation=nan", "?seed=-3&truncation=1e99", "?seed=99999999999999999999"):
        assert len(client.get(f"/api/seed{query}").json()["latent"]) == 8


def test_faces_and_strips_over_the_websocket(client, session):
    latent = [0.5, -1.0, 0, 0, 0, 0, 0, 2.0]
    with client.websocket_connect(WEBSOCKET_URL) as socket:
        socket.send_bytes(message(FACE_MESSAGE, latent, number=5))
        response = socket.receive_bytes()
        assert MESSAGE_HEADER.unpack_from(response) == (FACE_MESSAGE, 0, 2, 5)
        both = torch.cat([model.decode(torch.tensor([latent])) for model in session.models.values()])
        assert is_close(response[MESSAGE_HEADER.size :], both)
        socket.send_bytes(message(STRIPS_MESSAGE, latent, decoder=1, number=6))
        for dim in range(8):
            response = socket.receive_bytes()
            assert MESSAGE_HEADER.unpack_from(response) == (STRIPS_MESSAGE, dim, STRIP_FRAMES, 6)
            latents = torch.tensor([latent] * STRIP_FRAMES)
            latents[:, dim] = torch.linspace(-3, 3, STRIP_FRAMES)
            row = session.models["VAE"].decode(latents).permute(1, 2, 0, 3).flatten(2)[None]
            assert is_close(response[MESSAGE_HEADER.size :], row)


def test_only_the_newest_face_request_is_drawn(client, session, monkeypatch):
    may_draw, decode_fast = threading.Event(), type(session).decode_fast

    def decode_later(*args):
        assert may_draw.wait(60)
        return decode_fast(*args)

    monkeypatch.setattr(type(session), "decode_fast", decode_later)
    with client.websocket_connect(WEBSOCKET_URL) as socket:
        for number in range(1, 101):
            socket.send_bytes(message(FACE_MESSAGE, [number / 100.0] * 8, number=number))
        socket.send_text("when this is answered, all requests have been read")
        assert "error" in json.loads(socket.receive_text())
        may_draw.set()
        numbers = [MESSAGE_HEADER.unpack_from(socket.receive_bytes())[3] for _ in range(2)]
        assert numbers[0] <= 100 and numbers[1] == 100


def test_nan_and_infinity_are_sanitized(client):
    with client.websocket_connect(WEBSOCKET_URL) as socket:
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
def test_invalid_websocket_messages_are_answered(client, content):
    with client.websocket_connect(WEBSOCKET_URL) as socket:
        socket.send_bytes(content)
        assert "error" in json.loads(socket.receive_text())
        socket.send_text("hello")
        assert "error" in json.loads(socket.receive_text())
        socket.send_bytes(message(FACE_MESSAGE, [0.0] * 8))
        assert MESSAGE_HEADER.unpack_from(socket.receive_bytes())[0] == FACE_MESSAGE


def test_the_websocket_is_closed_after_too_many_invalid_messages(client):
    with client.websocket_connect(WEBSOCKET_URL) as socket:
        for _ in range(MAX_INVALID_MESSAGES):
            socket.send_text("{}")
            socket.receive_text()
        assert socket.receive()["type"] == "websocket.close"
    with client.websocket_connect(WEBSOCKET_URL) as socket:
        socket.send_bytes(message(FACE_MESSAGE, [0.0] * 8))
        assert socket.receive_bytes()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_random_bytes_are_answered_with_a_one_line_error(client, content):
    for path in ("encode", "png", "gif", "mp4", "latents"):
        response = client.post(f"/api/{path}", content=content)
        assert response.status_code == 400 and "\n" not in response.json()["error"]


@pytest.mark.parametrize(
    "value", [None, 3, "x", [], [[0.0] * 7], [["a"] * 8], [[10**400] * 8], [[True] * 8], [[[0.0]] * 8], {"a": 1}]
)
def test_invalid_latents_are_rejected(client, value):
    for path, field in (("gif", "latents"), ("latents", "latents"), ("png", "latent")):
        response = client.post(f"/api/{path}", json={field: value})
        assert response.status_code == 400, (path, response.text)


def test_an_uploaded_image_is_encoded(client, session, prepared):
    image = open_dataset(prepared).load()[0][3]
    encoded = client.post("/api/encode", content=png(to_pil(image))).json()
    assert torch.allclose(torch.tensor(encoded["latent"]), session.model.encode(image[None])[0], atol=1e-5)
    assert encoded["image"].startswith("data:image/png;base64,") and encoded["psnr"] > 0
    optimized = client.post("/api/encode?steps=30", content=png(to_pil(image))).json()
    assert optimized["psnr"] >= encoded["psnr"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (300, 40), (33, 200)])
def test_images_of_other_sizes_and_modes(client, mode, size):
    file = io.BytesIO()
    Image.new(mode, size).save(file, "TIFF")
    response = client.post("/api/encode", content=file.getvalue())
    assert response.status_code == 200 and len(response.json()["latent"]) == 8


def decompression_bomb():
    """A PNG of a few hundred bytes that claims to have 30,000 x 30,000 pixels."""
    content = png(Image.new("L", (8, 8)))
    header = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]


def test_hostile_uploads(client, drawn):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(next(drawn.glob("*.png")), "face.png")
    for content, reason in (
        (decompression_bomb(), TOO_LARGE),
        (archive.getvalue(), NOT_AN_IMAGE),
        (b"<svg/>", NOT_AN_IMAGE),
        (b"", EMPTY_FILE),
    ):
        response = client.post("/api/encode", content=content)
        assert response.status_code == 400
        assert reason in response.json()["error"] and "/" not in response.json()["error"]
    assert client.post("/api/encode", content=b"\0" * (MAX_UPLOAD_BYTES + 1)).status_code == 413
    assert client.get("/api/about").status_code == 200


def test_saved_files(client, gan_run, tmp_path, monkeypatch):
    latents = [[0.1 * k] * 8 for k in range(3)]
    image = Image.open(io.BytesIO(client.post("/api/png", json={"latent": latents[1], "decoder": 1}).content))
    assert image.size == (384, 384) and "vae" in image.text["Comment"]
    animation = Image.open(io.BytesIO(client.post("/api/gif", json={"latents": latents, "loop": True}).content))
    assert animation.format == "GIF" and animation.n_frames > 10 and animation.size == (384, 384)
    video = client.post("/api/mp4", json={"latents": latents, "loop": False})
    assert video.content[4:8] == b"ftyp" if has_pyav() else "vaegan[video]" in video.json()["error"]
    path = tmp_path / "latents.safetensors"
    path.write_bytes(client.post("/api/latents", json={"latents": latents}).content)
    monkeypatch.chdir(tmp_path)
    assert main(["decode", str(gan_run), str(path), "--out", "again.png", "-q"]) == 0
    assert client.post("/api/gif", json={"latents": latents[:1]}).status_code == 400
    assert client.post("/api/gif", json={"latents": latents * MAX_KEYFRAMES}).status_code == 400


def test_without_pyav_only_mp4_is_unavailable(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install 'vaegan[video]'" in client.get("/api/about").json()["mp4_unavailable"]
    response = client.post("/api/mp4", json={"latents": [[0.0] * 8, [1.0] * 8]})
    assert response.status_code == 400 and "pip install 'vaegan[video]'" in response.json()["error"]


def test_the_server_survives_a_bug(client, session, monkeypatch):
    monkeypatch.setattr(type(session), "render_png", lambda *_: 1 / 0)
    response = client.post("/api/png", json={"latent": [0.0] * 8})
    assert response.status_code == 500 and "ZeroDivisionError" in response.json()["error"]
    assert client.get("/api/about").status_code == 200


def test_a_gan_without_an_encoder(prepared, tmp_path):
    run = tmp_path / "scratch"
    arguments = ["--steps", "1", "--preset", "tiny", "--latent-dim", "6", "--batch-size", "8", "--precision", "fp32"]
    assert main(["train-gan", str(prepared), "--run", str(run), *arguments, "-q"]) == 0
    session = open_session(run, "scratch", "cpu", ignore_event)
    client = TestClient(make_app(session, PORT), base_url=HOME)
    about = client.get("/api/about").json()
    assert about["decoders"] == ["GAN"] and not about["has_encoder"] and not about["map_is_encoded"]
    assert about["num_slider_dims"] == 6 and "no encoder" in about["map_description"]
    assert len(client.get("/api/map.latents").content) == 512 * 6 * 4
    image = png(Image.new("RGB", (40, 40), "red"))
    response = client.post("/api/encode", content=image)
    assert response.status_code == 400 and "optimized" in response.json()["error"]
    assert client.post("/api/encode?steps=3", content=image).status_code == 200


def test_a_vae_alone_and_a_gan_without_its_dataset_and_vae(vae_run, gan_run, copy):
    assert open_session(vae_run, "vae", "cpu", ignore_event).describe()["decoders"] == ["VAE"]
    run = copy(gan_run)
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"path": str(run / "gone"), "relative_path": "gone", "fingerprint": "gone"}
    config["from_vae"] = {"path": str(run / "gone.safetensors"), "sha256": "gone"}
    (run / "config.json").write_text(json.dumps(config))
    about = open_session(run, "gan", "cpu", ignore_event).describe()
    assert about["decoders"] == ["GAN"] and "gone" in about["notes"][0]
    assert about["has_encoder"] and not about["map_is_encoded"] and "does not exist" in about["map_description"]


# ---- Attributes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def own_client(gan_run, copy):
    """A client of a session whose run may change."""
    session = open_session(copy(gan_run), "gan", "cpu", ignore_event)
    return TestClient(make_app(session, PORT), base_url=HOME, headers={"origin": HOME})


def test_marked_faces_become_a_slider_that_is_saved_with_the_run(own_client, gan_run, tmp_path):
    assert own_client.get("/api/about").json()["attributes"] == []
    latents = vaegan.load(gan_run).latents_from_seeds(range(10)).tolist()
    answer = own_client.post("/api/attributes", json={"name": " big  nose ", "more": latents[:5], "less": latents[5:]})
    slider = answer.json()
    assert answer.status_code == 200 and slider["title"] == "big nose" and slider["min"] < 0 < slider["max"]
    weight, direction = torch.tensor(slider["weight"]), torch.tensor(slider["direction"])
    assert float(weight @ direction) == pytest.approx(1, abs=1e-4)
    assert own_client.get("/api/about").json()["attributes"] == [slider]
    attributes = vaegan.load(tmp_path / gan_run.name).attributes
    assert attributes.names() == ["big nose"]
    again = own_client.post("/api/attributes", json={"name": "big nose", "more": latents[5:], "less": latents[:5]})
    assert again.status_code == 200 and len(own_client.get("/api/about").json()["attributes"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x", "more": [], "less": [[0.0] * 8]},
        {"name": "", "more": [[1.0] * 8], "less": [[0.0] * 8]},
        {"name": "a=b", "more": [[1.0] * 8], "less": [[0.0] * 8]},
        {"name": "x" * 99, "more": [[1.0] * 8], "less": [[0.0] * 8]},
        {"name": ["x"], "more": [[1.0] * 8], "less": [[0.0] * 8]},
        {"name": "x", "more": [[1.0] * 8], "less": [[1.0] * 8]},
        {"name": "x", "more": [[1.0] * 7], "less": [[0.0] * 8]},
        {"name": "x", "more": [[1.0] * 8] * 101, "less": [[0.0] * 8]},
    ],
)
def test_wrong_marks_are_one_line_and_write_nothing(own_client, gan_run, tmp_path, body):
    answer = own_client.post("/api/attributes", json=body)
    assert answer.status_code == 400 and answer.json()["error"] and "\n" not in answer.json()["error"]
    assert not (tmp_path / gan_run.name / "attributes.safetensors").exists()


def test_a_damaged_file_of_attributes_is_noted_and_not_replaced(gan_run, copy):
    run = copy(gan_run)
    (run / "attributes.safetensors").write_text("no attributes")
    session = open_session(run, "gan", "cpu", ignore_event)
    assert session.sliders.describe() == [] and any("damaged" in note for note in session.notes)
    client = TestClient(make_app(session, PORT), base_url=HOME, headers={"origin": HOME})
    answer = client.post("/api/attributes", json={"name": "x", "more": [[1.0] * 8], "less": [[0.0] * 8]})
    assert answer.status_code == 400 and (run / "attributes.safetensors").read_text() == "no attributes"
