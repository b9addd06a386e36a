"""The overlap of a test set with a training set is counted in words."""

import pytest

from lm.records import overlap

WORDS = [f'w{i}' for i in range(40)]


def _text(*places):
  return ' '.join(WORDS[place] for place in places)


@pytest.mark.parametrize(
  'text, words',
  [
    ("It's 2 o'clock, isn’t it?", ['its', '2', 'oclock', 'isnt', 'it']),
    ('A well-known – ÉTÉ_x…', ['a', 'well', 'known', 'étéx']),
    ('你好，world！再见', ['你', '好', 'world', '再', '见']),
    ('すごいＡＢＣ', ['す', 'ご', 'い', 'abc']),
    ('?!', []),
  ],
)
def test_words_have_no_case_and_no_punctuation(text, words):
  assert overlap.words(text) == words


def test_ngrams_are_counted_as_by_looking_at_each():
  train = [_text(*range(20)), _text(*range(30, 40))]
  test = [
    _text(*range(20)).upper() + '!',  # The whole of one.
    _text(*range(3, 16)),  # 13 words of it.
    _text(*range(4, 16), 39),  # 12 of 13.
    _text(*range(8)) + ' x',  # 8 of 9.
    _text(*range(7)) + ' x y',  # 7 of 9.
    _text(1, 2, 3),  # Too short to have 8.
    _text(*range(15, 20), *range(30, 35)),  # Of two texts, not of one.
  ]

  found = overlap.overlap(train, test)

  assert found == overlap.Overlap(
    texts=7, exact=1, usual=8, ngrams={8: 4, 13: 2}, long={8: 6, 13: 3}
  )
  assert found.shares() == {'exact': 1 / 7, '8-gram': 4 / 7, '13-gram': 2 / 7}
  joined = [' '.join(overlap.words(text)) + ' ' for text in train]
  for n, count in overlap.overlap(train, test, range(1, 22)).ngrams.items():
    words = [overlap.words(text) for text in test]
    assert count == sum(
      any(
        ' '.join(row[i : i + n]) + ' ' in text
        for i in range(len(row) - n + 1)
        for text in joined
      )
      for row in words
    )


def test_each_character_of_chinese_is_a_word():
  train = ['酒店装修一般，但还算整洁。']
  test = ['酒店装修一般但还', '酒店装修一般！', '酒店装修一般，但还算干净']

  assert overlap.overlap(train, test).ngrams == {8: 2, 13: 0}


def test_texts_without_words_are_the_same_only_if_they_are():
  assert overlap.overlap(['?!', 'a'], ['?!', '!!']).exact == 1


@pytest.mark.parametrize(
  'lengths, usual',
  [([3] * 100, 8), ([20] * 100, 13), ([10] * 100, 10), ([2] * 5 + [9] * 95, 9)],
)
def test_the_usual_n_is_the_fifth_percentile_between_8_and_13(lengths, usual):
  assert overlap.usual_size(lengths) == usual


def test_a_table_has_a_row_for_each_set():
  dev = overlap.Overlap(1200, 6, 8, {8: 30, 13: 9}, {8: 200, 13: 120})
  test = overlap.Overlap(10, 0, 10, {8: 0}, {8: 5})

  assert overlap.table({'dev': dev, 'test': test}) == (
    'set   texts  exact     GPT-3  8-gram                  13-gram\n'
    'dev   1,200  6 (0.5%)  N=8    30 (2.5%), 200 as long  9 (0.8%), 120 as long\n'
    'test  10     0 (0.0%)  N=10   0 (0.0%), 5 as long'
  )


def test_a_test_set_without_texts_is_refused():
  with pytest.raises(ValueError, match='no texts'):
    overlap.overlap(['a'], [])
