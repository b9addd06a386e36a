"""Where words are asked for, in rows of tokens."""

import functools

import numpy as np
from hypothesis import example, given, settings, strategies as st

from lm.data import tokenizers
from lm.tasks import encoding, word_rows
from lm.tasks.encoding import Marks

TEXT = """\
The cat sat on the mat, and the hat sat on the cat. It's the cat's hat!
Who'll say that they've 123 hats -- or 4567 mats?  The weather, whether or not.
我们今天去公园看花，花很好看。明天我们再去公园好吗？好的，我们明天去！
"""
SIZES = {'bpe': 300, 'roberta': 300, 'wordpiece': 95, 'unigram': 165}
KINDS = (*SIZES, 'bytes')
WORDS = st.lists(
  st.one_of(
    st.text(min_size=1),
    st.sampled_from(['whether', 'weather', '我们', '公园', '4567', "hat's"]),
    st.sampled_from(['\x00', '\u3000', '\u0301', '\u200d', '👩‍👩‍👧', '[SEP]']),
  ),
  min_size=1,
  max_size=8,
)


@functools.cache
def trained(kind: str) -> tokenizers.Tokenizer:
  return tokenizers.train(kind, [TEXT], SIZES.get(kind))


def pieces_of(kind, words, joiner):
  return encoding.pieces(trained(kind), [joiner.join(words)])[0]


@given(WORDS, st.sampled_from(KINDS), st.sampled_from(['', ' ']))
@example(['我', '们', '今', '\x00', '天'], 'bpe', '')
@example([' ', ' ', ' ', '\x00'], 'bpe', ' ')
@example(['e', '\u0301', '\u0301'], 'wordpiece', '')
@settings(deadline=None)
def test_a_word_is_asked_at_the_first_token_that_has_text_of_it(
  words, kind, joiner
):
  pieces = pieces_of(kind, words, joiner)
  found = word_rows.align(pieces, words, joiner)
  owner = [n for n, word in enumerate(words) for _ in word + joiner]
  inside = [
    place for word in words for place in [1] * len(word) + [0] * len(joiner)
  ]
  for number, place in enumerate(found):
    having = [
      token
      for token, (start, end) in enumerate(zip(pieces.start, pieces.end))
      if any(inside[at] and owner[at] == number for at in range(start, end))
    ]
    assert place == (having[0] if having else word_rows.NOWHERE)


@given(WORDS, st.sampled_from(['bpe', 'roberta', 'wordpiece', 'unigram']))
@settings(deadline=None)
def test_words_between_spaces_are_cut_as_each_would_be_alone(words, kind):
  """So a word's first token is behind those of all words before."""
  words = [word for word in words if not any(map(is_space, word))] or ['a']
  alone = [
    trained(kind).encode((' ' if n and kind != 'wordpiece' else '') + word)
    for n, word in enumerate(words)
  ]
  pieces = pieces_of(kind, words, ' ')
  assert pieces.tokens.tolist() == np.concatenate(alone).tolist()
  sizes = [len(tokens) for tokens in alone]
  behind = np.cumsum([0, *sizes])
  space = trained(kind).encode(' ')
  for n, place in enumerate(word_rows.align(pieces, words, ' ')):
    if not sizes[n]:
      assert place == word_rows.NOWHERE
    else:  # A space that no token has along with the word is not of it.
      lone = kind != 'wordpiece' and n and alone[n][0] == space[0]
      assert place == behind[n] + lone


def is_space(character):
  return character.isspace() or character in '\u200b\ufeff'


def test_what_is_between_words_is_of_none():
  pieces = pieces_of('bytes', ['a', 'b'], ' ')
  assert word_rows.align(pieces, ['a', 'b'], ' ').tolist() == [0, 2]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.data())
def test_a_word_is_asked_once_and_where_it_is_farthest_from_an_edge(
  size, room, stride, data
):
  stride = min(stride, room)
  tokens = np.arange(size, dtype=np.int32)
  pieces = encoding.Pieces(tokens, tokens, tokens + 1)
  places = np.array(sorted(data.draw(st.sets(st.integers(0, size - 1)))), int)
  reading = word_rows.read(pieces, places, room, stride)
  seen = {}
  for window in reading.windows:
    assert len(window.pieces.tokens) <= room
    for place, word, end in zip(window.place, window.word, window.word_end):
      assert end == word + 1 and word not in seen
      assert window.pieces.tokens[place] == places[word]
      seen[word] = min(place, len(window.pieces.tokens) - 1 - place)
  assert seen.keys() == {*range(len(places))}
  for word, context in seen.items():
    possible = [
      min(places[word] - begin, min(begin + room, size) - 1 - places[word])
      for begin in range(0, max(size - room, 0) + stride, stride)
    ]
    assert context == max(possible)
  assert (reading.nowhere, reading.shared, reading.cut) == (0, 0, 0)


def test_the_rows_of_two_sentences_are_these():
  """The first is too long by one; of the second, no tags are known.

  Its words: one of tokens 0 and 1, two that share token 2, one with none, and
  one of token 3.
  """
  tokens = np.array([10, 11, 12, 13], np.int32)
  pieces = encoding.Pieces(tokens, tokens, tokens + 1)
  places = np.array([0, 2, 2, word_rows.NOWHERE, 3])
  marks = Marks((1,), (2,), (2,))
  made = [word_rows.read(pieces, places, room, 1) for room in (3, 4)]
  assert made[0][1:] == made[1][1:] == (5, 1, 1, 0)
  table = word_rows.table(made, [np.array([5, 6, 7, 8, 9]), None], marks, 6)
  assert table.single['record'].tolist() == [0, 0, 1]
  expected = {
    'tokens': [[1, 10, 11, 12, 2], [1, 11, 12, 13, 2], [1, 10, 11, 12, 13, 2]],
    'token_types': [[0] * 5, [0] * 5, [0] * 6],
    'word': [[0, 0, 0, 0, 0], [0, 0, 1, 4, 0], [0, 0, 0, 1, 4, 0]],
    'word_end': [[0, 1, 0, 0, 0], [0, 0, 3, 5, 0], [0, 1, 0, 3, 5, 0]],
    'tags': [[0, 5, 0, 0, 0], [0, 0, 6, 9, 0], [0] * 6],
    'tag_weights': [[0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0] * 6],
  }
  columns = table.ragged['tokens']
  assert columns.keys() == expected.keys()
  for name, rows in expected.items():
    assert [columns[name].row(n).tolist() for n in range(3)] == rows, name


def test_answers_are_gathered_from_the_windows_of_a_sentence():
  tokens = np.arange(4, dtype=np.int32)
  pieces = encoding.Pieces(tokens, tokens, tokens + 1)
  places = np.array([0, 2, 2, word_rows.NOWHERE, 3])
  made = [
    word_rows.read(pieces, places, 3, 1),
    word_rows.read(pieces, places, 3, 0),
  ]
  table = word_rows.table(made, [None, None], Marks((), (), (9,)), 4)
  heads = [row + np.arange(4)[:, None] for row in (10, 20, 30)]
  first, second = word_rows.answered(table, heads, [5, 5], 1)
  assert first.scores[:, 0].tolist() == [10, 21, 0, 0, 22]
  assert first.asked.tolist() == [True, True, False, False, True]
  assert first.goes_on.tolist() == [False, False, True, False, False]
  assert second.scores[:, 0].tolist() == [30, 32, 0, 0, 0]
  assert second.asked.tolist() == [True, True, False, False, False]
