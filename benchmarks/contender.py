"""A process that trains one model, ours or a peer's, whenever it is its turn.

It is started by `benchmarks.train_step`, and idles during the turns of others.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import interleaved
from benchmarks.cases import CASES, TINY, Case
from lm.parallel import host_memory


class Training(NamedTuple):
  """The work of a contender.

  Attributes:
    step: Starts one step.
    wait: Returns when all started steps are done.
    steps: The number of steps of a turn.
    flops: The FLOPs of a step; 0 if not counted.
  """

  step: Callable[[], Any]
  wait: Callable[[], Any]
  steps: int
  flops: float = 0.0


def main() -> None:
  told = json.loads(sys.argv[1])
  case = (CASES | TINY)[told['case']]
  made = WAYS[told['way']](case, told['dropout'], told['dtype'])

  def turn() -> dict[str, float]:
    for _ in range(made.steps):
      made.step()
    made.wait()
    return {'steps': made.steps, 'flops': made.flops}

  interleaved.serve(turn)


def ours(case: Case, dropout: float, dtype: str) -> Training:
  """Trains as `experiments.train` does, without its logs."""
  host_memory.keep_freed()
  import jax

  from benchmarks import cases
  from lm.analysis import flops
  from lm.parallel import mesh as meshes
  from lm.training import optimizers
  from lm.training.step import init_state, make_train_step

  model, objective = cases.build(case, dropout, dtype)
  batch = cases.batch(case, objective, model.config.vocab_size)
  tx, _ = optimizers.build(
    'adamw', 1000, learning_rate=1e-4, schedule='constant', weight_decay=0.1
  )
  key = jax.random.key(0)
  mesh = meshes.make_mesh()
  with meshes.placing(mesh):
    state = jax.jit(lambda: init_state(model, tx, batch, key))()
    state = jax.device_put(state, meshes.state_shardings(state, mesh))
    compiled = meshes.compile_step(
      make_train_step(model, objective, tx), state, mesh
    )
    batch = meshes.to_devices(batch, mesh)
  needed = flops.training_flops(state.params, flops.lengths_of(batch.inputs))
  now = {'state': state}

  def step() -> None:
    with meshes.placing(mesh):
      now['state'], now['metrics'] = compiled(now['state'], batch, key)

  wait = lambda: jax.block_until_ready(now)
  return Training(step, wait, case.steps, needed * case.batch)


def peer(
  case: Case, dropout: float, dtype: str, compiled: bool = False
) -> Training:
  """Trains a PyTorch model of the same size, as its users would."""
  import torch

  torch.manual_seed(0)
  model, told = peer_model(case, dropout)
  model.train()
  optimizer = torch.optim.AdamW(
    model.parameters(), 1e-4, betas=(0.9, 0.999), weight_decay=0.1
  )
  run = torch.compile(model) if compiled else model
  narrow = dtype == 'bfloat16'

  def step() -> None:
    with torch.autocast('cpu', torch.bfloat16, enabled=narrow):
      answer = run(**told)
    loss = answer if isinstance(answer, torch.Tensor) else answer.loss
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

  return Training(step, lambda: None, case.steps)


def peer_model(case: Case, dropout: float) -> tuple[Any, dict[str, Any]]:
  """Returns a PyTorch model of the same size as ours, and the same batch."""
  import torch

  from benchmarks import cases, peers

  ours, objective = cases.build(case, 0.0, 'float32')
  cfg = ours.config
  batch = cases.batch(case, objective, cfg.vocab_size)
  inputs = {k: torch.tensor(v).long() for k, v in batch.inputs.items()}
  targets = torch.tensor(batch.targets['tokens']).long()
  sizes = cfg.num_layers, cfg.num_heads, cfg.embed_dim
  tokens = inputs['tokens']
  if case.preset in ('nano', 'baby'):
    plain = peers.Sizes(*sizes, cfg.max_len, cfg.vocab_size, dropout)
    return peers.PlainGPT(plain), {'tokens': tokens, 'targets': targets}
  if case.name == 'gpt':
    # It shifts the labels itself, and so predicts one token less.
    return peers.gpt2(*sizes, dropout), {'input_ids': tokens, 'labels': tokens}
  if case.name == 'bert':
    labels = torch.full_like(tokens, -100)  # Ignored by the loss.
    wanted = torch.tensor(batch.weights['tokens']) > 0
    labels[
      torch.arange(len(tokens))[:, None].expand_as(wanted)[wanted],
      inputs['predict_at'][wanted],
    ] = targets[wanted]
    return peers.bert(*sizes, dropout), {'input_ids': tokens, 'labels': labels}
  told = {
    'input_ids': inputs['source_tokens'],
    'decoder_input_ids': tokens,
    'labels': targets,
  }
  return peers.t5(*sizes, cfg.mlp_dim, dropout), told


def compiled_peer(case: Case, dropout: float, dtype: str) -> Training:
  """As `peer`, with torch.compile."""
  return peer(case, dropout, dtype, compiled=True)


def product(case: Case, dropout: float, dtype: str) -> Training:
  """Multiplies two square matrices: the upper bound of the machine."""
  del case, dropout
  host_memory.keep_freed()
  import jax
  import jax.numpy as jnp

  size = 2048
  matrix = jnp.ones((size, size), dtype)
  multiply = jax.jit(lambda x: x @ x * 1e-4)
  now = {'x': matrix}

  def step() -> None:
    now['x'] = multiply(now['x'])

  wait = lambda: jax.block_until_ready(now)
  return Training(step, wait, 5, 2.0 * size**3)


WAYS: dict[str, Callable[[Case, float, str], Training]] = {
  'ours': ours,
  'eager': peer,
  'compiled': compiled_peer,
  'product': product,
}


if __name__ == '__main__':
  main()
