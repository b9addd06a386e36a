"""The answers of a model to the rows of a task, and their scores."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np
from absl import logging
from flax import linen as nn
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from lm import objectives, tasks
from lm.data import buckets
from lm.data.buckets import Bucketed, Table
from lm.data.tokenizers import Tokenizer
from lm.generation import beam, decode
from lm.generation.prompts import Tokens
from lm.objectives import Objective
from lm.parallel import mesh as meshes, ways
from lm.tasks.labelled import ANSWERS, Labelled
from lm.tasks.task import (
  Answers,
  Prediction,
  Reader,
  Record,
  Scores,
  Task,
  Writing,
)
from lm.training import means
from lm.training.assembly import Parts, taken_of
from lm.training.step import make_answer_step
from lm.types import PyTree, UserError

_NOTHING = -1  # No token.


class Asked(NamedTuple):
  """A model with its task, and how its batches are made.

  Attributes:
    model: The model, with the heads of the objective.
    objective: Makes batches of rows, and scores them.
    task: Makes rows of records, and predictions of answers.
    tokenizer: The tokenizer of the texts.
    batches: Makes a source of a table: `(table, batch_size) -> Bucketed`.
    mesh: The device mesh.
  """

  model: nn.Module
  objective: Objective
  task: Task
  tokenizer: Tokenizer
  batches: Callable[[Table, int], Bucketed]
  mesh: Mesh


def asked_of(parts: Parts) -> Asked:
  """Returns the model of a run with its task."""
  return Asked(
    parts.model,
    parts.objective,
    parts.dataset.task,
    parts.dataset.tokenizer,
    parts.dataset.batches,
    parts.way.mesh,
  )


def asked_again(
  config: Mapping[str, Any], model: nn.Module, tokenizer: Tokenizer
) -> Asked:
  """Returns the model of a run with its task, without the training data.

  Args:
    config: The config, as the run recorded it.
    model: The model, with the heads that it was trained with.
    tokenizer: The tokenizer of the run.
  """
  if not config.get('task', {}).get('name'):
    raise UserError(
      'This model was not trained for a task here, so there are no records that'
      ' it answers. Give the --workdir of a run whose config has a task, such as'
      ' one of configs/classification.py; a published model can be fine-tuned for'
      ' one by --config.init_from=DIR.'
    )
  data = config['data']
  objective = objectives.build(
    form=model.form, vocabulary=tokenizer.vocabulary, **config['objective']
  )
  sizes = data['length'], data['target_length']
  name = config['objective']['name']
  reader = Reader(tokenizer, model.form, name, *sizes)
  task = tasks.build(reader=reader, train=_forgotten, **config['task'])
  rows = Labelled(
    tokenizer, *sizes, _forgotten, _forgotten, data['buckets'], task=task
  )
  mesh = ways.build(kind='mesh').mesh
  return Asked(model, objective, task, tokenizer, rows.batches, mesh)


def _forgotten(*_: Any) -> NoReturn:
  raise UserError(
    'The config of this run does not say what its data were. Train it again.'
  )


def make_predictor(
  asked: Asked, batch_size: int, final: bool = False
) -> Callable[
  [PyTree, Sequence[Record], Table], tuple[list[Prediction], Scores]
]:
  """Returns `predict(params, records, table) -> (predictions, means)`.

  The means are those of the objective; nan if the true answers are not known.

  Args:
    asked: The model and the task.
    batch_size: Rows at once.
    final: Whether training is over, so that texts are generated with all of the
      task's beams.
  """
  eval_step = jax.jit(make_answer_step(asked.model, asked.objective))

  def predict(params, records, table):
    source = asked.batches(table, batch_size)
    heads, scores = answers(eval_step, params, asked, source)
    texts = ()
    if asked.task.writing:
      texts = write(asked, params, table, batch_size, final)
    found = asked.task.predict(records, table, Answers(heads, texts))
    return found, scores

  return predict


def make_scorer(
  asked: Asked,
  records: Sequence[Record],
  table: Table,
  batch_size: int,
  final: bool = False,
) -> Callable[[PyTree], Scores]:
  """Returns a function of the parameters: loss, and the task's own metrics."""
  examine = make_examiner(asked, batch_size, final)
  return lambda params: examine(params, records, table)[1]


