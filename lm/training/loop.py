"""The training loop, from the parts of a run to its last step."""

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
  boards,
  lora,
  profiling,
  selection,
  stopping,
  workdir as workdirs,
)
from lm.training.assembly import Parts, assemble, example, feed
from lm.training.checkpoints import Checkpoints
from lm.training.evaluation import make_scorer
from lm.training.inheritance import inherit, restore_origin
from lm.training.metrics_reader import Reader, due
from lm.training.mirror import Mirror
from lm.training.run_log import RunLog, last_scores
from lm.training.sections import Eval, Log
from lm.training.step import (
  Metrics,
  TrainState,
  init_state,
  make_train_step,
)
from lm.training.watchdog import watching
from lm.types import Batch, PyTree


def train(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  mirror: Mirror | None = None,
  origin: PyTree = None,
) -> dict[str, Any]:
  """Trains as `config` specifies, resuming the run in `workdir`, if any.

  Args:
    config: With every field of `SECTIONS`.
    workdir: The directory for everything that the run writes.
    mirror: That of a remote workdir; see `lm.training.workdir.opened`.
    origin: Parameters that a new run starts from; missing ones are initialized.

  Returns:
    The last evaluation, as in `metrics.jsonl`.
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
    state, start, examples = begin(parts, init_key, checkpoints, origin)
    workdirs.record(workdir, config, parts, start)
    train_step = way.compile_step(step_of(parts), state, mesh)
    score = make_scorer(parts, Eval(**config['eval']))
    batch_at, _ = feed(parts, 'train', run.batch_size, examples)
    batches = loader.batches(batch_at, 0, run.num_steps - start)
    log = open_log(workdir, parts, show, start, state.params)
    skipped = num_skipped(state)
    reader = Reader(log, parts, batch_at, workdir, start, skipped, stop.hear)
    state = way.enter(state, mesh)
    enough = selection.Patience(config, workdir)

    with observed(log, show, run.num_steps, workdir) as begins:
      for step in enough.steps(start, run.num_steps):
        begins(step, state)
        batch = way.to_devices(stop.tell(next(batches)), mesh)
        state, sums = train_step(state, batch, dropout_key)
        reader.add(step, sums)
        last = step == run.num_steps
        stopping_now = stop.agreed  # Read once: it may change at any moment.
        scores = None
        if last or due(step, config['eval']['every']):
          reader.read_all()
          scores = score(learned(parts, state))
          log.eval(step, scores)
          last = last or enough.after(scores)
        if due(step, show.sample_every):
          reader.read_all()
          made = continue_text(parts, learned(parts, state), show)
          log.sample(step, show.sample_prompt, made)
        if last or stopping_now or checkpoints.due(step):
          reader.read_all()  # A state that is not finite is not saved.
          done = {'examples': examples + (step - start) * run.batch_size}
          checkpoints.save(step, way.leave(state, mesh), done, scores)
        if stopping_now:
          checkpoints.wait()
          stopping.leave(stop, step)
        if last:
          break
  return last_scores(workdir)


def begin(
  parts: Parts, key: jax.Array, checkpoints: Checkpoints, origin: PyTree = None
) -> tuple[TrainState, int, int]:
  """Returns a state, and how many steps and examples it has seen.

  The state is that of the run's newest intact checkpoint, else of `start_from`,
  else new, with the parameters of `origin`; arrays are created with their final
  sharding.
  """
  init, abstract = initial(parts, example(parts, 'train'), key)
  restored = checkpoints.restore(abstract)
  if restored is None and parts.run.start_from:
    restored = restore_origin(parts.run, abstract)
  if restored is None:
    shardings = jax.tree.map(lambda array: array.sharding, abstract)
    state = jax.jit(init, out_shardings=shardings)()
    return inherit(state, parts.tx, origin), 0, 0
  state, meta = restored
  logging.info('Going on from step %d.', meta['step'])
  return state, meta['step'], meta['metadata']['examples']


def initial(
  parts: Parts, batch: Batch, key: jax.Array
) -> tuple[Callable[[], TrainState], TrainState]:
  """Returns a function that makes a new state, and the abstract state."""
  model, tx, averages = parts.learner, parts.tx, bool(parts.average)
  init = functools.partial(init_state, model, tx, batch, key, averages)
  return init, meshes.on_mesh(jax.eval_shape(init), parts.way.mesh)


@contextlib.contextmanager
def observed(
  log: RunLog, show: Log, num_steps: int, workdir: pathlib.Path
) -> Iterator[Callable[[int, TrainState], None]]:
  """Yields a function to call when a step begins, which reports steps that hang
  and traces those of `show.profile`. Closes the log at the end.
  """
  traced = profiling.steps_of(show.profile, num_steps)
  with (
    log,
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
    parts.learner,
    parts.objective,
    parts.tx,
    microbatches=parts.run.microbatches,
    average=parts.average,
    axis_name=parts.way.axis_name,
  )


def continue_text(parts: Parts, params: PyTree, show: Log) -> str:
  """Returns the model's continuation of the prompt in `show`."""
  with meshes.apart(params, parts.way.mesh) as params:
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
  """Returns the log of a run that resumes after step `start`."""
  run, length = parts.run, parts.dataset.mean_length
  first = jax.process_index() == 0
  inputs = example(parts, 'validation').inputs
  flops_of_example = flops.training_flops(params, flops.lengths_of(inputs))
  return RunLog(
    workdir,
    start=start,
    num_steps=run.num_steps,
    every=show.every,
    board=boards.open_all(show.boards, workdir, start) if first else None,
    tokens_of_step=lambda step: (
      run.batch_size * (run.short_length if step <= run.short_steps else length)
    ),
    peak_tokens_per_second=flops.peak_tokens_per_second(
      flops_of_example / length,
      jax.devices()[0].device_kind,
      jax.device_count(),
    ),
    active=first,
  )


def learned(parts: Parts, state: TrainState) -> PyTree:
  """Returns the parameters that are evaluated and sampled from."""
  state = parts.way.run.leave(state, parts.way.mesh)
  params = state.params if state.ema is None else state.ema
  return lora.merged(params, parts.lora)


def num_skipped(state: TrainState) -> int:
  """Returns how many of the last consecutive steps were not finite."""
  return int(optax.tree.get(state.opt_state, 'notfinite_count', 0))
