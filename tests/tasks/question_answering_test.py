"""Answers are found where they stand, whatever cuts the text into tokens."""

import functools
import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from experiments import config_file
from lm import objectives, tasks
from lm.data import pipelines, tokenizers
from lm.data.tokenizers import Tokenizer
from lm.tasks.task import Answers, Reader
from lm.training.sections import SECTIONS
from lm.types import UserError

CONFIG = pathlib.Path(__file__).parents[2] / 'configs/question_answering.py'
# Accents that are part of a letter and that follow it, a ligature and a
# fraction that normalizers take apart, emoji of several characters, spaces.
ALPHABET = 'abcAB.,-  \n北京äöÉa\u0308e\u0301ﬁ½😀👩\u200d👧\ufe0f'
TEXTS = [' '.join(ALPHABET), 'ab ba cab. a-b, B.', ALPHABET] * 9
KINDS = {
  'wordpiece': ('bidirectional', 60),
  'uncased': ('bidirectional', None),
  'roberta': ('bidirectional', 300),
  'bpe': ('causal', 300),
  'bytes': ('causal', None),
  'characters': ('causal', None),
  'unigram': ('encoder_decoder', 130),
}


@functools.cache
def tokenizer_of(kind):
  if kind != 'uncased':
    return tokenizers.train(kind, TEXTS, KINDS[kind][1])
  # As BERT's, which drops accents too.
  vocabulary = tokenizer_of('wordpiece').pipeline.get_vocab()
  pipeline = pipelines.wordpiece(vocabulary, lowercase=True)
  return Tokenizer(pipeline, **pipelines.role_ids(pipeline, {}))


def reader_of(kind, length=64, objective='span', form=None):
  form = form or KINDS[kind][0]
  return Reader(tokenizer_of(kind), form, objective, length, 16)


def build(reader, **changes):
  return tasks.build('question_answering', reader, lambda: (), **changes)


def record(context, *answers, question='a b', id='0', **fields):
  found = [{'text': a, 'start': context.index(a)} for a in answers]
  return dict(
    id=id, context=context, question=question, answers=found, **fields
  )


def perfect(table, high=9.0):
  """What a head says that is sure of where each row's answer stands."""
  heads = {}
  columns = table.ragged['tokens']['tokens']
  for term in ('start', 'end'):
    heads[term] = [np.zeros(n, np.float32) for n in columns.sizes]
    for scores, place in zip(heads[term], table.single[term]):
      scores[place] = high
  return Answers(heads)


# Rows.


def test_a_gpt_reads_the_question_then_windows_and_doubts_at_the_end():
  reader = reader_of('bytes', length=8)
  table = build(reader, stride=2, max_question=1).encode(
    [record('abcAB.,', 'AB.', question='a!'), record('b', id='1')]
  )
  a, end = ord('a'), tokenizer_of('bytes').end_id
  rows = [table.ragged['tokens']['tokens'].row(i) for i in range(table.size)]
  assert [row.tolist() for row in rows] == [
    [a, end, *b'abcAB', end],
    [a, end, *b'cAB.,', end],
    [a, end, *b'b', end],
  ]
  columns = table.ragged['tokens']
  expected = {
    'answerable': ['00111111', '00111111', '0011'],
    'home': ['00111100', '00001111', '0010'],
    'char_start': ['00012340', '00234560', '0000'],
    'char_end': ['00123450', '00345670', '0010'],
  }
  expected['home'] = ['00111100', '00001110', '0010']
  for name, lines in expected.items():
    made = [columns[name].row(i).tolist() for i in range(table.size)]
    assert made == [[int(c) for c in line] for line in lines], name
  single = {name: column.tolist() for name, column in table.single.items()}
  # `AB.` is not whole in the first window, and the second has it at 3 to 5.
  assert single == {
    'record': [0, 0, 1],
    'start': [7, 3, 3],
    'end': [7, 5, 3],
    'null': [7, 7, 3],
    'span_weights': [1, 1, 1],
  }


