"""A report is one file that is well formed, escapes and asks for nothing."""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from matplotlib import image

from lm.analysis import report_html
from lm.types import UserError

HOSTILE = '</title></style><script src="http://a.b/c.js">x</script>&amp;\'"<b>'
VOID = {'meta', 'link', 'img', 'br'}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="4"/></svg>'


def png() -> bytes:
  file = io.BytesIO()
  image.imsave(file, np.arange(12.0).reshape(3, 4), format='png')
  return file.getvalue()


class Outline(html.parser.HTMLParser):
  """What a browser finds: tags in order, their attributes, and the text."""

  def __init__(self, document):
    super().__init__()
    self.tags, self.attributes, self.text, self.open = [], [], [], []
    self.feed(document)
    self.close()
    assert self.open == []

  def handle_starttag(self, tag, attrs):
    assert len(dict(attrs)) == len(attrs)
    self.tags.append(tag)
    self.attributes += [(tag, *pair) for pair in attrs]
    if tag not in VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] != 'style':
      self.text.append(data)

  def values(self, name):
    return [value for _, key, value in self.attributes if key == name]


def everything(text: str) -> str:
  """Returns a page with all there is, that says `text` everywhere."""
  table = report_html.table([text, 'n'], [[text, 1], [text, 2.5]], text)
  return report_html.page(
    text,
    [
      report_html.contents([text]),
      report_html.heading(text),
      report_html.heading(f'{text} 3', 3),
      report_html.paragraph(text),
      report_html.bullets([text, text]),
      report_html.code(text),
      report_html.figure(png(), text, f'{text} described'),
      report_html.figure(SVG, text),
      report_html.details(text, [table, report_html.paragraph(text)]),
    ],
  )


def test_what_it_is_given_is_text_and_nothing_else():
  harmless = 'As long a text, with nothing in it that a browser takes for more.'
  plain, hostile = (Outline(everything(text)) for text in (harmless, HOSTILE))
  assert hostile.tags == plain.tags
  assert {'title', 'h1', 'nav', 'details', 'table'} <= {*plain.tags}
  assert not {'script', 'b'} & {*plain.tags}
  kinds = lambda outline: [pair[:2] for pair in outline.attributes]
  assert kinds(hostile) == kinds(plain)
  said = lambda outline: ''.join(outline.text)
  assert said(hostile) == said(plain).replace(harmless, HOSTILE)
  assert HOSTILE in hostile.values('alt')
  assert HOSTILE in hostile.values('aria-label')


def test_no_request_leaves_the_file():
  document = everything('Text.')
  outline = Outline(document)
  for name in ('src', 'href', 'srcset', 'action', 'data', 'poster'):
    for value in outline.values(name):
      assert value.startswith(('data:', '#')), value
  assert not re.search(r'https?:|url\(|@import|//', document, re.IGNORECASE)
  assert not {'script', 'iframe', 'object', 'base'} & {*outline.tags}
  assert "default-src 'none'" in outline.values('content')[0]


def test_a_heading_is_where_its_link_leads():
  outline = Outline(everything('FLOPs, and 时间: a & b'))
  ids = outline.values('id')
  assert ids == ['flops-and-时间-a-b', 'flops-and-时间-a-b-3']
  assert f'#{ids[0]}' in outline.values('href')


@pytest.mark.parametrize(
  'picture, kind', [(png(), 'png'), (b'\n' + SVG, 'svg+xml')]
)
def test_a_picture_is_in_the_file_as_it_was(picture, kind):
  outline = Outline(report_html.figure(picture, 'Losses'))
  (source,) = outline.values('src')
  head, _, data = source.partition(',')
  assert head == f'data:image/{kind};base64'
  assert base64.b64decode(data) == picture
  assert outline.values('alt') == ['Losses']


def test_what_is_no_picture_is_refused():
  with pytest.raises(UserError, match=r'begins with .*GIF89a.* neither PNG'):
    report_html.figure(b'GIF89a...', 'Losses')


@pytest.mark.parametrize(
  'cell, expected',
  [
    (3712512, '3,712,512'),
    (-3, '−3'),
    (41250.2, '41,250'),
    (0.000123456, '0.0001235'),
    (-0.5, '−0.5'),
    (3.1e13, '3.1e+13'),
    (2.0, '2'),
    (float('nan'), 'nan'),
    (True, 'True'),
    (None, '–'),
    ('3.41 ± 0.02', '3.41 ± 0.02'),
  ],
)
def test_a_cell_reads_as_people_write_it(cell, expected):
  assert report_html.shown(cell) == expected


def classes_of(rows):
  header = [f'column {i}' for i in range(len(rows[0]))] if rows else ['a']
  page = report_html.table(header, rows, 'Numbers')
  head, body = page.split('<tbody>')
  per_row = [
    [found or '' for found in re.findall(r'<t[hd](?: scope="\w+")?(?: class="(\w+)")?>', part)]
    for part in [head, *body.split('</tr>')[: len(rows)]]
  ]  # fmt: skip
  assert all(row == per_row[0] for row in per_row)
  return per_row[0]


def test_columns_of_numbers_are_aligned_and_long_texts_have_room():
  rows = [
    ['gpt', 1, '61.2 ± 0.8', '[−8.2, −3.9]', None, '12 layers', 'x' * 40, 1e9],
    ['bert', None, '+3%', '1e-4', None, '12', '', float('nan')],
    ['t5', 2.5, '–', '2.1M', None, '', '', float('-inf')],
  ]
  assert classes_of(rows) == [
    '',
    'number',
    'number',
    'number',
    '',
    '',
    'long',
    'number',
  ]
  assert classes_of([]) == ['']


@pytest.mark.parametrize('row', [['a'], ['a', 1, 2]])
def test_a_row_of_another_width_is_refused(row):
  with pytest.raises(ValueError, match='has not the 2 columns'):
    report_html.table(['name', 'n'], [['b', 2], row], 'Numbers')


@pytest.mark.parametrize('level', [1, 5])
def test_a_heading_below_the_title_has_three_levels(level):
  with pytest.raises(ValueError, match='Give it 2, 3 or 4'):
    report_html.heading('Scores', level)


def luminance(color):
  """Returns that of WCAG 2.2, of #rgb or #rrggbb."""
  digits = color[1:] if len(color) == 7 else ''.join(2 * c for c in color[1:])
  parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
  linear = [
    part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
    for part in parts
  ]
  return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_all_that_is_read_has_contrast_light_dark_and_printed():
  roots = re.findall(r':root \{(.*?)\}', report_html.STYLE, re.DOTALL)
  assert len(roots) == 3
  for root in roots:
    colors = dict(re.findall(r'--(\w+): (#\w+);', root))
    for ink in ('ink', 'faint', 'link'):
      for paper in ('paper', 'shade'):
        lights = sorted(luminance(colors[name]) for name in (ink, paper))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, (ink, paper)
