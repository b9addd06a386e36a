"""Going on from prompts, against full passes over all that was said."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.generation import decode, layers, prompts, sampling, steps
from lm.models import kv_cache
from lm.types import UserError
from tests.models import gpt_parity_test, parity, tiny

WINDOW = tiny.SIZES['max_len']
KINDS = {
  'learned': {},
  'sinusoidal': {'position': 'sinusoidal'},
  'rotary': {'position': 'rotary'},
  'banded': {'local_window': 3},
}
each_kind = pytest.mark.parametrize('kind', KINDS)
PROMPTS = [
  np.array(prompt, np.int32)
  for prompt in ([1, 2, 3], [5], [4, 5, 6, 7, 8, 9, 10])
]
DRAWN = sampling.settings(temperature=1.5, top_k=9, top_p=0.95)


def said(prompts=PROMPTS, kind='learned', **options):
  """Returns what each prompt goes on with, as lists, and why it ended."""
  model = tiny.gpt(**KINDS[kind])
  never = [99, 99]  # As many as where rows do stop: one program for all.
  options = dict(max_new_tokens=25, chunk=4, stop_tokens=never) | options
  pieces = decode.generate(model, tiny.params_of(model), prompts, **options)
  return [p.tokens.tolist() for p in pieces], [p.stopped_by for p in pieces]


def said_by_full_passes(prompts, kind, max_new_tokens):
  """Asks the model for every token anew, all that it has in view at once."""
  model = tiny.gpt(**KINDS[kind])
  views = [prompt.tolist() for prompt in prompts]
  said = [[] for _ in prompts]
  for _ in range(max_new_tokens):
    tokens = np.zeros((len(prompts), WINDOW), np.int32)
    for row, view in enumerate(views):
      tokens[row, : len(view)] = view
    logits = tiny.logits(model, tokens)
    for row, view in enumerate(views):
      best = int(np.argmax(logits[row, len(view) - 1]))
      said[row].append(best)
      # A row that fills the window forgets all but the newest half of it.
      full = len(view) == WINDOW
      views[row] = [*view, best][-(WINDOW // 2) :] if full else [*view, best]
  return said


answer = tiny.quick_jit(steps.answer, static_argnums=0)


@each_kind
def test_decoding_gives_the_logits_of_a_full_pass_at_every_position(kind):
  model, tokens, capacity = tiny.gpt(**KINDS[kind]), tiny.tokens(3, 12), 11
  full = tiny.logits(model, tokens)
  apart, params = layers.apart(model, tiny.params_of(model))
  lengths, rows = np.array([5, 1, 3]), np.arange(3)
  cache = steps.start(apart, params, 3, capacity).cache

  valid = jnp.arange(5)[None] < lengths[:, None]
  got, cache = answer(apart, params, cache, jnp.asarray(tokens[:, :5]), valid)
  np.testing.assert_allclose(got, full[rows, lengths - 1], atol=1e-5)
  for step in range(6):
    slots = lengths + step
    one = jnp.asarray(tokens[rows, slots][:, None])
    got, cache = answer(apart, params, cache, one, jnp.ones((3, 1), bool))
    np.testing.assert_allclose(got, full[rows, slots], atol=1e-5)


def test_what_is_apart_stays_as_it_is_and_says_the_same():
  model = tiny.gpt(max_len=WINDOW)
  params = tiny.params_of(model)
  apart, split = layers.apart(model, params)
  again, same = layers.apart(apart, split)
  assert again == apart
  leaves = jax.tree.leaves(split)
  assert len(leaves) > len(jax.tree.leaves(params))
  assert all(map(operator.is_, leaves, jax.tree.leaves(same)))
  ours, theirs = (
    decode.generate(*pair, PROMPTS, max_new_tokens=6)
    for pair in ((model, params), (apart, split))
  )
  for one, other in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(one.tokens, other.tokens)


@each_kind
def test_greedy_text_is_that_of_full_passes_even_past_the_window(kind):
  got, why = said(kind=kind)
  assert got == said_by_full_passes(PROMPTS, kind, 25)
  assert why == ['length'] * 3
  assert len({tuple(row) for row in got}) == 3


@functools.cache
def drawn():
  return said(sampling=DRAWN, seed=3)[0]


def test_a_row_does_not_depend_on_the_other_rows():
  others = [tiny.tokens(1, 12)[0], PROMPTS[1], PROMPTS[0][:1]]
  got, _ = said(others, sampling=DRAWN, seed=3)
  assert got[1] == drawn()[1]
  assert got[0] != drawn()[0]


def test_the_seed_decides_what_is_drawn():
  assert said(sampling=DRAWN, seed=3)[0] == drawn()
  assert said(sampling=DRAWN, seed=4)[0] != drawn()


def test_the_text_does_not_depend_on_how_often_it_is_looked_at():
  assert said(sampling=DRAWN, seed=3, chunk=7)[0] == drawn()


def test_a_shorter_text_is_the_beginning_of_a_longer_one():
  for length in (1, 5, 14):
    got, _ = said(sampling=DRAWN, seed=3, max_new_tokens=length)
    assert got == [row[:length] for row in drawn()]


def test_a_row_ends_before_its_first_stop_token_and_the_others_go_on():
  stop = [drawn()[0][6], drawn()[1][11]]
  got, why = said(sampling=DRAWN, seed=3, stop_tokens=stop)
  for row, reason, whole in zip(got, why, drawn()):
    ends = [at for at, token in enumerate(whole) if token in stop]
    assert reason == ('stop' if ends else 'length')
    assert row == whole[: min(ends, default=25)]
  assert 'stop' in why


def test_pieces_come_as_they_are_made():
  model = tiny.gpt()
  lengths = [
    [len(piece.tokens) for piece in pieces]
    for pieces in decode.stream(
      model,
      tiny.params_of(model),
      PROMPTS,
      max_new_tokens=5,
      chunk=4,
      stop_tokens=[99, 99],
    )
  ]
  # The prompt's own pass makes the first token.
  assert lengths == [[1, 1, 1], [4, 4, 4]]


def test_a_prompt_beyond_the_window_loses_its_beginning(caplog):
  long = tiny.tokens(1, 30)[0]
  got = said([long, *PROMPTS[1:]])
  assert 'A prompt has 30 tokens, and the model reads 12' in caplog.text
  assert got == said([long[-WINDOW:], *PROMPTS[1:]])


def test_what_is_asked_for_again_is_not_compiled_again():
  said(sampling=DRAWN, seed=3)
  compiled = steps.read._cache_size(), steps.make._cache_size()
  said(
    [PROMPTS[2], PROMPTS[0], PROMPTS[1][:1] + 1],
    sampling=sampling.settings(temperature=0.3, top_k=9, top_p=0.5),
    seed=11,
    max_new_tokens=17,
  )
  assert (steps.read._cache_size(), steps.make._cache_size()) == compiled


def test_an_empty_cache_takes_up_the_room_asked_for():
  like = {'cache': {'keys': jnp.ones((2, 3, 4, 12, 5)), 'index': jnp.ones(3)}}
  empty = kv_cache.empty(like, 8)['cache']
  np.testing.assert_array_equal(empty['keys'], np.zeros((2, 3, 4, 8, 5)))
  np.testing.assert_array_equal(empty['index'], [0, 0, 0])


@pytest.mark.parametrize(
  ('length', 'size'),
  [(1, 16), (16, 16), (17, 24), (25, 32), (33, 48), (65, 96), (700, 700)],
)
def test_few_sizes_are_compiled_for(length, size):
  assert prompts.size_for(length, limit=700) == size


@pytest.mark.parametrize(
  ('prompts', 'options', 'message'),
  [
    ([], {}, 'A prompt is empty'),
    ([PROMPTS[0], PROMPTS[0][:0]], {}, 'A prompt is empty'),
    (PROMPTS, {'max_new_tokens': 0}, 'max_new_tokens is 0'),
    ([np.array([2, 13])], {}, 'tokens from 2 to 13, .* from 0 to 12'),
    ([np.array([-1, 2])], {}, 'tokens from -1 to 2'),
  ],
)
def test_what_cannot_be_gone_on_from_is_refused(prompts, options, message):
  with pytest.raises(UserError, match=message):
    said(prompts, **options)


def test_layers_come_apart_and_together_again():
  tree = {'block': {'kernel': jnp.arange(6.0).reshape(3, 2)}, 'x': jnp.ones(2)}
  parts = layers.split(tree)
  assert [part.tolist() for part in parts['block']['kernel']] == [
    [0, 1],
    [2, 3],
    [4, 5],
  ]
  jax.tree.map(np.testing.assert_array_equal, layers.join(parts), tree)


@pytest.mark.peers
def test_greedy_text_is_that_of_transformers():
  import torch

  theirs, _, _ = gpt_parity_test.peer('gpt2')
  theirs.generation_config.eos_token_id = None
  with torch.no_grad():  # Or it says one token for ever.
    theirs.transformer.wpe.weight.mul_(8)
  model, params = parity.ours_of(theirs)
  prompts = [np.array(prompt, np.int32) for prompt in ([1, 2, 3, 4], [9, 8])]
  ours = decode.generate(model, params, prompts, max_new_tokens=12)
  for prompt, piece in zip(prompts, ours):
    tokens = torch.tensor(prompt[None].tolist())
    whole = theirs.generate(
      tokens,
      attention_mask=torch.ones_like(tokens),
      max_new_tokens=12,
      do_sample=False,
      pad_token_id=0,
    )
    said = whole[0, len(prompt) :].tolist()
    assert piece.tokens.tolist() == said
    assert len(set(said)) > 2
