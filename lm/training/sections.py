"""The fields of each config section: the arguments of what it builds."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from lm import models, objectives, tasks
from lm.data import corpora, datasets
from lm.parallel import hosts, ways
from lm.tasks import labelled
from lm.training import optimizers
from lm.training.boards import BOARDS
from lm.training.checkpoints import Checkpoints
from lm.training.lora import Lora
from lm.training.run_config import fields_of
from lm.types import UserError


class Run(NamedTuple):
  """The top level of a config: how long, how large, from where.

  Attributes:
    num_steps: Updates of the parameters, including those before a resume.
    batch_size: Examples per step, over all devices.
    microbatches: Parts of a batch whose gradients are accumulated in turn.
    seed: Seed of the parameters, the order of examples, and all randomness.
    seeds: Number of runs, with this seed and those that follow.
    ema_decay: Decay rate of a moving average of the parameters, which is then
      evaluated and sampled from; 0 means none.
    skip_nonfinite: How many consecutive steps with a NaN or infinite gradient
      are skipped before the run stops.
    init_from: A workdir or Hugging Face directory whose parameters a new run
      starts from, as far as the model has them. Its model sizes and its
      tokenizer are used, too.
    start_from: A workdir, or WORKDIR@STEP, whose state a new run starts from.
    short_steps: How many steps have shorter examples at first: BERT's 90%.
    short_length: Tokens per example in those steps.
  """

  num_steps: int
  batch_size: int
  microbatches: int = 1
  seed: int = 0
  seeds: int = 1
  ema_decay: float = 0.0
  skip_nonfinite: int = 0
  init_from: str = ''
  start_from: str = ''
  short_steps: int = 0
  short_length: int = 128


def check_short_steps(run: Run, length: int) -> None:
  """Raises UserError if the first steps cannot be as short as `run` says.

  Args:
    run: The top level of a config.
    length: Tokens per example in the steps after them.
  """
  if run.short_steps < 0:
    raise UserError(
      f'short_steps is {run.short_steps}, but it is how many there are. Set'
      ' config.short_steps to 0 or more.'
    )
  if run.short_steps and not 1 <= run.short_length <= length:
    raise UserError(
      f'short_length is {run.short_length}, but the first {run.short_steps}'
      f' steps are to have examples shorter than the {length} tokens of'
      f' config.data.length. Set config.short_length from 1 to {length}, or'
      ' config.short_steps to 0.'
    )


def check_best(config: Mapping[str, Any]) -> None:
  """Raises UserError if the best evaluation could be at a step not saved."""
  every, best = config['eval']['every'], config['checkpoint']['best']
  saved = config['checkpoint']['every']
  if best and every and (not saved or every % saved):
    raise UserError(
      f'config.eval.every is {every} and config.checkpoint.every {saved}, but'
      f' the best checkpoint by {best!r} is one that was evaluated and saved.'
      " Let the second divide the first, or set config.checkpoint.best to ''."
    )


class Eval(NamedTuple):
  """Evaluation on the validation set.

  Attributes:
    every: Steps between evaluations; 0 means only at the end.
    batch_size: Examples at once; 0 means as in training.
    batches: The first batches of the set, to evaluate a text on no more of it;
      0 means all. `experiments.evaluate` always takes all.
    patience: The run ends after this many consecutive evaluations without a new
      best by config.checkpoint.best; 0 means never.
  """

  every: int = 0
  batch_size: int = 0
  batches: int = 0
  patience: int = 0


class Log(NamedTuple):
  """What a run reports.

  Attributes:
    every: Steps between two lines of metrics.
    slow_step: How many times the median a step takes before its stacks are
      printed; 0 means never.
    boards: Where the run is displayed, besides WORKDIR/metrics.jsonl.
    profile: 'N:M' writes a trace of steps N to M to WORKDIR/profile.
    sample_every: Steps between two samples of text; 0 means none.
    sample_prompt: Prompt of the samples; '' means the beginning of a text.
    sample_tokens: Length of the samples, in tokens.
  """

  every: int = 10
  slow_step: float = 20.0
  boards: tuple[Literal[*BOARDS], ...] = ('tensorboard',)
  profile: str = ''
  sample_every: int = 0
  sample_prompt: str = ''
  sample_tokens: int = 100


GIVEN = ('name', 'num_steps', 'skip_nonfinite', 'only')
SOURCES = (*corpora.SOURCES, datasets.MIXTURE, labelled.SOURCE)


def _objective(name: Literal[*objectives.OBJECTIVES]):
  return fields_of(objectives.OBJECTIVES[name], without=('form', 'vocabulary'))


def _optimizer(name: Literal[*optimizers.OPTIMIZERS]):
  own = fields_of(optimizers.OPTIMIZERS[name])
  return fields_of(optimizers.build, without=GIVEN) | own


def _data(source: Literal[*SOURCES]):
  if source == labelled.SOURCE:
    return fields_of(labelled.build, without=('kind', 'seed', 'source'))
  return fields_of(datasets.build, without=('source', 'make_store'))


def _parallel(kind: Literal[*ways.KINDS]):
  return fields_of(ways.KINDS[kind])


SECTIONS = {
  '': lambda: fields_of(Run),
  'model': models.fields,
  'objective': _objective,
  'task': tasks.fields,
  'data': _data,
  'optimizer': _optimizer,
  'lora': lambda: fields_of(Lora),
  'parallel': _parallel,
  'hosts': lambda: fields_of(hosts.start),
  'eval': lambda: fields_of(Eval),
  'checkpoint': lambda: fields_of(Checkpoints, without=('directory', 'mirror')),
  'log': lambda: fields_of(Log),
}
