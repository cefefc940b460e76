"""Building blocks of an HTML page in one file: style, script and images are embedded; light and dark theme."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vaegan.utils.files import write_bytes

ASSETS_DIR = Path(__file__).parent
GENERATOR_TAG = '<meta name="generator" content="vaegan">'
THEME_CSS, CHART_CSS, PAGE_CSS = (
    (ASSETS_DIR / f"{name}.css").read_text(encoding="utf-8") for name in ("tokens", "charts", "page")
)
VOLATILE_ATTRIBUTE = "data-volatile"
"""Marks times and paths: everything else is equal in the pages of two equal runs."""


def heading(text: str) -> str:
    """Return a section heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, is_muted: bool = False) -> str:
    """Return a paragraph, in gray if it is muted."""
    return f"<p{' class=muted' if is_muted else ''}>{html.escape(text)}</p>"


def text_list(lines: Iterable[str]) -> str:
    """Return a list of sentences; words before a colon are bold."""
    items = []
    for line in lines:
        word, colon, rest = line.partition(":")
        items.append(f"<b>{html.escape(word)}:</b>{html.escape(rest)}" if colon else html.escape(line))
    return f'<ul class="verdict">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def volatile_paragraph(label: str, text: str) -> str:
    """Return a muted paragraph whose `text` depends on the clock or on the directory."""
    return f"<p class=muted>{html.escape(label)}<span {VOLATILE_ATTRIBUTE}>{html.escape(text)}</span></p>"


def warning_box(text: str) -> str:
    """Return a highlighted warning."""
    return f'<div class="warning" role="note">{html.escape(text)}</div>'


def image_tag(image_bytes: bytes, alt: str, is_pixelated: bool = False, is_hidden: bool = False) -> str:
    """Return an embedded PNG or JPEG; a pixelated one is enlarged without smoothing."""
    data = base64.b64encode(image_bytes).decode()
    kind = "png" if image_bytes.startswith(b"\x89PNG") else "jpeg"
    css_class, hidden = ' class="pixels"' if is_pixelated else "", " hidden" if is_hidden else ""
    return f'<img{css_class} src="data:image/{kind};base64,{data}" alt="{html.escape(alt, quote=True)}"{hidden}>'


def fact_cards(values: Mapping[str, str], volatile: Mapping[str, str]) -> str:
    """Return a row of short facts; the volatile ones depend on the clock or on the directory."""
    cards = [(name, value, "") for name, value in values.items()]
    cards += [(name, value, f" {VOLATILE_ATTRIBUTE}") for name, value in volatile.items()]
    content = (
        f"<div><dt>{html.escape(name)}</dt><dd{attribute}>{html.escape(value)}</dd></div>"
        for name, value, attribute in cards
    )
    return f'<dl class="cards">{"".join(content)}</dl>'


def frame_player(frames: Sequence[tuple[str, bytes]]) -> str:
    """Return a slider through images, given as (description, PNG or JPEG); the last one is shown first."""
    last = len(frames) - 1
    images = "".join(image_tag(data, text, is_hidden=index != last) for index, (text, data) in enumerate(frames))
    slider = f'<input type="range" min="0" max="{last}" value="{last}" aria-label="Preview">'
    controls = f"<button>Play</button>{slider}<output>{html.escape(frames[last][0])}</output>"
    return f'<div class="player"><div class="frames">{images}</div><div class="controls" hidden>{controls}</div></div>'


def _table_body(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return "<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody>"


def data_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of numbers; the first column holds names."""
    cells = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>{_table_body(rows)}</table></div>'


def text_table(rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts without a header."""
    return f'<table class="facts">{_table_body(rows)}</table>'


def fact_table(values: Mapping[str, object]) -> str:
    """Return a table of names and values; a value that is a mapping gets one line per entry."""
    rows = []
    for name, value in values.items():
        lines = [f"{key}: {entry}" for key, entry in value.items()] if isinstance(value, Mapping) else [str(value)]
        rows.append((name.replace("_", " "), "\n".join(lines)))
    return text_table(rows)


def side_by_side(parts: Iterable[str]) -> str:
    """Return parts next to each other on a wide screen, below each other on a narrow one."""
    return f'<div class="side-by-side">{"".join(f"<section>{part}</section>" for part in parts)}</div>'


def chart_grid(charts: Iterable[str]) -> str:
    """Return the figures of `vaegan.report.charts` in a grid."""
    return f'<div class="charts">{"".join(charts)}</div>'


def details(summary: str, content: str) -> str:
    """Return HTML that is hidden until the reader opens it."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def write_page(path: Path, title: str, sections: Iterable[str], head: str = "") -> None:
    """Write a page atomically; `head` is additional HTML for its head."""
    name = html.escape(title)
    script = (ASSETS_DIR / "page.js").read_text(encoding="utf-8")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{GENERATOR_TAG}{head}<title>{name}</title><style>{THEME_CSS}{PAGE_CSS}{CHART_CSS}</style></head>"
        f"<body><h1 {VOLATILE_ATTRIBUTE}>{name}</h1>{''.join(sections)}<script>{script}</script></body></html>\n"
    )
    write_bytes(path, page.encode())


def read_head(path: Path) -> bytes:
    """Return the first bytes of a page, which hold its meta tags."""
    with path.open("rb") as file:
        return file.read(4096)
