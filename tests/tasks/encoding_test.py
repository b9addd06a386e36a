import numpy as np
import pytest

from lm.data import tokenizers
from lm.tasks import encoding
from lm.types import UserError

TEXTS = ['The cat sat.', 'A dog, too!', 'Ünïcode  näh 你好 🙂'] * 9


def words(kind, size=None):
  return tokenizers.train(kind, TEXTS, size)


def row_of(tokenizer, form, first, second=None, length=99, cut='longer'):
  one, two = encoding.pieces(tokenizer, [first, second or ''])
  return encoding.row(
    encoding.marks(tokenizer, form),
    one,
    None if second is None else two,
    length,
    cut,
  )


def test_a_bert_reads_two_texts_between_three_marks():
  tokenizer = words('wordpiece', 54)
  row = row_of(tokenizer, 'bidirectional', 'the cat', 'a dog')
  first, second = (tokenizer.encode(text) for text in ('the cat', 'a dog'))
  begin, end = tokenizer.vocabulary.marks
  np.testing.assert_array_equal(row.tokens, [begin, *first, end, *second, end])
  types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
  np.testing.assert_array_equal(row.token_types, types)


def test_a_roberta_has_two_marks_between_texts():
  tokenizer = words('roberta', 290)
  row = row_of(tokenizer, 'bidirectional', 'the cat', 'a dog')
  begin, end = tokenizer.vocabulary.marks
  marks = row.tokens[row.text == encoding.MARK]
  np.testing.assert_array_equal(marks, [begin, end, end, end])


@pytest.mark.parametrize(
  ('form', 'kind'), [('causal', 'bpe'), ('encoder_decoder', 'unigram')]
)
def test_others_end_each_text(form, kind):
  tokenizer = words(kind, {'bpe': 280, 'unigram': 128}[kind])
  row = row_of(tokenizer, form, 'the cat', 'a dog')
  marks = row.tokens[row.text == encoding.MARK]
  np.testing.assert_array_equal(marks, [tokenizer.end_id] * 2)
  assert row.tokens[-1] == tokenizer.end_id


@pytest.mark.parametrize(
  ('kind', 'size', 'form'),
  [
    ('wordpiece', 54, 'bidirectional'),
    ('roberta', 290, 'bidirectional'),
    ('bpe', 280, 'causal'),
    ('unigram', 128, 'encoder_decoder'),
  ],
)
def test_every_token_tells_where_it_stands(kind, size, form):
  tokenizer = words(kind, size)
  texts = TEXTS[2], TEXTS[1]
  row = row_of(tokenizer, form, *texts)
  for number, text in enumerate(texts):
    own = row.text == number
    covered = set()
    for start, end in zip(row.start[own], row.end[own]):
      assert 0 <= start <= end <= len(text)
      covered.update(range(start, end))
    missing = {text[i] for i in range(len(text)) if i not in covered}
    assert missing <= {' '}


@pytest.mark.parametrize(
  ('sizes', 'length', 'kept'),
  [
    # Three marks are taken off the length.
    ((4, 4), 99, (4, 4)),
    ((9, 3), 11, (5, 3)),
    ((3, 9), 11, (3, 5)),
    ((9, 9), 11, (4, 4)),
    ((9, 9), 12, (5, 4)),
    ((2, 9), 8, (2, 3)),
  ],
)
def test_the_longer_text_is_cut_token_by_token(sizes, length, kept):
  tokenizer = words('characters')
  texts = ['a' * size for size in sizes]
  marks = encoding.Marks((0,), (0,), (0,))
  one, two = encoding.pieces(tokenizer, texts)
  row = encoding.row(marks, one, two, length)
  counts = tuple(int(np.sum(row.text == number)) for number in (0, 1))
  # The same, token by token.
  slow = list(sizes)
  while sum(slow) > length - 3:
    slow[0 if slow[0] > slow[1] else 1] -= 1
  assert sorted(counts) == sorted(kept) == sorted(slow)
  assert row.lost == sum(sizes) - sum(counts)


def test_only_the_second_text_is_cut_if_that_is_asked_for():
  tokenizer = words('characters')
  one, two = encoding.pieces(tokenizer, ['aaaa', 'aaaaaaaa'])
  marks = encoding.Marks((0,), (0,), (0,))
  row = encoding.row(marks, one, two, 10, 'second')
  assert np.sum(row.text == 0) == 4 and np.sum(row.text == 1) == 3
  with pytest.raises(UserError, match='no room'):
    encoding.row(marks, one, two, 6, 'second')


def test_a_tokenizer_without_marks_is_refused():
  plain = tokenizers.train('characters', TEXTS, end_of_text=False)
  for form in ('bidirectional', 'causal'):
    with pytest.raises(UserError, match='The tokenizer has no'):
      encoding.marks(plain, form)
