"""What is shown of a text that grows is what it will say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm import objectives
from lm.data import tokenizers
from lm.generation import decode, text
from lm.objectives.objective import PromptForm
from lm.types import UserError
from tests import tiny_run
from tests.models import tiny

SAYS = '你好, 🌍! The end. No more.'
MODEL = tiny.gpt()


@pytest.fixture(scope='module')
def byte_tokenizer():
  return tokenizers.train('bytes', [SAYS])


@pytest.fixture
def says(monkeypatch, byte_tokenizer):
  """Returns a function that streams replies of a model that says `SAYS`."""
  asked = {}

  def stream(model, params, prompts, **options):
    asked.update(options, prompts=prompts)
    tokens = byte_tokenizer.encode(SAYS)
    for at, token in enumerate(tokens):
      why = 'length' if at == len(tokens) - 1 else None
      yield [decode.Piece(np.array([token], np.int32), why) for _ in prompts]

  def run(prompts, **options):
    replies = list(text.stream(MODEL, {}, byte_tokenizer, prompts, **options))
    return replies, asked

  monkeypatch.setattr(decode, 'stream', stream)
  return run


def test_half_a_character_is_not_shown(says):
  replies, _ = says(['好'])
  texts = [reply.text for (reply,) in replies]
  assert texts[:7] == ['', '', '你', '你', '你', '你好', '你好,']
  assert texts[8:12] == ['你好, ', '你好, ', '你好, ', '你好, 🌍']
  assert texts[-1] == SAYS
  assert all(SAYS.startswith(text) for text in texts)
  assert replies[-1][0].stopped_by == 'length'
  assert replies[-1][0].num_tokens == len(SAYS.encode())


def test_a_stop_text_ends_a_reply_and_nothing_of_it_is_shown(says):
  replies, _ = says(['a', 'b'], stop=['end!', 'end.'])
  shown = [reply.text for reply, _ in replies]
  assert shown[-1] == '你好, 🌍! The '
  assert all(shown[-1].startswith(text) for text in shown)
  assert [reply.stopped_by for reply in replies[-1]] == ['stop', 'stop']
  assert len(replies) == len('你好, 🌍! The end.'.encode())


def test_an_empty_prompt_begins_where_a_text_has_ended(says, byte_tokenizer):
  _, asked = says(['', 'a'], max_new_tokens=3)
  end = byte_tokenizer.eos_id
  assert [prompt.tolist() for prompt in asked['prompts']] == [[end], [97]]
  assert (asked['stop_tokens'], asked['max_new_tokens']) == ((end,), 3)


def test_without_an_end_of_text_there_must_be_a_prompt():
  characters = tokenizers.train('characters', ['abc'], end_of_text=False)
  with pytest.raises(UserError, match='The prompt is empty'):
    next(text.stream(MODEL, {}, characters, ['']))


@pytest.mark.parametrize(
  ('written', 'stop', 'stopped_by', 'expected'),
  [
    ('One. Tw', [], None, ('One. Tw', None)),
    ('One. Tw', ['Two'], None, ('One. ', None)),
    ('One. Two', ['Two'], None, ('One. ', 'stop')),
    ('One. Twice', ['Two'], None, ('One. Twice', None)),
    ('One. Tw', ['Two'], 'length', ('One. Tw', 'length')),
    ('a\n', ['\n\n', '\na\n'], None, ('a', None)),
    ('a\nb', ['\n\n', 'b'], None, ('a\n', 'stop')),
    ('a b', ['b', 'a'], None, ('', 'stop')),
    ('a\ufffd', [], None, ('a', None)),
    ('a\ufffd', [], 'stop', ('a\ufffd', 'stop')),
    ('a\ufffdb', [], None, ('a\ufffdb', None)),
    ('a\ufffd', ['ab'], None, ('', None)),
  ],
)
def test_what_may_still_change_is_held_back(
  written, stop, stopped_by, expected
):
  assert text.shown(written, stop, stopped_by) == expected


FORMS = {
  'causal_lm': PromptForm(),
  'prefix_lm': PromptForm(visible=True),
  'span_corruption': PromptForm(ends=True, visible=True),
  'deshuffling': PromptForm(ends=True, visible=True),
}


@pytest.fixture(scope='module')
def unigram():
  return tokenizers.train('unigram', tiny_run.WORDS, 118)


@pytest.mark.parametrize('name', FORMS)
def test_an_objective_tells_how_it_shows_a_prompt(name, unigram):
  def form_of(form, **settings):
    vocabulary = unigram.vocabulary
    return objectives.build(name, form, vocabulary, **settings).prompt_form

  expected = FORMS[name]
  assert form_of('causal') == expected
  if name != 'causal_lm':
    hidden = form_of('causal', prefix_visible=False)
    assert hidden == expected._replace(visible=False)
    assert form_of('encoder_decoder') == PromptForm(ends=True)


def greedy(model, params, start, count, end, visible):
  """What is likeliest, each token from a whole pass over all before it."""
  row = [*start]
  for _ in range(count):
    tokens = jnp.array([row], jnp.int32)
    prefix = jnp.arange(len(row))[None] < (len(start) if visible else 0)
    logits = tiny.apply(model, params, tokens=tokens, prefix=prefix)
    log_probs = jax.nn.log_softmax(logits[0, -1])
    row.append(int(log_probs.argmax()))
    if row[-1] == end:
      break
  return [token for token in row[len(start) :] if token != end]


@pytest.mark.parametrize('beams', [0, 1])
@pytest.mark.parametrize('name', FORMS)
def test_a_decoder_reads_a_prompt_as_it_was_trained_to(name, beams, unigram):
  end, form = unigram.eos_id, FORMS[name]
  size = {'vocab_size': unigram.vocab_size, 'max_len': 32}
  model = tiny.gpt(**size)
  params = tiny.params_of(model)
  prompts = ['the cat sat', 'a dog']
  expected = []
  for prompt in prompts:
    start = unigram.encode(prompt).tolist() + [end] * form.ends
    made = greedy(model, params, start, 6, end, form.visible)
    before = '' if form.ends else unigram.decode(start)
    whole = unigram.decode(([] if form.ends else start) + made, not form.ends)
    expected.append(whole[len(before) :])
  trained = (model, params, unigram, prompts)
  options = {'prompt_form': form, 'max_new_tokens': 6}
  if beams:
    found = text.search(*trained, beams=1, **options)
    said = [best.text for (best,) in found]
  else:
    *_, replies = text.stream(*trained, **options)
    said = [reply.text for reply in replies]
  assert said == expected


def test_what_a_decoder_reads_at_once_makes_a_difference(unigram):
  model = tiny.gpt(vocab_size=unigram.vocab_size, max_len=32)
  params, prompts = tiny.params_of(model), ['the cat sat on the mat']
  said = set()
  for form in FORMS.values():
    *_, [reply] = text.stream(
      model, params, unigram, prompts, prompt_form=form, max_new_tokens=9
    )
    said.add(reply.text)
  assert len(said) == 3  # Two of the four are shown a prompt alike.


def test_a_decoder_that_fills_sentinels_gives_the_text_back(unigram):
  first, second = unigram.vocabulary.sentinel_ids[:2]
  start = [*unigram.encode('the <extra_id_0> sat'), unigram.eos_id]
  cat = unigram.encode('cat')
  made = np.array([first, *cat, second, unigram.eos_id], np.int32)
  said = text.read(unigram, np.array(start), made, 'stop', answer=True)
  assert said == 'the cat sat'


@pytest.mark.parametrize('form', ['gpt', 't5'])
def test_what_was_ended_in_training_is_ended_whatever_the_tokenizer(form):
  bpe = tokenizers.train('bpe', tiny_run.WORDS, 270)  # Puts no marks itself.
  model = tiny.build(form, {'gpt': 'gpt2', 't5': 'small'}[form])
  read = text.encode(model, bpe, ['the cat', ''], PromptForm(ends=True))
  assert [row.tolist() for row in read] == [
    [*bpe.encode('the cat').tolist(), bpe.eos_id],
    [bpe.eos_id],
  ]
