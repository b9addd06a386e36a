"""Sentences end where a reader would say."""

import pytest

from lm.data import sentences


@pytest.mark.parametrize(
  'marked',  # `|` stands behind the last character of each sentence.
  [
    'It rains.| We stay in.|\n\n',
    'Really?!| Yes!| Oh…| Well.|\n\n',
    'He said "No."| Then he left.|\n\n',
    '(I know.)| She does, e.g. this: 3.14 is pi.|\n\n',
    'A heading|\n\nand a text without a stop|\n  \nand more',
    'trailing spaces|  \n\n\n \n',
    '\n\nafter nothing|\n\n',
    '今天下雨。|我们在家。|\n\n',
    '他说：「走吧！」|真的？！|好。|\n\n',
    'no stop at all',
    '',
  ],
)
def test_sentences_end_where_a_reader_says(marked):
  text = marked.replace('|', '')
  parts = marked.split('|')[:-1]
  length, expected = 0, []
  for part in parts:
    length += len(part)
    expected.append(length - 1)
  assert sentences.ends(text) == expected
