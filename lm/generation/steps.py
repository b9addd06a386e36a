"""The compiled steps of decoding: read many tokens, or generate one by one.

The rows of a batch are independent: an inactive row, which has ended or whose
cache is full, does not change, whatever the others do.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn, struct
from jaxtyping import Array, Bool, Float, Int, Key

from lm.generation import layers, sampling
from lm.generation.sampling import Sampling
from lm.models import kv_cache
from lm.types import PyTree

NOTHING = -1  # Stands for the tokens of an inactive row.

# Inputs of an encoder, by the argument names of a model: `source_tokens` and
# `source_valid`, [B, S].
Source = Mapping[str, Array | np.ndarray]  # See `prompts.Beginning`.


@struct.dataclass
class Request:
  """The constants of decoding.

  Attributes:
    sampling: How tokens are chosen.
    max_new_tokens: Maximum number of new tokens in a row.
    stop_tokens: Ids that end a row.
    key: The PRNG key of all samples.
    capacity: Number of tokens that a row of the cache has room for.
    prefix_visible: Whether tokens read at once attend bidirectionally.
  """

  sampling: Sampling
  max_new_tokens: int | Int[Array, '']
  stop_tokens: Int[Array, 'N']
  key: Key[Array, '']
  capacity: int | Int[Array, '']
  prefix_visible: bool = struct.field(pytree_node=False, default=False)


@struct.dataclass
class State:
  """The state of the rows of a batch.

  Attributes:
    cache: The cache of the model.
    used: Number of tokens of each row in the cache.
    token: The last new token, which the model has not read yet.
    made: Number of new tokens, a stop token included.
    stopped: Whether the last one was a stop token.
  """

  cache: PyTree
  used: Int[Array, 'B']
  token: Int[Array, 'B']
  made: Int[Array, 'B']
  stopped: Bool[Array, 'B']


# Compiled, so that the shapes of a cache are found once, not at every call.
@functools.partial(jax.jit, static_argnames=('model', 'rows', 'capacity'))
def start(
  model: nn.Module,
  params: PyTree,
  rows: int,
  capacity: int,
  source: Source | None = None,
) -> State:
  """Returns the initial state of `rows` rows."""
  zeros = lambda dtype: jnp.zeros(rows, dtype)
  return State(
    cache=empty_cache(model, params, rows, capacity, source),
    used=zeros(jnp.int32),
    token=zeros(jnp.int32),
    made=zeros(jnp.int32),
    stopped=zeros(jnp.bool_),
  )


def empty_cache(
  model: nn.Module,
  params: PyTree,
  rows: int,
  capacity: int,
  source: Source | None,
) -> PyTree:
  """Returns the empty cache of `rows` rows."""
  tokens, valid = jnp.zeros((rows, 1), jnp.int32), jnp.ones((rows, 1), bool)

  def remembered(params, source):
    return layers.join(answer(model, params, {}, tokens, valid, **source)[1])

  cache = kv_cache.empty(
    jax.eval_shape(remembered, params, source or {}), capacity
  )
  return layers.split_like(cache, params)


@functools.partial(jax.jit, static_argnames='model', donate_argnames='state')
def read(
  model: nn.Module,
  params: PyTree,
  state: State,
  tokens: Int[Array, 'B L'],
  lengths: Int[Array, 'B'],
  request: Request,
  source: Source | None = None,
) -> tuple[State, Int[Array, 'B 1']]:
  """Generates a token for each row that has tokens to read, from those alone.

  Args:
    model: A model that predicts the next token.
    params: Its parameters.
    state: The state, which is donated.
    tokens: Tokens to read, padded on the right.
    lengths: Number of tokens in each row; 0 means that the row is inactive.
    request: The constants of decoding.
    source: Inputs of an encoder, read once.
  """
  at_work = lengths > 0
  cache = kv_cache.forget(state.cache, at_work)
  valid = jnp.arange(tokens.shape[1])[None] < lengths[:, None]
  inputs = dict(source or {})
  if request.prefix_visible:
    inputs['prefix'] = valid
  logits, cache = answer(model, params, cache, tokens, valid, **inputs)
  used = jnp.where(at_work, lengths, state.used)
  state = state.replace(cache=cache, used=used)
  state, made = _choose(state, logits, at_work, request)
  return state, made[:, None]


@functools.partial(
  jax.jit, static_argnames=('model', 'count'), donate_argnames='state'
)
def make(
  model: nn.Module,
  params: PyTree,
  state: State,
  request: Request,
  count: int,
) -> tuple[State, Int[Array, 'B count']]:
  """Generates up to `count` tokens per row; stops when no row is active."""
  rows = state.token.shape[0]

  def at_work(state):
    return ~ended(state, request) & (state.used < request.capacity)

  def going(carry):
    state, _, turn = carry
    return (turn < count) & jnp.any(at_work(state))

  def turn(carry):
    state, made, turn = carry
    working = at_work(state)
    logits, cache = answer(
      model, params, state.cache, state.token[:, None], working[:, None]
    )
    state = state.replace(cache=cache, used=state.used + working)
    state, tokens = _choose(state, logits, working, request)
    return state, made.at[:, turn].set(tokens), turn + 1

  nothing = jnp.full((rows, count), NOTHING, jnp.int32)
  state, made, _ = jax.lax.while_loop(going, turn, (state, nothing, 0))
  return state, made


def ended(state: State, request: Request) -> Bool[Array, 'B']:
  """Returns which rows have ended."""
  return state.stopped | (state.made >= request.max_new_tokens)


def answer(
  model: nn.Module,
  params: PyTree,
  cache: PyTree,
  tokens: Int[Array, 'B L'],
  valid: Bool[Array, 'B L'],
  **inputs: Array | np.ndarray,
) -> tuple[Float[Array, 'B V'], PyTree]:
  """Returns the logits after the last valid token, and the cache.

  Args:
    model: A model that predicts the next token; other heads are not applied.
    params: Its parameters.
    cache: Its cache; {} if it has read nothing.
    tokens: Tokens to read.
    valid: False on padding.
    **inputs: Further inputs of the model.
  """
  last = jnp.maximum(jnp.sum(valid, axis=-1) - 1, 0)
  answers, after = model.clone(heads=('tokens',)).apply(
    {'params': layers.join(params), **layers.join(cache)},
    tokens=tokens,
    valid=valid,
    predict_at=last[:, None],
    **inputs,
    mutable=['cache'],
    method='answer',
  )
  logits = answers['tokens'].logits()
  return logits[:, 0], layers.split_like(after, params)


def _choose(
  state: State,
  logits: Float[Array, 'B V'],
  at_work: Bool[Array, 'B'],
  request: Request,
) -> tuple[State, Int[Array, 'B']]:
  """Returns the state with a new token in each active row, and these tokens."""
  rows = jnp.arange(at_work.shape[0])
  keys = sampling.row_keys(request.key, rows, state.made)
  token = sampling.choose(logits, keys, request.sampling)
  stops = jnp.any(token[:, None] == request.stop_tokens[None], axis=-1)
  state = state.replace(
    token=jnp.where(at_work, token, state.token),
    made=state.made + at_work,
    stopped=state.stopped | (at_work & stops),
  )
  return state, jnp.where(at_work & ~stops, token, NOTHING)
