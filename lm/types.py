"""The axis glossary, and the structures that data, model and loss share.

The letters stand in the signatures of all modules:

    B  batch        L  length (Q of queries, T of keys, S of a source)
    D  embedding    H  heads    K  one head    F  feed-forward
    V  vocabulary   C  classes  P  positions asked for    N  a stack of layers
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
# How a model reads: only what precedes, everything, a source and then what
# precedes, or everything twice (ELECTRA).
Form = Literal[
  'causal', 'bidirectional', 'encoder_decoder', 'generator_discriminator'
]
Examples = Mapping[str, np.ndarray]  # Each [B, ...]; a source names them.


class UserError(ValueError):
  """Something that the user can mend; commands print it without a traceback."""

  status = 2  # Of the command.


class TransientError(UserError):
  """What may well be otherwise when the same command is started again."""

  status = 75  # As sysexits.h has it; a launcher tries again.


class Vocabulary(NamedTuple):
  """What an objective needs to know of a tokenizer.

  Attributes:
    size: What all ids are below.
    special_ids: Those that are no text, so that none is ever masked.
    bos_id: Begins a text. Every role is None where the tokenizer has none.
    eos_id: Ends a text.
    pad_id: Fills a row.
    unk_id: Stands for text that no other token stands for.
    mask_id: Hides a token.
    cls_id: Answers for a whole text.
    sep_id: Stands between two texts and after them.
    sentinel_ids: Marks of spans that were taken out, in the order of their use.
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
    """What begins and ends the rows of an encoder; None if one is missing."""
    begin = self.bos_id if self.cls_id is None else self.cls_id
    end = self.eos_id if self.sep_id is None else self.sep_id
    return None if begin is None or end is None else (begin, end)

  @property
  def start_id(self) -> int:
    """What a decoder begins with: T5's is the padding."""
    ids = (self.pad_id, self.eos_id, 0)
    return next(id for id in ids if id is not None)


class Batch(NamedTuple):
  """What a model is given, and what it is asked for.

  Attributes:
    inputs: The model's keyword arguments, each `[B, ...]`. Their names, once
      and for all: `tokens`; `positions` of each token within its document;
      `segment_ids` (which packed document a token is of); `valid` (False on
      padding); `token_types`; `prefix` (tokens that precede nothing: the whole
      document may see them); `predict_at` (positions to answer at, `[B, P]`);
      `source_tokens`, `source_valid`, ... (what a decoder reads).
    targets: By term (`tokens`, `next_sentence`, ...): what is to be answered.
    weights: By term: how much each target counts, 0 on padding. They come from
      data alone, so that their sum is known before the backward pass. Beside
      the terms, `bytes` holds how many bytes of text each target stands for.
  """

  inputs: Mapping[str, Any]
  targets: Mapping[str, Any]
  weights: Mapping[str, Any]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def product(
  subscripts: str, x: Float[Array, '...'], y: Float[Array, '...']
) -> Float[Array, '...']:
  """Returns an `einsum` in float32, whose gradients are made in the dtype of x.

  Else those of two arrays in bfloat16 would be products in float32, which take
  twice as long and more.
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
  """A vocabulary answer not yet multiplied out, so that a loss may chunk it.

  Attributes:
    features: What is projected.
    table: A row for each token, padded rows included.
    bias: A score for each row, or None.
    vocab_size: Rows from here on are padding, and never the answer.
    blocks: Parts of the table that a loss scores one after another; 0: as many
      as memory asks for.
  """

  features: Float[Array, 'B *L D']
  table: Float[Array, 'V D']
  bias: Float[Array, 'V'] | None = None
  vocab_size: int = struct.field(pytree_node=False, default=0)
  blocks: int = struct.field(pytree_node=False, default=0)

  def logits(self) -> Float[Array, 'B *L V']:
    """Returns the scores of the whole table, in float32."""
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
  """Returns what a user of a model expects: an array, or arrays by term."""
  whole = {
    term: answer.logits() if isinstance(answer, Projection) else answer
    for term, answer in answers.items()
  }
  return whole if len(whole) > 1 else next(iter(whole.values()))


def path_of(keys: tuple) -> str:
  """Returns `encoder/block/mlp/up/kernel` for the key path of a tree's leaf."""
  return jax.tree_util.keystr(keys, simple=True, separator='/')
