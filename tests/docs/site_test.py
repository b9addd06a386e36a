"""The site is built without a complaint, and every link leads somewhere."""

import html
import re
import subprocess
import sys

import pytest

from tests.docs import markdown

LINK = re.compile(r'\]\(([^)\s]+)\)')


def test_every_link_of_the_readme_resolves():
  text = (markdown.ROOT / 'README.md').read_text()
  links = [link for link in LINK.findall(text) if '://' not in link]
  assert len(links) > 10
  for link in links:
    path, _, anchor = link.partition('#')
    assert (markdown.ROOT / path).exists(), link
    if anchor:
      headings = re.findall(
        r'^#+ (.+)$', (markdown.ROOT / path).read_text(), re.M
      )
      names = {
        re.sub(r'[^\w -]', '', h.lower()).replace(' ', '-') for h in headings
      }
      assert anchor in names, link


def test_every_package_has_a_page_of_its_interface():
  packages = {
    path.parent.name for path in markdown.ROOT.glob('lm/*/__init__.py')
  }
  pages = {
    path.stem for path in (markdown.ROOT / 'docs/reference').glob('*.md')
  }
  assert pages == packages | {'lm', 'sweeps'}


def lost_form(page: str) -> list[str]:
  """Returns running text that was meant as columns, as a table or as a list.

  What Markdown takes for text, since it is not indented by four spaces.
  """
  found = []
  for text in re.findall(r'<(?:p|li|td)>(.*?)</(?:p|li|td)>', page, re.S):
    prose = re.sub(r'<code>.*?</code>', '', text, flags=re.S)
    prose = html.unescape(re.sub(r'<[^>]+>', '', prose))
    if re.search(r'\S {3,}\S|\n *\||\n\d+\. |python -m |>>> ', prose):
      found.append(prose)
  return found


def test_what_lost_its_form_is_found():
  assert lost_form('<p>one   two</p><li>1. a\n2. b</li>')
  assert lost_form('<p>Run python -m this:</p>') and lost_form('<p>a\n| b</p>')
  assert not lost_form('<p>one two</p><code>a    b</code><p>see <code>c   d')


@pytest.mark.peers
@pytest.mark.slow
def test_the_site_is_built_and_asks_nobody_for_anything(tmp_path):
  built = subprocess.run(
    [
      sys.executable,
      '-m',
      'mkdocs',
      'build',
      '--strict',
      f'--site-dir={tmp_path}',
    ],
    cwd=markdown.ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert built.returncode == 0, built.stderr
  pages = [*tmp_path.rglob('*.html')]
  assert len(pages) >= len(markdown.PAGES) - 1  # The README is not of them.
  loaded = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]+"')
  for page in pages:
    asked = [
      tag for tag in loaded.findall(page.read_text()) if 'canonical' not in tag
    ]
    assert not asked, (page, asked)
    assert not lost_form(page.read_text()), page
  reference = (tmp_path / 'reference/objectives.html').read_text()
  assert 'lm.objectives.masked_lm.masked_lm' in reference
