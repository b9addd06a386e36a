"""What each section of a config can say: the arguments of what it builds."""

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
  """The top of a config: how long, how large, from where.

  Attributes:
    num_steps: Updates of the parameters, all sittings together.
    batch_size: Examples in a step, all devices together.
    microbatches: Parts of a batch whose gradients are added up in turn.
    seed: Of the parameters, the order of the examples, and what is random.
    seeds: How many runs there are, with this seed and those that follow.
    ema_decay: Of a moving average of the parameters, which is then what is
      evaluated and sampled; 0: none.
    skip_nonfinite: How many steps in a row with a NaN or infinite gradient
      are skipped before the run stops.
    init_from: What has the parameters that a new run starts with, as far as the
      model has them: a workdir, or a directory of Hugging Face. The model is of
      its sizes, and the tokenizer its own.
    start_from: A workdir, or WORKDIR@STEP, whose state a new run starts with.
    short_steps: The first so many steps have shorter examples: BERT's 90%.
    short_length: How many tokens those have.
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
    run: The top of a config.
    length: The tokens of an example in the steps after them.
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
  """Raises UserError if the best evaluation could be of what was not saved."""
  every, best = config['eval']['every'], config['checkpoint']['best']
  saved = config['checkpoint']['every']
  if best and every and (not saved or every % saved):
    raise UserError(
      f'config.eval.every is {every} and config.checkpoint.every {saved}, but'
      f' the best checkpoint by {best!r} is one that was evaluated and saved.'
      " Let the second divide the first, or set config.checkpoint.best to ''."
    )


class Eval(NamedTuple):
  """Evaluation on the whole validation set.

  Attributes:
    every: Steps between two; 0: at the end only.
    batch_size: Examples at once; 0: as in training.
    patience: How many of them in a row may be no better than the best before,
      by config.checkpoint.best, until the run ends; 0: any number.
  """

  every: int = 0
  batch_size: int = 0
  patience: int = 0


class Log(NamedTuple):
  """What a run shows of itself.

  Attributes:
    every: Steps between two lines of metrics.
    slow_step: How many times the median a step takes before it is said where
      it hangs; 0: never.
    boards: Where people look at it, beside WORKDIR/metrics.jsonl.
    profile: 'N:M' puts a trace of steps N to M into WORKDIR/profile.
    sample_every: Steps between two samples of text; 0: none.
    sample_prompt: What they go on from; '': the beginning of a text.
    sample_tokens: How long they are.
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
