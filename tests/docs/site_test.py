"""The site is built without a complaint, and every link leads somewhere."""

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
  assert pages == packages | {'lm'}


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
  reference = (tmp_path / 'reference/objectives.html').read_text()
  assert 'lm.objectives.masked_lm.masked_lm' in reference
