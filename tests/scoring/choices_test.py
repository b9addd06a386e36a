"""Questions are read as they are written, and a model chooses the likeliest."""

import json

import numpy as np
import pytest

from lm.scoring import choices, texts
from lm.scoring.choices import Question
from lm.scoring.texts import Scores, Span
from lm.types import UserError
from tests.scoring.naive import trained


def write(path, *rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return str(path)


def test_choices_follow_their_context(tmp_path):
  path = write(
    tmp_path / 'a.jsonl',
    {'id': 7, 'context': 'The cat', 'choices': ['sat', ' ran'], 'answer': 1},
    {'context': 'The ', 'choices': ['cat', 'dog'], 'answer': 'cat'},
    {'context': '', 'choices': ['A', 'B'], 'answer': 0},
  )
  first, second, third = choices.read_choices(path)
  names = [f'{path}, line 1, choice {i},' for i in range(2)]
  assert first == Question(
    '7',
    (
      Span('The cat ', 'sat', name=names[0]),
      Span('The cat', ' ran', name=names[1]),
    ),
    1,
  )
  assert [span.before for span in second.spans] == ['The ', 'The ']
  assert (second.id, second.answer) == ('1', 0)
  assert [span.before for span in third.spans] == ['', '']
  (alone,) = choices.read_choices(path, delimiter='', limit=1)
  assert alone.spans[0].before == 'The cat'


def test_choices_stand_in_a_blank(tmp_path):
  path = write(
    tmp_path / 'a.jsonl',
    {'text': 'The ___ sat.', 'choices': ['cat', 'dog'], 'answer': 'dog'},
  )
  (question,) = choices.read_cloze(path)
  assert [span[:3] for span in question.spans] == [
    ('The ', 'cat', ' sat.'),
    ('The ', 'dog', ' sat.'),
  ]
  assert question.answer == 1


GOOD = {'context': 'a', 'text': 'a __', 'choices': ['b', 'c'], 'answer': 0}


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'choices': ['b']}, 'has .* two texts or more'),
    ({'choices': ['b', 'b']}, 'has .* none twice'),
    ({'choices': ['b', ' ']}, 'has .* none empty'),
    ({'choices': 'bc'}, 'has .* two texts or more'),
    ({'answer': 2}, "has 2 in the field .answer.*'c'.* 0 to 1"),
    ({'answer': -1}, 'has -1 in'),
    ({'answer': True}, 'has True in'),
    ({'answer': 'd'}, "has 'd' in"),
    ({'answer': None}, 'has None in'),
    ({'context': 3, 'text': 3}, 'has 3 in the field'),
    ({'text': 'a __ b __', 'context': None}, 'has (2 blanks|None in)'),
    ({'text': 'a', 'context': None}, 'has (0 blanks|None in)'),
  ],
)
@pytest.mark.parametrize('read', [choices.read_choices, choices.read_cloze])
def test_a_line_that_is_no_question_is_named(tmp_path, changes, message, read):
  path = write(tmp_path / 'a.jsonl', GOOD, GOOD | changes)
  with pytest.raises(UserError, match=f'a.jsonl, line 2, {message}'):
    read(path)


def test_a_file_without_questions_is_refused(tmp_path):
  (tmp_path / 'a.jsonl').write_text('\n')
  with pytest.raises(UserError, match='no questions'):
    choices.read_choices(str(tmp_path / 'a.jsonl'))


def test_the_likeliest_is_right_by_the_sum_or_by_the_mean():
  span = Span('', 'a')
  questions = [
    Question('0', (span,) * 2, 0),
    Question('1', (span,) * 2, 1),
    Question('2', (span,) * 4, 2),  # As likely as another: wrong.
  ]
  found = Scores(
    log_probs=np.array([-2.0, -3.0, -4.0, -6.0, -5.0, -4.0, -4.0, -9.0]),
    num_tokens=np.array([1, 3, 1, 2, 1, 1, 1, 1]),
    num_bytes=np.array([2, 4, 2, 4, 1, 1, 1, 1]),
    greedy=np.zeros(8, bool),
  )
  assert choices.summary(questions, found) == {
    'accuracy': pytest.approx(1 / 3),  # -2 > -3; -6 < -4.
    'accuracy_per_token': pytest.approx(1 / 3),  # -2 < -1; -3 > -4.
    'accuracy_per_byte': pytest.approx(1 / 3),  # -1 < -3/4; -3/2 > -2.
    'right': {'0': True, '1': False, '2': False},
    'chance': pytest.approx((1 / 2 + 1 / 2 + 1 / 4) / 3),
    'questions': 3,
    'tokens': 11,
  }


@pytest.mark.parametrize(
  'family, form',
  [('gpt', 'left_to_right'), ('bert', 'pll_word_l2r'), ('t5', 'spans')],
)
def test_a_model_of_each_family_chooses(tmp_path, family, form):
  path = write(
    tmp_path / 'a.jsonl',
    *(
      {'text': f'The ___ {verb}.', 'choices': ['cat', 'dog'], 'answer': i}
      for i, verb in enumerate(('sat', 'sat'))
    ),
  )
  one = trained(family)
  found = choices.judge(*one, choices.read_cloze(path), form)
  # Of two questions that differ in their answer alone, one is right.
  assert found['accuracy'] == 0.5
  spans = [Span('The ', animal, ' sat.') for animal in ('cat', 'dog')]
  cat, dog = texts.span_scores(*one, spans, form).log_probs
  assert cat != dog
  assert [*found['right'].values()] == [cat > dog, dog > cat]
