"""Pages that open from the disk with no network: one HTML file, pictures inside, light and dark."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vaegan.files import write_bytes

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fdfdfb; --line: #d8d8d0; --soft: #6a6a64; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e4; --paper: #191a1c; --line: #3a3b3e; --soft: #a0a09a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
p.soft, td.soft { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: pre; }
th:first-child, td:first-child { text-align: left; white-space: pre-wrap; min-width: 9rem; }
table.facts td { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; border-radius: 4px; background: #fff; }
img.pixels { image-rendering: pixelated; }
.warning { border-left: 4px solid #d9822b; padding: .4rem .8rem; margin: .6rem 0; }
"""


def heading(text: str) -> str:
    """A section's title."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, soft: bool = False) -> str:
    """A paragraph, `soft` for what matters less."""
    return f"<p{' class=soft' if soft else ''}>{html.escape(text)}</p>"


def warning(text: str) -> str:
    """Something to look at."""
    return f'<div class="warning" role="note">{html.escape(text)}</div>'


def picture(png: bytes, text: str, pixels: bool = False) -> str:
    """A PNG inside the page; `text` says what it shows; `pixels` keeps single pixels sharp."""
    content = base64.b64encode(png).decode()
    kind = ' class="pixels"' if pixels else ""
    return f'<img{kind} src="data:image/png;base64,{content}" alt="{html.escape(text, quote=True)}">'


def _body(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return "<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column holds names."""
    top = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>{_body(rows)}</table></div>'


def facts(values: Mapping[str, object]) -> str:
    """Names and values, one a row; a mapping's entries one a line."""

    def said(value: object) -> str:
        return "\n".join(f"{a}: {b}" for a, b in value.items()) if isinstance(value, Mapping) else str(value)

    rows = [(name.replace("_", " "), said(value)) for name, value in values.items()]
    return f'<table class="facts">{_body(rows)}</table>'


def write_page(path: Path, title: str, sections: Iterable[str]) -> None:
    """Write the page to `path`, atomically. Raises VaeganError when the disk refuses."""
    name = html.escape(title)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="vaegan"><title>{name}</title><style>{STYLE}</style></head>'
        f"<body><h1>{name}</h1>{''.join(sections)}</body></html>\n"
    )
    write_bytes(path, page.encode())
