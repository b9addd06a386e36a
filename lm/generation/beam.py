"""Beam search for the most likely texts.

At each step, each beam of a prompt is extended by every token, and the most
likely of all these candidates become the new beams. A candidate that ends with
a stop token leaves, and is kept if it is among the best so far. The score of a
text is its log-probability divided by its length to a power, the length penalty
(Wu et al., 2016, section 7, simplified). When to end, and which candidates may
leave, is as in transformers, so that the same weights find the same texts.
"""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn, struct
from jaxtyping import Array, Bool, Float, Int

from lm.generation import layers, prompts as beginnings, steps
from lm.generation.prompts import Tokens
from lm.models import kv_cache
from lm.types import PyTree, UserError


class Hypothesis(NamedTuple):
  """A text that was found.

  Attributes:
    tokens: Its tokens, without the stop token.
    score: The sum of the log-probabilities of its tokens, stop token included,
      divided by their number to the power `length_penalty`.
  """

  tokens: Tokens
  score: float


@struct.dataclass
class Rules:
  """The constants of a search; see `search`."""

  stop_tokens: Int[Array, 'N']
  max_new_tokens: int | Int[Array, '']
  length_penalty: float | Float[Array, '']
  beams: int = struct.field(pytree_node=False)
  early_stopping: bool | Literal['never'] = struct.field(pytree_node=False)
  prefix_visible: bool = struct.field(pytree_node=False, default=False)


@struct.dataclass
class State:
  """The state of the searches of a batch.

  Attributes:
    made: Number of tokens in each beam.
    tokens: Tokens of each beam, best beam first, padded with `steps.NOTHING`.
    log_probs: Log-probability of each beam; minus infinity for no beam.
    ended: The best texts that have ended, best first.
    scores: Their scores; minus infinity for no text.
    going: Whether a better text may still be found.
  """

  made: Int[Array, '']
  tokens: Int[Array, 'B beams length']
  log_probs: Float[Array, 'B beams']
  ended: Int[Array, 'B beams length']
  scores: Float[Array, 'B beams']
  going: Bool[Array, 'B']


def search(
  model: nn.Module,
  params: PyTree,
  prompts: Sequence[Tokens],
  *,
  beams: int,
  max_new_tokens: int,
  stop_tokens: Sequence[int] = (),
  length_penalty: float = 1.0,
  early_stopping: bool | Literal['never'] = False,
  num_return: int = 1,
  start_token: int = 0,
  prefix_visible: bool = False,
) -> list[list[Hypothesis]]:
  """Returns the best texts found for each prompt, best first.

  Args:
    model: A model that predicts the next token.
    params: Its parameters.
    prompts: Token ids, at least one each; sources, if it has an encoder.
    beams: Number of beams.
    max_new_tokens: Maximum number of tokens in a text, stop token included.
    stop_tokens: Ids that end a text.
    length_penalty: 0 favours the likeliest text; higher values, longer texts.
    early_stopping: When the search for a prompt ends. True: once `beams` texts
      have ended. False: once the best beam, at its current length, is worse
      than all of them. 'never': once no beam of any length can be better.
    num_return: Number of texts to return; fewer if fewer are found.
    start_token: The start token of a decoder with an encoder.
    prefix_visible: See `decode.stream`.

  Raises:
    UserError: A text would not fit into the context window of the model.
  """
  _check(beams, num_return)
  beginnings.check_length(max_new_tokens)
  texts, source, window = beginnings.begin(model, prompts, start_token)
  longest = max(map(len, texts))
  if window is not None and longest + max_new_tokens > window:
    raise UserError(
      f'The longest prompt has {longest} tokens and the model holds {window},'
      f' but beams go back and forth, so none is forgotten. Set max_new_tokens'
      f' to {window - longest} or less, or give a shorter prompt.'
    )
  rules = Rules(
    stop_tokens=jnp.array(stop_tokens, jnp.int32),
    max_new_tokens=max_new_tokens,
    length_penalty=length_penalty,
    beams=beams,
    early_stopping=early_stopping,
    prefix_visible=prefix_visible,
  )
  tokens, lengths = beginnings.padded(
    texts, beginnings.size_for(longest, window)
  )
  model, params = layers.apart(model, params)
  # The maximum length bounds the while loop; shapes come in a few sizes.
  room = beginnings.size_for(max_new_tokens, window)
  capacity = beginnings.size_for(longest + max_new_tokens, window)
  found = _search(model, params, tokens, lengths, source, rules, room, capacity)
  ends = [*stop_tokens, steps.NOTHING]
  return [
    [
      Hypothesis(text[~np.isin(text, ends)], float(score))
      for text, score in zip(*row)
      if np.isfinite(score)
    ][:num_return]
    for row in zip(*jax.device_get(found))
  ]


