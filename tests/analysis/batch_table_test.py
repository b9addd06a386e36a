"""A row of a batch is shown as its objective has made it."""

import numpy as np
import pytest

from lm.analysis import batch_table
from lm.data import tokenizers
from lm.types import Batch, UserError

TOKENIZER = tokenizers.train('characters', ['abcde'])
A, B, C, D, E = (TOKENIZER.encode(letter)[0] for letter in 'abcde')


def test_a_causal_row_is_asked_for_what_follows():
  batch = Batch(
    {
      'tokens': np.array([[E, E, E, E], [A, B, C, D]]),
      'segment_ids': np.array([[1, 1, 1, 1], [1, 1, 2, 0]]),
    },
    {'tokens': np.array([[E, E, E, E], [B, C, D, A]])},
    {'tokens': np.array([[1.0, 1, 1, 1], [1, 0, 1, 0]])},
  )
  header, rows = batch_table.table(batch, TOKENIZER, row=1)
  assert header == ['place', '0', '1', '2', '3']
  assert rows == [
    ['reads', 'a', 'b', 'c', 'd'],
    ['document', '1', '1', '2', ''],
    ['is asked for', 'b', '', 'd', ''],
  ]
  assert batch_table.table(batch, TOKENIZER, row=1, most=2)[1][0] == rows[0][:3]


def test_a_masked_row_is_asked_where_something_is_hidden():
  batch = Batch(
    {
      'tokens': np.array([[A, E, C, D]]),
      'valid': np.array([[True, True, True, False]]),
      'predict_at': np.array([[2, 1, 0]]),
    },
    {'tokens': np.array([[C, B, A]])},
    {'tokens': np.array([[1.0, 1.0, 0.0]])},
  )
  _, rows = batch_table.table(batch, TOKENIZER)
  assert rows == [
    ['reads', 'a', 'e', 'c', ''],
    ['is asked for', '', 'b', 'c', ''],
  ]


def test_a_source_is_shown_beside_what_is_written():
  batch = Batch(
    {
      'source_tokens': np.array([[A, B, C]]),
      'source_valid': np.array([[True, True, False]]),
      'tokens': np.array([[E, D]]),
    },
    {'tokens': np.array([[D, A]])},
    {'tokens': np.array([[1.0, 1.0]])},
  )
  header, rows = batch_table.table(batch, TOKENIZER)
  assert header == ['place', '0', '1', '2']
  assert rows == [
    ['source', 'a', 'b', ''],
    ['reads', 'e', 'd', ''],
    ['is asked for', 'd', 'a', ''],
  ]


def test_a_batch_that_asks_for_no_tokens_is_refused():
  batch = Batch({'tokens': np.zeros((1, 2))}, {'label': np.zeros(1)}, {})
  with pytest.raises(UserError, match='asks for label'):
    batch_table.table(batch, TOKENIZER)
