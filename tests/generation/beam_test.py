"""Beam search finds what transformers finds, and what a full search finds."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from lm.generation import beam, decode
from lm.types import UserError
from tests.models import parity, tiny

EOS = 2
STOPS = {'gpt2': [EOS], 't5': [EOS, 7, 11]}
PROMPTS = [
  np.array(prompt, np.int32)
  for prompt in ([3, 4, 5], [6], [7, 8, 9, 10, 3, 4], [5, 6, 5, 6])
]
SETTINGS = [
  {'beams': 4, 'length_penalty': penalty, 'early_stopping': early}
  for penalty in (0.0, 1.0, 2.5, -0.5)
  for early in (False, True, 'never')
] + [{'beams': 1}, {'beams': 3, 'max_new_tokens': 1}, {'beams': 5}]


@functools.cache
def peer(family):
  """Returns a model of transformers whose texts end at various lengths."""
  import torch
  import transformers

  special = {'bos_token_id': 1, 'eos_token_id': EOS, 'pad_token_id': 0}
  if family == 'gpt2':
    config = transformers.GPT2Config(
      vocab_size=17, n_positions=40, n_embd=12, n_layer=2, n_head=3, **special
    )
    theirs = transformers.GPT2LMHeadModel(config)
  else:
    config = transformers.T5Config(
      vocab_size=17,
      d_model=12,
      d_kv=3,
      d_ff=14,
      num_layers=2,  # Of both halves: its cache cannot tell them apart.
      num_heads=3,
      decoder_start_token_id=0,
      **special,
    )
    theirs = transformers.T5ForConditionalGeneration(config)
  theirs = parity.perturbed(theirs, seed=1)
  with torch.no_grad():  # What they say varies, and when it ends.
    if family == 'gpt2':
      theirs.transformer.ln_f.weight.mul_(0.6)
      theirs.transformer.wpe.weight.mul_(8)
    else:
      theirs.shared.weight.mul_(0.3)
  return theirs, *parity.ours_of(theirs)


def searched_by_transformers(theirs, family, options):
  """Returns tokens without the stop token, and scores, of each prompt."""
  import torch

  found = []
  for prompt in PROMPTS:
    tokens = torch.tensor(prompt[None].tolist())
    output = theirs.generate(
      tokens,
      attention_mask=torch.ones_like(tokens),
      do_sample=False,
      num_beams=options['beams'],
      num_return_sequences=options['num_return'],
      max_new_tokens=options['max_new_tokens'],
      length_penalty=options['length_penalty'],
      early_stopping=options['early_stopping'],
      return_dict_in_generate=True,
      output_scores=True,
      eos_token_id=STOPS[family],
    )
    skipped = len(prompt) if family == 'gpt2' else 1
    rows = []
    for row in output.sequences[:, skipped:].tolist():
      ends = (place for place, id in enumerate(row) if id in STOPS[family])
      rows.append(row[: next(ends, None)])
    found.append((rows, output.sequences_scores.tolist()))
  return found


@pytest.mark.peers
@pytest.mark.parametrize('family', ['gpt2', 't5'])
def test_texts_and_scores_are_those_of_transformers(family):
  theirs, model, params = peer(family)
  lengths = set()
  for changes in SETTINGS:
    options = {'length_penalty': 1.0, 'early_stopping': False}
    options |= {'max_new_tokens': 14, 'num_return': changes['beams']} | changes
    if options['beams'] == 1:
      continue  # transformers' greedy search has no score.
    ours = beam.search(
      model, params, PROMPTS, stop_tokens=STOPS[family], **options
    )
    expected = searched_by_transformers(theirs, family, options)
    for row, (texts, scores) in zip(ours, expected):
      assert [one.tokens.tolist() for one in row] == texts, options
      np.testing.assert_allclose(
        [one.score for one in row], scores, rtol=1e-4, atol=1e-5
      )
      lengths |= {len(text) for text in texts}
  assert min(lengths) < 4 and max(lengths) == 14 and len(lengths) > 6


def test_one_beam_is_greedy():
  model = tiny.gpt(max_len=24)
  params = tiny.params_of(model)
  greedy = decode.generate(
    model, params, PROMPTS, max_new_tokens=9, stop_tokens=[EOS]
  )
  found = beam.search(
    model, params, PROMPTS, beams=1, max_new_tokens=9, stop_tokens=[EOS]
  )
  for piece, (one,) in zip(greedy, found, strict=True):
    assert one.tokens.tolist() == piece.tokens.tolist()


def test_with_as_many_beams_as_texts_it_finds_the_likeliest():
  model = tiny.gpt(vocab_size=5, max_len=24)
  params = tiny.params_of(model)
  prompt, count = np.array([1, 3], np.int32), 3
  (found,) = beam.search(
    model, params, [prompt], beams=25, max_new_tokens=count, num_return=10
  )
  every = np.array([*itertools.product(range(5), repeat=count)], np.int32)
  whole = np.concatenate([np.tile(prompt, (len(every), 1)), every], axis=1)
  logits = tiny.apply(model, params, tokens=jnp.asarray(whole[:, :-1]))
  logits = np.asarray(logits, np.float64)[:, 1:]
  shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  scores = np.take_along_axis(shares, every[..., None], 2).sum((1, 2)) / count
  best = np.argsort(-scores)[:10]
  assert [one.tokens.tolist() for one in found] == every[best].tolist()
  np.testing.assert_allclose(
    [one.score for one in found], scores[best], rtol=1e-4
  )


@pytest.mark.parametrize(
  'name, preset', [('transformer', 'base'), ('t5', None)]
)
def test_scores_are_those_of_teacher_forcing(name, preset):
  model = tiny.build(name, preset or 'small')
  one = jnp.zeros((1, 2), jnp.int32)
  params = tiny.params_for(model, source_tokens=one, tokens=one)
  found = beam.search(
    model,
    params,
    PROMPTS,
    beams=3,
    max_new_tokens=8,
    stop_tokens=[EOS],
    num_return=3,
    start_token=1,
  )
  for prompt, row in zip(PROMPTS, found):
    assert len(row) == 3
    for text in row:
      said = text.tokens
      if len(said) < 8:
        said = np.append(said, EOS)
      # In one pass, behind padding that nobody sees.
      source = np.zeros((1, 8), np.int32)
      source[0, : len(prompt)] = prompt
      read = np.zeros((1, 8), np.int32)
      read[0, : len(said)] = [1, *said[:-1]]
      logits = tiny.apply(
        model,
        params,
        source_tokens=source,
        source_valid=np.arange(8)[None] < len(prompt),
        tokens=read,
      )[0]
      logits = np.asarray(logits, np.float64)
      shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
      score = shares[np.arange(len(said)), said].mean()
      np.testing.assert_allclose(text.score, score, rtol=1e-3)


def test_what_cannot_be_searched_is_refused():
  model = tiny.gpt()
  search = functools.partial(beam.search, model, tiny.params_of(model), PROMPTS)
  with pytest.raises(UserError, match='num_return from 1 to beams'):
    search(beams=2, num_return=3, max_new_tokens=3)
  with pytest.raises(UserError, match='max_new_tokens to 6 or less'):
    search(beams=2, max_new_tokens=7)
