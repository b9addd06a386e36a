"""What tokens stand for: bytes of text, and words."""

import numpy as np
import pytest

from lm.data import token_tables


@pytest.mark.parametrize(
  'text, offsets, lengths',
  [
    ('I  see 你 .', [(0, 1), (3, 6), (7, 8), (9, 10)], [1, 5, 4, 2]),
    ('ab', [(0, 1), (1, 2)], [1, 1]),
    ('  ab  ', [(2, 3), (3, 4)], [3, 3]),  # Nothing is left out at the ends.
    ('½x', [(0, 1), (0, 1), (0, 1), (1, 2)], [2, 0, 0, 1]),  # 1⁄2
    ('é😀', [(0, 1), (1, 2)], [2, 4]),
    (' \n ', [], []),
    ('', [], []),
  ],
)
def test_the_bytes_of_a_text_are_divided_among_its_tokens(
  text, offsets, lengths
):
  assert token_tables.byte_lengths(text, offsets).tolist() == lengths


def test_a_piece_of_bytes_is_worth_its_characters_and_any_other_its_utf8():
  ids = {'<pad>': 0, 'Ġa': 2, '你': 3}
  table = token_tables.byte_table(ids, {0}, byte_level=True)
  np.testing.assert_array_equal(table, [0, 0, 2, 1])
  table = token_tables.byte_table(ids, {0}, byte_level=False)
  np.testing.assert_array_equal(table, [0, 0, 3, 3])


@pytest.mark.parametrize(
  'space, begins, ends',
  [
    #        [PAD] a ##a Ġa ▁a  Ċ aĊ
    (None, [1, 1, 0, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0]),
    ('Ġ', [1, 0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 1, 1]),
    ('▁', [1, 0, 0, 0, 1, 1, 0], [1, 0, 0, 0, 0, 1, 1]),
  ],
)
def test_each_family_marks_where_words_begin(space, begins, ends):
  pieces = ('[PAD]', 'a', '##a', 'Ġa', '▁a', 'Ċ', 'aĊ')
  ids = {piece: i for i, piece in enumerate(pieces)}
  tables = token_tables.word_tables(ids, {0}, space)
  np.testing.assert_array_equal(tables, np.array([begins, ends], bool))
