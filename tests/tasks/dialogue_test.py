"""Replies: which there are, what stands before each, and how they are scored."""

import json
import math

import numpy as np
import pytest

from lm import objectives, tasks
from lm.data import corpora, tokenizers
from lm.records import reading
from lm.tasks.dialogue import (
  Exchange,
  exchanges,
  lines,
  prompt,
  unigram_nats,
)
from lm.tasks.task import Answers, Reader
from lm.types import UserError
from tests.data.tokenizers_test import trained

BYTES = tokenizers.train('bytes', ['a'])
END = BYTES.end_id
MARKS = ('A: ', 'B: ')
TALK = {'id': 't', 'where': 'a.jsonl:1', 'turns': ['Hi', 'Ho', 'Hm', 'Ha']}


def ids(text):
  return list(text.encode())


def build(
  form='encoder_decoder',
  length=64,
  target_length=8,
  train=(TALK,),
  objective='answers',
  **more,
):
  reader = Reader(BYTES, form, objective, length, target_length)
  return tasks.build(
    'dialogue', reader, lambda: train, **{'speakers': MARKS} | more
  )


def rows(table):
  sides = (table.ragged[side][side] for side in ('source', 'target'))
  sources, targets = sides
  return [
    (
      BYTES.decode(sources.row(number)).removesuffix('<|endoftext|>'),
      BYTES.decode(targets.row(number)),
    )
    for number in range(table.size)
  ]


ANSWERS = [('A: Hi\nB:', 'Ho'), ('A: Hi\nB: Ho\nA: Hm\nB:', 'Ha')]
BETWEEN = ('B: Hi\nA: Ho\nB:', 'Hm')


@pytest.mark.parametrize(
  ('replies', 'expected'),
  [('second', ANSWERS), ('every', [ANSWERS[0], BETWEEN, ANSWERS[1]])],
)
def test_each_reply_is_asked_for_after_the_turns_before_it(replies, expected):
  table = build(replies=replies).encode([TALK, TALK])
  ended = [(read, f'{reply}<|endoftext|>') for read, reply in expected]
  assert rows(table) == ended * 2
  record = [0] * len(expected) + [1] * len(expected)
  assert table.single['record'].tolist() == record


def test_only_replies_weigh_in_either_form():
  asked = {}
  for form in ('encoder_decoder', 'causal'):
    table = build(form).encode([TALK])
    widths = {'source': 32, 'target': 8}
    objective = objectives.build('answers', form, BYTES.vocabulary)
    batch = objective.prepare(
      table.examples(np.arange(2), widths), np.arange(2), 0
    )
    weights = batch.weights['tokens']
    assert set(np.unique(weights)) == {0, 1}
    asked[form] = [
      row[weight > 0].tolist()
      for row, weight in zip(batch.targets['tokens'], weights)
    ]
    if form == 'causal':
      read = batch.inputs['tokens'][0]
      whole = [*ids('A: Hi\nB:'), END, *ids('Ho'), END]
      assert read[: len(whole)].tolist() == whole
  assert asked['causal'] == asked['encoder_decoder']
  assert asked['causal'] == [[*ids('Ho'), END], [*ids('Ha'), END]]


@pytest.mark.parametrize(
  ('turns', 'replies', 'expected'),
  [
    (['a'], 'second', [(['a'], '')]),
    (['a', 'b', 'c'], 'second', [(['a'], 'b'), (['a', 'b', 'c'], '')]),
    (['a', 'b', 'c'], 'every', [(['a'], 'b'), (['a', 'b'], 'c')]),
    (['a'], 'every', [(['a'], '')]),
  ],
)
def test_a_last_turn_that_is_no_reply_waits_for_one(turns, replies, expected):
  row = {'id': '', 'where': '', 'turns': turns}
  found = list(exchanges([row], replies))
  assert found == [
    Exchange(0, tuple(before), reply) for before, reply in expected
  ]


def test_a_reply_that_is_not_known_weighs_nothing():
  table = build().encode([{**TALK, 'turns': ['Hi']}])
  assert rows(table) == [('A: Hi\nB:', '')]


@pytest.mark.parametrize(
  ('length', 'read'),
  [
    # With the token that ends it.
    (21, 'A: Hi\nB: Ho\nA: Hm\nB:'),
    (20, 'B: Ho\nA: Hm\nB:'),
    (15, 'B: Ho\nA: Hm\nB:'),
    (14, 'A: Hm\nB:'),
    (9, 'A: Hm\nB:'),
    (8, ': Hm\nB:'),
    (4, '\nB:'),
  ],
)
def test_a_context_that_is_too_long_keeps_its_end(length, read):
  row = {**TALK, 'turns': TALK['turns'][:3]}
  table = build(length=length).encode([row])
  assert rows(table)[1][0] == read
  assert table.sizes('source')[1] <= length
  assert prompt(BYTES, row['turns'], MARKS, length - 1) == read


def test_no_more_turns_are_read_than_asked_for():
  table = build(context_turns=2).encode([TALK])
  assert [read for read, _ in rows(table)] == [
    'A: Hi\nB:',
    'B: Ho\nA: Hm\nB:',
  ]


def test_a_row_without_room_for_a_turn_is_refused():
  for length in (1, 2, 3):
    with pytest.raises(UserError, match=r'config\.data\.length'):
      build(length=length).encode([TALK])


