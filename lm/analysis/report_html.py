"""Builds a report as one self-contained HTML file.

Functions return HTML, and take text, all of which is escaped; only `parts` are
the HTML that other functions here returned. The file makes no requests, as its
content security policy ensures; pictures are embedded.
"""

import base64
import html
import re
from collections.abc import Iterable, Sequence

from lm.types import UserError

Cell = str | int | float | None
KINDS = {b'\x89PNG\r\n\x1a\n': 'png', b'<svg': 'svg+xml', b'<?xml': 'svg+xml'}

# Numbers and what surrounds them: +1.2 ± 0.3%, 1,024, [−0.4, 0.1], 3e+17, 2.1M.
NUMERIC = re.compile(
  r'[\[(]?[-−+±]?\d(?:[-−+±\d,.;\s%×()\[\]]|e[-+]?\d)*[kMGT]?'
)
NOTHING = '–'
NOTHINGS = ('', '-', '–', '—', '−')
WORDS = ('nan', 'inf', '−inf')
LONG = 32  # Columns with longer texts get a minimum width.

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --ink: #1f2328; --faint: #59616b; --line: #d9dce0;
  --shade: #f3f4f6; --link: #0b5cad;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181c; --ink: #e3e5e8; --faint: #a3aab3; --line: #363b42;
    --shade: #20242a; --link: #7ab8f5;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem clamp(1rem, 4vw, 2.5rem) 4rem;
  max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: break-word;
}
h1, h2, h3, h4 { line-height: 1.25; margin: 2.2em 0 .6em; text-wrap: balance; }
h1 { font-size: 1.9rem; margin-top: 0; }
h2 { font-size: 1.4rem; padding-top: .8em; border-top: 1px solid var(--line); }
h3 { font-size: 1.12rem; }
h4 { font-size: 1rem; }
p, ul { max-width: 46rem; margin: 0 0 1em; }
ul { padding-left: 1.3rem; }
a { color: var(--link); }
nav ul { columns: 16rem; list-style: none; padding: 0; max-width: none; }
code, pre { font: .875em/1.5 ui-monospace, Menlo, Consolas, monospace; }
pre {
  overflow-x: auto; padding: .8rem 1rem; margin: 0 0 1em;
  background: var(--shade); border-radius: 6px;
}
figure { margin: 1.4em 0 2em; }
figure > div, figure.table { overflow-x: auto; }
figcaption, caption {
  color: var(--faint); font-size: .9rem; line-height: 1.45; text-align: left;
}
figcaption { margin-top: .6em; max-width: 46rem; }
caption { padding-bottom: .6em; }
caption span { display: block; max-width: min(46rem, 88vw); }
img {
  display: block; max-width: max(100%, 36rem); height: auto; padding: .5rem;
  background: #fff; border-radius: 6px; border: 1px solid var(--line);
}
table { border-spacing: 0; font-size: .92rem; line-height: 1.4; }
th, td {
  padding: .42em .8em; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
thead th { vertical-align: bottom; border-bottom: 2px solid var(--line); }
tbody th { font-weight: 500; }
tr > :first-child {
  position: sticky; left: 0; padding-left: 0; background: var(--paper);
  min-width: 6rem; max-width: 40vw;
}
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
.long { min-width: 15rem; }
details {
  margin: 0 0 1.2em; padding: .6rem 1rem; border: 1px solid var(--line);
  border-radius: 6px;
}
details > :last-child { margin-bottom: .4em; }
summary { cursor: pointer; font-weight: 500; }
details[open] > summary { margin-bottom: .8em; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media print {
  :root {
    color-scheme: light; --paper: #fff; --ink: #000; --faint: #444;
    --line: #bbb; --shade: #f5f5f5; --link: #000;
  }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3, h4 { break-after: avoid; }
  figure, tr, details { break-inside: avoid; }
  figure > div, figure.table { overflow: visible; }
  figure.table { break-inside: auto; }
  .long { min-width: 0; }
  thead { display: table-header-group; }
  th, td { padding: .3em .5em; }
  pre { white-space: pre-wrap; }
  tr > :first-child { position: static; }
  details::details-content { content-visibility: visible; block-size: auto; }
  @page { margin: 16mm; }
}
"""


def page(title: str, parts: Iterable[str]) -> str:
  """Returns a whole document, for light and dark, phone and paper."""
  policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
  body = '\n'.join(parts)
  return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{_text(title)}</h1>
{body}
</main>
</body>
</html>
"""


def heading(text: str, level: int = 2) -> str:
  """Returns a heading, to which `contents` links if its text is unique."""
  if not 2 <= level <= 4:
    raise ValueError(f'A heading has the level {level}. Give it 2, 3 or 4.')
  return f'<h{level} id="{_anchor(text)}">{_text(text)}</h{level}>'


def contents(headings: Iterable[str]) -> str:
  """Returns links to headings, by their texts."""
  links = ''.join(
    f'<li><a href="#{_anchor(text)}">{_text(text)}</a></li>'
    for text in headings
  )
  return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def paragraph(text: str) -> str:
  """Returns a paragraph."""
  return f'<p>{_text(text)}</p>'


def bullets(items: Iterable[str]) -> str:
  """Returns a bulleted list."""
  return f'<ul>{"".join(f"<li>{_text(item)}</li>" for item in items)}</ul>'


def code(text: str) -> str:
  """Returns preformatted lines, such as a command."""
  return f'<pre tabindex="0"><code>{_text(text)}</code></pre>'


def details(summary: str, parts: Iterable[str], opened: bool = False) -> str:
  """Returns parts that are folded under a summary."""
  folded = ' open' if opened else ''
  body = '\n'.join(parts)
  return (
    f'<details{folded}><summary>{_text(summary)}</summary>\n{body}\n</details>'
  )


def table(
  header: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str
) -> str:
  """Returns a table, each row named by its first cell.

  Columns of numbers are right-aligned; a table wider than the screen scrolls,
  with its first column fixed.

  Args:
    header: The name of each column.
    rows: Text; integers; floats, shown with 4 digits; None for nothing.
    caption: What the table shows.
  """
  rows = [list(row) for row in rows]
  for row in rows:
    if len(row) != len(header):
      raise ValueError(f'{row} has not the {len(header)} columns {header}.')
  marks = [_mark(column) for column in zip(*rows)] or [''] * len(header)
  head = ''.join(
    f'<th scope="col"{mark}>{_text(name)}</th>'
    for name, mark in zip(header, marks)
  )
  lines = []
  for row in rows:
    first, *others = [_text(shown(cell)) for cell in row]
    cells = f'<th scope="row"{marks[0]}>{first}</th>' + ''.join(
      f'<td{mark}>{cell}</td>' for cell, mark in zip(others, marks[1:])
    )
    lines.append(f'<tr>{cells}</tr>')
  body = '\n'.join(lines)
  # Focusable by keyboard, since it may have to be scrolled.
  return (
    f'<figure class="table" tabindex="0" role="region"'
    f' aria-label="{_text(caption)}">\n<table>\n'
    f'<caption><span>{_text(caption)}</span></caption>\n'
    f'<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
    f'</table>\n</figure>'
  )


def figure(image: bytes, caption: str, description: str = '') -> str:
  """Returns an embedded picture.

  Args:
    image: A PNG or an SVG.
    caption: The text below it.
    description: The alternative text; by default the caption.

  Raises:
    UserError: It is neither PNG nor SVG.
  """
  start = image.lstrip()[:8]
  kind = next((KINDS[key] for key in KINDS if start.startswith(key)), None)
  if kind is None:
    raise UserError(
      f'A picture begins with {image[:8]!r}, so it is neither PNG nor SVG. Save'
      ' it as one of these.'
    )
  data = base64.b64encode(image).decode()
  return (
    f'<figure><div tabindex="0"><img src="data:image/{kind};base64,{data}"'
    f' alt="{_text(description or caption)}"></div>\n'
    f'<figcaption>{_text(caption)}</figcaption></figure>'
  )


def shown(cell: Cell) -> str:
  """Returns a cell as text: 1,024, 41,250 and 3.142, −0.5 with a minus sign."""
  if cell is None:
    return NOTHING
  if isinstance(cell, str | bool):
    return str(cell)
  if isinstance(cell, int):
    text = f'{cell:,}'
  else:
    text = f'{cell:,.0f}' if 1e3 <= abs(cell) < 1e6 else f'{cell:.4g}'
  return text.replace('-', '−', 1) if text.startswith('-') else text


def _mark(column: Iterable[Cell]) -> str:
  """Returns the class attribute of a column: numbers, or long texts."""
  texts = [cell for cell in map(shown, column) if cell not in NOTHINGS]
  numeric = lambda text: text in WORDS or NUMERIC.fullmatch(text)
  if texts and all(map(numeric, texts)):
    return ' class="number"'
  return ' class="long"' if max(map(len, texts), default=0) > LONG else ''


def _anchor(text: str) -> str:
  """Returns the id by which a heading is linked."""
  return re.sub(r'\W+', '-', text.lower()).strip('-') or 'section'


def _text(text: str) -> str:
  """Returns escaped text."""
  return html.escape(text, quote=True)
