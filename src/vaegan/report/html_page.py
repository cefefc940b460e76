"""Building blocks of an HTML page in one file, with embedded style, script and images."""

from __future__ import annotations

import base64
import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vaegan.utils.files import open_regular, write_bytes

ASSETS_DIR = Path(__file__).parent
GENERATOR_TAG = '<meta name="generator" content="vaegan">'
THEME_CSS, CHART_CSS, PAGE_CSS = (
    (ASSETS_DIR / f"{name}.css").read_text(encoding="utf-8") for name in ("tokens", "charts", "page")
)
VOLATILE_ATTRIBUTE = "data-volatile"
"""Marks times and paths: everything else is equal in the pages of two equal runs."""


def heading(text: str) -> str:
    """Return a section heading.

    Args:
        text: plain text.

    Returns:
        HTML.
    """
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, is_muted: bool = False) -> str:
    """Return a paragraph, in gray if it is muted.

    Args:
        text: plain text.
        is_muted: whether it is gray.

    Returns:
        HTML.
    """
    return f"<p{' class=muted' if is_muted else ''}>{html.escape(text)}</p>"


def text_list(lines: Iterable[str]) -> str:
    """Return a list of sentences; words before a colon are bold.

    Args:
        lines: the sentences, as plain text.

    Returns:
        HTML.
    """
    items = []
    for line in lines:
        word, colon, rest = line.partition(":")
        items.append(f"<b>{html.escape(word)}:</b>{html.escape(rest)}" if colon else html.escape(line))
    return f'<ul class="verdict">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def volatile_paragraph(label: str, text: str) -> str:
    """Return a muted paragraph with a text that depends on the clock or on the directory.

    Args:
        label: plain text before it.
        text: the plain text that depends on them.

    Returns:
        HTML.
    """
    return f"<p class=muted>{html.escape(label)}<span {VOLATILE_ATTRIBUTE}>{html.escape(text)}</span></p>"


def warning_box(text: str) -> str:
    """Return a highlighted warning.

    Args:
        text: plain text.

    Returns:
        HTML.
    """
    return f'<div class="warning" role="note">{html.escape(text)}</div>'


def image_tag(image_bytes: bytes, alt: str, is_pixelated: bool = False, is_hidden: bool = False) -> str:
    """Return an embedded PNG or JPEG; a pixelated one is enlarged without smoothing.

    Args:
        image_bytes: PNG or JPEG.
        alt: what it shows.
        is_pixelated: enlarge without smoothing.
        is_hidden: hide it until the script shows it.

    Returns:
        HTML.
    """
    data = base64.b64encode(image_bytes).decode()
    kind = "png" if image_bytes.startswith(b"\x89PNG") else "jpeg"
    css_class, hidden = ' class="pixels"' if is_pixelated else "", " hidden" if is_hidden else ""
    return f'<img{css_class} src="data:image/{kind};base64,{data}" alt="{html.escape(alt, quote=True)}"{hidden}>'


def fact_cards(values: Mapping[str, str], volatile: Mapping[str, str]) -> str:
    """Return a row of short facts.

    Args:
        values: text by name.
        volatile: those that depend on the clock or on the directory.

    Returns:
        HTML.
    """
    cards = [(name, value, "") for name, value in values.items()]
    cards += [(name, value, f" {VOLATILE_ATTRIBUTE}") for name, value in volatile.items()]
    content = (
        f"<div><dt>{html.escape(name)}</dt><dd{attribute}>{html.escape(value)}</dd></div>"
        for name, value, attribute in cards
    )
    return f'<dl class="cards">{"".join(content)}</dl>'


def frame_player(frames: Sequence[tuple[str, bytes]], starts_with_last: bool = True) -> str:
    """Return a slider through images.

    Args:
        frames: pairs of description and PNG or JPEG, at least one.
        starts_with_last: show the last image at first, not the first one.

    Returns:
        HTML.
    """
    last = len(frames) - 1
    start = last if starts_with_last else 0
    images = "".join(image_tag(data, text, is_hidden=index != start) for index, (text, data) in enumerate(frames))
    slider = f'<input type="range" min="0" max="{last}" value="{start}" aria-label="Preview">'
    controls = f"<button>Play</button>{slider}<output>{html.escape(frames[start][0])}</output>"
    return f'<div class="player"><div class="frames">{images}</div><div class="controls" hidden>{controls}</div></div>'


def _table_body(rows: Iterable[Sequence[str]], classes: Iterable[Sequence[str]] | None = None) -> str:
    lines = (
        "".join(
            f"<td{f' class={name}' if name else ''}>{html.escape(cell)}</td>"
            for cell, name in zip(row, names or [""] * len(row), strict=True)
        )
        for row, names in zip(rows, itertools.repeat(()) if classes is None else classes, strict=classes is not None)
    )
    return "<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody>"


def data_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], classes: Iterable[Sequence[str]] | None = None
) -> str:
    """Return a table of numbers; the first column holds names.

    Args:
        header: names of the columns.
        rows: cells.
        classes: the CSS class of each cell, such as "good", or "".

    Returns:
        HTML.
    """
    cells = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>{_table_body(rows, classes)}</table></div>'


def text_table(rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts without a header.

    Args:
        rows: cells.

    Returns:
        HTML.
    """
    return f'<table class="facts">{_table_body(rows)}</table>'


def fact_table(values: Mapping[str, object]) -> str:
    """Return a table of names and values; a value that is a mapping gets one line per entry.

    Args:
        values: value by name.

    Returns:
        HTML.
    """
    rows = []
    for name, value in values.items():
        lines = [f"{key}: {entry}" for key, entry in value.items()] if isinstance(value, Mapping) else [str(value)]
        rows.append((name.replace("_", " "), "\n".join(lines)))
    return text_table(rows)


def side_by_side(parts: Iterable[str]) -> str:
    """Return parts next to each other on a wide screen, below each other on a narrow one.

    Args:
        parts: HTML.

    Returns:
        HTML.
    """
    return f'<div class="side-by-side">{"".join(f"<section>{part}</section>" for part in parts)}</div>'


def chart_grid(charts: Iterable[str]) -> str:
    """Return the figures of `vaegan.report.charts` in a grid.

    Args:
        charts: HTML figures.

    Returns:
        HTML.
    """
    return f'<div class="charts">{"".join(charts)}</div>'


def details(summary: str, content: str) -> str:
    """Return HTML that is hidden until the reader opens it.

    Args:
        summary: plain text that is always shown.
        content: HTML.

    Returns:
        HTML.
    """
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def write_page(path: Path, title: str, sections: Iterable[str], head: str = "") -> None:
    """Write a page atomically.

    Args:
        path: HTML file.
        title: plain text.
        sections: HTML.
        head: additional HTML for its head.

    Raises:
        VaeganError: if it cannot be written.
    """
    name = html.escape(title)
    script = (ASSETS_DIR / "page.js").read_text(encoding="utf-8")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{GENERATOR_TAG}{head}<title>{name}</title><style>{THEME_CSS}{PAGE_CSS}{CHART_CSS}</style></head>"
        f"<body><h1 {VOLATILE_ATTRIBUTE}>{name}</h1>{''.join(sections)}<script>{script}</script></body></html>\n"
    )
    write_bytes(path, page.encode("utf-8", "backslashreplace"))


def read_head(path: Path) -> bytes:
    """Return the first bytes of a page, which hold its meta tags.

    Args:
        path: HTML file.

    Returns:
        at most 4,096 bytes.
    """
    try:
        with open_regular(path) as file:
            return file.read(4096)
    except OSError:
        return b""
