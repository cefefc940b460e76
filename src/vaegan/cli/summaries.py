"""What a command says at its end: what was made, how good it is, and the next command to type."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.cli.params import DEFAULT_GAN_RUN, DEFAULT_VAE_RUN
from vaegan.errors import VaeganError
from vaegan.events import Summary
from vaegan.progress.text import format_duration

if TYPE_CHECKING:
    from vaegan.evaluation.evaluate import Evaluation

NEXT = "next"


def dataset_summary(path: Path, num_train: int, num_val: int) -> Summary:
    """Return the summary of a prepared dataset.

    Args:
        path: directory of the dataset.
        num_train: number of training images.
        num_val: number of validation images.

    Returns:
        the summary, with the command that trains a VAE on it.
    """
    return Summary(
        f"{path} is ready",
        [
            ("made", f"{num_train + num_val:,} images: {num_train:,} to train on, {num_val:,} for validation"),
            ("look at", str(path / "preview.png")),
            (NEXT, _train_vae_command(path)),
        ],
    )


def _train_vae_command(dataset: Path) -> str:
    """Return the command that trains a VAE on a dataset, with DATA and --run where their defaults are others."""
    from vaegan.data.dataset import find_newest_dataset, open_dataset

    words, newest = ["vaegan train-vae"], find_newest_dataset(Path("data"))
    if newest is None or newest.resolve() != dataset.resolve():
        words.append(quoted(dataset))
    if DEFAULT_VAE_RUN.exists():  # else without `run_dir`, whose import takes long
        fingerprint = open_dataset(dataset).fingerprint
        words += _run_option(DEFAULT_VAE_RUN, "vae", lambda config: config["data"].get("fingerprint") == fingerprint)
    return " ".join(words)


def _train_gan_command(vae_run: Path) -> str:
    """Return the command that trains a GAN from a VAE, with --run where the default run is another GAN."""
    from vaegan.run_dir import RunDir
    from vaegan.utils.files import file_sha256

    def is_from_vae(config: Mapping[str, Any]) -> bool:
        source = config.get("from_vae") or {}
        return bool(source.get("sha256") == file_sha256(RunDir(vae_run).weights_path))

    return " ".join(["vaegan train-gan --from-vae", quoted(vae_run), *_run_option(DEFAULT_GAN_RUN, "gan", is_from_vae)])


def _run_option(path: Path, kind: str, is_meant: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    """Return --run with an unused path, unless a run at `path` can be started, or is the one meant and is resumed."""
    from vaegan.run_dir import RunDir, unused_run_path

    run = RunDir(path)
    try:
        run.check_is_run_or_empty(force=False)
        config = run.read_config() if run.exists() else None
        is_other = config is not None and not (config["kind"] == kind and is_meant(config))
    except VaeganError:  # something else, or damaged
        is_other = True
    return [f"--run {quoted(unused_run_path(path))}"] if is_other else []


def training_summary(run: Path) -> Summary:
    """Return the summary of a trained run.

    Args:
        run: directory of the run.

    Returns:
        its length, its newest and best measurements, and what to do with it.
    """
    from vaegan.metrics_log import read_metrics, training_seconds
    from vaegan.run_dir import RunDir

    config = RunDir(run).read_config()
    kind = str(config["kind"])
    log = list(read_metrics(run))
    newest = {name: value for line in log for name, value in line.items()}
    kids = [(line["kid"], line["images_seen"]) for line in log if "kid" in line and line.get("images_seen")]
    images_seen, seconds = newest.get("images_seen", 0.0), training_seconds(run)
    lines = [("made", f"{kind.upper()}, {images_seen:,.0f} images seen in {format_duration(seconds)}")]
    if quality := _quality(kind, newest, _has_reliable_coverage(config)):
        lines.append(("quality", quality))
    if kids and min(kids)[0] < kids[-1][0]:
        best, best_images = min(kids)
        lines.append(("best", f"KID {best * 1000:.1f} after {best_images:,.0f} images; --best uses those weights"))
    lines.append(("look at", str(run / "report.html")))
    lines += [(NEXT, command) for command in _next_commands(kind, run)]
    return Summary(f"{run} is trained", lines)


def _has_reliable_coverage(config: Mapping[str, Any]) -> bool:
    """Return whether the run's dataset is large enough for coverage; with few images it rates noise as high as real."""
    from vaegan.metrics.prdc import MIN_IMAGES_FOR_NEIGHBORS

    counts = config["data"].get("counts")
    sizes = [counts.get(split) for split in ("train", "val")] if isinstance(counts, dict) else []
    return sum(size for size in sizes if isinstance(size, int)) >= MIN_IMAGES_FOR_NEIGHBORS


def _quality(kind: str, metrics: dict[str, float], has_reliable_coverage: bool) -> str:
    parts = []
    if kind == "vae" and "val_psnr" in metrics:
        parts.append(f"validation images are reconstructed with a PSNR of {metrics['val_psnr']:.1f} dB")
    if "kid" in metrics:
        parts.append(f"samples have a KID of {metrics['kid'] * 1000:.1f} (x1000)")
    if "coverage" in metrics and has_reliable_coverage:
        parts.append(f"cover {metrics['coverage']:.0%} of the validation images")
    return ", ".join(parts)


def _next_commands(kind: str, run: Path) -> list[str]:
    if kind == "vae":
        return [_train_gan_command(run)]
    return [f"vaegan sample {quoted(run)} -n 64", f"vaegan explore {quoted(run)}", f"vaegan evaluate {quoted(run)}"]


def evaluation_summary(evaluation: Evaluation, page: Path) -> Summary:
    """Return the verdict of an evaluation, its page, and what to try next.

    Args:
        evaluation: the evaluation.
        page: its page, an HTML file.

    Returns:
        the summary.
    """
    from vaegan.evaluation.verdict import advice

    lines = [
        (word[:1].lower() + word[1:], rest.strip())
        for word, _, rest in (line.partition(":") for line in evaluation.verdict)
    ]
    lines.append(("look at", str(page)))
    if text := advice(evaluation.metrics["samples"]):
        lines.append(("to improve", text))
    return Summary(f"Samples of {evaluation.name}", lines)


def quoted(path: Path) -> str:
    """Return a path as it is typed in a shell.

    Args:
        path: the path.

    Returns:
        the path, in quotes if it needs them.
    """
    return shlex.quote(str(path))
