"""What is shown of a text that grows is what it will say."""

import numpy as np
import pytest

from lm.data import tokenizers
from lm.generation import decode, text
from lm.types import UserError
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
