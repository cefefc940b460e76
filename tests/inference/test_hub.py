"""vaegan export --hub and --push: the folder, its model card, its use as a model, and its upload."""

import base64
import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

import vaegan
from command_line import failing, run
from vaegan.cli import main
from vaegan.errors import VaeganError
from vaegan.evaluation.results import find_evaluation
from vaegan.inference.attribute_files import ATTRIBUTES_FILE, save_attributes
from vaegan.inference.attribute_marking import mark_attribute
from vaegan.inference.attributes import AttributeSet, model_sha256
from vaegan.run_dir import RunDir, find_run


def mark(run_path, name="smile"):
    model = vaegan.load(run_path, "cpu")
    z = model.latents_from_seeds(range(20))
    attribute = mark_attribute(name, z[z[:, 0] > 0], z[z[:, 0] <= 0])
    found = AttributeSet([attribute], torch.eye(8).double(), model_sha256(model))
    save_attributes(run_path / ATTRIBUTES_FILE, found)


@pytest.fixture
def exported(capsys, here, gan_run):
    status, out, err = run(capsys, "export", gan_run, "--hub", "hub/faces")
    assert (status, out) == (0, "hub/faces\n"), err
    return here / "hub/faces"


def header_of(folder):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def test_the_folder_holds_a_model_and_names_no_path_of_this_machine(exported, gan_run, prepared):
    names = {path.name for path in exported.iterdir()}
    assert names == {"model.safetensors", "config.json", "README.md", "samples.png"}
    assert (exported / "model.safetensors").read_bytes() == (gan_run / "model.safetensors").read_bytes()
    config = json.loads((exported / "config.json").read_text())
    assert (config["kind"], config["model"]["size"], config["step"]) == ("gan", 32, 4)
    card = (exported / "README.md").read_text()
    counts = RunDir(gan_run).read_config()["data"]["counts"]
    assert f"{counts['train']} images for training and {counts['val']} for validation" in card
    assert "Not evaluated." in card and "![64 samples](samples.png)" in card
    for path in exported.iterdir():
        content = path.read_bytes()
        assert not any(str(place).encode() in content for place in (gan_run.parent, prepared.parent, exported.parent))


def test_the_header_leaves_the_license_to_the_user(exported):
    header = header_of(exported)
    assert header["library_name"] == "vaegan" and {"vaegan", "gan", "faces"} <= set(header["tags"])
    assert "license" not in header and "model-index" not in header
    assert "\n# license: " in (exported / "README.md").read_text()


def test_the_folder_is_used_as_a_model_and_not_as_a_run(capsys, exported, gan_run, prepared):
    expected = vaegan.load(gan_run, "cpu").sample(3)
    assert torch.equal(vaegan.load(exported, "cpu").sample(3), expected)
    assert find_run(exported / "model.safetensors") is None and not RunDir(exported).exists()
    status, out, err = run(capsys, "sample", exported, "-n", 3)
    assert (status, out) == (0, "samples/faces-seeds-0-2.png\n"), err
    assert "GAN weights" in run(capsys, "info", exported)[1]
    assert "faces" not in run(capsys, "runs", exported.parent)[1]
    assert "is not a run" in failing(capsys, "report", exported)
    assert "is not a run of vaegan" in failing(capsys, "train-vae", prepared, "--run", exported)


def test_a_run_with_a_damaged_config_is_still_a_run(exported, gan_run, copy):
    path = copy(gan_run)
    (path / "config.json").write_text('{"model_type": "vae')
    assert RunDir(path).exists() and find_run(path / "model.safetensors") is not None


def test_an_export_of_the_folder_keeps_the_counts(capsys, exported):
    assert run(capsys, "export", exported, "--hub", "again")[0] == 0
    configs = [json.loads((path / "config.json").read_text()) for path in (exported, exported.parents[1] / "again")]
    assert configs[0]["image_counts"] == configs[1]["image_counts"] is not None


def test_attributes_come_along_where_they_fit(capsys, here, copy, gan_run):
    path = copy(gan_run)
    mark(path)
    assert run(capsys, "export", path, "--hub", "faces")[0] == 0
    assert "--where smile=yes" in (here / "faces/README.md").read_text()
    status, out, err = run(capsys, "sample", "faces", "-n", 2, "--where", "smile=yes", "--json")
    assert status == 0 and json.loads(out)["num_images"] == 2, err
    # of another model: left out, and the older file goes
    (path / ATTRIBUTES_FILE).write_bytes(b"damaged")
    status, _, err = run(capsys, "export", path, "--hub", "faces")
    assert status == 0 and "The attributes are left out" in err and "was removed: this model has none" in err
    assert not (here / "faces" / ATTRIBUTES_FILE).exists() and "smile" not in (here / "faces/README.md").read_text()


