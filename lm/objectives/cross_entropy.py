"""Cross-entropy over a vocabulary, in blocks if the logits are large.

Of `[B, L, V]` logits, a loss needs four numbers for each of `[B, L]` targets.
If the logits would take gigabytes, they are computed block by block of the
vocabulary, and again in the backward pass. This takes the memory of one block,
and a third more arithmetic for this one matmul.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lm.objectives.objective import Metric, Term
from lm.types import Projection

MOST = 2**30  # Logits that a device may hold at once: 4 GiB.
BLOCK = 2**28  # Logits of a block, if there are more.


class Scored(NamedTuple):
  """What a loss needs of the logits, each `[B, ...]`.

  Attributes:
    log_z: Logarithm of the sum of their exponentials.
    nats: Cross-entropy: `log_z` minus the logit of the target.
    best: The token with the highest logit.
    mean: Mean logit of all tokens.
  """

  log_z: Float[Array, 'B *L']
  nats: Float[Array, 'B *L']
  best: Int[Array, 'B *L']
  mean: Float[Array, 'B *L']


def cross_entropy(
  answer: Projection | Float[Array, 'B *L V'],
  targets: Int[Array, 'B *L'],
  weights: Float[Array, 'B *L'],
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
  parts: Mapping[str, Float[Array, 'B *L']] | None = None,
) -> tuple[Term, dict[str, Metric]]:
  """Returns the weighted sum to minimise, in nats, and the metrics.

  A sum over devices, microbatches or evaluation batches is again a sum, so one
  division by the weight, wherever it happens, gives the mean over all tokens.

  Args:
    answer: Logits, or the projection that computes them.
    targets: The target tokens.
    weights: The weight of each target.
    z_loss: Weight of log(Z)^2, which keeps the logits from drifting (Chowdhery
      et al. 2022, 5); excluded from the metrics.
    label_smoothing: Fraction of the target to spread over the vocabulary
      (Szegedy et al. 2016, 7); excluded from the metrics.
    parts: Weights of further metrics of the loss, by name.
  """
  log_z, nats, best, mean = score(answer, targets)
  objective = nats
  if z_loss:
    objective += z_loss * log_z**2
  if label_smoothing:
    objective += label_smoothing * (log_z - mean - nats)
  weight = jnp.sum(weights)
  metrics = {
    'loss': (jnp.sum(nats * weights), weight),
    'accuracy': (jnp.sum((best == targets) * weights), weight),
  }
  for name, share in (parts or {}).items():
    metrics[name] = (jnp.sum(nats * share), jnp.sum(share))
  return jnp.sum(objective * weights), metrics


def score(
  answer: Projection | Float[Array, 'B *L V'], targets: Int[Array, 'B *L']
) -> Scored:
  """Returns what a loss needs of the logits; unused parts cost nothing.

  Args:
    answer: Logits, or the projection that computes them.
    targets: The target tokens.
  """
  if isinstance(answer, Projection):
    blocks = answer.blocks or _blocks(answer)
    if blocks > 1:
      return _in_blocks(answer, targets, blocks)
  logits = answer.logits() if isinstance(answer, Projection) else answer
  size = logits.shape[-1]
  if isinstance(answer, Projection):  # Padded rows are not tokens.
    size = answer.vocab_size
  return Scored(
    jax.nn.logsumexp(logits, axis=-1),
    optax.softmax_cross_entropy_with_integer_labels(logits, targets),
    jnp.argmax(logits, axis=-1),
    jnp.mean(logits[..., :size], axis=-1),
  )


def _blocks(answer: Projection) -> int:
  """Returns the number of blocks for the logits; 1 means that they fit.

  A step under `jit` sees the global logits, which are sharded over devices.
  """
  scores = answer.features.size // answer.features.shape[-1]
  scores = scores * answer.table.shape[0] / jax.device_count()
  return 1 if scores <= MOST else int(-(-scores // BLOCK))


def _in_blocks(
  answer: Projection, targets: Int[Array, 'B *L'], blocks: int
) -> Scored:
  features, size = answer.features, answer.vocab_size
  rows = answer.table.shape[0]
  bias = answer.bias
  if bias is None:
    bias = jnp.zeros(rows, jnp.float32)
  centre = jnp.mean(answer.table[:size].astype(jnp.float32), axis=0)
  mean = jnp.einsum('...D,D->...', features.astype(jnp.float32), centre)
  spare = -rows % blocks
  log_z, target, best = _scan(
    features,
    jnp.pad(answer.table.astype(features.dtype), ((0, spare), (0, 0))),
    jnp.pad(bias, (0, spare)),
    targets,
    size,
    blocks,
  )
  return Scored(log_z, log_z - target, best, mean + jnp.mean(bias[:size]))


def _sums(features, table, bias, targets, size, blocks):
  """Returns `log_z`, the logit of the target, and the best token.

  Args:
    features: The vectors to project.
    table: The token table, padded to a multiple of `blocks` rows.
    bias: One bias per row.
    targets: The target tokens.
    size: Rows from this one on are padding.
    blocks: Number of blocks.
  """

  def add(carry, number):
    highest, total, target, best = carry
    scores, rows, _ = _block(features, table, bias, size, blocks, number)
    high = jnp.max(scores, axis=-1)
    new = jnp.maximum(highest, high)
    total *= jnp.exp(highest - new)
    total += jnp.sum(jnp.exp(scores - new[..., None]), axis=-1)
    is_target = rows == targets[..., None]
    target += jnp.sum(jnp.where(is_target, scores, 0.0), axis=-1)
    first = rows.reshape(-1)[jnp.argmax(scores, axis=-1)]
    # Ties go to the first token, as in an argmax over all of them.
    better = (high > highest) | ((high == highest) & (first < best))
    return (new, total, target, jnp.where(better, first, best)), None

  zeros = jnp.zeros(targets.shape, jnp.float32)
  lowest = jnp.full(targets.shape, jnp.finfo(jnp.float32).min)
  start = (lowest, zeros, zeros, jnp.full(targets.shape, size, jnp.int32))
  (highest, total, target, best), _ = jax.lax.scan(
    add, start, jnp.arange(blocks)
  )
  return highest + jnp.log(total), target, best


def _forward(features, table, bias, targets, size, blocks):
  found = _sums(features, table, bias, targets, size, blocks)
  return found, (features, table, bias, targets, found[0])


def _backward(size, blocks, kept, cotangents):
  features, table, bias, targets, log_z = kept
  of_z, of_target, log_z = (x[..., None] for x in (*cotangents[:2], log_z))

  def add(of_features, number):
    scores, rows, part = _block(features, table, bias, size, blocks, number)
    of_scores = of_z * jnp.exp(scores - log_z)
    of_scores += jnp.where(rows == targets[..., None], of_target, 0.0)
    narrow = of_scores.astype(features.dtype)
    of_features += jnp.einsum(
      '...V,VD->...D', narrow, part, preferred_element_type=jnp.float32
    )
    of_part = jnp.einsum(
      '...V,...D->VD', narrow, features, preferred_element_type=jnp.float32
    )
    of_bias = jnp.sum(of_scores, axis=range(of_scores.ndim - 1))
    return of_features, (of_part, of_bias)

  of_features, (of_table, of_bias) = jax.lax.scan(
    add, jnp.zeros(features.shape, jnp.float32), jnp.arange(blocks)
  )
  whole = lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:])
  return (
    of_features.astype(features.dtype),
    whole(of_table).astype(table.dtype),
    whole(of_bias).astype(bias.dtype),
    None,
  )


_scan = jax.custom_vjp(_sums, nondiff_argnums=(4, 5))
_scan.defvjp(_forward, _backward)


def _block(features, table, bias, size, blocks, number):
  """Returns the logits of a block, the numbers of its rows, and the rows.

  A block consists of every `blocks`-th row, so that each device has a share of
  every block if the table is sharded.
  """

  def own(x):
    x = x.reshape(-1, blocks, *x.shape[1:])
    return jax.lax.dynamic_index_in_dim(x, number, axis=1, keepdims=False)

  part = own(table)
  rows = jnp.arange(part.shape[0]) * blocks + number
  rows = jnp.expand_dims(rows, range(features.ndim - 1))
  scores = jnp.einsum(
    '...D,VD->...V', features, part, preferred_element_type=jnp.float32
  )
  scores += jnp.expand_dims(own(bias), range(features.ndim - 1))
  return jnp.where(rows < size, scores, jnp.finfo(scores.dtype).min), rows, part
