"""report.html: complete, one file without scripts from a run, and never the reason why a training stops."""

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


class ParsedPage(HTMLParser):
    """Headings, alt texts of images, and all URLs of a page."""

    def __init__(self, page):
        super().__init__()
        self.headings, self.alt_texts, self.urls, self.open_tags = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.open_tags.append(tag)
        values = dict(attributes)
        self.urls += [values[name] for name in ("src", "href", "action") if name in values]
        if tag == "img":
            self.alt_texts.append(values["alt"])

    def handle_data(self, data):
        if self.open_tags and self.open_tags[-1] in ("h1", "h2"):
            self.headings.append(data)
            self.open_tags.append("")


def read_report(run):
    page = (run / "report.html").read_text()
    return page, ParsedPage(page)


def test_every_training_ends_with_a_full_report(vae_run, gan_run):
    page, parsed = read_report(gan_run)
    sections = [
        "Samples",
        "During training",
        "Drift from the start",
        "Charts",
        "Latent traversals",
        "Reconstructions",
        "Nearest neighbors",
    ]
    assert parsed.headings == ["Run gan", *sections, "Settings"]
    assert all(url.startswith("data:image/") for url in parsed.urls)
    assert "://" not in page and "initialized from the decoder of a VAE" in page
    adapted = json.loads((gan_run / "config.json").read_text())["adapted"]  # this VAE hardly reconstructs
    assert adapted["lr_g"] == 8e-4 and "0.0008, by the error of reconstructions at the start" in page
    assert sum("Latent" in text for text in parsed.alt_texts) == 8 and "step 4, 32 images" in parsed.alt_texts
    page, parsed = read_report(vae_run)
    assert parsed.headings[0] == "Run vae" and "KL divergence" in page and "--likelihood" in page
    assert "settings at their defaults</summary>" in page and "row of its reconstructions; then samples" in page
    machine = json.loads((vae_run / "config.json").read_text())["machine"]
    assert machine["cores"] >= 1 and machine["device"] == "cpu" and f"{machine['cores']} cores" in page


def test_the_command_writes_the_same_report_again(gan_run, copy, capsys):
    run = copy(gan_run)
    (run / "report.html").unlink()
    assert main(["report", str(run), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(run / "report.html")}
    assert_same_run(run, gan_run)


def test_out_names_another_file_but_replaces_only_reports(vae_run, here, capsys):
    assert main(["report", str(vae_run), "--out", "deep/page.html"]) == 0
    assert main(["report", str(vae_run), "--out", "deep/page.html"]) == 0  # ours: replaced
    (here / "mine.html").write_text("precious")
    assert main(["report", str(vae_run), "--out", "mine.html"]) == 1
    assert "not made by vaegan" in capsys.readouterr().err and (here / "mine.html").read_text() == "precious"
    assert main(["report", str(vae_run), "--out", "."]) == 1
    assert main(["report", str(vae_run / "model.safetensors")]) == 1
    assert "is not a run" in capsys.readouterr().err


def test_a_gan_from_scratch_and_a_missing_dataset(prepared, tmp_path, capsys):
    data, run = tmp_path / "data", tmp_path / "runs" / "scratch"
    shutil.copytree(prepared, data)
    assert main(["train-gan", str(data), "--run", str(run), "--steps", "1", *TINY, "-q"]) == 0
    assert "trained from scratch and has no encoder" in read_report(run)[0]
    shutil.rmtree(data)
    assert main(["report", str(run), "-q"]) == 0
    page, parsed = read_report(run)
    assert "Not shown: " in page and "Samples" in parsed.headings and "Nearest neighbors" not in parsed.headings


def test_interim_at_checkpoints_full_at_the_end(prepared, tmp_path, monkeypatch):
    is_full, write = [], run_report.write_report_html

    def write_interim(run_dir, path, model, *others):
        is_full.append(model is not None)
        write(run_dir, path, None, *others)

    monkeypatch.setattr(run_report, "write_report_html", write_interim)
    run = tmp_path / "vae"
    train = ["train-vae", str(prepared), "--run", str(run), "--steps", "3", "--checkpoint-every", "1", *TINY, "-q"]
    assert main(train) == 0
    assert is_full == [False, False, False, True]
    page, parsed = read_report(run)
    assert "Charts" in parsed.headings and "Samples" not in parsed.headings and "vaegan report" in page
    assert main(train) == 0  # the full report of the finished run is missing: it is written now
    assert is_full == [False, False, False, True, True]
    monkeypatch.undo()
    assert main(train) == 0
    assert "Samples" in read_report(run)[1].headings


def test_a_failing_report_gives_one_warning_and_training_goes_on(prepared, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(run_report, "write_report_html", fail)
    run = tmp_path / "vae"
    assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "2", "--checkpoint-every", "1", *TINY]) == 0
    err = capsys.readouterr().err
    assert err.count("warning: report.html is not written (no luck)") == 1 and f"vaegan report {run}" in err
    assert vaegan.load(run).sample(1).shape[0] == 1


