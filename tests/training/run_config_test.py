"""A run's config comes back as it was, and differences are named."""

import functools

from lm.training import run_config

CONFIG = {
  'seed': 0,
  'model': {'name': 'gpt', 'rate': 0.1, 'window': None},
  'data': {'spans': ((1, 2), (3, 4)), 'weights': {}},
}


def test_a_config_is_read_as_it_was_written(tmp_path):
  run_config.write(CONFIG, tmp_path / 'config.json')
  assert run_config.read(tmp_path / 'config.json') == CONFIG
  assert [file.name for file in tmp_path.iterdir()] == ['config.json']


def test_the_order_of_keys_changes_neither_the_file_nor_the_hash(tmp_path):
  backwards = {
    key: dict(reversed(value.items())) if isinstance(value, dict) else value
    for key, value in reversed(CONFIG.items())
  }
  run_config.write(CONFIG, tmp_path / 'one.json')
  run_config.write(backwards, tmp_path / 'two.json')
  one, two = (
    (tmp_path / name).read_text() for name in ('one.json', 'two.json')
  )
  assert one == two
  assert run_config.sha256(CONFIG) == run_config.sha256(backwards)
  assert run_config.sha256(CONFIG) != run_config.sha256(CONFIG | {'seed': 1})
  # echo -n '{"a": [1, null]}' | sha256sum
  assert run_config.sha256({'a': (1, None)}).startswith('937f1a67')


def test_a_difference_has_the_key_and_both_values():
  current = {
    'seed': 0,
    'model': {'name': 'gpt', 'rate': 0.2, 'window': None, 'new': 1},
    'data': {'spans': [[1, 2], [3, 5]]},
  }
  assert run_config.difference(CONFIG, CONFIG) == {}
  assert run_config.difference(CONFIG, current) == {
    'data.spans': (((1, 2), (3, 4)), ((1, 2), (3, 5))),
    'data.weights': ({}, run_config.ABSENT),
    'model.new': (run_config.ABSENT, 1),
    'model.rate': (0.1, 0.2),
  }


def test_the_fields_of_a_builder_are_what_a_config_gives():
  def build(
    num_steps, /, *rest, rate: float, b1: 'float' = 0.9, **settings
  ): ...

  fields = run_config.fields_of(build, without=['num_steps'])
  assert list(fields) == ['rate', 'b1']
  assert fields['b1'].annotation is float
  assert fields['b1'].default == 0.9
  preset = run_config.fields_of(functools.partial(build, b1=0.8))
  assert preset['b1'].default == 0.8
