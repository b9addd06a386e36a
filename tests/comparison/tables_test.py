"""The results of a study as tables."""

from lm.analysis import intervals
from lm.comparison import tables


def test_each_interval_has_its_column():
  runs = [{'p': 0.0, 'q': 0.5, 'r': 1.0}, {'p': 0.5, 'q': 0.5, 'r': 0.5}]
  other = [{'p': 1.0, 'q': 0.5, 'r': 1.0}] * 2
  found = {
    'seed': intervals.welch([0.5, 0.6], [0.7, 0.9]),
    # Whose method says how many seeds there were, too.
    'example': intervals.paired_bootstrap(runs, other),
    'paradigm': intervals.welch([0.5], [0.8]),  # It has no ends.
  }
  told = [
    {'metric': 'blimp', 'first': 'a', 'second': 'b', 'over': over}
    | each._asdict()
    for over, each in found.items()
  ]
  header, rows = tables.interval_table({'intervals': told})
  assert header[3:] == ['difference', 'over seeds', 'over examples']
  ends = [
    f'[{found[over].low:+.4f}, {found[over].high:+.4f}]'
    for over in ('seed', 'example')
  ]
  assert rows == [['blimp', 'a', 'b', '+0.2500', *ends]]
  assert 'of these 2 about 0.1 do' in tables.differences({'intervals': told})
  header, rows = tables.method_table({'intervals': told + told})
  assert header == ['metric', 'over', 'method']
  assert [row[:2] for row in rows] == [
    ['blimp', 'seeds'],
    ['blimp', 'examples'],
    ['blimp', 'paradigms'],
  ]
  # Why there is no interval is told in the place of its method.
  assert [row[2] for row in rows] == [each.method for each in found.values()]
