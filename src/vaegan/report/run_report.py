"""report.html of a run: its settings, curves and previews during training, what its model draws at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vaegan.checkpoint import step_named
from vaegan.errors import VaeganError, reason, shown
from vaegan.events import Emit, Event, Finished, Warned, Wrote
from vaegan.inference.model import Model, load
from vaegan.metrics_log import alarms_of, metrics_of, seconds_of
from vaegan.report import figures, html_page, run_warnings
from vaegan.report.training_charts import curves, read_lines
from vaegan.run_dir import DRIFT, Run
from vaegan.run_lookup import train_val_images_for
from vaegan.utils.files import inside

NAME = "report.html"
BRIEF = "Samples, latent axes, reconstructions and nearest neighbours come at the end, or with: vaegan report"
ALARMS = 8
Diagnose = Callable[[Mapping[str, Any], Mapping[str, float]], list[str]]
"""Warnings in words from a run's config.json and the newest value of every metric."""
AXES_SAID = (
    "One latent is moved, all others stay at the average face. A VAE's axes are sorted by how much of the picture they"
    " move; a GAN that started from it begins with the same axes."
)


FORGOTTEN = 8
DRIFT_SAID = (
    "The same latents through the VAE's decoder (upper rows) and through the generator that started as it (below each)."
    " Last come held-out faces: as they are, encoded and decoded by the VAE, and by the generator. It may sharpen a"
    " face; where it draws another, it has forgotten that one."
)


def no_diagnosis(config: Mapping[str, Any], newest: Mapping[str, float]) -> list[str]:
    """Nothing to warn of."""
    return []


def _measures(run: Run) -> tuple[str, list[str], dict[str, float]]:
    """Charts as HTML, warnings in words, and the newest value of every metric."""
    metrics = list(metrics_of(run.path))
    newest = {name: value for line in metrics for name, value in line.items()}
    lines = read_lines(metrics)
    return curves(lines), run_warnings.warnings(lines, newest, run.best.is_file()), newest


def _glance(run: Run, config: dict[str, Any], newest: dict[str, float], step: int) -> str:
    total, batch = config["plan"]["total"], config["options"].get("batch_size") or 0
    facts = {
        "state": "finished" if step >= total else f"{step / total:.0%} done",
        "steps": f"{step:,} of {total:,}",
        "pictures seen": f"{step * batch:,}",
    }
    for name, label, unit in (("kid", "KID of samples", ""), ("held_out_psnr", "PSNR, held out", " dB")):
        if name in newest:
            facts[label] = f"{newest[name]:.3g}{unit}"
    seconds, varying = seconds_of(run.path), {}
    if seconds:
        varying["time"] = run_warnings.spent(seconds)
        varying["pictures per second"] = f"{newest.get('images', 0) / seconds:.0f}"
    before = (config.get("from_vae") or {}).get("seconds", 0.0)
    if before:
        varying["and its VAE's"] = run_warnings.spent(before)
    machine = run_warnings.machine(config)
    return html_page.cards({**facts, "trained on": machine} if machine else facts, varying)


def _settings(config: dict[str, Any]) -> str:
    found = config.get("versions")
    versions = dict(found) if isinstance(found, dict) else {}
    made = {**versions, "vaegan": config.get("vaegan"), "precision": config["plan"].get("precision")}
    by = ", ".join(f"{shown(name)} {shown(value)}" for name, value in made.items())
    places = "".join(html_page.varying(f"{label}: ", text) for label, text in run_warnings.places(config))
    rows = html_page.words(run_warnings.settings_rows(config))
    return html_page.heading("Settings") + rows + places + html_page.paragraph(f"Made with {by}.", soft=True)


def _of_set(model: Model) -> Iterator[str]:
    """Reconstructions and neighbours, or why there are none."""
    try:
        train, held_out = train_val_images_for(model.weights)
    except VaeganError as error:
        yield html_page.heading("Reconstructions and nearest neighbours")
        yield html_page.paragraph(f"Not shown: {error}.", soft=True)
        return
    yield html_page.heading("Reconstructions")
    if model.encoder is None:
        yield html_page.paragraph("None: this GAN was trained from scratch and has no encoder.", soft=True)
    else:
        said = "Held-out pictures" if len(held_out) else "Training pictures (none are held out)"
        drift = "" if model.weights.kind == "vae" else " by its VAE's encoder, which the generator drifts away from,"
        yield html_page.paragraph(f"{said}, encoded{drift} and decoded again.", soft=True)
        yield figures.reconstructions(model, held_out if len(held_out) else train)
    yield html_page.heading("Nearest neighbours")
    yield figures.neighbours(model, train)


def _axes(model: Model) -> str:
    return html_page.heading("Latent axes") + html_page.paragraph(AXES_SAID, soft=True) + figures.sweeps(model)