def test_a_bert_reads_types_of_tokens_and_doubts_at_the_beginning():
  reader = reader_of('wordpiece', length=7)
  table = build(reader, stride=3, max_question=1).encode(
    [record('a - b . , -', '.', question='b')]
  )
  vocabulary = tokenizer_of('wordpiece').pipeline.get_vocab()
  names = ['[CLS] b [SEP] a - b [SEP]', '[CLS] b [SEP] . , - [SEP]']
  ids = [[vocabulary[token] for token in row.split()] for row in names]
  columns = table.ragged['tokens']
  assert [columns['tokens'].row(i).tolist() for i in (0, 1)] == ids
  assert columns['token_types'].row(0).tolist() == [0, 0, 0, 1, 1, 1, 1]
  assert columns['answerable'].row(0).tolist() == [1, 0, 0, 1, 1, 1, 0]
  assert table.single['start'].tolist() == [0, 3]
  assert table.single['end'].tolist() == [0, 3]
  assert table.single['null'].tolist() == [0, 0]


def test_what_the_question_has_too_is_of_a_type_of_its_own():
  reader = reader_of('wordpiece', length=12)
  task = build(reader, mark_matches=True, max_question=2)
  assert task.token_types == 3
  table = task.encode([record('a - b c . b', 'c', question='b . a')])
  # `a` is not read of the question.
  types = table.ragged['tokens']['token_types'].row(0).tolist()
  assert types == [0, 0, 0, 0, 1, 1, 2, 1, 2, 2, 1]
  plain = build(reader, max_question=2)
  assert plain.token_types == 0


@pytest.mark.parametrize('kind', KINDS)
def test_every_token_that_can_be_seen_counts_once(kind):
  context = 'ab a  B\n北京 ä e\u0301 👩\u200d👧 ½.' * 5
  reader = reader_of(kind, length=32)
  table = build(reader, stride=5, max_question=8).encode([record(context)])
  assert table.size > 5
  columns = table.ragged['tokens']
  home = columns['home'].values > 0
  counted = zip(
    columns['tokens'].values[home].tolist(),
    columns['char_end'].values[home].tolist(),
  )
  (encoding,) = tokenizer_of(kind).encode_batch([context])
  seen = [
    (id, end)
    for id, (start, end) in zip(encoding.ids, encoding.offsets)
    if context[start:end].strip()
  ]
  counted = sorted(counted, key=lambda token: token[1])
  assert [id for id, _ in counted] == [id for id, _ in seen]


def test_every_record_has_a_row_and_what_is_not_known_does_not_count():
  reader = reader_of('bytes')
  unknown = record('abc', id='1')
  del unknown['answers']
  rows = [record('', id='0'), unknown, record('abc', 'b', id='2')]
  task = build(reader, max_question=8, version='2.0')
  table = task.encode(rows)
  assert sorted({*table.single['record'].tolist()}) == [0, 1, 2]
  assert table.single['span_weights'].tolist() == [1, 0, 1]
  made = task.predict(rows, table, perfect(table))
  assert [each['id'] for each in made] == ['0', '1', '2']
  assert [each['prediction'] for each in made] == ['', '', 'b']
  assert made[0]['n_best'] == [] and made[0]['start'] is None
  json.dumps(made, allow_nan=False)


def test_what_is_lost_is_counted(caplog):
  reader = reader_of('bytes', length=16)
  rows = [
    record('abcabcabcabcAB', 'cabcabcabcA', question='a b c', id='0'),
    record('AB', 'AB', id='1'),
    record('abc', 'abc', id='2'),
  ]
  task = build(reader, stride=2, max_question=4, max_answer=2)
  with caplog.at_level('INFO'):
    task.encode(rows)
  assert (
    'Of 3 questions 1 are cut at config.task.max_question, 1 have no answer'
    ' that can be found, for none is whole in a row, 2 have none within'
    ' config.task.max_answer.'
  ) in caplog.text


# Characters.