def make_examiner(
  asked: Asked, batch_size: int, final: bool = False
) -> Callable[
  [PyTree, Sequence[Record], Table], tuple[list[Prediction], Scores]
]:
  """Returns `examine(params, records, table) -> (predictions, scores)`.

  The scores are those of the objective and of the task; if texts are generated,
  also the perplexity. If no true answer is known, there are none.

  Args:
    asked: The model and the task.
    batch_size: Rows at once.
    final: See `make_predictor`.
  """
  predict = make_predictor(asked, batch_size, final)
  answer = ANSWERS.get(asked.task.kind)

  def examine(params, records, table):
    found, scores = predict(params, records, table)
    known = [not answer or answer in record for record in records]
    if not any(known):
      return found, {}
    if asked.task.writing:
      with np.errstate(over='ignore'):
        scores['perplexity'] = float(np.exp(scores['loss']))
    if not all(known):
      logging.info('Of %d records %d are scored.', len(known), sum(known))
    scored = [both for both, told in zip(zip(records, found), known) if told]
    return found, scores | asked.task.score(*zip(*scored))

  return examine


def answers(
  eval_step: Callable,
  params: PyTree,
  asked: Asked,
  source: Bucketed,
) -> tuple[dict[str, list[np.ndarray]], Scores]:
  """Returns the heads' answers to each row of a source, and the means."""
  found: dict[str, list] = {}
  sizes = source.table.sizes(next(iter(source.table.ragged)))

  def sums_of(start):
    index = start + np.arange(source.batch_size)
    rows = source.rows_at(index)
    own = start + meshes.rows_of_this_process(source.batch_size)
    batch = asked.objective.prepare(source.examples_at(own), own, 0)
    batch = taken_of(batch, asked.model)
    sums, heads = eval_step(params, meshes.to_devices(batch, asked.mesh))
    for term, scores in _on_host(heads).items():
      own_rows = found.setdefault(term, [None] * source.table.size)
      for place in np.flatnonzero(rows != buckets.FILLER):
        row = rows[place]
        whole = term == 'label'  # The others have an answer for each token.
        own_rows[row] = scores[place][: None if whole else sizes[row]]
    return sums

  with meshes.placing(asked.mesh):
    got = means.over(map(sums_of, range(0, source.size, source.batch_size)))
  return found, got


def write(
  asked: Asked,
  params: PyTree,
  table: Table,
  batch_size: int,
  final: bool = False,
) -> list[str]:
  """Returns the text that the model generates for the source of each row.

  Args:
    asked: The model and the task.
    params: The parameters of the model.
    table: The rows, with their sources.
    batch_size: Rows at once.
    final: See `make_predictor`.
  """
  sources, how = table.ragged['source']['source'], asked.task.writing
  # Sources of similar length share a batch; each is done by one process.
  order = np.argsort(sources.sizes, kind='stable')
  starts = range(0, table.size, batch_size)
  made = np.full((table.size, how.max_new_tokens), _NOTHING)
  with meshes.apart(params, asked.mesh) as params:
    for start in starts[jax.process_index() :: jax.process_count()]:
      rows = order[start : start + batch_size]
      # Otherwise the last batch would compile for another size.
      padded = np.resize(rows, batch_size)
      prompts = [sources.row(int(row)) for row in padded]
      beams = how.beams if final else how.eval_beams
      for row, tokens in zip(rows, _go_on(asked, params, prompts, beams)):
        made[row, : len(tokens)] = tokens
  if jax.process_count() > 1:
    made = multihost_utils.process_allgather(made).max(axis=0)
  decoded = functools.partial(asked.tokenizer.decode, special_tokens=False)
  return [decoded(tokens[tokens != _NOTHING]).strip() for tokens in made]


def _go_on(
  asked: Asked, params: PyTree, prompts: Sequence[Tokens], beams: int
) -> list[Tokens]:
  """Returns the tokens generated after each prompt, without the end token."""
  model, tokenizer, how = asked.model, asked.tokenizer, asked.task.writing
  end = () if tokenizer.end_id is None else (tokenizer.end_id,)
  options: dict[str, Any] = {'stop_tokens': end}
  if model.form == 'encoder_decoder':
    options['start_token'] = tokenizer.vocabulary.start_id
  else:
    options['prefix_visible'] = asked.objective.prompt_form.visible
  options['max_new_tokens'] = most_tokens(how, max(map(len, prompts)))
  if beams > 1:
    options |= {'beams': beams, 'length_penalty': how.length_penalty}
    found = [best[0] for best in beam.search(model, params, prompts, **options)]
  else:
    found = decode.generate(model, params, prompts, **options)
  return [one.tokens[~np.isin(one.tokens, end)] for one in found]


def most_tokens(how: Writing, source: int) -> int:
  """Returns the most tokens to generate for a batch.

  Args:
    how: How the task generates texts.
    source: The number of tokens of the longest source.
  """
  if how.beyond_source is None:
    return how.max_new_tokens
  return min(how.max_new_tokens, source + how.beyond_source)


def _on_host(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
  if jax.process_count() > 1:
    return multihost_utils.process_allgather(arrays, tiled=True)
  return jax.device_get(arrays)