@functools.partial(jax.jit, static_argnames=('model', 'room', 'capacity'))
def _search(
  model: nn.Module,
  params: PyTree,
  tokens: Int[Array, 'B L'],
  lengths: Int[Array, 'B'],
  source: steps.Source | None,
  rules: Rules,
  room: int,
  capacity: int,
) -> tuple[Int[Array, 'B beams {room}'], Float[Array, 'B beams']]:
  """Returns the texts that have ended, and their scores, best first."""
  rows = len(lengths)
  valid = jnp.arange(tokens.shape[1])[None] < lengths[:, None]
  cache = steps.empty_cache(model, params, rows, capacity, source)
  inputs = dict(source or {})
  if rules.prefix_visible:
    inputs['prefix'] = valid
  logits, cache = steps.answer(model, params, cache, tokens, valid, **inputs)
  # All beams start out the same, so only one is used.
  only = jnp.full((rows, rules.beams), -jnp.inf).at[:, 0].set(0.0)
  nothing = jnp.full((rows, rules.beams, room), steps.NOTHING, jnp.int32)
  state = State(
    made=jnp.int32(0),
    tokens=nothing,
    log_probs=only,
    ended=nothing,
    scores=jnp.full_like(only, -jnp.inf),
    going=jnp.ones(rows, bool),
  )
  state, _ = advance(state, jnp.repeat(logits[:, None], rules.beams, 1), rules)
  every = jnp.ones((rows * rules.beams, 1), bool)

  def going(carry):
    state, _ = carry
    return jnp.any(state.going) & (state.made < rules.max_new_tokens)

  def step(carry):
    state, cache = carry
    last = state.tokens[:, :, state.made - 1].reshape(-1, 1)
    logits, cache = steps.answer(model, params, cache, last, every)
    logits = logits.reshape(rows, rules.beams, -1)
    state, parents = advance(state, logits, rules)
    parents += rules.beams * jnp.arange(rows)[:, None]
    return state, kv_cache.reorder(cache, parents.ravel())

  cache = kv_cache.repeat(cache, rules.beams)
  state, _ = jax.lax.while_loop(going, step, (state, cache))
  return state.ended, state.scores


def advance(
  state: State, logits: Float[Array, 'B beams V'], rules: Rules
) -> tuple[State, Int[Array, 'B beams']]:
  """Returns the state after one more token, and the parent of each beam."""
  beams, vocab_size = logits.shape[1:]
  # Enough candidates for all beams to continue, whichever of them end.
  count = max(2, 1 + len(rules.stop_tokens)) * beams
  log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  log_probs += state.log_probs[..., None]
  log_probs, ids = jax.lax.top_k(
    log_probs.reshape(-1, beams * vocab_size), min(count, beams * vocab_size)
  )
  parents, token = jnp.divmod(ids, vocab_size)
  texts = _take(state.tokens, parents).at[:, :, state.made].set(token)
  made = state.made + 1
  ends = jnp.isin(token, rules.stop_tokens) | (made == rules.max_new_tokens)

  on, which = jax.lax.top_k(jnp.where(ends, -jnp.inf, log_probs), beams)
  by_length = lambda length: length**rules.length_penalty
  # Candidates beyond the best `beams` may only continue, not leave.
  leaves = ends.at[:, beams:].set(False) & state.going[:, None]
  left = jnp.where(leaves, log_probs / by_length(made * 1.0), -jnp.inf)
  scores, kept = jax.lax.top_k(jnp.append(state.scores, left, axis=1), beams)
  ended = _take(jnp.append(state.ended, texts, axis=1), kept)

  worst = scores[:, -1]  # Minus infinity until `beams` texts have ended.
  length = made * 1.0
  if rules.early_stopping == 'never':  # The penalty may favour the longest.
    longest = jnp.asarray(rules.max_new_tokens, jnp.float32)
    length = jnp.where(jnp.asarray(rules.length_penalty) > 0, longest, length)
  going = state.going & (on[:, 0] / by_length(length) > worst)
  if rules.early_stopping is True:
    going &= jnp.isneginf(worst)
  state = State(made, _take(texts, which), on, ended, scores, going)
  return state, jnp.take_along_axis(parents, which, axis=1)


def _take(
  texts: Int[Array, 'B every length'], which: Int[Array, 'B some']
) -> Int[Array, 'B some length']:
  """Returns the selected texts of each row."""
  return jnp.take_along_axis(texts, which[..., None], axis=1)


def _check(beams: int, num_return: int) -> None:
  if beams < 1 or not 1 <= num_return <= beams:
    raise UserError(
      f'beams is {beams} and num_return {num_return}: it returns some of the'
      ' texts that it follows. Set num_return from 1 to beams.'
    )
