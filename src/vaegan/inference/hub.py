"""Write a model as a folder for the Hugging Face hub, with a model card, and upload it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vaegan.checkpoint import WEIGHTS_FILE
from vaegan.config.model_config import ModelConfig
from vaegan.config.options import require_int
from vaegan.data.dataset import is_dataset
from vaegan.errors import UsageError, VaeganError, error_text, printable
from vaegan.events import EventHandler, FileWritten, Note, WarningMessage
from vaegan.inference.attribute_files import ATTRIBUTES_FILE, attributes_path
from vaegan.inference.attributes import Attribute
from vaegan.inference.model import Model
from vaegan.run_dir import CONFIG_FILE, HUB_MODEL_TYPE, RunDir, find_run, is_hub_folder
from vaegan.utils.files import (
    atomic_directory,
    atomic_write,
    check_writable,
    ensure_within,
    file_sha256,
    note_replaced,
    read_bytes,
    read_json,
    real_path,
    require_unicode,
    write_bytes,
    write_json,
)
from vaegan.utils.images import enlarge, make_grid, save_png

HUB_FORMAT_VERSION = 1
CARD_FILE, SHEET_FILE = "README.md", "samples.png"
HUB_FILES = (WEIGHTS_FILE, ATTRIBUTES_FILE, SHEET_FILE, CARD_FILE, CONFIG_FILE)
"""All files of the folder, in the order in which they are written. The attributes may be missing."""
HUB_INSTALL_HINT = "pip install 'vaegan[hub]'"
SHEET_IMAGES, SHEET_COLUMNS = 64, 8
MIN_SHEET_IMAGE_PIXELS = 96
MAX_CARD_BYTES = 2**20
REPO_PLACEHOLDER = "USER/NAME"
LIMITS = (
    "Samples look like the training images. What is rare there is rare or missing here.",
    "A sample can be close to a training image. If those show real people, a face can be like one of theirs.",
    "There is no text prompt. A seed gives a face; the same seed gives the same face.",
    "Compare the metrics with the column of real images, and not with those of models of other data.",
)


@dataclass(frozen=True)
class CardEvaluation:
    """What a model card says of an evaluation.

    Attributes:
        num_images: number of samples that were evaluated.
        rows: metric, better direction, value of the samples and of real images, as texts.
        values: name and value of each metric of the samples by its key, for the header of the card.
        remarks: sentences on the samples, and what to keep in mind.
    """

    num_images: int
    rows: Sequence[tuple[str, ...]]
    values: Mapping[str, tuple[str, float]]
    remarks: Sequence[str]


def check_hub_folder(out: Path, force: bool) -> None:
    """Check that a folder for the hub may be written. Hidden files, such as those of git, may be in it.

    Args:
        out: the folder.
        force: allow other files in it.

    Raises:
        VaeganError: if it is a file, run or dataset, holds other files, has a name that is not Unicode, or cannot be
            written.
    """
    if out.exists() and not out.is_dir():
        raise VaeganError(f"--hub {out} is a file: name a folder")
    require_unicode(out)
    if RunDir(out).exists() or is_dataset(out):
        raise VaeganError(f"--hub {out} is a {'dataset' if is_dataset(out) else 'run'}: name another folder")
    is_occupied = out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir())
    if is_occupied and not force and not is_hub_folder(out):
        raise VaeganError(f"{out} exists and was not made by vaegan export: choose another --hub, or add --force")
    check_writable(out, "--hub")
    check_writable(out / CONFIG_FILE, "--hub")


def write_hub_folder(
    model: Model,
    out: Path,
    emit: EventHandler,
    evaluation: CardEvaluation | None = None,
    repo_id: str | None = None,
    force: bool = False,
) -> list[str]:
    """Write weights, config.json, model card, a sheet of samples and attributes into a folder.

    Attributes that belong to another model are left out, with a warning.

    A model card that the user has edited stays as it is. Other files of the folder stay too.

    Args:
        model: the model, on the CPU.
        out: the folder, checked by `check_hub_folder`.
        emit: receives notes and a FileWritten.
        evaluation: what the card says of the model's quality.
        repo_id: "USER/NAME" on the hub, if it is known.
        force: replace an edited model card too.

    Returns:
        names of the files of the folder that belong to it.

    Raises:
        VaeganError: if a file cannot be read or written.
    """
    attributes = _find_attributes(model, emit)
    kept_card = "" if force else _read_edited_card(out, repo_id)
    image_counts, weights_hash = _image_counts(model), file_sha256(model.info.path)
    name = printable((repo_id or real_path(out).name).rpartition("/")[2])
    card = model_card(model, name, repo_id, image_counts, attributes, evaluation)
    config = {
        "model_type": HUB_MODEL_TYPE,
        "format_version": HUB_FORMAT_VERSION,
        "kind": model.info.kind,
        "model": model.info.config.to_json(),
        "step": model.info.step,
        "images_seen": model.info.images_seen,
        "image_counts": image_counts,
        "image_options": model.info.image_options,
        "vaegan_version": model.info.vaegan_version,
        "weights_sha256": weights_hash,
        "card_sha256": hashlib.sha256(card.encode()).hexdigest(),
    }

    def write(folder: Path) -> None:
        _copy(model.info.path, folder / WEIGHTS_FILE)
        if attributes:
            _copy(attributes_path(model.info.path), folder / ATTRIBUTES_FILE)
        _save_sheet(model, folder / SHEET_FILE, weights_hash)
        write_bytes(folder / CARD_FILE, (kept_card or card).encode())
        write_json(folder / CONFIG_FILE, config)

    if kept_card:
        emit(_note_kept_card(out, weights_hash))
    note_replaced([out / WEIGHTS_FILE], emit)
    has_older_export = is_hub_folder(out)
    if out.is_dir() and any(out.iterdir()):
        write(out)
    else:
        with atomic_directory(out) as folder:
            write(folder)
    if not attributes and has_older_export and (out / ATTRIBUTES_FILE).exists():
        (out / ATTRIBUTES_FILE).unlink()
        emit(Note(f"{out / ATTRIBUTES_FILE}, of an older export, was removed: this model has none"))
    emit(FileWritten("hub", out))
    return [name for name in HUB_FILES if attributes or name != ATTRIBUTES_FILE]


def _find_attributes(model: Model, emit: EventHandler) -> list[Attribute]:
    """Return the attributes that are offered; none, with a warning, if the file belongs to another model."""
    path = attributes_path(model.info.path)
    if not path.is_file():
        return []
    try:
        return list(model.attributes)
    except VaeganError as error:
        emit(WarningMessage(f"The attributes are left out: {error}"))
        return []


def _read_edited_card(out: Path, repo_id: str | None) -> str:
    """Return a model card that the user has edited, with the address in place of ours for it; "" if there is none."""
    if not is_hub_folder(out) or not (out / CARD_FILE).is_file():
        return ""
    content = read_bytes(ensure_within(out / CARD_FILE, out), MAX_CARD_BYTES)
    if read_json(out / CONFIG_FILE).get("card_sha256") == hashlib.sha256(content).hexdigest():
        return ""
    try:
        card = content.decode("utf-8")
    except ValueError:
        raise VaeganError(f"{out / CARD_FILE} is not UTF-8: save it as such, or add --force to write it anew") from None
    return card if repo_id is None else card.replace(f"{REPO_PLACEHOLDER} ", f"{repo_id} ")


def _note_kept_card(out: Path, weights_hash: str) -> Note | WarningMessage:
    path = out / CARD_FILE
    if read_json(out / CONFIG_FILE).get("weights_sha256") == weights_hash:
        return Note(f"{path} has been edited and stays; --force writes it anew")
    return WarningMessage(f"{path} has been edited and stays, but tells of other weights: correct it, or add --force")


def _image_counts(model: Model) -> dict[str, int] | None:
    """Return the numbers of training and validation images, as recorded by the run or an earlier export."""
    with contextlib.suppress(VaeganError, ValueError):
        folder = model.info.path.parent
        counts: Any = None
        if is_hub_folder(folder):
            counts = read_json(folder / CONFIG_FILE).get("image_counts")
        elif run := find_run(model.info.path):
            counts = run.read_config()["data"].get("counts")
        if isinstance(counts, dict):
            return {name: require_int(counts, name) for name in ("train", "val")}
    return None


def _copy(source: Path, path: Path) -> None:
    atomic_write(path, lambda partial: shutil.copyfile(source, partial))


def _save_sheet(model: Model, path: Path, weights_hash: str) -> None:
    factor = -(-MIN_SHEET_IMAGE_PIXELS // model.info.config.size)
    if model.classes:
        images = torch.cat([model.sample(SHEET_COLUMNS, class_=name) for name in model.classes])
        grid = make_grid(images, SHEET_COLUMNS)
    else:
        grid = make_grid(model.sample(SHEET_IMAGES))
    save_png(enlarge(grid, factor), path, f"{_sheet_text(model)}, not picked", source=weights_hash)


def _references_text(config: ModelConfig) -> str:
    return f" with {config.num_references:,} encoded training images inside" if config.num_references else ""


def _sheet_text(model: Model) -> str:
    """Describe the samples of the sheet."""
    if not model.classes:
        return f"seeds 0 to {SHEET_IMAGES - 1}"
    return f"seeds 0 to {SHEET_COLUMNS - 1}, a row for each class in turn: {', '.join(model.classes)}"


# ---- Model card -----------------------------------------------------------------------------------------------------


def model_card(
    model: Model,
    name: str,
    repo_id: str | None,
    image_counts: Mapping[str, int] | None,
    attributes: Sequence[Attribute],
    evaluation: CardEvaluation | None,
) -> str:
    """Return a model card in Markdown with a YAML header. It names no path and no image of the dataset.

    Args:
        model: the model.
        name: title of the card.
        repo_id: "USER/NAME" on the hub; None leaves a placeholder.
        image_counts: number of images by "train" and "val"; None where it is not recorded.
        attributes: what the card says can be asked for.
        evaluation: metrics; None says that there are none.

    Returns:
        the text.
    """
    info, config = model.info, model.info.config
    color = "color" if config.channels == 3 else "grayscale"
    network = "the generator of a GAN" if info.kind == "gan" else "a VAE"
    data_text = "a number of images that is not recorded"
    if image_counts is not None:
        data_text = f"{image_counts['train']:,} images for training and {image_counts['val']:,} for validation"
    facts = {
        "kind": f"{info.kind.upper()}, {'with' if model.encoder is not None else 'without'} encoder",
        "images": f"{config.size}x{config.size} pixels, {color}",
        "latent dimensions": f"{config.latent_dim:,}, {model.prior.kind} prior{_references_text(config)}",
        **({"classes": _describe_classes(config)} if config.classes else {}),
        "parameters of the decoder": f"{sum(weights.numel() for weights in model.decoder.parameters()):,}",
        "training images seen, with repetition": f"{info.images_seen:,} in {info.step:,} steps",
        "written by": f"vaegan {info.vaegan_version}",
    }
    sections = [
        f"---\n{_card_header(name, info.kind, data_text, evaluation)}---",
        f"# {name}",
        f"Draws faces at {config.size}x{config.size} pixels. It is {network}, trained with vaegan.",
        f"![Samples]({SHEET_FILE})" if model.classes else f"![{SHEET_IMAGES} samples]({SHEET_FILE})",
        f"*The samples of {_sheet_text(model)}, not picked.*",
        "## Model",
        _markdown_table(("", ""), list(facts.items())),
        "## Training data",
        f"{data_text.capitalize()}. Where they come from, and who may use them, is for the author to add.",
        "## Evaluation",
        *_evaluation_sections(evaluation),
        "## How to use",
        _usage_text(repo_id or REPO_PLACEHOLDER, name, model, attributes),
        "## Limits",
        "\n".join(f"- {text}" for text in LIMITS),
    ]
    return "\n\n".join(sections) + "\n"


def _card_header(name: str, kind: str, data_text: str, evaluation: CardEvaluation | None) -> str:
    """Return the YAML header. Texts are JSON strings, which are YAML too; 1e-05 would be a text in YAML."""
    lines = [
        "library_name: vaegan",
        "pipeline_tag: unconditional-image-generation",
        "# license: choose one, such as mit or cc-by-4.0, and remove the # in front",
        "tags:",
        *(f"- {tag}" for tag in ("vaegan", kind, "image-generation", "faces")),
    ]
    if evaluation is not None and evaluation.values:
        lines += [
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task:",
            "      type: unconditional-image-generation",
            "    dataset:",
            "      type: image-folder",
            f"      name: {json.dumps(data_text)}",
            "    metrics:",
        ]
        for key, (label, value) in evaluation.values.items():
            lines += [f"    - type: {key}", f"      name: {json.dumps(label)}", f"      value: {value:.6f}"]
    return "\n".join(lines) + "\n"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _evaluation_sections(evaluation: CardEvaluation | None) -> list[str]:
    if evaluation is None:
        return ["Not evaluated."]
    return [
        f"Of {evaluation.num_images:,} samples, beside as many real images (`vaegan evaluate`):",
        _markdown_table(("metric", "better", "samples", "real images"), evaluation.rows),
        "Distances are computed in random convolutional features, not in those of Inception.",
        *(["\n".join(f"- {text}" for text in evaluation.remarks)] if evaluation.remarks else []),
    ]


def _describe_classes(config: ModelConfig) -> str:
    """Return label and names of the classes for a cell of a table."""
    return f"{config.class_label}: {', '.join(config.classes)}".replace("|", "\\|")


def _usage_text(repo_id: str, name: str, model: Model, attributes: Sequence[Attribute]) -> str:
    folder = shlex.quote(name)
    class_flag = f" --class {shlex.quote(model.classes[0])}" if model.classes else ""
    commands = [
        f"hf download {shlex.quote(repo_id)} --local-dir {folder}",
        f"vaegan sample {folder} -n 64{class_flag}",
    ]
    example = next((attribute for attribute in attributes if attribute.value), None)
    if example is not None:
        where = shlex.quote(printable(f"{example.name}={example.value}"))
        commands.append(f"vaegan sample {folder}{class_flag} --where {where}")
    class_argument = f", class_={json.dumps(model.classes[0], ensure_ascii=False)}" if model.classes else ""
    lines = [
        "import vaegan",
        "",
        f"model = vaegan.load({json.dumps(name, ensure_ascii=False)})",
        f"images = model.sample(64, seed=0{class_argument})  # uint8 [64, C, S, S]",
        'images.save("samples.png")',
    ]
    if model.encoder is not None:
        lines.append('model.reconstruct(["face.jpg"]).save("reconstruction.png")')
    blocks = [f"```{language}\n{chr(10).join(code)}\n```" for language, code in (("bash", commands), ("python", lines))]
    if attributes:
        names = ", ".join(dict.fromkeys(printable(attribute.name) for attribute in attributes))
        blocks.append(f"Attributes that can be asked for and edited: {names}.")
    return "\n\n".join(blocks)


# ---- Upload ---------------------------------------------------------------------------------------------------------


def check_push(repo_id: str) -> None:
    """Check before the work that a folder can be uploaded: package, name and token.

    Args:
        repo_id: value of --push.

    Raises:
        UsageError: if it is not "USER/NAME".
        VaeganError: if huggingface_hub is not installed, or there is no token.
    """
    try:
        from huggingface_hub import get_token
    except ImportError as error:
        raise VaeganError(f"--push needs huggingface_hub ({error_text(error)}): {HUB_INSTALL_HINT}") from None
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id):
        raise UsageError(f"--push {printable(repo_id)}: expected USER/NAME")
    if not get_token():
        raise VaeganError("--push: no token of the hub found: set HF_TOKEN, or log in with hf auth login")


def push_hub_folder(folder: Path, names: Sequence[str], repo_id: str, emit: EventHandler) -> str:
    """Upload files of a folder to a repository on the hub. A new repository is private.

    Args:
        folder: the folder.
        names: the files to upload.
        repo_id: "USER/NAME".
        emit: receives notes, and the hub's remarks on the model card as warnings.

    Returns:
        address of the repository.

    Raises:
        VaeganError: if the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # they would be drawn over our own
    api = HfApi(library_name="vaegan")
    emit(Note(f"Uploading {folder} to {repo_id}"))
    try:
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always", UserWarning)
            address = str(api.create_repo(repo_id, private=True, exist_ok=True))
            api.upload_folder(
                repo_id=repo_id, folder_path=folder, allow_patterns=list(names), commit_message="Upload a vaegan model"
            )
    except Exception as error:  # of its HTTP library too, which is another one in each major version
        raise VaeganError(
            f"cannot upload to {repo_id}: {printable(error_text(error), 300)}; {folder} is complete: run the same"
            " command again"
        ) from error
    for remark in remarks:
        if issubclass(remark.category, UserWarning):
            emit(WarningMessage(printable(remark.message, 300)))
    emit(Note("A new repository is private: choose a license in its README.md, then make it public there"))
    return address
