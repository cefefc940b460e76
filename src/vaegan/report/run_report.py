"""report.html of a run: settings, charts and previews; at the end also what its model generates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vaegan.checkpoint import parse_step
from vaegan.config.options import option_fields
from vaegan.config.settings import DURATION_OPTIONS, GANSettings, VAESettings
from vaegan.diagnostics import run_warnings
from vaegan.errors import VaeganError, error_text, printable
from vaegan.events import Event, EventHandler, FileWritten, TrainingFinished, WarningMessage
from vaegan.inference.attribute_files import attributes_path
from vaegan.inference.model import Model, load
from vaegan.metrics_log import read_alarms, read_metrics, training_seconds
from vaegan.report import figures, html_page
from vaegan.report.training_charts import metric_charts_html, read_series
from vaegan.run_dir import DRIFT_PREVIEW, RunDir, find_run
from vaegan.run_lookup import train_val_images_for
from vaegan.utils.files import check_writable, ensure_within

REPORT_FILENAME = "report.html"
MAX_ALARMS = 8
MAX_DRIFT_PREVIEWS = 8
MAX_MOVED = 4
MAX_ATTRIBUTE_STRIPS = 24
ATTRIBUTE_NOTE = (
    "One face with each attribute from off to on, by the shortest change of its latent. The table gives the AUC (or R2)"
    " of each attribute's probe on images that it was not fitted to, with a 95 % interval, and how far other attributes"
    " move with it, as a fraction of their own way from off to on."
)
INTERIM_TAG = '<meta name="vaegan-report" content="interim">'
"""Marks a report that was written before the end of the training."""
INTERIM_NOTE = (
    "Samples, latent traversals, reconstructions and nearest neighbors are added at the end, or by: vaegan report"
)
VAE_PREVIEW_NOTE = "Rows of validation images, each above the row of its reconstructions; then samples."
GAN_PREVIEW_NOTE = "Samples of seeds 0 to 63."
TRAVERSAL_NOTE = (
    "One latent varies, all others are 0, which is the average face. The latents of a VAE are sorted by how much of the"
    " image they change; a GAN initialized from it starts with the same latents."
)
DRIFT_NOTE = (
    "The same latents decoded as training began, by the VAE or the GAN that it started from (upper rows), and by the"
    " generator since (below each). The last rows are validation images: originals, reconstructions as training began,"
    " and by the generator. The generator may sharpen a face; if it shows another face, it no longer reconstructs that"
    " image."
)


def write_run_report(run: Path | str, out_path: Path | str | None = None, *, device: str = "auto") -> Path:
    """Write the full report of a run.

    Args:
        run: run directory.
        out_path: HTML file; by default report.html in the run.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Returns:
        the report's path.

    Raises:
        VaeganError: if it is not a run, or the file cannot be written.
    """
    run_dir = RunDir(Path(run))
    if not run_dir.exists():
        raise VaeganError(f"{run} is not a run: name one that vaegan train-vae or train-gan made, such as runs/gan")
    path = ensure_within(run_dir.path / REPORT_FILENAME, run_dir.path) if out_path is None else Path(out_path)
    write_report_html(run_dir, path, load(run_dir.path, device))
    return path


def refresh_run_report(model: Model, emit: EventHandler) -> Path | None:
    """Write the report of a model's run again, if there is one, because its attributes are new.

    Args:
        model: the model.
        emit: receives the written file.

    Returns:
        the report's path, or None if there is none.
    """
    run = find_run(model.info.path)
    if run is None or not (run.path / REPORT_FILENAME).is_file():
        return None
    path = ensure_within(run.path / REPORT_FILENAME, run.path)
    write_report_html(run, path, load(run.path, str(model.device)))
    emit(FileWritten("report", path))
    return path


def check_report_path(path: Path, force: bool) -> None:
    """Check that a report may be written to a path.

    Args:
        path: HTML file.
        force: allow to replace any file.

    Raises:
        VaeganError: if it is a directory, or a file that vaegan did not write.
    """
    if path.is_dir():
        raise VaeganError(f"--out {path} is a directory: name a file, such as {path / REPORT_FILENAME}")
    if path.exists() and not force and html_page.GENERATOR_TAG.encode() not in html_page.read_head(path):
        raise VaeganError(f"{path} exists and was not made by vaegan: choose another --out, or add --force")
    check_writable(path)


class ReportWriter:
    """Event handler that writes an interim report at each checkpoint and the full one at the end.

    If a report cannot be written, training goes on, with one warning.
    """

    def __init__(self, run_dir: RunDir, device: str, emit: EventHandler) -> None:
        self.run_dir, self.device, self.emit = run_dir, device, emit
        self.preview_cache, self.has_warned = figures.PreviewCache(run_dir), False

    def __call__(self, event: Event) -> None:
        # a finished run that is started again emits TrainingFinished with 0 seconds
        is_end = isinstance(event, TrainingFinished) and (event.seconds > 0 or self._needs_full_report())
        if not is_end and not (isinstance(event, FileWritten) and event.kind == "checkpoint"):
            return
        try:
            model = load(self.run_dir.path, self.device) if is_end else None
            path = ensure_within(self.run_dir.path / REPORT_FILENAME, self.run_dir.path)
            write_report_html(self.run_dir, path, model, self.preview_cache)
        except Exception as error:  # a report is not worth stopping the training for
            if not self.has_warned:
                self.has_warned = True
                text = f"{REPORT_FILENAME} is not written ({error_text(error)})"
                self.emit(WarningMessage(f"{text}; write it with: vaegan report {self.run_dir.path}"))

    def _needs_full_report(self) -> bool:
        try:
            return INTERIM_TAG.encode() in html_page.read_head(self.run_dir.path / REPORT_FILENAME)
        except OSError:
            return True


def write_report_html(
    run_dir: RunDir, path: Path, model: Model | None, preview_cache: figures.PreviewCache | None = None
) -> None:
    """Write the report of a run; without a model an interim one, which is cheap.

    Args:
        run_dir: the run.
        path: HTML file.
        model: the run's model, or None.
        preview_cache: previews that were read before, or None.

    Raises:
        VaeganError: if it cannot be written.
    """
    config, metrics_log = run_dir.read_config(), list(read_metrics(run_dir.path))
    preview_cache, batch_size = preview_cache or figures.PreviewCache(run_dir), config["options"].get("batch_size") or 0
    alarms = [f"After {images_seen:,} images: {text}." for images_seen, text in read_alarms(run_dir.path)[-MAX_ALARMS:]]
    warnings = alarms + run_warnings(config, metrics_log, run_dir.best_weights_path.is_file())
    charts = metric_charts_html(read_series(metrics_log))

    sections = [html_page.paragraph(_describe_run(config)), _overview_cards(run_dir, config, metrics_log, model)]
    sections += [html_page.warning_box(text) for text in warnings]
    sections += [_samples_and_previews(model, preview_cache.frames(batch_size), config["kind"])]
    sections += _drift_section(preview_cache, batch_size)
    if charts:
        sections += [html_page.heading("Charts"), charts]
    if model is None:
        sections.append(html_page.paragraph(INTERIM_NOTE, is_muted=True))
    else:
        note = html_page.paragraph(TRAVERSAL_NOTE, is_muted=True)
        sections += [html_page.heading("Latent traversals"), note, figures.latent_traversals(model)]
        sections += _attribute_section(model)
        sections += _dataset_sections(model)
    sections.append(_settings_section(config))

    html_page.write_page(
        path, f"Run {run_dir.path.resolve().name}", sections, head=INTERIM_TAG if model is None else ""
    )


def _describe_run(config: Mapping[str, Any]) -> str:
    model, options, dataset = config["model"], config["options"], config["data"]
    counts = dataset.get("counts") if isinstance(dataset.get("counts"), dict) else {}
    kind = "A VAE" if config["kind"] == "vae" else "A GAN"
    size, channels = printable(model.get("size")), "grayscale" if model.get("channels") == 1 else "color"
    text = (
        f"{kind} for {channels} images of {size}x{size} pixels with {printable(model.get('latent_dim'))} latents"
        f" (preset {printable(options.get('preset'))}), trained on {_format_count(counts.get('train'))} images, with"
        f" {_format_count(counts.get('val'))} validation images."
    )
    if isinstance(names := model.get("classes"), list):
        text += f" Its {len(names)} classes are the values of {printable(model.get('class_label'))}:"
        text += f" {printable(', '.join(map(str, names)), 500)}."
    if source := config.get("from_vae"):
        steps = _format_count(source.get("step"))
        return f"{text} Its generator was initialized from the decoder of a VAE that was trained for {steps} steps."
    if start := config.get("from_run"):
        taken = ", ".join(printable(name) for name in start["taken"]) if isinstance(start.get("taken"), list) else "?"
        return f"{text} It started from another run at step {_format_count(start.get('step'))}, with its {taken}."
    return text if config["kind"] == "vae" else f"{text} Its generator was initialized at random."


def _overview_cards(
    run_dir: RunDir, config: Mapping[str, Any], metrics_log: list[dict[str, float]], model: Model | None
) -> str:
    checkpoints = run_dir.checkpoints()
    step = model.info.step if model is not None else parse_step(checkpoints[-1]) if checkpoints else 0
    total_steps, batch_size = config["schedule"]["total_steps"], config["options"].get("batch_size") or 0
    metrics = {name: value for line in metrics_log for name, value in line.items()}
    facts = {
        "state": "finished" if step >= total_steps else f"{step / total_steps:.0%} done",
        "steps": f"{step:,} of {total_steps:,}",
        "images seen": f"{step * batch_size:,}",
    }
    if "kid" in metrics:
        facts["KID x1000, real about 0"] = f"{1000 * metrics['kid']:.1f}"
    if "val_psnr" in metrics:
        facts["validation PSNR"] = f"{metrics['val_psnr']:.1f} dB"
    if device := _describe_device(config):
        facts["trained on"] = device
    seconds, times = training_seconds(run_dir.path), {}
    if seconds:
        times["training time"] = _format_duration(seconds)
        times["images per second"] = f"{metrics.get('images_seen', 0) / seconds:.0f}"
    if vae_seconds := (config.get("from_vae") or {}).get("train_seconds", 0.0):
        times["training time of its VAE"] = _format_duration(vae_seconds)
    return html_page.fact_cards(facts, times)


def _samples_and_previews(model: Model | None, frames: list[tuple[str, bytes]], kind: str) -> str:
    parts = [html_page.heading("Samples") + figures.sample_grid(model)] if model is not None else []
    if frames:
        # Beside the samples, the newest preview would be the same picture a second time.
        player = html_page.frame_player(frames, starts_with_last=model is None)
        note = html_page.paragraph(VAE_PREVIEW_NOTE if kind == "vae" else GAN_PREVIEW_NOTE, is_muted=True)
        parts.append(html_page.heading("During training") + player + note)
    return html_page.side_by_side(parts)


def _drift_section(preview_cache: figures.PreviewCache, batch_size: int) -> list[str]:
    """Return previews of the decoder that training began with beside the generator, if the GAN has an encoder."""
    frames = preview_cache.frames(batch_size, DRIFT_PREVIEW, MAX_DRIFT_PREVIEWS)
    if not frames:
        return []
    return [
        html_page.heading("Drift from the start"),
        html_page.paragraph(DRIFT_NOTE, is_muted=True),
        html_page.side_by_side([html_page.frame_player(frames)]),
    ]


def _dataset_sections(model: Model) -> Iterator[str]:
    """Yield reconstructions and nearest neighbors, or why they are missing."""
    try:
        train, val = train_val_images_for(model.info)
    except VaeganError as error:
        yield html_page.heading("Reconstructions and nearest neighbors")
        yield html_page.paragraph(f"Not shown: {error}.", is_muted=True)
        return
    yield html_page.heading("Reconstructions")
    if model.encoder is None:
        yield html_page.paragraph("None: this GAN was trained from scratch and has no encoder.", is_muted=True)
    else:
        images = "Validation images" if len(val) else "Training images (there are no validation images)"
        encoder = "" if model.info.kind == "vae" else " by the encoder of its VAE, which is not trained further,"
        yield html_page.paragraph(f"{images}, encoded{encoder} and decoded.", is_muted=True)
        yield figures.reconstruction_grid(model, val if len(val) else train)
    yield html_page.heading("Nearest neighbors")
    yield figures.nearest_neighbor_figures(model, train)


def _attribute_section(model: Model) -> list[str]:
    """Return a table and a strip of each attribute, if attributes were learned for this model."""
    if not attributes_path(model.info.path).is_file():
        return []
    try:
        attributes = model.attributes
    except VaeganError as error:
        return [html_page.heading("Attributes"), html_page.paragraph(f"Not shown: {error}.", is_muted=True)]
    rows = [("attribute", "held out", "what else moves")]
    for attribute in attributes.attributes:
        moved = attributes.describe_entanglement(attribute, MAX_MOVED)
        quality, interval = attribute.describe_quality()
        rows.append((attribute.title, attribute.reason or f"{quality} ({interval})", moved))
    note = html_page.paragraph(ATTRIBUTE_NOTE, is_muted=True)
    strips = figures.attribute_strips(model, list(attributes)[:MAX_ATTRIBUTE_STRIPS])
    return [html_page.heading("Attributes"), note, strips, html_page.text_table(rows)]


def _settings_section(config: Mapping[str, Any]) -> str:
    chosen, defaults = _settings_rows(config, is_default=False), _settings_rows(config, is_default=True)
    parts = [html_page.heading("Settings")]
    parts.append(html_page.text_table(chosen) if chosen else html_page.paragraph("All are at their defaults."))
    parts.append(html_page.details(f"{len(defaults)} settings at their defaults", html_page.text_table(defaults)))
    paths = {"dataset": config["data"].get("path")}
    for key, name in (("from_vae", "VAE"), ("from_run", "start")):
        if config.get(key):
            paths[name] = config[key].get("path")
    locations = [html_page.volatile_paragraph(f"{name}: ", printable(path, 300)) for name, path in paths.items()]
    versions = dict(config["versions"]) if isinstance(config.get("versions"), dict) else {}
    versions |= {"vaegan": config.get("vaegan_version"), "precision": config["schedule"].get("precision")}
    made_with = ", ".join(f"{printable(name)} {printable(value)}" for name, value in versions.items())
    footer = html_page.paragraph(f"Made with {made_with}.", is_muted=True)
    return "".join([*parts, *locations, footer])


def _settings_rows(config: Mapping[str, Any], is_default: bool) -> list[tuple[str, str, str]]:
    """Return flag, value and help text of every option that is at its default, or of the others."""
    options, adapted, rows = config["options"], config.get("adapted"), []
    has_duration = any(options.get(name) for name in DURATION_OPTIONS)
    for name, field in option_fields(VAESettings if config["kind"] == "vae" else GANSettings).items():
        value = options.get(name)
        if (value == field.default) != is_default:
            continue
        if value is None and name in DURATION_OPTIONS and has_duration:
            continue
        text = _format_option(value) if value is not None else field.option.default_text or "-"
        if isinstance(adapted, dict) and name in adapted and adapted[name] != value:
            text = f"{_format_option(adapted[name])}, by the error of reconstructions at the start"
        rows.append((field.flag, text, field.option.help))
    return rows


def _describe_device(config: Mapping[str, Any]) -> str:
    """Return the GPU's name, or the CPU's with its number of cores; empty if it was not recorded."""
    machine = config.get("machine")
    if not isinstance(machine, dict):
        return ""
    device, processor = printable(machine.get("device")), printable(machine.get("processor"))
    return f"{processor}, {printable(machine.get('cores'))} cores" if device == "cpu" else device


def _format_duration(seconds: float) -> str:
    """Format as 45 s, 12 min or 3 h 20 min."""
    if not 0 <= seconds < 1e12:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _format_count(value: object) -> str:
    """Format an integer as 5,221; make anything else printable."""
    return f"{value:,}" if type(value) is int and abs(value) < 10**15 else printable(value)


def _format_option(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.6g}" if isinstance(value, float) else printable(value)
