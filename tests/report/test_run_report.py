"""report.html: whole, of one file, harmless, cheap, and never worth a training."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

import vaegan
from comparing import assert_same_run
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.report import run_report
from vaegan.report.figures import MAX_PREVIEWS, PreviewCache, nearest_training_images
from vaegan.run_dir import RunDir

TINY = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--precision", "fp32")


class Seen(HTMLParser):
    """Headings, texts of pictures, and every address that a page names."""

    def __init__(self, page):
        super().__init__()
        self.headings, self.pictures, self.addresses, self.open = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        given = dict(attributes)
        self.addresses += [given[name] for name in ("src", "href", "action") if name in given]
        if tag == "img":
            self.pictures.append(given["alt"])

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)
            self.open.append("")


def read(run):
    page = (run / "report.html").read_text()
    return page, Seen(page)


def test_every_training_ends_with_a_whole_page(vae_run, gan_run):
    page, seen = read(gan_run)
    sections = [
        "Samples",
        "Over the training",
        "What it started from",
        "Curves",
        "Latent axes",
        "Reconstructions",
        "Nearest neighbours",
    ]
    assert seen.headings == ["GAN gan", *sections, "Settings"]
    assert all(address.startswith("data:image/") for address in seen.addresses)
    assert "://" not in page and "Its generator started from a VAE&#x27;s decoder" in page
    assert sum("Axis" in text for text in seen.pictures) == 8 and "step 4, 32 pictures" in seen.pictures
    page, seen = read(vae_run)
    assert seen.headings[0] == "VAE vae" and "KL divergence" in page and "--likelihood" in page
    machine = json.loads((vae_run / "config.json").read_text())["machine"]
    assert machine["cores"] >= 1 and machine["device"] == "cpu" and f"{machine['cores']} cores" in page


def test_the_command_writes_the_same_page_again(gan_run, copy, capsys):
    run = copy(gan_run)
    (run / "report.html").unlink()
    assert main(["report", str(run), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(run / "report.html")}
    assert_same_run(run, gan_run)


def test_it_goes_elsewhere_but_over_nothing_of_others(vae_run, here, capsys):
    assert main(["report", str(vae_run), "--out", "deep/page.html"]) == 0
    assert main(["report", str(vae_run), "--out", "deep/page.html"]) == 0  # ours: replaced
    (here / "mine.html").write_text("precious")
    assert main(["report", str(vae_run), "--out", "mine.html"]) == 1
    assert "not made by vaegan" in capsys.readouterr().err and (here / "mine.html").read_text() == "precious"
    assert main(["report", str(vae_run), "--out", "."]) == 1
    assert main(["report", str(vae_run / "model.safetensors")]) == 1
    assert "is not a run" in capsys.readouterr().err


def test_a_gan_from_scratch_and_a_set_that_is_gone(prepared, tmp_path, capsys):
    data, run = tmp_path / "data", tmp_path / "runs" / "scratch"
    shutil.copytree(prepared, data)
    assert main(["train-gan", str(data), "--run", str(run), "--steps", "1", *TINY, "-q"]) == 0
    assert "trained from scratch and has no encoder" in read(run)[0]
    shutil.rmtree(data)
    assert main(["report", str(run), "-q"]) == 0
    page, seen = read(run)
    assert "Not shown: " in page and "Samples" in seen.headings and "Nearest neighbours" not in seen.headings


def test_brief_at_checkpoints_whole_at_the_end(prepared, tmp_path, monkeypatch):
    whole, write = [], run_report.write_report_html

    def brief(run, place, model, *more):
        whole.append(model is not None)
        write(run, place, None, *more)

    monkeypatch.setattr(run_report, "write_report_html", brief)
    run = tmp_path / "vae"
    every = ("--steps", "3", "--checkpoint-every", "1")
    assert main(["train-vae", str(prepared), "--run", str(run), *every, *TINY, "-q"]) == 0
    assert whole == [False, False, False, True]
    page, seen = read(run)
    assert "Curves" in seen.headings and "Samples" not in seen.headings and "vaegan report" in page


def test_a_page_that_fails_is_told_once_and_costs_nothing_else(prepared, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(run_report, "write_report_html", fail)
    run = tmp_path / "vae"
    assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "2", "--checkpoint-every", "1", *TINY]) == 0
    said = capsys.readouterr().err
    assert said.count("warning: report.html is not written (no luck)") == 1 and f"vaegan report {run}" in said
    assert vaegan.load(run).sample(1).shape[0] == 1


def test_nothing_that_a_run_says_is_html(gan_run, tmp_path):
    run = tmp_path / "<img src=x onerror=alert(1)>&quot;"
    shutil.copytree(gan_run, run)
    config = json.loads((run / "config.json").read_text())
    evil = "<script>alert(1)</script>"
    config["data"]["path"] = config["vaegan_version"] = config["options"]["preset"] = config["model"]["size"] = evil
    config["versions"] = {evil: evil}
    config["machine"] = {"device": evil, "processor": evil, "cores": evil}
    config["from_vae"] |= {"path": evil, "step": evil}
    (run / "config.json").write_text(json.dumps(config))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(
            json.dumps(
                {
                    "step": 5,
                    "images_seen": 40,
                    evil: 1.0,
                    "huge": 1e300,
                    "train_seconds": float("inf"),
                    "kid": float("nan"),
                }
            )
            + "\nnot json\n"
        )
    assert main(["report", str(run), "-q"]) == 0
    page = (run / "report.html").read_text()
    assert evil not in page and "<img src=x" not in page and "&lt;script&gt;" in page


@pytest.mark.parametrize("field", ["versions", "machine", "vaegan_version"])
@pytest.mark.parametrize("value", [None, 3, "text", ["list"], {}])
def test_strange_configs_are_no_trouble(vae_run, copy, field, value):
    run = copy(vae_run)
    config = json.loads((run / "config.json").read_text()) | {field: value}
    (run / "config.json").write_text(json.dumps(config))
    run_report.write_report_html(RunDir(run), run / "report.html", None)


def test_previews_are_thinned_and_strange_ones_passed_over(tmp_path):
    folder = tmp_path / "previews"
    folder.mkdir()
    for step in range(0, 400, 10):
        Image.new("RGB", (8, 8), (step % 256, 0, 0)).save(folder / f"step-{step:07d}.png")
    (folder / "step-0000005.png").write_bytes(b"no picture")
    (folder / "step-more.png").write_bytes(b"no picture")
    previews = PreviewCache(RunDir(tmp_path))
    texts = [text for text, _ in previews.frames(4)]
    assert len(texts) == MAX_PREVIEWS and texts[0] == "step 0, 0 pictures" and texts[-1] == "step 390, 1,560 pictures"
    kept = dict(previews.jpegs)
    previews.frames(4)
    assert previews.jpegs == kept
    assert all(content.startswith(b"\xff\xd8") for content in kept.values())


def test_a_preview_that_is_a_link_out_of_the_run_is_not_shown(tmp_path):
    (tmp_path / "run" / "previews").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    try:
        (tmp_path / "run" / "previews" / "step-0000001.png").symlink_to(tmp_path / "secret.png")
    except OSError:
        pytest.skip("no links here")
    assert PreviewCache(RunDir(tmp_path / "run")).frames(4) == []


def test_the_closest_pictures_are_found_mirrors_too(prepared):
    train, _ = open_dataset(prepared).load()
    noise = torch.randint(0, 9, train[:2].shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    queries = torch.stack([train[3], train[5].flip(-1)]) // 2 * 2 | noise % 2
    found, distances = nearest_training_images(queries, train, 3)
    assert found.shape == (2, 3, *train.shape[1:])
    assert torch.equal(found[0, 0], train[3]) and torch.equal(found[1, 0], train[5].flip(-1))
    assert (distances.diff(dim=1) >= 0).all() and (distances[:, 0] < 0.02).all()


def test_what_varies_is_marked(gan_run):
    page = (gan_run / "report.html").read_text()
    varying = " ".join(re.findall(r"data-varies>([^<]*)<", page))
    assert "GAN gan" in varying and str(gan_run.parent) not in page.replace(varying, "")


def test_a_collapsed_vae_is_diagnosed(vae_run, copy, capsys):
    run = copy(vae_run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "images_seen": 32, "active_units": 0, "val_kl": 0.1}) + "\n")
    assert main(["report", str(run), "-q"]) == 0
    assert re.search(r'<div class="warning"[^>]*>posterior collapse: 0 of 8 latents', read(run)[0])


def test_words_about_steps_left_out_and_better_days():
    from vaegan.report.run_warnings import metric_warnings
    from vaegan.report.training_charts import read_series

    def found(*kids, newest=None):
        lines = read_series([{"images_seen": 8 * k, "kid": kid, "kid_stderr": 0.1} for k, kid in enumerate(kids)])
        return metric_warnings(lines, {"kid_stderr": 0.1, **(newest or {})}, True)

    said = found(0.5, 1.0, 4.0, 3.0, newest={"skipped_steps": 9.0, "rollbacks": 1.0})  # the first is of no step
    assert len(said) == 3 and said[0].startswith("9 steps")
    assert "--best" in said[2] and "after 8 pictures (KID 1)" in said[2] and "now (3)" in said[2]
    assert found(9.0, 1.0, 4.0) == found(9.0, 1.0, 4.0, 1.2) == found(9.0, 1.0, 1.2, 4.0) == []
    assert found(9.0, -0.01, 0.02, 0.08) == [] and found(9.0, -0.01, 0.2, 0.3) != []


def test_settings_and_counts_as_people_say_them():
    from vaegan.report.run_warnings import describe_run, settings_table_rows

    config = {"kind": "gan", "model": {}, "options": {}, "data": {"counts": {"train": 5221}}}
    config["options"] = {"mirror": True, "minutes": 6.5815975068834325, "lr_g": 4e-4}
    config["from_vae"] = {"step": 10**40}
    assert "on 5,221 pictures; None were held out" in describe_run(config)
    said = {row[0]: row[1] for row in settings_table_rows(config)}
    assert (said["--mirror"], said["--minutes"], said["--lr-g"]) == ("on", "6.5816", "0.0004")