def test_the_card_has_the_metrics_of_the_evaluation_of_these_weights(capsys, here, gan_run, colored_set, copy):
    assert run(capsys, "evaluate", gan_run, "-n", 24, "-q")[0] == 0
    result = json.loads((here / "evaluations/gan/evaluation.json").read_text())
    assert run(capsys, "export", gan_run, "--hub", "faces")[0] == 0
    (index,) = header_of(here / "faces")["model-index"]
    metrics = {metric["type"]: metric["value"] for metric in index["results"][0]["metrics"]}
    samples = result["columns"]["samples"]
    assert metrics["kid_mean"] == pytest.approx(1000 * samples["kid_mean"], rel=1e-4)
    assert metrics["coverage_fine"] == pytest.approx(samples["coverage_fine"], rel=1e-4)
    card = (here / "faces/README.md").read_text()
    assert (
        "| coverage in fine features | higher |" in card and result["verdict"][0] in card and result["caution"] in card
    )
    # not those on other images, which have a folder of their own, not those of other weights, and not a damaged file
    assert run(capsys, "evaluate", gan_run, colored_set, "-n", 24, "-q")[0] == 0
    on_others = json.loads((here / f"evaluations/gan-on-{colored_set.name}/evaluation.json").read_text())
    assert on_others["weights_sha256"] == result["weights_sha256"] and on_others["columns"] != result["columns"]
    assert find_evaluation(gan_run / "model.safetensors").remarks[0] == result["verdict"][0]
    (here / "evaluations/gan/evaluation.json").unlink()
    assert find_evaluation(gan_run / "model.safetensors") is None
    other = copy(gan_run)
    shutil.copy(next(other.glob("checkpoints/step-*/training.safetensors")), other / "model.safetensors")
    assert find_evaluation(other / "model.safetensors") is None
    for damage in ({"columns": {"samples": 3}}, {"columns": None}, {"num_images": "x"}, {"warnings": 1}):
        (here / "evaluations/gan/evaluation.json").write_text(json.dumps({**result, **damage}))
        assert find_evaluation(gan_run / "model.safetensors") is None


def test_an_edited_card_stays(capsys, exported, gan_run, vae_run):
    card = exported / "README.md"
    assert run(capsys, "export", gan_run, "--hub", exported)[0] == 0
    mine = card.read_text().replace(
        "# license: choose one, such as mit or cc-by-4.0, and remove the # in front", "license: mit"
    )
    card.write_text(mine)
    (exported / "notes.txt").write_text("mine")
    status, _, err = run(capsys, "export", gan_run, "--hub", exported)
    assert status == 0 and "has been edited and stays" in err and card.read_text() == mine
    status, _, err = run(capsys, "export", vae_run, "--hub", exported)
    assert status == 0 and "tells of other weights" in err and card.read_text() == mine
    assert vaegan.load(exported, "cpu").info.kind == "vae"
    assert run(capsys, "export", vae_run, "--hub", exported, "--force")[0] == 0
    assert "license: mit" not in card.read_text() and "- vae\n" in card.read_text()
    assert (exported / "notes.txt").read_text() == "mine"


def test_other_folders_are_refused(capsys, here, gan_run, prepared):
    (here / "mine").mkdir()
    (here / "mine/thesis.txt").write_text("mine")
    assert "was not made by vaegan export" in failing(capsys, "export", gan_run, "--hub", "mine")
    assert "is a file" in failing(capsys, "export", gan_run, "--hub", "mine/thesis.txt")
    assert "is a run" in failing(capsys, "export", gan_run, "--hub", gan_run, "--force")
    assert "is a dataset" in failing(capsys, "export", gan_run, "--hub", prepared, "--force")
    assert "goes with --hub" in failing(capsys, "export", gan_run, "--push", "ann/faces", status=2)
    assert "add --onnx" in failing(capsys, "export", gan_run, "--hub", "new", "--out", "x", status=2)
    assert sorted(path.name for path in here.iterdir()) == ["mine"]
    (here / "clone/.git").mkdir(parents=True)  # of an empty repository
    assert run(capsys, "export", gan_run, "--hub", "clone")[0] == 0 and (here / "clone/.git").is_dir()


