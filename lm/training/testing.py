"""The test set of a task: scored once, with the chosen checkpoint."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from absl import logging

from lm.data import atomic
from lm.parallel import hosts, mesh as meshes
from lm.tasks import predictions
from lm.training import run_config, selection, task_evaluation
from lm.training.assembly import assemble
from lm.training.evaluation import alone

SCORES = 'test.json'


def outcome(config: Mapping[str, Any], workdir: pathlib.Path) -> dict[str, Any]:
  """Returns the results of a finished run.

  Args:
    config: With every field of `SECTIONS`.
    workdir: The workdir of the run.

  Returns:
    The `chosen_step` of the checkpoint that is used, its `validation` scores
    and, for a task with a test set, its `test` scores; see `test_scores`.
  """
  step, scores = selection.scores_of(config, workdir)
  told = {'chosen_step': step, 'validation': scores}
  if not config['task']['name'] or not config['data']['test']:
    return told
  if hosts.all_of((workdir / 'config.json').exists()):
    told['test'] = test_scores(workdir)
  else:
    logging.info(
      'The processes of this run have no disk in common. Score the test set with'
      ' python -m experiments.evaluate --split=test.'
    )
  return told


def test_scores(workdir: pathlib.Path) -> dict[str, float]:
  """Returns the scores of the chosen checkpoint on `data.test`.

  They are kept in `test.json`, and the answers in `predictions.jsonl`. If the
  true answers are not known, as for GLUE, there are no scores.

  Args:
    workdir: The workdir of the run.
  """
  config = run_config.read(workdir / 'config.json')
  params, meta = selection.chosen(config, workdir)
  of = {'step': meta['step'], 'data': config['data']['test']}
  path = workdir / SCORES
  if path.exists():
    kept = json.loads(path.read_text())
    if kept['of'] == of:
      return kept['scores']
  saved = str(workdir / 'tokenizer')
  config['data'] = {**config['data'], 'tokenizer': saved}
  parts = assemble(alone(config), splits=['test'])
  asked = task_evaluation.asked_of(parts)
  examine = task_evaluation.make_examiner(asked, parts.run.batch_size, True)
  data, mesh = parts.dataset, parts.way.mesh
  params = jax.device_put(params, meshes.state_shardings(params, mesh))
  found, scores = examine(params, data.read('test'), data.table('test'))
  if not scores:
    logging.info('The answers to %s are not known.', of['data'])
  if hosts.is_first():
    predictions.write(found, workdir)
    with atomic.new_file(path) as part:
      part.write_text(json.dumps({'of': of, 'scores': scores}, indent=2) + '\n')
  return scores
