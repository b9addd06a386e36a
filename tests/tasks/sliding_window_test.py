"""The baseline answers from the sentence that shares words with a question."""

import pytest

from lm.tasks import sliding_window, squad
from tests.tasks import squad_test

CONTEXT = (
  'The river Rhine rises in Switzerland. Its water was measured by Karl'
  ' Haushofer in 1822, before the river was straightened. The town of Worms'
  ' lies on the left bank.'
)


@pytest.mark.parametrize(
  'question, context, expected',
  [
    ('Where does the river Rhine rise?', CONTEXT, 'rises'),
    # One window holds 6 words that stand once, and `was`; that of 1822 fewer.
    (
      'Who measured its water before it was straightened?',
      CONTEXT,
      'Karl Haushofer',
    ),
    # A window of 7 words reaches from `bank` to `Worms`, but not to `town`.
    ('What lies on the left bank?', CONTEXT, 'Worms'),
    ('Wer baute die Brücke?', 'Die Brücke baute Otto Groß.', 'Otto Groß'),
    ('谁写了红楼梦？', '北京很大。红楼梦是曹雪芹写的。', '曹雪芹'),
    ('Who?', 'It is the.', ''),
    ('Who?', '', ''),
    ('', 'Otto Groß.', 'Otto Groß'),
  ],
)
def test_the_candidate_nearest_to_the_question_is_taken(
  question, context, expected
):
  found = sliding_window.answer(question, context)
  assert found == expected
  assert found in context


def test_words_of_the_question_are_no_answer():
  context = 'Anna met Otto in Bonn.'
  for question in ('Whom did Anna meet in Bonn?', 'Whom had Anna met in Bonn?'):
    assert 'Anna' not in sliding_window.answer(question, context)


def test_it_scores_about_as_in_the_paper(shared):
  # Rajpurkar et al. 2016, table 5: EM 13.3 and F1 20.2 on the development set,
  # of which these questions are a part; the candidates are others.
  rows = squad_test.read(shared / 'data/xquad/xquad.en.json')
  answers = {
    row['id']: sliding_window.answer(row['question'], row['context'])
    for row in rows
  }
  scores = squad.score('1.1', rows, answers)
  assert scores['exact_match'] == pytest.approx(13.3, abs=5)
  assert scores['f1'] == pytest.approx(20.2, abs=3)
