"""LoRA: low-rank updates of frozen kernels (Hu et al. 2021, 4.1).

x W becomes x W + alpha / rank (x A) B, where W is frozen, A is random and B
starts at 0. In training A and B are stored beside their kernel, and stacked and
saved like it; for evaluation, loading and export they are merged into it. The
model knows nothing about them.
"""

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Key

from lm.models.layers import Dropout, multiply
from lm.training.groups import BLOCK, Groups
from lm.types import PyTree, UserError, path_of

A, B = 'lora_a', 'lora_b'


class Lora(NamedTuple):
  """Which kernels have LoRA, and how.

  Attributes:
    rank: Rank of A and B; 0 means no LoRA: all parameters are trained.
    alpha: What their product is multiplied by, times the rank.
    dropout: Dropout rate on the input of A.
    targets: A pattern of the paths of kernels that have LoRA.
    whole: A pattern of the paths that are trained in full besides, such as
      heads; '' means none.
  """

  rank: int = 0
  alpha: float = 16.0
  dropout: float = 0.0
  targets: str = '(query|value)/kernel$'
  whole: str = '^(pooler|label|tags|start|end|next_sentence)/'

  @property
  def only(self) -> str:
    """A pattern of the paths that are trained at all; '' means all."""
    if not self.rank:
      return ''
    own = f'/({A}|{B})$'
    return f'{own}|{self.whole}' if self.whole else own

  @property
  def scale(self) -> float:
    """What the product of A and B is multiplied by."""
    return self.alpha / self.rank


def build(**section: Any) -> Lora:
  """Returns the settings in the section `lora` of a config.

  Raises:
    UserError: A setting is invalid.
  """
  lora = Lora(**section)
  if lora.rank < 0:
    raise UserError(
      f'rank is {lora.rank}, but it is how many rows B has. Set'
      ' config.lora.rank to 0, for no LoRA, or more; 8 is usual.'
    )
  if not 0 <= lora.dropout < 1:
    raise UserError(
      f'dropout is {lora.dropout}, but it is a share. Set config.lora.dropout'
      ' from 0 to below 1.'
    )
  for key in ('targets', 'whole'):
    try:
      re.compile(getattr(lora, key))
    except re.error as error:
      raise UserError(
        f'config.lora.{key} is {getattr(lora, key)!r}, which is no pattern:'
        f' {error}. Write one of Python, such as (query|value)/kernel$.'
      ) from error
  return lora


@dataclasses.dataclass(frozen=True)
class Learner:
  """A model as it is trained, with no more than `init` and `apply`.

  Attributes:
    model: The model as it is used.
    lora: The LoRA of its kernels.
    groups: The parameter groups; no gradients are computed for frozen ones.
  """

  model: nn.Module
  lora: Lora
  groups: Groups

  def init(self, key: Key[Array, ''], **inputs: Any) -> dict[str, PyTree]:
    """Returns the variables of the model, including all A and B."""
    summed: dict[str, int] = {}
    with self._intercepting(_noting(summed)):
      variables = self.model.init(key, **inputs)
    kernels = [k for k in summed if re.search(self.lora.targets, k)]
    if self.lora.rank and not kernels:
      raise UserError(
        f'config.lora.targets is {self.lora.targets!r}, which is in the path of'
        f' no kernel of this model: {", ".join(summed)}. Set it to a pattern'
        " such as '(query|value)/kernel$', or 'kernel$' for all."
      )
    params = variables['params']
    for number, kernel in enumerate(sorted(kernels)):
      drawn = jax.random.fold_in(jax.random.fold_in(key, 1), number)
      _put_beside(params, kernel, summed[kernel], self.lora.rank, drawn)
    return variables

  def apply(self, variables: dict[str, PyTree], **inputs: Any) -> Any:
    """Returns the output of the model."""
    params = jax.tree_util.tree_map_with_path(self._still, variables['params'])
    with self._intercepting(_adding(self.lora)):
      return self.model.apply({**variables, 'params': params}, **inputs)

  def _still(self, keys: tuple, leaf: jax.Array) -> jax.Array:
    stays = self.groups.stays(path_of(keys), leaf.shape)
    return jax.lax.stop_gradient(leaf) if stays else leaf

  def _intercepting(self, interceptor: Callable[..., Any]) -> Any:
    if not self.lora.rank:
      return contextlib.nullcontext()
    return nn.intercept_methods(interceptor)


def _noting(summed: dict[str, int]) -> Callable[..., Any]:
  """Returns an interceptor that notes over how many axes each kernel sums.

  The kernels themselves are initialized as they would be without it.
  """

  def note(call, args, kwargs, context):
    out, module = call(*args, **kwargs), context.module
    if isinstance(module, nn.DenseGeneral):
      path = '/'.join((*module.path, 'kernel'))
      summed[path] = _num_summed(module, args[0], out)
    return out

  return note


def _adding(lora: Lora) -> Callable[..., Any]:
  """Returns an interceptor that adds (x A) B to outputs of layers with both."""

  def add(call, args, kwargs, context):
    out, module = call(*args, **kwargs), context.module
    if not isinstance(module, nn.DenseGeneral):
      return out
    if not module.has_variable('params', A):
      return out
    (x,) = args
    count = _num_summed(module, x, out)
    a, b = (module.get_variable('params', name) for name in (A, B))
    x, a, b = (array.astype(out.dtype) for array in (x, a, b))
    x = Dropout(lora.dropout, name='lora_dropout')(x)
    return out + lora.scale * multiply(1, multiply(count, x, a), b)

  return add


def _num_summed(module: nn.DenseGeneral, x: Array, out: Array) -> int:
  kernel = module.get_variable('params', 'kernel')
  return (x.ndim + kernel.ndim - out.ndim) // 2


def _put_beside(
  params: PyTree, path: str, count: int, rank: int, key: Key[Array, '']
) -> None:
  """Adds A and B to the parameters.

  Args:
    params: The parameters.
    path: The path of the kernel.
    count: Over how many of its axes the layer sums.
    rank: The rank of A and B.
    key: The random key for A.
  """
  *names, _ = path.split('/')
  layer = functools.reduce(lambda tree, name: tree[name], names, params)
  kernel = layer['kernel']
  first = int(BLOCK in path)  # It follows the axis of the layers.
  layers, sizes = kernel.shape[:first], kernel.shape[first:]
  read, made = sizes[:count], sizes[count:]
  drawn = jax.random.normal(key, (*layers, *read, rank), kernel.dtype)
  # So x A is about as large as x.
  layer[A] = drawn * math.prod(read) ** -0.5
  layer[B] = jnp.zeros((*layers, rank, *made), kernel.dtype)


def merged(params: PyTree, lora: Lora) -> PyTree:
  """Returns the parameters of the model alone, with the products merged in.

  Args:
    params: Dicts of numpy or JAX arrays; unchanged if there is no A and B.
    lora: The settings that they were trained with.
  """
  if not isinstance(params, dict):
    return params
  found = {
    name: merged(child, lora)
    for name, child in params.items()
    if name not in (A, B)
  }
  if A in params:
    kernel, a, b = params['kernel'], params[A], params[B]
    # [N, in, rank] of N layers, else [in, rank].
    layers = kernel.shape[: a.ndim + b.ndim - 2 - kernel.ndim]
    rank = a.shape[-1]
    product = a.reshape(*layers, -1, rank) @ b.reshape(*layers, rank, -1)
    product = (lora.scale * product).reshape(kernel.shape)
    found['kernel'] = (kernel + product).astype(kernel.dtype)
  return found
