"""report.html of a run: its settings, curves and previews during training, what its model draws at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vaegan.checkpoint import parse_step
from vaegan.errors import VaeganError, error_text, printable
from vaegan.events import Event, EventHandler, FileWritten, TrainingFinished, WarningMessage
from vaegan.inference.model import Model, load
from vaegan.metrics_log import read_alarms, read_metrics, training_seconds
from vaegan.report import figures, html_page, run_warnings
from vaegan.report.training_charts import metric_charts_html, read_series
from vaegan.run_dir import DRIFT_PREVIEW, RunDir
from vaegan.run_lookup import train_val_images_for
from vaegan.utils.files import ensure_within

REPORT_FILENAME = "report.html"
INTERIM_NOTE = "Samples, latent axes, reconstructions and nearest neighbours come at the end, or with: vaegan report"
MAX_ALARMS = 8
DiagnoseFunction = Callable[[Mapping[str, Any], Mapping[str, float]], list[str]]
"""Warnings in words from a run's config.json and the newest value of every metric."""
TRAVERSAL_NOTE = (
    "One latent is moved, all others stay at the average face. A VAE's axes are sorted by how much of the picture they"
    " move; a GAN that started from it begins with the same axes."
)


MAX_DRIFT_PREVIEWS = 8
DRIFT_NOTE = (
    "The same latents through the VAE's decoder (upper rows) and through the generator that started as it (below each)."
    " Last come held-out faces: as they are, encoded and decoded by the VAE, and by the generator. It may sharpen a"
    " face; where it draws another, it has forgotten that one."
)


def no_diagnosis(config: Mapping[str, Any], latest_metrics: Mapping[str, float]) -> list[str]:
    """Nothing to warn of."""
    return []


def _charts_and_warnings(run: RunDir) -> tuple[str, list[str], dict[str, float]]:
    """Charts as HTML, warnings in words, and the newest value of every metric."""
    metrics = list(read_metrics(run.path))
    newest = {name: value for line in metrics for name, value in line.items()}
    lines = read_series(metrics)
    return (
        metric_charts_html(lines),
        run_warnings.metric_warnings(lines, newest, run.best_weights_path.is_file()),
        newest,
    )


def _overview_cards(run: RunDir, config: dict[str, Any], latest_metrics: dict[str, float], step: int) -> str:
    total, batch = config["schedule"]["total_steps"], config["options"].get("batch_size") or 0
    facts = {
        "state": "finished" if step >= total else f"{step / total:.0%} done",
        "steps": f"{step:,} of {total:,}",
        "pictures seen": f"{step * batch:,}",
    }
    for name, label, unit in (("kid", "KID of samples", ""), ("val_psnr", "PSNR, held out", " dB")):
        if name in latest_metrics:
            facts[label] = f"{latest_metrics[name]:.3g}{unit}"
    seconds, varying = training_seconds(run.path), {}
    if seconds:
        varying["time"] = run_warnings.format_duration(seconds)
        varying["pictures per second"] = f"{latest_metrics.get('images', 0) / seconds:.0f}"
    before = (config.get("from_vae") or {}).get("train_seconds", 0.0)
    if before:
        varying["and its VAE's"] = run_warnings.format_duration(before)
    machine = run_warnings.describe_device(config)
    return html_page.fact_cards({**facts, "trained on": machine} if machine else facts, varying)


def _settings_section(config: dict[str, Any]) -> str:
    found = config.get("versions")
    versions = dict(found) if isinstance(found, dict) else {}
    made = {**versions, "vaegan": config.get("vaegan_version"), "precision": config["schedule"].get("precision")}
    by = ", ".join(f"{printable(name)} {printable(value)}" for name, value in made.items())
    places = "".join(
        html_page.volatile_paragraph(f"{label}: ", text) for label, text in run_warnings.input_paths(config)
    )
    rows = html_page.text_table(run_warnings.settings_table_rows(config))
    return html_page.heading("Settings") + rows + places + html_page.paragraph(f"Made with {by}.", is_muted=True)


def _dataset_sections(model: Model) -> Iterator[str]:
    """Reconstructions and neighbours, or why there are none."""
    try:
        train, held_out = train_val_images_for(model.info)
    except VaeganError as error:
        yield html_page.heading("Reconstructions and nearest neighbours")
        yield html_page.paragraph(f"Not shown: {error}.", is_muted=True)
        return
    yield html_page.heading("Reconstructions")
    if model.encoder is None:
        yield html_page.paragraph("None: this GAN was trained from scratch and has no encoder.", is_muted=True)
    else:
        said = "Held-out pictures" if len(held_out) else "Training pictures (none are held out)"
        drift = "" if model.info.kind == "vae" else " by its VAE's encoder, which the generator drifts away from,"
        yield html_page.paragraph(f"{said}, encoded{drift} and decoded again.", is_muted=True)
        yield figures.reconstruction_grid(model, held_out if len(held_out) else train)
    yield html_page.heading("Nearest neighbours")
    yield figures.nearest_neighbor_figures(model, train)


def _traversal_section(model: Model) -> str:
    return (
        html_page.heading("Latent axes")
        + html_page.paragraph(TRAVERSAL_NOTE, is_muted=True)
        + figures.latent_traversals(model)
    )


