"""Axis names, and the structures shared by data, models and losses.

These letters name the axes in the signatures of all modules:

    B  batch        L  length (Q of queries, T of keys, S of a source)
    D  embedding    H  heads    K  head width    F  feed-forward
    V  vocabulary   C  classes  P  predicted positions    N  stacked layers
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

PyTree = Any
# How a model attends: to preceding tokens, to all tokens, to a source and
# preceding tokens, or to all tokens in two networks (ELECTRA).
Form = Literal[
  'causal', 'bidirectional', 'encoder_decoder', 'generator_discriminator'
]
Examples = Mapping[str, np.ndarray]  # Each [B, ...]; keys set by the source.


class UserError(ValueError):
  """An error that the user can fix; commands print it without a traceback."""

  status = 2  # Exit status of the command.


class TransientError(UserError):
  """An error that may not recur when the same command is run again."""

  status = 75  # EX_TEMPFAIL of sysexits.h; a launcher retries.


class Vocabulary(NamedTuple):
  """What objectives need to know about a tokenizer.

  Attributes:
    size: Upper bound of the ids, exclusive.
    special_ids: Ids that are not text, and so are never masked.
    bos_id: Begins a text. Each role is None if the tokenizer lacks it.
    eos_id: Ends a text.
    pad_id: Pads a sequence.
    unk_id: Stands for text that no other token represents.
    mask_id: Masks a token.
    cls_id: Represents a whole text.
    sep_id: Separates two texts, and follows them.
    sentinel_ids: Mark removed spans, in order of use.
  """

  size: int
  special_ids: frozenset[int] = frozenset()
  bos_id: int | None = None
  eos_id: int | None = None
  pad_id: int | None = None
  unk_id: int | None = None
  mask_id: int | None = None
  cls_id: int | None = None
  sep_id: int | None = None
  sentinel_ids: tuple[int, ...] = ()

  @property
  def marks(self) -> tuple[int, int] | None:
    """The ids that begin and end encoder inputs; None if one is missing."""
    begin = self.bos_id if self.cls_id is None else self.cls_id
    end = self.eos_id if self.sep_id is None else self.sep_id
    return None if begin is None or end is None else (begin, end)

  @property
  def start_id(self) -> int:
    """The start id of a decoder: padding, as in T5, or else `eos_id`, or 0."""
    ids = (self.pad_id, self.eos_id, 0)
    return next(id for id in ids if id is not None)


class Batch(NamedTuple):
  """Inputs of a model, with targets and their weights.

  Attributes:
    inputs: The model's keyword arguments, each `[B, ...]`. All models use the
      same names: `tokens`; `positions` of each token within its document;
      `segment_ids` (the packed document of each token); `valid` (False on
      padding); `token_types`; `prefix` (tokens that are visible to their whole
      document); `predict_at` (positions to predict at, `[B, P]`);
      `source_tokens`, `source_valid`, ... (the source of a decoder).
    targets: By term (`tokens`, `next_sentence`, ...): what is to be predicted.
    weights: By term: the weight of each target, 0 on padding. They depend on
      the data alone, so that their sum is known before the backward pass.
      Besides the terms, `bytes` holds the bytes of text of each target.
  """

  inputs: Mapping[str, Any]
  targets: Mapping[str, Any]
  weights: Mapping[str, Any]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def product(
  subscripts: str, x: Float[Array, '...'], y: Float[Array, '...']
) -> Float[Array, '...']:
  """Returns an `einsum` in float32, with gradients in the dtype of its inputs.

  Otherwise, the gradients of two bfloat16 arrays would be float32 matmuls,
  which take at least twice as long.
  """
  return jnp.einsum(subscripts, x, y, preferred_element_type=jnp.float32)


def _product_forward(subscripts, x, y):
  out = jnp.einsum(subscripts, x, y, preferred_element_type=jnp.float32)
  return out, (x, y)


def _product_backward(subscripts, kept, cotangent):
  _, pull = jax.vjp(lambda x, y: jnp.einsum(subscripts, x, y), *kept)
  return pull(cotangent.astype(jnp.result_type(*kept)))


product.defvjp(_product_forward, _product_backward)


@struct.dataclass
class Projection:
  """Logits before the final matmul, so that a loss may compute them in blocks.

  Attributes:
    features: The vectors to project.
    table: One row per token, padded rows included.
    bias: One bias per row, or None.
    vocab_size: Rows from this one on are padding, and never predicted.
    blocks: Number of parts of the table that a loss scores one at a time; 0
      means as many as memory requires.
  """

  features: Float[Array, 'B *L D']
  table: Float[Array, 'V D']
  bias: Float[Array, 'V'] | None = None
  vocab_size: int = struct.field(pytree_node=False, default=0)
  blocks: int = struct.field(pytree_node=False, default=0)

  def logits(self) -> Float[Array, 'B *L V']:
    """Returns the logits of the whole table, in float32."""
    table = self.table.astype(self.features.dtype)
    scores = product('...D,VD->...V', self.features, table)
    if self.bias is not None:
      scores += jnp.expand_dims(self.bias, range(scores.ndim - 1))
    if self.vocab_size < self.table.shape[0]:
      real = jnp.arange(self.table.shape[0]) < self.vocab_size
      real = jnp.expand_dims(real, range(scores.ndim - 1))
      scores = jnp.where(real, scores, jnp.finfo(scores.dtype).min)
    return scores


def logits(answers: Mapping[str, Any]) -> Any:
  """Returns an array of logits if there is one term, else arrays by term."""
  whole = {
    term: answer.logits() if isinstance(answer, Projection) else answer
    for term, answer in answers.items()
  }
  return whole if len(whole) > 1 else next(iter(whole.values()))


def path_of(keys: tuple) -> str:
  """Returns the key path of a leaf as `encoder/block/mlp/up/kernel`."""
  return jax.tree_util.keystr(keys, simple=True, separator='/')
