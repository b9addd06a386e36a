"""Questions that are made of a text can be answered from it."""

from benchmarks import cloze_questions

CONTEXT = (
  'The river Rhine rises in the mountains of Switzerland and flows to the sea.'
  ' In 1822 its water was measured by the engineer Karl Haushofer, who lived'
  ' near the town of Worms for many years. The town lies on the left bank of the'
  ' river, and had 12,400 people in those days, most of whom made wine.'
)
TEXT = f'Rhine\n{CONTEXT}\nA short paragraph.'


def test_what_is_asked_for_stands_where_it_is_said_to():
  rows = list(cloze_questions.questions([TEXT], seed=0))
  assert len(rows) == cloze_questions.EACH
  for row in rows:
    assert row['title'] == 'Rhine' and row['context'] == CONTEXT
    [answer] = row['answers']
    start = answer['start']
    assert CONTEXT[start : start + len(answer['text'])] == answer['text']
    words = row['question'].rstrip('?').split()
    left = [word for word in words if word in CONTEXT]
    assert 3 <= len(left) <= 2 * cloze_questions.NEAR[1]


def test_numbers_names_and_phrases_are_asked_for():
  found = {
    (answer, kind) for answer, _, kind, _ in cloze_questions.clozes(CONTEXT)
  }
  assert {('1822', 'number'), ('12,400', 'number')} <= found
  assert {('Karl Haushofer', 'name'), ('Worms', 'name')} <= found
  assert ('sea', 'phrase') in found
  assert all('of' not in answer.split() for answer, _ in found)


def test_the_same_seed_asks_the_same():
  first, again, other = (
    list(cloze_questions.questions([TEXT], seed)) for seed in (0, 0, 1)
  )
  assert first == again != other
