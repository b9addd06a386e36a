"""Scores a small GPT and a small BERT on minimal pairs and perplexity.

  python -m benchmarks.zero_shot --data=DIR

DIR has wikitext2/wikitext2_train_valid.zip, wikitext2/test.txt and
blimp/BLiMP.zip. Both models are trained first, in --workdir; then all 67
paradigms of BLiMP are scored, and the perplexity of the GPT on the test set.
Writes benchmarks/results/zero_shot.json, unless with --steps or --limit (a
trial), and prints it as the last line of stdout. Two hours on 2 cores; the same
command resumes the work in --workdir.
"""

import json
import pathlib
import subprocess
import sys
from typing import Any

from benchmarks import wikitext_models
from experiments import command
from lm.training import run_log
from lm.training.workdir import describe_environment

RESULTS = pathlib.Path(__file__).parent / 'results' / 'zero_shot.json'
FORMS = {'gpt': ('left_to_right',), 'bert': ('pll', 'pll_word_l2r')}
STRIDE = 16


def main(
  data: str,
  workdir: str = 'runs/applications',
  steps: int = 0,
  limit: int = 0,
  out: str = str(RESULTS),
) -> None:
  """Trains and scores the models.

  Args:
    data: The folder of the data.
    workdir: Where the models are.
    steps: A trial of this many steps, whose results are not saved.
    limit: The most pairs of each paradigm, or articles; 0 means all.
    out: The file to write; '' for none.
  """
  root, there = pathlib.Path(workdir), pathlib.Path(data)
  archive = there / wikitext_models.FILES
  scores: dict[str, Any] = {}
  for family, forms in FORMS.items():
    model = root / f'wikitext_{family}'
    wikitext_models.train(family, archive, model, steps)
    told = scores[family] = {'trained': trained(model)}
    for form in forms:
      asked = ['--task=blimp', f'--data={there}/blimp', f'--form={form}']
      told[form] = score(model, form, asked, limit)
    if family == 'gpt':
      asked = ['--task=perplexity', f'--data={there}/wikitext2/test.txt']
      asked += ['--documents=wikitext', f'--stride={STRIDE}']
      told['perplexity'] = score(model, 'perplexity', asked, limit)
  measured = {'scores': scores, 'environment': describe_environment()}
  if out and not steps and not limit:
    text = json.dumps(measured, indent=2) + '\n'
    pathlib.Path(out).write_text(text)
  command.report(measured)


def trained(model: pathlib.Path) -> dict[str, Any]:
  """Returns the step and loss of a run's best evaluation, and its commit."""
  lines = run_log.read(model / 'metrics.jsonl')
  evals = [line for line in lines if line['split'] == 'eval']
  best = min(evals, key=lambda line: line['loss'])
  code = json.loads((model / 'environment.json').read_text())['git_sha']
  return {**{key: best[key] for key in ('step', 'loss')}, 'git_sha': code}


def score(
  model: pathlib.Path, name: str, asked: list[str], limit: int
) -> dict[str, Any]:
  """Returns the output of `experiments.score` for a model, run if needed."""
  path = model / 'scores' / f'{name}-{limit}.json'
  if not path.exists():
    path.parent.mkdir(exist_ok=True)
    argv = [f'--workdir={model}', f'--limit={limit}', f'--out={path}', *asked]
    started = [sys.executable, '-m', 'experiments.score', *argv]
    subprocess.run(started, check=True, stdout=subprocess.DEVNULL)
  return json.loads(path.read_text())


if __name__ == '__main__':
  command.run(main)
