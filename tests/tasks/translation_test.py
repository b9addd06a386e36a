"""Translations and summaries: what is read, what is asked, how it is scored."""

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer

from lm import objectives, tasks
from lm.data import buckets, tokenizers
from lm.tasks.task import Answers, Reader
from lm.training import task_evaluation
from lm.types import UserError

BYTES = tokenizers.train('bytes', ['a'])
END = BYTES.end_id
PAIRS = (
  {'id': '0', 'where': 'a.tsv:1', 'source': 'Hi', 'target': 'Ho'},
  {'id': '1', 'where': 'a.tsv:2', 'source': 'A cat', 'target': 'Katze'},
)


def ids(text):
  return list(text.encode())


def build(name, form='encoder_decoder', length=64, objective='answers', **more):
  settings = {'target_language': 'de'} if name == 'translation' else {}
  reader = Reader(BYTES, form, objective, length, 8)
  return tasks.build(name, reader, lambda: PAIRS, **settings | more)


def rows(table):
  sides = (table.ragged[side][side] for side in ('source', 'target'))
  sources, targets = sides
  return [
    (sources.row(number).tolist(), targets.row(number).tolist())
    for number in range(table.size)
  ]


@pytest.mark.parametrize(
  ('name', 'more', 'read'),
  [
    ('translation', {}, ['Hi', 'A cat']),
    (
      'translation',
      {'template': 'translate English to German: {source}'},
      [
        'translate English to German: Hi',
        'translate English to German: A cat',
      ],
    ),
    ('translation', {'template': '{source}\\n'}, ['Hi\n', 'A cat\n']),
    ('summarisation', {}, ['summarize: Hi', 'summarize: A cat']),
  ],
)
def test_a_template_is_read_and_the_target_is_asked_for(name, more, read):
  table = build(name, **more).encode(PAIRS)
  assert rows(table) == [
    ([*ids(read[0]), END], [*ids('Ho'), END]),
    ([*ids(read[1]), END], [*ids('Katze'), END]),
  ]
  assert table.single['record'].tolist() == [0, 1]


def test_only_the_translation_weighs_in_either_form():
  widths = {'source': 6, 'target': 8}
  made = {}
  for form in ('encoder_decoder', 'causal'):
    table = build('translation', form).encode(PAIRS)
    examples = table.examples(np.array([0, buckets.FILLER]), widths)
    objective = objectives.build('answers', form, BYTES.vocabulary)
    made[form] = objective.prepare(examples, np.arange(2), 0)
  both = made['encoder_decoder']
  assert both.inputs['source_tokens'][0].tolist() == [*ids('Hi'), END, 0, 0, 0]
  assert both.inputs['tokens'][0, :3].tolist() == [END, *ids('Ho')]
  assert both.targets['tokens'][0, :3].tolist() == [*ids('Ho'), END]
  assert both.weights['tokens'].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0], [0] * 8]
  one = made['causal']
  assert one.inputs['tokens'][0, :6].tolist() == [
    *ids('Hi'),
    END,
    *ids('Ho'),
    END,
  ]
  asked = one.weights['tokens'][0] > 0
  assert np.flatnonzero(asked).tolist() == [2, 3, 4]
  assert one.targets['tokens'][0][asked].tolist() == [*ids('Ho'), END]
  assert not one.weights['tokens'][1].any()


def test_long_texts_lose_their_end_and_unknown_targets_weigh_nothing():
  task = build('translation', length=4)
  long = {'id': '0', 'where': '', 'source': 'abcdef', 'target': 'ABCDEFGHI'}
  new = {'id': '1', 'where': '', 'source': 'ab'}
  assert rows(task.encode([long, new])) == [
    ([*ids('abc'), END], [*ids('ABCDEFG'), END]),
    ([*ids('ab'), END], []),
  ]


ENGLISH = [
  ('The cat sat on a mat.', 'The cat sat on the mat.'),
  ('it is raining today', 'It rains today.'),
  ('', 'Nobody knows.'),
]
CHINESE = [('我们今天去公园。', '我们今天去公园看花。'), ('你好', '你好吗？')]


def predicted(task, pairs):
  records = [
    {'id': f'{number}', 'source': 'x', 'target': target}
    for number, (_, target) in enumerate(pairs)
  ]
  texts = Answers(texts=[made for made, _ in pairs])
  found = task.predict(records, task.encode(records), texts)
  assert [one['id'] for one in found] == [row['id'] for row in records]
  assert [one['prediction'] for one in found] == [made for made, _ in pairs]
  return task.score(records, found)


@pytest.mark.parametrize(
  ('language', 'tokenizer', 'pairs'),
  [('de', '13a', ENGLISH), ('zh', 'zh', CHINESE)],
)
def test_translations_are_scored_as_sacrebleu_scores_them(
  language, tokenizer, pairs
):
  task = build('translation', target_language=language)
  made, references = zip(*pairs)
  bleu = sacrebleu.corpus_bleu(
    list(made), [list(references)], tokenize=tokenizer
  )
  chrf = sacrebleu.corpus_chrf(list(made), [list(references)])
  scores = predicted(task, pairs)
  assert scores == pytest.approx({'bleu': bleu.score, 'chrf': chrf.score})
  assert 0 < scores['bleu'] < 100
  signature = task.notes['sacrebleu']
  assert f'tok:{tokenizer}|' in signature
  assert f'version:{sacrebleu.__version__}' in signature


def test_summaries_are_scored_as_rouge_score_scores_them():
  kinds = ['rouge1', 'rouge2', 'rougeL']
  scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=True)
  each = [scorer.score(reference, made) for made, reference in ENGLISH]
  scores = predicted(build('summarisation'), ENGLISH)
  for kind in kinds:
    mean = np.mean([score[kind].fmeasure for score in each])
    assert scores[kind] == pytest.approx(100 * mean) and mean > 0


@pytest.mark.parametrize(
  ('name', 'more', 'named'),
  [
    ('translation', {'template': 'Translate.'}, 'config.task.template'),
    ('translation', {'template': '{text}'}, r'\{source\}'),
    ('translation', {'beams': 0}, 'config.task.beams'),
    ('translation', {'eval_beams': 0}, 'config.task.eval_beams'),
    ('translation', {'max_new_tokens': -1}, 'config.task.max_new_tokens'),
    ('translation', {'objective': 'label'}, 'config.objective.name'),
    ('summarisation', {'objective': 'causal_lm'}, 'config.objective.name'),
  ],
)
def test_what_cannot_be_done_is_refused_by_its_name(name, more, named):
  with pytest.raises(UserError, match=named):
    build(name, **more)


def test_a_translation_is_as_long_as_its_source_allows():
  how = build('translation', beyond_source=3, max_new_tokens=9).writing
  assert (how.beams, how.eval_beams, how.length_penalty) == (4, 1, 0.6)
  assert [task_evaluation.most_tokens(how, n) for n in (4, 6, 7)] == [7, 9, 9]
  assert build('translation').writing.max_new_tokens == 8  # The target_length.
  how = build('summarisation').writing
  assert task_evaluation.most_tokens(how, 1) == 8
