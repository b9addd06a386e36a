"""A run, from its parts to its last step; it reads from top to bottom."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import optax
from absl import logging

from lm.analysis import flops
from lm.data import loader
from lm.generation import sampling, text
from lm.parallel import mesh as meshes
from lm.training import (
  profiling,
  remote_run,
  stopping,
  workdir as workdirs,
)
from lm.training.assembly import Parts, assemble, example, feed
from lm.training.checkpoints import Checkpoints, restore
from lm.training.evaluation import make_scorer
from lm.training.metrics_reader import Reader, due
from lm.training.mirror import Mirror
from lm.training.run_log import RunLog, last_scores
from lm.training.sections import Eval, Log, Run
from lm.training.step import (
  Metrics,
  TrainState,
  init_state,
  make_train_step,
)
from lm.training.watchdog import watching
from lm.types import Batch, PyTree, UserError


def train(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  mirror: Mirror | None = None,
) -> dict[str, Any]:
  """Trains as `config` says, going on where `workdir` stands.

  Args:
    config: With every field of `SECTIONS`.
    workdir: Everything that the run leaves behind.
    mirror: If that is elsewhere; see `lm.training.workdir.opened`.

  Returns:
    The last evaluation, as `metrics.jsonl` has it.
  """
  parts = assemble(config)
  run, show = parts.run, Log(**config['log'])
  workdirs.check_tokenizer(workdir, parts.dataset.tokenizer)
  init_key, dropout_key = jax.random.split(jax.random.key(run.seed))
  settings = config['checkpoint'] | {'mirror': mirror}
  opened = Checkpoints(workdir / 'checkpoints', **settings)

  way, mesh = parts.way.run, parts.way.mesh
  with (
    workdirs.locked(workdir),
    stopping.on_signals() as stop,  # Until the last save is on disk.
    contextlib.closing(opened) as checkpoints,
    way.placing(mesh),
  ):
    state, start, examples = begin(parts, init_key, checkpoints)
    workdirs.record(workdir, config, parts)
    train_step = way.compile_step(step_of(parts), state, mesh)
    score = make_scorer(parts, Eval(**config['eval']))
    batch_at, _ = feed(parts, 'train', run.batch_size, examples)
    batches = loader.batches(batch_at, 0, run.num_steps - start)
    log = open_log(workdir, parts, show, start, state.params)
    skipped = num_skipped(state)
    reader = Reader(log, parts, batch_at, workdir, start, skipped, stop.hear)
    state = way.enter(state, mesh)
    step, stopping_now = start, False

    with observed(log, show, run.num_steps, workdir) as begins:
      for step in range(start + 1, run.num_steps + 1):
        begins(step, state)
        batch = way.to_devices(stop.tell(next(batches)), mesh)
        state, sums = train_step(state, batch, dropout_key)
        reader.add(step, sums)
        last = step == run.num_steps
        stopping_now = stop.agreed  # Once: it may become true at any moment.
        scores = None
        if last or due(step, config['eval']['every']):
          reader.read_all()
          scores = score(learned(way.leave(state, mesh)))
          log.eval(step, scores)
        if due(step, show.sample_every):
          reader.read_all()
          made = continue_text(parts, learned(way.leave(state, mesh)), show)
          log.sample(step, show.sample_prompt, made)
        if last or stopping_now or checkpoints.due(step):
          reader.read_all()  # What is not finite is not saved.
          done = {'examples': examples + (step - start) * run.batch_size}
          checkpoints.save(step, way.leave(state, mesh), done, scores)
        if stopping_now:
          break
  if stopping_now:
    stopping.leave(stop, step)
  return last_scores(workdir)


def begin(
  parts: Parts, key: jax.Array, checkpoints: Checkpoints
) -> tuple[TrainState, int, int]:
  """Returns a state, and how many steps and examples it has seen.

  The newest intact checkpoint of this run, else what `start_from` names, else a
  new state; each array is made where it is to live.
  """
  init, abstract = initial(parts, example(parts, 'train'), key)
  restored = checkpoints.restore(abstract)
  if restored is None and parts.run.start_from:
    restored = restore_origin(parts.run, abstract)
  if restored is None:
    shardings = jax.tree.map(lambda array: array.sharding, abstract)
    return jax.jit(init, out_shardings=shardings)(), 0, 0
  state, meta = restored
  logging.info('Going on from step %d.', meta['step'])
  return state, meta['step'], meta['metadata']['examples']


def initial(
  parts: Parts, batch: Batch, key: jax.Array
) -> tuple[Callable[[], TrainState], TrainState]:
  """Returns what makes a state, and its arrays in the abstract."""
  model, tx, averages = parts.model, parts.tx, bool(parts.average)
  init = functools.partial(init_state, model, tx, batch, key, averages)
  return init, meshes.on_mesh(jax.eval_shape(init), parts.way.mesh)


@contextlib.contextmanager
def observed(
  log: RunLog, show: Log, num_steps: int, workdir: pathlib.Path
) -> Iterator[Callable[[int, TrainState], None]]:
  """Yields what to call when a step begins: one that hangs is said, and those
  of `show.profile` are traced. In the end the log is closed.
  """
  traced = profiling.steps_of(show.profile, num_steps)
  with (
    contextlib.closing(log),
    watching(show.slow_step) as beat,
    profiling.tracing(traced, workdir / 'profile') as trace,
  ):

    def begins(step: int, state: TrainState) -> None:
      beat(step)
      trace(step, state)

    yield begins


def step_of(parts: Parts) -> Callable[..., tuple[TrainState, Metrics]]:
  """Returns the train step of these parts, not yet compiled."""
  return make_train_step(
    parts.model,
    parts.objective,
    parts.tx,
    microbatches=parts.run.microbatches,
    average=parts.average,
    axis_name=parts.way.axis_name,
  )


def continue_text(parts: Parts, params: PyTree, show: Log) -> str:
  """Returns how the parameters go on from the prompt of the log."""
  *_, replies = text.stream(
    parts.model,
    params,
    parts.dataset.tokenizer,
    [show.sample_prompt],
    max_new_tokens=show.sample_tokens,
    sampling=sampling.settings(temperature=0.8),
    seed=parts.run.seed,
    prompt_form=parts.objective.prompt_form,
  )
  return replies[0].text


def open_log(
  workdir: pathlib.Path, parts: Parts, show: Log, start: int, params: PyTree
) -> RunLog:
  """Returns the log of a run that goes on after step `start`."""
  run, length = parts.run, parts.dataset.length
  inputs = example(parts, 'validation').inputs
  flops_of_example = flops.training_flops(params, flops.lengths_of(inputs))
  return RunLog(
    workdir,
    start=start,
    num_steps=run.num_steps,
    every=show.every,
    tensorboard=show.tensorboard,
    tokens_of_step=lambda step: (
      run.batch_size * (run.short_length if step <= run.short_steps else length)
    ),
    peak_tokens_per_second=flops.peak_tokens_per_second(
      flops_of_example / length,
      jax.devices()[0].device_kind,
      jax.device_count(),
    ),
    active=jax.process_index() == 0,
  )


def restore_origin(run: Run, abstract: PyTree) -> tuple[PyTree, dict[str, Any]]:
  """Returns the state that `run.start_from` names, and its `meta.json`."""
  origin, at, step = run.start_from.rpartition('@')
  if not (at and step.isdigit()):
    origin, step = run.start_from, ''
  number = int(step) if step else None
  directory = remote_run.local_run(origin, number) / 'checkpoints'
  restored = restore(directory, abstract, number)
  if restored is None:
    raise UserError(
      f'There is no checkpoint in {origin} to start from. Set'
      ' config.start_from to a workdir, or WORKDIR@STEP.'
    )
  if restored[1]['step'] >= run.num_steps:
    raise UserError(
      f'{run.start_from} is at step {restored[1]["step"]}, so there is nothing'
      f' left of {run.num_steps} steps. Raise config.num_steps.'
    )
  return restored


def learned(state: TrainState) -> PyTree:
  """Returns the parameters that are evaluated and sampled from."""
  return state.params if state.ema is None else state.ema


def num_skipped(state: TrainState) -> int:
  """Returns how many of the last steps in a row were not finite."""
  return int(optax.tree.get(state.opt_state, 'notfinite_count', 0))