@pytest.mark.parametrize(
  ('kind', 'context', 'answer', 'found'),
  [
    # Accents, apart from their letter or not, are part of what is answered.
    ('wordpiece', 'a Ba\u0308e\u0301 c', 'Ba\u0308e\u0301', 'Ba\u0308e\u0301'),
    ('wordpiece', 'a Äé c', 'Äé', 'Äé'),
    ('uncased', 'a Ba\u0308e\u0301 c', 'Ba\u0308e\u0301', 'Ba\u0308e\u0301'),
    ('uncased', 'a Äé c', 'Äé', 'Äé'),
    ('uncased', 'a be\u0301\u0308 c', 'be\u0301\u0308', 'be\u0301\u0308'),
    ('unigram', 'a Be\u0301 c', 'Be\u0301', 'Be\u0301'),
    # Whatever the tokenizer takes a space for.
    ('bpe', 'a  b  c', 'b', 'b'),
    ('roberta', 'a  b  c', 'b', 'b'),
    ('unigram', 'a  b  c', 'b', 'b'),
    ('characters', 'a  b  c', 'b', 'b'),
    ('bytes', 'a 👩\u200d👧 c', '👩\u200d👧', '👩\u200d👧'),
    ('bpe', 'a 😀👩 c', '😀', '😀'),
    ('wordpiece', 'a 北京 c', '京', '京'),
    # A part of what cannot be divided is all of it.
    ('wordpiece', 'a 🐘🐎 c', '🐎', '🐘🐎'),
    ('bytes', 'ab ba', 'b b', 'b b'),
  ],
)
def test_an_answer_is_cut_out_of_the_text_as_written(
  kind, context, answer, found
):
  task = build(reader_of(kind), max_question=8)
  rows = [record(context, answer)]
  table = task.encode(rows)
  (made,) = task.predict(rows, table, perfect(table))
  assert (made['prediction'], made['start']) == (found, context.index(found))


MARKS = '\u0308\u0301\ufe0f'  # Of the alphabet: part of what precedes them.


def expanded(context, start, end, offsets):
  """The characters of all tokens that share a visible one with an answer."""
  covered = {place for edges in offsets for place in range(*edges)}
  visible = {
    place for place in range(start, end) if not context[place].isspace()
  }
  touched = [edges for edges in offsets if visible & {*range(*edges)}]
  begin, stop = touched[0][0], max(stop for _, stop in touched)
  while context[begin].isspace():
    begin += 1
  while context[stop : stop + 1] in [*MARKS] and stop not in covered:
    stop += 1
  return begin, len(context[:stop].rstrip())


@st.composite
def answered(draw):
  context = draw(st.text(ALPHABET, min_size=1, max_size=60))
  start = draw(st.integers(0, len(context) - 1))
  end = draw(st.integers(start + 1, min(start + 6, len(context))))
  return context, start, end


@pytest.mark.parametrize('kind', KINDS)
@settings(deadline=None, max_examples=60)
@given(st.lists(answered(), min_size=1, max_size=3))
def test_what_is_encoded_is_decoded(kind, drawn):
  task = build(reader_of(kind), stride=4, max_question=8, max_answer=24)
  rows = [
    {
      'id': str(number),
      'context': context,
      'question': 'ab',
      'answers': [{'text': context[start:end], 'start': start}],
    }
    for number, (context, start, end) in enumerate(drawn)
  ]
  table = task.encode(rows)
  made = task.predict(rows, table, perfect(table))
  for row, each, (context, start, end) in zip(rows, made, drawn):
    (encoding,) = tokenizer_of(kind).encode_batch([context])
    offsets = encoding.offsets
    own = table.single['record'] == int(row['id'])
    answer = context[start:end]
    if answer[0] in MARKS or not answer.strip(f' \n\u200d{MARKS}'):
      continue  # That is none.
    begin, stop = expanded(context, start, end, offsets)
    assert (table.single['start'] != table.single['null'])[own].any()
    assert each['prediction'] == context[begin:stop]
    assert each['start'] == begin