def test_texts_of_a_run_are_escaped(gan_run, tmp_path):
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
def test_malformed_configs_are_accepted(vae_run, copy, field, value):
    run = copy(vae_run)
    config = json.loads((run / "config.json").read_text()) | {field: value}
    (run / "config.json").write_text(json.dumps(config))
    run_report.write_report_html(RunDir(run), run / "report.html", None)


def test_previews_are_evenly_spaced_and_broken_ones_skipped(tmp_path):
    folder = tmp_path / "previews"
    folder.mkdir()
    for step in range(0, 400, 10):
        Image.new("RGB", (8, 8), (step % 256, 0, 0)).save(folder / f"step-{step:07d}.png")
    (folder / "step-0000005.png").write_bytes(b"not an image")
    (folder / "step-more.png").write_bytes(b"not an image")
    previews = PreviewCache(RunDir(tmp_path))
    texts = [text for text, _ in previews.frames(4)]
    assert len(texts) == MAX_PREVIEWS and texts[0] == "step 0, 0 images" and texts[-1] == "step 390, 1,560 images"
    cached = dict(previews.jpegs)
    previews.frames(4)
    assert previews.jpegs == cached
    assert all(jpeg.startswith(b"\xff\xd8") for jpeg in cached.values())


def test_a_preview_that_is_a_link_out_of_the_run_is_not_shown(tmp_path):
    (tmp_path / "run" / "previews").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    try:
        (tmp_path / "run" / "previews" / "step-0000001.png").symlink_to(tmp_path / "secret.png")
    except OSError:
        pytest.skip("no links here")
    assert PreviewCache(RunDir(tmp_path / "run")).frames(4) == []


def test_nearest_training_images_may_be_mirrored(prepared):
    train, _ = open_dataset(prepared).load()
    noise = torch.randint(0, 9, train[:2].shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    queries = torch.stack([train[3], train[5].flip(-1)]) // 2 * 2 | noise % 2
    images, distances = nearest_training_images(queries, train, 3)
    assert images.shape == (2, 3, *train.shape[1:])
    assert torch.equal(images[0, 0], train[3]) and torch.equal(images[1, 0], train[5].flip(-1))
    assert (distances.diff(dim=1) >= 0).all() and (distances[:, 0] < 0.02).all()


def test_paths_and_times_are_marked_as_volatile(gan_run):
    page = (gan_run / "report.html").read_text()
    volatile = " ".join(re.findall(r"data-volatile>([^<]*)<", page))
    assert "Run gan" in volatile and str(gan_run.parent) not in page.replace(volatile, "")


def test_posterior_collapse_is_reported(vae_run, copy, capsys):
    run = copy(vae_run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "images_seen": 32, "active_units": 0, "val_kl": 0.1}) + "\n")
    assert main(["report", str(run), "-q"]) == 0
    assert re.search(r'<div class="warning"[^>]*>posterior collapse: 0 of 8 latents', read_report(run)[0])


def test_settings_and_counts_are_formatted():
    config = {"kind": "gan", "model": {}, "options": {}, "data": {"counts": {"train": 5221}}}
    config["options"] = {"mirror": True, "minutes": 6.5815975068834325, "lr_d": 5e-4, "lr_g": None}
    config["from_vae"] = {"step": 10**40}
    assert "on 5,221 images, with None validation images" in run_report._describe_run(config)
    chosen, defaults = ({row[0]: row[1] for row in run_report._settings_rows(config, flag)} for flag in (False, True))
    assert "--minutes" in chosen and {"--mirror", "--lr-d", "--lr-g"} <= defaults.keys()  # what was chosen stands apart
    values = {**chosen, **defaults}
    assert (values["--mirror"], values["--minutes"], values["--lr-d"]) == ("on", "6.5816", "0.0005")
    assert values["--lr-g"].startswith("0.0004; after a VAE more the worse it reconstructs")
    adapted = run_report._settings_rows({**config, "adapted": {"lr_g": 6e-4, "lr_d": 5e-4}}, is_default=True)
    values = {row[0]: row[1] for row in adapted}
    assert values["--lr-g"] == "0.0006, by the error of reconstructions at the start" and values["--lr-d"] == "0.0005"
