"""Both models are asked every form, and what they answer is kept."""

import json
import pathlib
import subprocess
import sys
import zipfile

import pytest

from benchmarks import wikitext_models, zero_shot

ROOT = pathlib.Path(__file__).parents[2]
PAIRS = [('He goes home.', 'He go home.'), ('They go.', 'They goes.')]


@pytest.fixture
def data(tmp_path):
  """A folder of data with two pairs and an article."""
  lines = [
    {
      'sentence_good': good,
      'sentence_bad': bad,
      'UID': 'agreement',
      'pairID': str(number),
      'field': 'morphology',
      'linguistics_term': 'agreement',
    }
    for number, (good, bad) in enumerate(PAIRS)
  ]
  for name in ('blimp', 'wikitext2'):
    (tmp_path / name).mkdir()
  with zipfile.ZipFile(tmp_path / 'blimp/BLiMP.zip', 'w') as archive:
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    archive.writestr('data/agreement.jsonl', text)
  (tmp_path / 'wikitext2/test.txt').write_text(
    ' \n = A title = \n \n The cat sat on the mat , and stayed . \n'
  )
  return tmp_path


@pytest.mark.slow
@pytest.mark.processes
def test_all_forms_are_asked_and_kept(data, tmp_path, monkeypatch, capsys):
  def train(family, archive, workdir, steps):
    assert archive == data / wikitext_models.FILES and steps == 0
    argv = [f'--config=configs/{family}.py:debug', f'--workdir={workdir}']
    started = [sys.executable, '-m', 'experiments.train', *argv]
    subprocess.run(started, check=True, stdout=subprocess.DEVNULL)

  monkeypatch.setattr(wikitext_models, 'train', train)
  out = tmp_path / 'zero_shot.json'
  zero_shot.main(str(data), str(tmp_path / 'runs'), out=str(out))
  kept = json.loads(out.read_text())
  assert kept == json.loads(capsys.readouterr().out.splitlines()[-1])
  scores = kept['scores']
  assert {family: {*found} for family, found in scores.items()} == {
    'gpt': {'trained', 'left_to_right', 'perplexity'},
    'bert': {'trained', 'pll', 'pll_word_l2r'},
  }
  for family, forms in zero_shot.FORMS.items():
    assert scores[family]['trained'].keys() == {
      'step',
      'loss',
      'git_sha',
    }
    for form in forms:
      assert scores[family][form]['form'] == form
      assert scores[family][form]['accuracy'] in (0, 0.5, 1)
  assert scores['gpt']['perplexity']['stride'] == zero_shot.STRIDE
  # What has been asked is not asked again.
  monkeypatch.setattr(wikitext_models, 'train', lambda *_: None)
  monkeypatch.setattr(zero_shot, 'subprocess', None)
  zero_shot.main(str(data), str(tmp_path / 'runs'), out='')
  assert json.loads(capsys.readouterr().out.splitlines()[-1]) == kept


def test_the_page_says_what_was_measured():
  page = (ROOT / 'docs/zero_shot.md').read_text()
  scores = json.loads(zero_shot.RESULTS.read_text())['scores']
  asked = [scores[of][form] for of in scores for form in zero_shot.FORMS[of]]
  assert {found['pairs'] for found in asked} == {67_000}
  told = ' | '.join(f'**{100 * found["accuracy"]:.1f}**' for found in asked)
  assert f'| {told} | 61.2 | 69.8 | 83.0 |' in page
  for name in asked[0]['phenomena']:
    told = ' | '.join(
      f'{100 * found["phenomena"][name]:.1f}' for found in asked
    )
    assert f'| {name.replace("_", " ")} | {told} |'.lower() in page.lower()
  perplexity = scores['gpt']['perplexity']
  assert f'{perplexity["bits_per_byte"]:.3f} bits a byte' in page
  assert f'{perplexity["perplexity_per_word"]:,.0f} a word' in page