# No answer.


def test_no_answer_is_as_likely_as_the_least_certain_window_says():
  # Three windows of `abcAB.,`: abcAB, cAB., and B.,- by their own nulls.
  reader = reader_of('bytes', length=8)
  rows = [record('abcAB.,', question='a')]
  nulls = [5.0, 1.0]
  for threshold, prediction in ((-1.6, ''), (-1.4, 'AB')):
    task = build(
      reader,
      stride=2,
      max_question=1,
      version='2.0',
      null_threshold=threshold,
    )
    table = task.encode(rows)
    heads = perfect(table, high=0.0).heads
    for number, null in enumerate(nulls):
      heads['start'][number][table.single['null'][number]] = null - 0.5
      heads['end'][number][table.single['null'][number]] = 0.5
    heads['start'][0][5], heads['end'][0][6] = 2.0, 0.5  # AB, at home.
    (made,) = task.predict(rows, table, Answers(heads))
    assert made['score_difference'] == 1.0 - 2.5
    assert made['n_best'][0]['text'] == 'AB'
    assert made['prediction'] == prediction
    assert made['start'] == (None if prediction == '' else 3)
    shares = [each['probability'] for each in made['n_best']]
    assert sum(shares) + made['no_answer_probability'] == pytest.approx(1, 1e-4)
    ratio = made['no_answer_probability'] / shares[0]
    assert ratio == pytest.approx(np.exp(-1.5), 1e-3)


def test_the_best_threshold_is_found_by_the_rules():
  reader = reader_of('bytes')
  rows = [
    record('abc B', 'B', id='0'),
    record('abc A', id='1'),
    record('abc a', 'a', id='2'),
  ]
  task = build(reader, version='2.0', max_question=8)
  table = task.encode(rows)
  heads = perfect(table, high=0.0).heads
  at = table.single['null'] - 1  # Each time the last letter is what is found.
  for number, (best, null) in enumerate([(3, 2), (3, 5), (3, 4)]):
    heads['start'][number][at[number]] = best
    heads['start'][number][at[number] + 1] = null
  answers = Answers(heads)
  scores = task.score(rows, task.predict(rows, table, answers))
  # Differences are -1, 2 and 1: beyond 0 two are said to have no answer.
  assert scores['exact'] == pytest.approx(200 / 3)
  assert scores['best_exact'] == pytest.approx(100)
  assert scores['best_exact_thresh'] == 1
  chosen = build(reader, version='2.0', max_question=8, null_threshold=1.0)
  made = chosen.predict(rows, table, answers)
  assert [each['prediction'] for each in made] == ['B', '', 'a']
  assert chosen.score(rows, made)['exact'] == pytest.approx(100)


# The loss.


def test_only_what_can_be_an_answer_is_chosen_among():
  reader = reader_of('bytes', length=8)
  unknown = record('abc', id='1')
  del unknown['answers']
  rows = [record('abc', 'b', question='a', id='0'), unknown]
  table = build(reader, max_question=1).encode(rows)
  objective = objectives.build('span', 'causal', reader.tokenizer.vocabulary)
  index = np.array([0, 1, -1])
  examples = table.examples(index, {'tokens': 8})
  batch = objective.prepare(examples, index, 0)
  assert batch.weights['start'].tolist() == [1, 0, 0]
  scores = np.zeros((3, 8), np.float32)
  scores[:, :2] = 50.0  # The question, which cannot answer itself.
  answers = {'start': scores, 'end': scores}
  terms, metrics = objective.loss(answers, batch.targets, batch.weights)
  # One of three letters, or of them none.
  assert float(terms['start']) == pytest.approx(np.log(4), 1e-5)
  assert [float(x) for x in metrics['loss']] == pytest.approx(
    [2 * np.log(4), 2], 1e-5
  )


# In words.


