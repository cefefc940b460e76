"""The parts of a page: one HTML file with its style, script and pictures inside, light and dark."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vaegan.utils.files import write_bytes

ASSETS_DIR = Path(__file__).parent
GENERATOR_TAG = '<meta name="generator" content="vaegan">'
THEME_CSS = (ASSETS_DIR / "tokens.css").read_text(encoding="utf-8")
"""Colours, light and dark, that all pages share."""
VOLATILE_ATTRIBUTE = "data-varies"
"""Marks what the clock and the place decide: all else of two equal runs' pages is equal."""


def heading(text: str) -> str:
    """A section's title."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, is_muted: bool = False) -> str:
    """A paragraph, `soft` for what matters less."""
    return f"<p{' class=soft' if is_muted else ''}>{html.escape(text)}</p>"


def volatile_paragraph(label: str, text: str) -> str:
    """A soft paragraph whose `text` is decided by the clock or the place."""
    return f"<p class=soft>{html.escape(label)}<span {VOLATILE_ATTRIBUTE}>{html.escape(text)}</span></p>"


def warning_box(text: str) -> str:
    """Something to look at."""
    return f'<div class="warning" role="note">{html.escape(text)}</div>'


def image_tag(image_bytes: bytes, alt: str, is_pixelated: bool = False, attributes: str = "") -> str:
    """A PNG or JPEG inside the page; `text` says what it shows; `pixels` keeps single pixels sharp.

    more: further attributes, as HTML.
    """
    data = base64.b64encode(image_bytes).decode()
    kind = "png" if image_bytes.startswith(b"\x89PNG") else "jpeg"
    sharp = ' class="pixels"' if is_pixelated else ""
    return f'<img{sharp} src="data:image/{kind};base64,{data}" alt="{html.escape(alt, quote=True)}"{attributes}>'


def fact_cards(values: Mapping[str, str], volatile: Mapping[str, str]) -> str:
    """A few facts at a glance; `varying` are those that the clock and the place decide."""

    def card(name: str, value: str, attribute: str = "") -> str:
        return f"<div><dt>{html.escape(name)}</dt><dd{attribute}>{html.escape(value)}</dd></div>"

    shown = [card(*pair) for pair in values.items()] + [
        card(*pair, f" {VOLATILE_ATTRIBUTE}") for pair in volatile.items()
    ]
    return f'<dl class="cards">{"".join(shown)}</dl>'


def frame_player(frames: Sequence[tuple[str, bytes]]) -> str:
    """Pictures to be gone through with a slider: each with what it shows. The last is seen first."""
    last = len(frames) - 1
    shown = "".join(
        image_tag(data, text, attributes="" if k == last else " hidden") for k, (text, data) in enumerate(frames)
    )
    slider = f'<input type="range" min="0" max="{last}" value="{last}" aria-label="Preview">'
    controls = f"<button>Play</button>{slider}<output>{html.escape(frames[last][0])}</output>"
    return f'<div class="player"><div class="frames">{shown}</div><div class="controls" hidden>{controls}</div></div>'


def _table_body(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return "<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody>"


def data_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column holds names."""
    top = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>{_table_body(rows)}</table></div>'


def fact_table(values: Mapping[str, object]) -> str:
    """Names and values, one a row; a mapping's entries one a line."""

    def said(value: object) -> str:
        return "\n".join(f"{a}: {b}" for a, b in value.items()) if isinstance(value, Mapping) else str(value)

    return text_table([(name.replace("_", " "), said(value)) for name, value in values.items()])


def text_table(rows: Iterable[Sequence[str]]) -> str:
    """A table of texts without a head."""
    return f'<table class="facts">{_table_body(rows)}</table>'


def side_by_side(parts: Iterable[str]) -> str:
    """Parts of a page beside each other where there is room, else below each other."""
    return f'<div class="two">{"".join(f"<section>{part}</section>" for part in parts)}</div>'


def details(summary: str, content: str) -> str:
    """What is shown only when asked for; `content` is HTML."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def write_page(path: Path, title: str, sections: Iterable[str]) -> None:
    """Write the page to `path`, atomically. Raises VaeganError when the disk refuses."""
    name = html.escape(title)
    style, script = ((ASSETS_DIR / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{GENERATOR_TAG}<title>{name}</title><style>{THEME_CSS}{style}</style></head>"
        f"<body><h1 {VOLATILE_ATTRIBUTE}>{name}</h1>{''.join(sections)}<script>{script}</script></body></html>\n"
    )
    write_bytes(path, page.encode())