@pytest.mark.parametrize(
  'kind', ['bytes', 'bpe', 'roberta', 'wordpiece', 'unigram']
)
def test_lines_are_cut_into_tokens_one_by_one_as_they_are_together(kind):
  tokenizer = trained(kind)
  check_lines(tokenizer, ('W: ', 'I: '), ["It's the cat's hat!", 'Who sat?'])
  check_lines(tokenizer, ('我：', '你：'), ['  花很好看。 ', '好的', '好的'])


def test_lines_are_cut_by_the_tokenizer_of_t5_as_they_are_together(shared):
  tokenizer = tokenizers.load(shared / 'data/tok_t5_base/tokenizer.json')
  turns = ['How are you?', 'Fine.  And you?', 'So so...', '1, 2\n3']
  check_lines(tokenizer, corpora.SPEAKERS['en'], turns)


def check_lines(tokenizer, speakers, turns):
  parts = lines(turns, speakers)
  apart = [id for part in parts for id in tokenizer.encode(part).tolist()]
  assert apart == tokenizer.encode(''.join(parts)).tolist()
  assert len(apart) > len(parts)


def test_by_default_a_dialogue_reads_as_those_of_this_project():
  corpus = corpora.build('dialogues', validation=1.0)
  document = next(corpus.documents('validation'))
  first, *_ = corpora.DIALOGUES.read_text('utf-8').splitlines()
  turns = json.loads(first)['turns']
  reader = Reader(BYTES, 'causal', 'answers', 512, 128)
  task = tasks.build('dialogue', reader, lambda: (TALK,))
  read, reply = rows(task.encode([{**TALK, 'turns': turns}]))[-1]
  assert f'{read} {reply}' == f'{document}<|endoftext|>'


def predicted(task, read, texts):
  return task.predict(read, task.encode(read), Answers(texts=texts))


def test_a_dialogue_is_predicted_reply_by_reply():
  read = [TALK, {'id': 'u', 'where': '', 'turns': ['One?']}]
  found = predicted(build(), read, ['x', 'y', 'z'])
  assert found == [
    {'id': 't', 'prediction': ['x', 'y']},
    {'id': 'u', 'prediction': ['z']},
  ]


def test_replies_are_scored_by_their_variety_beside_counted_words():
  train = [
    {'id': '0', 'where': '', 'turns': ['zzz', 'aab']},
    {'id': '1', 'where': '', 'turns': ['zz', 'a', 'z', 'c']},
  ]
  task = build(train=train)
  read = [TALK, {'id': 'u', 'where': '', 'turns': ['One?', 'ab']}]
  found = predicted(task, read, ['A cat.', 'a cat', 'no'])
  scores = task.score(read, found)
  # a cat . | a cat | no: 4 of 6 words, 2 of 3 pairs.
  assert scores['distinct_1'] == pytest.approx(4 / 6)
  assert scores['distinct_2'] == pytest.approx(2 / 3)
  # Learned: a 3, b 1, c 1, end 3; one more of each of 257. Asked: Ho Ha ab.
  counts = {**dict.fromkeys('Hoh', 1), 'a': 4, 'b': 2, 'end': 4}
  asked = ['H', 'o', 'end', 'H', 'a', 'end', 'a', 'b', 'end']
  nats = [math.log((8 + 257) / counts[token]) for token in asked]
  assert scores['unigram_loss'] == pytest.approx(sum(nats) / len(nats))
  assert 'unigram_loss' not in build(baseline=False).score(read, found)


def test_counted_words_are_compared_with_a_loss_on_the_same_tokens():
  seen = np.array([0, 0, 1])
  asked = np.array([0, 1, 2, 2])
  shares = {0: 3 / 6, 1: 2 / 6, 2: 1 / 6}
  expected = -np.mean([math.log(shares[token]) for token in asked.tolist()])
  assert unigram_nats(seen, asked, 3) == pytest.approx(expected)
  assert math.isnan(unigram_nats(seen, asked[:0], 3))


@pytest.mark.parametrize(
  ('more', 'named'),
  [
    ({'speakers': ('A: ',)}, r'config\.task\.speakers'),
    ({'speakers': ('A: ', 'B: ', 'C: ')}, r'config\.task\.speakers'),
    ({'speakers': ('A: ', 'A: ')}, 'told from the other'),
    ({'speakers': ('A: ', ' ')}, r'config\.task\.speakers'),
    ({'context_turns': -1}, r'config\.task\.context_turns'),
    ({'objective': 'label'}, r'config\.objective\.name'),
  ],
)
def test_what_cannot_be_done_is_refused_by_its_name(more, named):
  with pytest.raises(UserError, match=named):
    build(**more)


@pytest.mark.parametrize(
  ('turns', 'problem'),
  [
    (['Hi', ' \t', 'Ho'], 'turn 2 is empty'),
    ([], 'list of turns is empty'),
    ([{'role': 'narrator', 'content': 'Hi'}], 'narrator'),
  ],
)
def test_a_turn_that_nobody_can_say_is_named_with_its_place(
  tmp_path, turns, problem
):
  path = tmp_path / 'a.jsonl'
  lines_of = [{'turns': ['Hi', 'Ho']}, {'turns': turns}]
  path.write_text('\n'.join(map(json.dumps, lines_of)))
  with pytest.raises(UserError, match=rf'a\.jsonl:2: its .*{problem}'):
    reading.read('dialogues', 'jsonl', str(path))