def _seen(model: Model | None, frames: list[tuple[str, bytes]]) -> str:
    """Samples and previews, side by side where there is room."""
    parts = [html_page.heading("Samples") + figures.samples(model)] if model is not None else []
    if frames:
        parts.append(html_page.heading("Over the training") + html_page.player(frames))
    return html_page.columns(parts)


def _drift(previews: figures.Previews, batch: int) -> list[str]:
    """The VAE's decoder beside the GAN's generator over the training, if the GAN started from one."""
    frames = previews.frames(batch, DRIFT, FORGOTTEN)
    if not frames:
        return []
    return [
        html_page.heading("What it started from"),
        html_page.paragraph(DRIFT_SAID, True),
        html_page.columns([html_page.player(frames)]),
    ]


def write_report(
    run: Run,
    place: Path,
    model: Model | None,
    previews: figures.Previews | None = None,
    diagnose: Diagnose = no_diagnosis,
) -> None:
    """Write a run's page to `place`; without a model only what costs little: words, curves, previews.

    diagnose: what else the numbers should make a user look at. Raises VaeganError where the run is damaged or the disk
    refuses.
    """
    config = run.config()
    saved = run.checkpoints()
    step = model.weights.step if model is not None else step_named(saved[-1]) if saved else 0
    charts, warned, newest = _measures(run)
    previews, batch = previews or figures.Previews(run), config["options"].get("batch_size") or 0
    sections = [html_page.paragraph(run_warnings.summary(config)), _glance(run, config, newest, step)]
    alarms = [f"After {images:,} pictures {text}." for images, text in alarms_of(run.path)[-ALARMS:]]
    sections += [html_page.warning(text) for text in (*alarms, *warned, *diagnose(config, newest))]
    sections += [_seen(model, previews.frames(batch)), *_drift(previews, batch)]
    if charts:
        sections += [html_page.heading("Curves"), charts]
    if model is not None:
        sections += [_axes(model), *_of_set(model)]
    else:
        sections.append(html_page.paragraph(BRIEF, soft=True))
    sections.append(_settings(config))
    html_page.write_page(place, f"{'VAE' if config['kind'] == 'vae' else 'GAN'} {run.path.resolve().name}", sections)


def check_place(out: Path, force: bool) -> None:
    """Raise VaeganError where `out` is a folder, or a file that is no page of ours, unless `force`."""
    if out.is_dir():
        raise VaeganError(f"--out {out} is a directory: name a file, such as {out / NAME}")
    if out.exists() and not force and html_page.GENERATOR.encode() not in out.read_bytes()[:4096]:
        raise VaeganError(f"{out} exists and was not made by vaegan: choose another --out, or add --force")


def report(
    run: Path | str, out: Path | str | None = None, *, device: str = "auto", diagnose: Diagnose = no_diagnosis
) -> Path:
    """Write the page of a run, whole, and return its path: report.html in the run unless `out` names another.

    Raises VaeganError where `run` is no run, is damaged, or has no weights yet.
    """
    place = Run(Path(run))
    if not place.exists():
        raise VaeganError(f"{run} is not a run: name one that vaegan train-vae or train-gan made, such as runs/gan")
    path = inside(place.path / NAME, place.path) if out is None else Path(out)
    write_report(place, path, load(place.path, device), diagnose=diagnose)
    return path


class ReportWriter:
    """Listens to a training and keeps its page up to date: at each checkpoint in brief, at the end whole.

    A page that cannot be written is told, once, and costs nothing else.
    """

    def __init__(self, run: Run, device: str, emit: Emit, diagnose: Diagnose = no_diagnosis) -> None:
        """Write to `run`; what goes wrong is told to `emit`; diagnose: see `write_report`."""
        self.run, self.device, self.emit, self.diagnose = run, device, emit, diagnose
        self.previews, self.told = figures.Previews(run), False

    def _is_brief(self) -> bool:
        """Say whether the page of the run is none yet, or one that was written before its end."""
        try:
            return BRIEF in (self.run.path / NAME).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return True

    def __call__(self, event: Event) -> None:
        """Write after a checkpoint and at the end; of a run that had ended, only where it was killed before that."""
        ended = isinstance(event, Finished) and (event.seconds > 0 or self._is_brief())
        if not (ended or (isinstance(event, Wrote) and event.what == "checkpoint")):
            return
        try:
            model = load(self.run.path, self.device) if ended else None
            place = inside(self.run.path / NAME, self.run.path)
            write_report(self.run, place, model, self.previews, self.diagnose)
        except Exception as error:  # a page about the training is never worth the training
            if not self.told:
                self.told = True
                self.emit(
                    Warned(f"{NAME} is not written ({reason(error)}); make it with: vaegan report {self.run.path}")
                )