def test_in_words_the_context_makes_room_for_the_rest():
  reader = reader_of('bytes', length=12, objective='answers')
  task = build(
    reader, template='{context}?{question}', version='2.0', max_question=3
  )
  rows = [
    record('abcABcab', 'B', question='a b c', id='0'),
    record('abc', 'bc', question='a', id='1'),
    record('abc', question='b', id='2'),
    {'id': '3', 'context': 'abc', 'question': 'c'},
  ]
  table = task.encode(rows)
  end = tokenizer_of('bytes').end_id
  columns = {
    axis: [table.ragged[axis][axis].row(i).tolist() for i in range(4)]
    for axis in ('source', 'target')
  }
  assert columns['source'] == [
    [*b'abcABca?a b', end],
    [*b'abc?a', end],
    [*b'abc?b', end],
    [*b'abc?c', end],
  ]
  assert columns['target'] == [
    [*b'B', end],
    [*b'bc', end],
    [*b'unanswerable', end],
    [],
  ]
  texts = ('B', 'c', 'unanswerable', 'nowhere')
  made = task.predict(rows, table, Answers(texts=texts))
  assert [(each['prediction'], each['start']) for each in made] == [
    ('B', 4),
    ('c', 2),
    ('', None),
    ('nowhere', None),
  ]
  assert task.score(rows[:3], made[:3])['exact'] == pytest.approx(200 / 3)


@pytest.mark.parametrize('kind', ['bpe', 'unigram'])
def test_in_words_no_text_is_longer_than_a_row(kind):
  context = 'ab a  B\n北京 ä e\u0301 👩\u200d👧 ½.' * 9
  reader = reader_of(kind, length=48, objective='answers')
  rows = [record(context[:size], id=str(size)) for size in range(1, 160, 7)]
  encoded = build(reader, template='{context} a{question}').encode(rows)
  for number, row in enumerate(rows):
    source = encoded.ragged['source']['source'].row(number)
    assert len(source) <= 48 and source[-1] == reader.tokenizer.end_id
    text = reader.tokenizer.decode(source[:-1])
    assert text.endswith('aa b')
    whole = reader.tokenizer.encode(f'{row["context"]} aa b')
    assert len(source) == len(whole) + 1 or len(source) > 40


def test_in_words_what_is_cut_is_counted(caplog):
  reader = reader_of('bytes', length=8, objective='answers')
  task = build(reader, template='{context}{question}', max_question=2)
  rows = [
    record('abcABcab', 'b', question='a', id='0'),
    record('abcABcab', 'ca', question='abc', id='1'),
  ]
  with caplog.at_level('INFO'):
    task.encode(rows)
  assert (
    'Of 2 questions 1 are cut at config.task.max_question, 2 have a context'
    ' that is cut at config.data.length, 1 have no answer'
  ) in caplog.text


# Mistakes.


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'max_question': 61},
      'config.task.max_question is 61.*length=64 tokens has 61',
    ),
    ({'stride': 0}, 'config.task.stride is 0'),
    ({'max_answer': -1}, 'config.task.max_answer is -1'),
    ({'objective': 'label'}, 'config.objective.name to span or answers'),
    ({'objective': 'answers', 'template': '{contxt}'}, 'config.task.template'),
    ({'objective': 'answers', 'unanswerable': ' '}, 'unanswerable is empty'),
    ({'objective': 'answers', 'mark_matches': True}, 'mark_matches is of rows'),
  ],
)
def test_what_cannot_be_done_is_refused(changes, message):
  objective = changes.pop('objective', 'span')
  with pytest.raises(UserError, match=message):
    build(reader_of('wordpiece', objective=objective), **changes)


# Runs.


