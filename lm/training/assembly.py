"""Builds and checks what a config describes, before anything compiles."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Int

from lm import models, objectives, tasks
from lm.data import datasets
from lm.data.sources import Source
from lm.data.tokenizers import Tokenizer
from lm.objectives import Objective
from lm.parallel import mesh as meshes, ways
from lm.parallel.ways import Way
from lm.tasks import labelled
from lm.tasks.labelled import Labelled
from lm.tasks.task import Reader, Writing
from lm.training import groups, lora, optimizers, profiling
from lm.training.groups import Groups
from lm.training.lora import Learner, Lora
from lm.training.sections import Log, Run, check_best, check_short_steps
from lm.types import Batch, Form, UserError, Vocabulary


class Parts(NamedTuple):
  """The built parts of a config; a dry run may have no dataset."""

  run: Run
  dataset: datasets.Dataset | Labelled | None
  model: nn.Module
  objective: Objective
  tx: optax.GradientTransformation
  schedule: optax.Schedule
  average: optimizers.Average | None
  way: Way
  lora: Lora
  groups: Groups

  @property
  def learner(self) -> Learner:
    """The model as it is trained."""
    return Learner(self.model, self.lora, self.groups)


def assemble(
  config: Mapping[str, Any], splits: Collection[str] = ('train', 'validation')
) -> Parts:
  """Builds each section of `config`, and checks that they fit together.

  Args:
    config: With every field of `SECTIONS`.
    splits: The splits whose text is needed.
  """
  complete = outline(config)
  if is_task(config):
    parts = with_task(config, complete)
  else:
    dataset = datasets.build(**config['data'])
    parts = complete(dataset.tokenizer.vocabulary)._replace(dataset=dataset)
  dataset = parts.dataset
  check_prompt(Log(**config['log']), dataset.tokenizer, parts.model.form)
  for split in splits:  # Refuses a text that is too short.
    check_length(example(parts, split), parts.way)
  return parts


def is_task(config: Mapping[str, Any]) -> bool:
  """Returns whether a config is for a task with records, not running text.

  Raises:
    UserError: The task and the source of the data do not fit together.
  """
  named = config['task']['name']
  if bool(named) != (config['data']['source'] == labelled.SOURCE):
    raise UserError(
      f'config.task.name is {named!r} and config.data.source'
      f' {config["data"]["source"]!r}. A task, and no other, has the source'
      f' {labelled.SOURCE!r}.'
    )
  return bool(named)


def with_task(
  config: Mapping[str, Any], complete: Callable[[Vocabulary], Parts]
) -> Parts:
  """Returns the parts of a run that trains on a task."""
  name = config['task']['name']
  data = labelled.build(tasks.kind_of(name), config['seed'], **config['data'])
  parts = complete(data.tokenizer.vocabulary)
  if parts.run.short_steps:
    raise UserError(
      'The rows of a task are as long as its texts. Set config.short_steps to'
      ' 0.'
    )
  reader = Reader(
    data.tokenizer,
    parts.model.form,
    config['objective']['name'],
    data.length,
    data.target_length,
  )
  task = tasks.build(reader=reader, train=data.every, **config['task'])
  check_room(reader, parts.model.config.max_len, task.writing)
  told = getattr(parts.model, 'num_token_types', 0)
  if told < task.token_types:
    raise UserError(
      f'The rows of this task have {task.token_types} types of tokens, and the'
      f' model tells {told}. Set config.model.num_token_types to'
      f' {task.token_types}, of a BERT, or config.task.mark_matches to false.'
    )
  regression = config['objective'].get('regression', False)
  if reader.objective == 'label' and regression != (task.num_labels == 1):
    raise UserError(
      f'config.objective.regression is {regression}, and the task has'
      f' {task.num_labels} labels: one, a number, of stsb, and classes'
      ' else. Set it to fit config.task.glue.'
    )
  return parts._replace(
    dataset=data.doing(task),
    model=parts.model.clone(num_labels=task.num_labels),
  )


def check_room(
  reader: Reader, max_len: int, writing: Writing | None = None
) -> None:
  """Raises UserError if the model has too few positions for its answers.

  Args:
    reader: The model that the task is made for, and how it reads.
    max_len: The number of positions of the model.
    writing: How answers are generated, if they are.
  """
  made = max(reader.target_length, writing.max_new_tokens if writing else 0)
  needed = made
  if reader.form == 'causal':  # In one row with its source.
    needed += reader.length
  if reader.objective == 'answers' and needed > max_len:
    raise UserError(
      f'An answer of {made} tokens to a text of {reader.length} takes {needed}'
      f' positions of this model, which has {max_len}. Lower config.data.length,'
      ' config.data.target_length or config.task.max_new_tokens, or raise'
      ' config.model.max_len.'
    )


def outline(config: Mapping[str, Any]) -> Callable[[Vocabulary], Parts]:
  """Builds what needs no text; the rest is a function of the vocabulary."""
  built = without_devices(config)
  way = ways.build(**config['parallel'])
  check_batches(config, way.mesh.shape)

  def complete(vocabulary: Vocabulary) -> Parts:
    section = _with_vocabulary(config, vocabulary.size)
    model, objective = pair(
      models.build(**section), config['objective'], vocabulary
    )
    return Parts(
      dataset=None, model=model, objective=objective, way=way, **built
    )

  return complete


def without_devices(config: Mapping[str, Any]) -> dict[str, Any]:
  """Builds, and so checks, what needs neither text nor devices.

  Returns:
    Fields of `Parts`.
  """
  run = Run(**{name: config[name] for name in Run._fields})
  profiling.steps_of(config['log']['profile'], run.num_steps)
  check_short_steps(run, config['data']['length'])
  check_best(config)
  adapters = lora.build(**config['lora'])
  tx, schedule = optimizers.build(
    num_steps=run.num_steps,
    skip_nonfinite=run.skip_nonfinite,
    only=adapters.only,
    **config['optimizer'],
  )
  return {
    'run': run,
    'tx': tx,
    'schedule': schedule,
    'average': optimizers.average(config['optimizer']['name'], run.ema_decay),
    'lora': adapters,
    'groups': groups.build(config['optimizer']['rates'], only=adapters.only),
  }


def check_batches(config: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
  """Raises UserError unless batches divide over a mesh with these axis sizes."""
  meshes.check_batch(config['batch_size'], config['microbatches'], sizes)
  if rows := config['eval']['batch_size']:
    meshes.check_batch(rows, 1, sizes, 'eval.batch_size')


def check_length(batch: Batch, way: Way) -> None:
  """Raises UserError unless rows as long as those of `batch` divide evenly."""
  rows = ('tokens', 'source_tokens')
  lengths = {
    name: batch.inputs[name].shape[1] for name in rows if name in batch.inputs
  }
  meshes.check_length(lengths, way.mesh)


def pair(
  model: nn.Module, section: Mapping[str, Any], vocabulary: Vocabulary
) -> tuple[nn.Module, Objective]:
  """Returns the model with the heads of the objective, and the objective.

  Raises:
    UserError: They do not fit together.
  """
  objective = objectives.build(
    form=model.form, vocabulary=vocabulary, **section
  )
  asked = tuple(objective.scales)
  heads = asked if model.heads is None else model.heads
  missing = [term for term in asked if term not in heads]
  if missing:
    raise UserError(
      f'Objective {section["name"]!r} asks for {", ".join(missing)}, and the'
      f' heads of the model are {heads}. Omit config.model.heads, and it'
      ' has those that it needs.'
    )
  return model.clone(heads=heads), objective


def check_prompt(show: Log, tokenizer: Tokenizer, form: Form) -> None:
  """Raises UserError if samples would have nothing to begin with."""
  if not show.sample_every:
    return
  if form == 'causal':
    begins, what = tokenizer.eos_id is not None, 'begin where a text has ended'
  elif form == 'encoder_decoder':
    begins, what = False, 'answer a text'
  else:
    mask = tokenizer.mask_id
    mark = '[MASK]' if mask is None else tokenizer.pipeline.id_to_token(mask)
    begins, what = False, f'fill the places of {mark}'
    if show.sample_prompt and mark not in show.sample_prompt:
      raise UserError(
        f'Samples are to {what}, but config.log.sample_prompt has none. Write'
        ' it where a word is missing.'
      )
  if not show.sample_prompt and not begins:
    raise UserError(
      f'Samples are to {what}, but there is none to begin with. Set'
      ' config.log.sample_prompt, or config.log.sample_every to 0.'
    )


def _with_vocabulary(config: Mapping[str, Any], needed: int) -> dict[str, Any]:
  """Returns the `model` section, checked and with its vocabulary size."""
  section, length = config['model'], config['data']['length']
  size = section['vocab_size'] or needed
  if size < needed:
    raise UserError(
      f'The model has a vocabulary of {size} tokens, and the tokenizer one of'
      f' {needed}. Set config.model.vocab_size to {needed} or more.'
    )
  if length > section['max_len']:
    raise UserError(
      f'An example is {length} tokens long, and the model has'
      f' {section["max_len"]} positions. Lower config.data.length, or raise'
      ' config.model.max_len.'
    )
  return {**section, 'vocab_size': size}


def feed(
  parts: Parts, split: str, batch_size: int, start: int = 0
) -> tuple[Callable[[int], Batch], int]:
  """Returns `batch_at(number)`, and how many batches one pass has.

  Each process makes its own rows of a batch. Training starts at example `start`
  and never ends; validation is one pass, in order.
  """
  rows_at, size = _rows(parts, split, batch_size)
  if isinstance(parts.dataset, Labelled):  # All rows must be of one batch.
    start = -(-start // batch_size) * batch_size
  own = meshes.rows_of_this_process(batch_size)

  def batch_at(number: int) -> Batch:
    return rows_at(start + number * batch_size + own)

  return batch_at, -(-size // batch_size)


def example(parts: Parts, split: str) -> Batch:
  """Returns a batch of only the first example, the same in every process."""
  return _rows(parts, split, 1)[0](np.zeros(1, np.int64))


def widest(parts: Parts) -> Batch:
  """Returns a batch of one example of a task, in the widest bucket."""
  data = parts.dataset
  table = data.table('train')
  *_, widths = data.batches(table, 1).widths
  examples = table.examples(np.zeros(1, np.int64), widths)
  batch = parts.objective.prepare(examples, np.zeros(1, np.int64), 0)
  return taken_of(batch, parts.model)


def _rows(
  parts: Parts, split: str, batch_size: int
) -> tuple[Callable[[Int[np.ndarray, 'B']], Batch], int]:
  """Returns a function that makes rows by number, and how many there are."""
  run, objective = parts.run, parts.objective

  def read(length: int) -> Source:
    data = parts.dataset
    if length != data.length:
      data = dataclasses.replace(data, length=length)
    return data.source(
      split,
      objective.example_length,
      run.seed if split == 'train' else None,
      objective.reads,
      objective.marks,
      batch_size,
    )

  source = read(parts.dataset.length)
  short = None
  if split == 'train' and run.short_steps:
    short = read(run.short_length)
  last_short = run.short_steps * run.batch_size

  def rows_at(index: Int[np.ndarray, 'B']) -> Batch:
    now = short if short and index[0] < last_short else source
    batch = objective.prepare(
      now.examples_at(index), now.draws(index), run.seed
    )
    return taken_of(batch, parts.model)

  return rows_at, source.size


def taken_of(batch: Batch, model: nn.Module) -> Batch:
  """Returns the batch without `token_types` if the model tells none apart."""
  inputs = dict(batch.inputs)
  if 'token_types' not in models.inputs(model):
    inputs.pop('token_types', None)
  return batch._replace(inputs=inputs)
