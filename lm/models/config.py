"""The settings that all architectures share."""

import dataclasses
import types
from typing import Any, Literal, get_args, get_origin

from lm.models.attention import Kernel
from lm.types import UserError

MAY_BE_NONE = ('vocab_blocks', 'position_offset')
ABOVE_NOTHING = ('norm_eps', 'generator_size')
Activation = Literal['gelu', 'gelu_tanh', 'relu', 'silu', 'tanh']


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
  """Sizes, and the few choices in which the published models differ.

  Attributes:
    vocab_size: Number of tokens in the vocabulary.
    vocab_multiple: The token table is padded to a multiple of this, so that it
      can be sharded; padded rows are never predicted.
    max_len: Maximum number of tokens in a sequence.
    attention: What a token attends to: preceding tokens, all tokens, or
      preceding tokens in half of the heads and following ones in the others.
    norm: LayerNorm, or RMSNorm, which has no mean and bias (Zhang and Sennrich
      2019).
    norm_position: 'pre' normalises the input of each branch, and the output of
      the stack; 'post' normalises each residual sum (Xiong et al. 2020).
    gated_mlp: Multiplies the hidden units by a second projection (Shazeer
      2020).
    scale_scores: Divides the scores by sqrt(head_dim).
    position: Position encoding: a learned table, added sinusoids, rotated
      pairs of features, or a bias by distance (Raffel et al. 2020, 2.1).
    relative_buckets: Number of buckets of distances that share a bias.
    relative_max_distance: Distances from this one on share a bucket.
    embedding_dropout: Rate on the embedded tokens.
    attention_dropout: Rate on the attention weights.
    residual_dropout: Rate on the output of each branch.
    mlp_dropout: Rate on the hidden units.
    init: Distribution of kernels: normal, normal truncated at two standard
      deviations, normal with a standard deviation of one over the square root
      of the fan-in, or uniform (Glorot and Bengio 2010).
    init_std: Standard deviation of the first two.
    embedding_init_std: That of the token table; None means `init_std`.
    scale_residual_init: Divides the standard deviation by sqrt(2 num_layers)
      in the last layer of each branch (Radford et al. 2019, 2.3).
    kernel: Attention kernel; one that does not fit is an error. 'auto' chooses
      one that does, see docs/kernels.md.
    vocab_blocks: Number of parts of the vocabulary that the loss scores one at
      a time, to save memory; 0 means 1 if all logits fit in 4 GiB, else blocks
      of at most 1 GiB.
    dtype: Dtype of computation; scores, norms, logits and loss use float32.
    remat: What each layer saves for the backward pass: 'none' rematerialises
      nothing, and so saves all; 'dots' saves the matmuls with parameters,
      'offload' saves them in host memory, 'full' saves nothing.
    unroll: Layers per iteration of the scan over layers. None means all on a
      CPU, where a loop costs 10 to 40%, and 1 elsewhere or with `remat`, which
      a CPU's compiler undoes without a loop.
  """

  vocab_size: int
  max_len: int
  num_layers: int
  num_heads: int
  head_dim: int
  embed_dim: int
  mlp_dim: int
  vocab_multiple: int = 1
  attention: Literal['causal', 'bidirectional', 'forward_backward'] = 'causal'
  norm: Literal['layer', 'rms'] = 'layer'
  norm_position: Literal['pre', 'post'] = 'pre'
  norm_eps: float = 1e-5
  activation: Activation = 'gelu_tanh'
  gated_mlp: bool = False
  use_bias: bool = True
  scale_scores: bool = True
  position: Literal['learned', 'sinusoidal', 'rotary', 'relative'] = 'learned'
  relative_buckets: int = 32
  relative_max_distance: int = 128
  embedding_dropout: float = 0.0
  attention_dropout: float = 0.0
  residual_dropout: float = 0.0
  mlp_dropout: float = 0.0
  init: Literal['normal', 'truncated_normal', 'fan_in', 'glorot'] = 'normal'
  init_std: float = 0.02
  embedding_init_std: float | None = None
  scale_residual_init: bool = False
  kernel: Kernel = 'auto'
  vocab_blocks: int = 0
  dtype: Literal['float32', 'bfloat16'] = 'float32'
  param_dtype: Literal['float32', 'bfloat16'] = 'float32'
  remat: Literal['none', 'dots', 'offload', 'full'] = 'none'
  unroll: int | None = None

  def __post_init__(self):
    for field in dataclasses.fields(self):
      check(field.name, field.type, getattr(self, field.name))
    if self.position == 'relative':
      _check_buckets(self)
    halved = {'sinusoidal': 'embed_dim', 'rotary': 'head_dim'}
    size = halved.get(self.position)
    if size and getattr(self, size) % 2:
      raise UserError(
        f'{size} is {getattr(self, size)}, but {self.position} positions take'
        f' features in pairs. Set config.model.{size} to an even number.'
      )


def check(name: str, kind: Any, value: Any) -> None:
  """Raises UserError if a field of a model cannot have this value.

  Args:
    name: Name of the field.
    kind: Its annotation.
    value: Its value; None is not checked.
  """
  if value is None:
    return
  kinds = [one for one in get_args(kind) if one is not types.NoneType] or [kind]
  choices = get_args(kinds[0]) if get_origin(kinds[0]) is Literal else kinds
  if isinstance(choices[0], str) and value not in choices:
    raise UserError(
      f'{name} is {value!r}, which is unknown. Set config.model.{name} to one of'
      f' {sorted(choices)}.'
    )
  if name.endswith('dropout') and not 0 <= value < 1:
    raise UserError(
      f'{name} is {value}, but it is a share. Set config.model.{name} to at'
      ' least 0 and under 1.'
    )
  if kinds == [int] and isinstance(value, str | float):
    raise UserError(
      f'{name} is {value!r}, but it is a number. Set config.model.{name} to one.'
    )
  least = 0 if name in MAY_BE_NONE else 1
  if kinds == [int] and value < least:
    raise UserError(
      f'{name} is {value}, but it is how many there are. Set'
      f' config.model.{name} to {least} or more.'
    )
  if name.endswith('_std') and value < 0:
    raise UserError(
      f'{name} is {value}, but it is a standard deviation. Set'
      f' config.model.{name} to at least 0.'
    )
  if name in ABOVE_NOTHING and value <= 0:
    raise UserError(
      f'{name} is {value}, which leaves nothing. Set config.model.{name} above'
      ' 0.'
    )


def _check_buckets(config: TransformerConfig) -> None:
  """Raises UserError if there are too few buckets for relative distances."""
  buckets = config.relative_buckets
  least = 2 if config.attention == 'causal' else 4  # 2 in each direction.
  if buckets < least:
    raise UserError(
      f'relative_buckets is {buckets}, but near and far distances need one each'
      f' in each direction. Set config.model.relative_buckets to {least} or'
      ' more.'
    )