def test_a_card_that_links_out_of_the_folder_is_not_read(capsys, exported, gan_run):
    secret = exported.parent / "secret"
    secret.write_text("secret")
    (exported / "README.md").unlink()
    (exported / "README.md").symlink_to(secret)
    assert "is a link out of" in failing(capsys, "export", gan_run, "--hub", exported)
    assert secret.read_text() == "secret"


# ---- Upload ---------------------------------------------------------------------------------------------------------


class StandInHub(BaseHTTPRequestHandler):
    """Those parts of the hub's HTTP interface that an upload needs."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.calls.append((self.path, self.headers.get("Authorization")))
        if self.server.refusal:
            return self.answer({"error": self.server.refusal}, 403)
        address = f"http://127.0.0.1:{self.server.server_port}"
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            self.answer({"url": f"{address}/ann/faces"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": [{"message": "no license"}]})
        elif "/preupload/" in self.path:
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer({"files": modes})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"success": True, "commitOid": "0" * 40, "commitUrl": f"{address}/ann/faces/commit/0"})
        else:
            self.answer({"error": "not found"}, 404)

    def do_GET(self):
        self.server.calls.append((self.path, self.headers.get("Authorization")))
        self.answer({"error": "not found"}, 404)

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandInHub)
    server.calls, server.files, server.created, server.refusal = [], {}, None, ""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_push_uploads_the_files_into_a_private_repository(capsys, here, gan_run, hub):
    assert run(capsys, "export", gan_run, "--hub", "faces")[0] == 0
    card = (here / "faces/README.md").read_text().replace("# license: choose", "license: mit # choose")
    (here / "faces/README.md").write_text(card)
    (here / "faces/notes.txt").write_text("mine")
    status, out, err = run(capsys, "export", gan_run, "--hub", "faces", "--push", "ann/faces")
    assert status == 0, err
    assert out.splitlines() == ["faces", f"http://127.0.0.1:{hub.server_port}/ann/faces"]
    assert hub.created["name"] == "faces" and hub.created["organization"] == "ann"
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"
    written = {path.name: path.read_bytes() for path in (here / "faces").iterdir() if path.name != "notes.txt"}
    assert hub.files == written
    uploaded = hub.files["README.md"].decode()
    assert "license: mit" in uploaded and "hf download ann/faces --local-dir faces" in uploaded
    repository_calls = [call for call in hub.calls if call[0].startswith(("/api/repos/", "/api/models/"))]
    assert len(repository_calls) >= 3 and {token for _, token in repository_calls} == {"Bearer hf_secret"}
    assert "no license" in err and "hf_secret" not in out + err


def test_a_refusal_is_one_line_and_the_folder_stays(capsys, here, gan_run, hub):
    hub.refusal = "You don't have the rights"
    line = failing(capsys, "export", gan_run, "--hub", "faces", "--push", "bob/faces")
    assert "cannot upload to bob/faces" in line and "faces is complete" in line and "hf_secret" not in line
    assert vaegan.load(here / "faces", "cpu").info.kind == "gan" and not hub.files


def test_an_unreachable_hub_is_one_line(capsys, here, gan_run, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "cannot upload to ann/faces" in failing(capsys, "export", gan_run, "--hub", "faces", "--push", "ann/faces")


def test_what_a_push_lacks_is_said_before_anything_is_written(capsys, here, gan_run, hub, monkeypatch):
    command = ("export", gan_run, "--hub", "faces", "--push")
    assert "expected USER/NAME" in failing(capsys, *command, "faces", status=2)
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("HF_HOME", str(here))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(here / "token"))
    assert "set HF_TOKEN" in failing(capsys, *command, "ann/faces")
    assert not (here / "faces").exists() and not hub.calls


def test_a_push_without_its_package_is_one_line(capsys, here, gan_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    line = failing(capsys, "export", gan_run, "--hub", "faces", "--push", "ann/faces")
    assert "--push needs huggingface_hub" in line and "pip install 'vaegan[hub]'" in line
    assert not (here / "faces").exists()


def test_a_full_disk_leaves_no_half_folder(here, gan_run, monkeypatch):
    def fail(*arguments, **options):
        raise VaeganError("no space")

    monkeypatch.setattr("vaegan.inference.hub.save_png", fail)
    assert main(["export", str(gan_run), "--hub", "faces"]) == 1
    assert not list(here.iterdir())