def _samples_and_previews(model: Model | None, frames: list[tuple[str, bytes]]) -> str:
    """Samples and previews, side by side where there is room."""
    parts = [html_page.heading("Samples") + figures.sample_grid(model)] if model is not None else []
    if frames:
        parts.append(html_page.heading("Over the training") + html_page.frame_player(frames))
    return html_page.side_by_side(parts)


def _drift_section(preview_cache: figures.PreviewCache, batch_size: int) -> list[str]:
    """The VAE's decoder beside the GAN's generator over the training, if the GAN started from one."""
    frames = preview_cache.frames(batch_size, DRIFT_PREVIEW, MAX_DRIFT_PREVIEWS)
    if not frames:
        return []
    return [
        html_page.heading("What it started from"),
        html_page.paragraph(DRIFT_NOTE, True),
        html_page.side_by_side([html_page.frame_player(frames)]),
    ]


def write_report_html(
    run: RunDir,
    path: Path,
    model: Model | None,
    preview_cache: figures.PreviewCache | None = None,
    diagnose: DiagnoseFunction = no_diagnosis,
) -> None:
    """Write a run's page to `place`; without a model only what costs little: words, curves, previews.

    diagnose: what else the numbers should make a user look at. Raises VaeganError where the run is damaged or the disk
    refuses.
    """
    config = run.read_config()
    saved = run.checkpoints()
    step = model.info.step if model is not None else parse_step(saved[-1]) if saved else 0
    charts, warned, newest = _charts_and_warnings(run)
    preview_cache, batch = preview_cache or figures.PreviewCache(run), config["options"].get("batch_size") or 0
    sections = [html_page.paragraph(run_warnings.describe_run(config)), _overview_cards(run, config, newest, step)]
    alarms = [f"After {images:,} pictures {text}." for images, text in read_alarms(run.path)[-MAX_ALARMS:]]
    sections += [html_page.warning_box(text) for text in (*alarms, *warned, *diagnose(config, newest))]
    sections += [_samples_and_previews(model, preview_cache.frames(batch)), *_drift_section(preview_cache, batch)]
    if charts:
        sections += [html_page.heading("Curves"), charts]
    if model is not None:
        sections += [_traversal_section(model), *_dataset_sections(model)]
    else:
        sections.append(html_page.paragraph(INTERIM_NOTE, is_muted=True))
    sections.append(_settings_section(config))
    html_page.write_page(path, f"{'VAE' if config['kind'] == 'vae' else 'GAN'} {run.path.resolve().name}", sections)


def check_report_path(path: Path, force: bool) -> None:
    """Raise VaeganError where `out` is a folder, or a file that is no page of ours, unless `force`."""
    if path.is_dir():
        raise VaeganError(f"--out {path} is a directory: name a file, such as {path / REPORT_FILENAME}")
    if path.exists() and not force and html_page.GENERATOR_TAG.encode() not in path.read_bytes()[:4096]:
        raise VaeganError(f"{path} exists and was not made by vaegan: choose another --out, or add --force")


def write_run_report(
    run: Path | str,
    out_path: Path | str | None = None,
    *,
    device: str = "auto",
    diagnose: DiagnoseFunction = no_diagnosis,
) -> Path:
    """Write the page of a run, whole, and return its path: report.html in the run unless `out` names another.

    Raises VaeganError where `run` is no run, is damaged, or has no weights yet.
    """
    place = RunDir(Path(run))
    if not place.exists():
        raise VaeganError(f"{run} is not a run: name one that vaegan train-vae or train-gan made, such as runs/gan")
    path = ensure_within(place.path / REPORT_FILENAME, place.path) if out_path is None else Path(out_path)
    write_report_html(place, path, load(place.path, device), diagnose=diagnose)
    return path


class ReportWriter:
    """Listens to a training and keeps its page up to date: at each checkpoint in brief, at the end whole.

    A page that cannot be written is told, once, and costs nothing else.
    """

    def __init__(self, run: RunDir, device: str, emit: EventHandler, diagnose: DiagnoseFunction = no_diagnosis) -> None:
        """Write to `run`; what goes wrong is told to `emit`; diagnose: see `write_report`."""
        self.run, self.device, self.emit, self.diagnose = run, device, emit, diagnose
        self.preview_cache, self.has_warned = figures.PreviewCache(run), False

    def _is_interim(self) -> bool:
        """Say whether the page of the run is none yet, or one that was written before its end."""
        try:
            return INTERIM_NOTE in (self.run.path / REPORT_FILENAME).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return True

    def __call__(self, event: Event) -> None:
        """Write after a checkpoint and at the end; of a run that had ended, only where it was killed before that."""
        ended = isinstance(event, TrainingFinished) and (event.seconds > 0 or self._is_interim())
        if not (ended or (isinstance(event, FileWritten) and event.kind == "checkpoint")):
            return
        try:
            model = load(self.run.path, self.device) if ended else None
            place = ensure_within(self.run.path / REPORT_FILENAME, self.run.path)
            write_report_html(self.run, place, model, self.preview_cache, self.diagnose)
        except Exception as error:  # a page about the training is never worth the training
            if not self.has_warned:
                self.has_warned = True
                self.emit(
                    WarningMessage(
                        f"{REPORT_FILENAME} is not written ({error_text(error)}); make it with: vaegan report {self.run.path}"
                    )
                )