@pytest.mark.parametrize(
  ('variant', 'version', 'questions'),
  [('squad', '1.1', 87_599), ('squad2', '2.0', 130_319)],
)
def test_squad_is_learned_as_published(variant, version, questions):
  # By the README of BERT's code, and the sizes of the data sets.
  config = config_file.load(f'{CONFIG}:{variant}', {}, SECTIONS).to_dict()
  assert config['num_steps'] == int(questions / 24 * 2)
  assert config['batch_size'] == 24
  assert config['optimizer']['learning_rate'] == 3e-5
  assert config['optimizer']['warmup_steps'] == config['num_steps'] // 10
  assert config['optimizer']['schedule'] == 'linear'
  assert config['data']['length'] == 384
  task = config['task']
  assert (task['stride'], task['max_question']) == (128, 64)
  assert (task['max_answer'], task['version']) == (30, version)


@pytest.mark.parametrize(
  ('variant', 'version'),
  [('', '1.1'), ('debug', '1.1'), ('newwiki', '1.1'), ('xquad', 'cmrc')],
)
def test_small_runs_fit_their_rows(variant, version):
  config = config_file.load(f'{CONFIG}:{variant}', {}, SECTIONS).to_dict()
  assert config['task']['version'] == version
  length, questions = config['data']['length'], config['task']['max_question']
  assert length <= config['model']['max_len']
  # So that an answer is whole where it begins at home.
  room = length - questions - 3
  assert (room - config['task']['stride']) / 2 >= 14
  assert config['optimizer']['warmup_steps'] < config['num_steps']


def test_a_variant_that_does_not_exist_is_refused():
  with pytest.raises(UserError, match='squad3'):
    config_file.load(f'{CONFIG}:squad3', {}, SECTIONS)


# Real questions.


NEWWIKI = 'squadshifts_newwiki/new_wiki_v1.0.json'


@pytest.mark.slow
@pytest.mark.parametrize(
  ('file', 'vocabulary', 'form', 'count', 'inexact'),
  [
    (NEWWIKI, 'tok_bert_base_uncased', 'bidirectional', 13_363, 41),
    (NEWWIKI, 'tok_gpt2', 'causal', 13_363, 274),
    ('xquad/xquad.zh.json', 'tok_bert_chinese', 'bidirectional', 1130, 0),
    ('xquad/xquad.de.json', 'tok_bert_base_uncased', 'bidirectional', 1130, 1),
    ('xquad/xquad.de.json', 'tok_t5_base', 'encoder_decoder', 1130, 21),
  ],
)
def test_real_answers_are_all_in_some_window(
  shared, file, vocabulary, form, count, inexact
):
  # Beside those whose ends are inside of a token, all are found as they are.
  articles = json.loads((shared / 'data' / file).read_text())['data']
  asked = {
    (answer['answer_start'], answer['text'], paragraph['context'])
    for article in articles
    for paragraph in article['paragraphs']
    for question in paragraph['qas']
    for answer in question['answers']
  }
  rows = [
    {
      'id': str(number),
      'context': context,
      'question': 'Which?',
      'answers': [{'text': text, 'start': start}],
    }
    for number, (start, text, context) in enumerate(sorted(asked))
  ]
  tokenizer = tokenizers.load(shared / 'data' / vocabulary)
  task = build(Reader(tokenizer, form, 'span', 384, 64), max_answer=128)
  table = task.encode(rows)
  found = table.single['start'] != table.single['null']
  assert {*table.single['record'][found].tolist()} == {*range(len(rows))}
  made = task.predict(rows, table, perfect(table))
  assert len(rows) == count
  differ = 0
  for row, each in zip(rows, made):
    (answer,) = row['answers']
    expected = by_tokenizers(tokenizer, row['context'], **answer)
    assert each['prediction'] == expected
    differ += expected != answer['text']
  assert differ == inexact


def by_tokenizers(tokenizer, context, text, start):
  """The tokens of an answer as the library finds them."""
  (encoding,) = encoded(tokenizer, context)
  place = range(start, start + len(text))
  tokens = [encoding.char_to_token(p) for p in place]
  tokens = [token for token in tokens if token is not None]
  first, last = (encoding.offsets[token] for token in (tokens[0], tokens[-1]))
  return context[first[0] : last[1]].strip()


@functools.cache
def encoded(tokenizer, context):
  return tokenizer.encode_batch([context])
