"""A config is whole: what the file, the overrides and the builders say."""

import inspect
import pathlib

import pytest
from ml_collections import config_dict

from experiments import config_file
from lm.training import run_config, sections
from lm.types import UserError

CONFIG = """
from ml_collections import config_dict

def get_config(variant=''):
  if variant not in ('', 'wide'):
    raise ValueError(f"Unknown variant {variant!r}: use '' or 'wide'.")
  config = config_dict.create(
    seed=7,
    model=config_dict.create(name='gpt', preset='small', num_heads=2),
    optimizer=config_dict.create(name='adamw', learning_rate=1, b2=0.95),
  )
  if variant == 'wide':
    config.model.width = 512
  return config
"""


def adamw(*, learning_rate: float, b2: float = 0.999): ...


def sgd(*, learning_rate: float, momentum: float | None = None): ...


def top(num_steps: int = 100, seed: int = 0): ...


def gpt(num_heads: int = 1, width: int = 0, vocab_size: int | None = None): ...


def model(name: str, preset: str = 'small'):
  assert name == 'gpt'
  fields = run_config.fields_of(gpt)
  width = {'small': 128, 'large': 1024}[preset]
  return {**fields, 'width': fields['width'].replace(default=width)}


def optimizer(name: str):
  return run_config.fields_of({'adamw': adamw, 'sgd': sgd}[name])


def data(path: str = '', shuffle: bool = True, spans: tuple[int, ...] = ()): ...


SECTIONS = {
  '': lambda: run_config.fields_of(top),
  'model': model,
  'optimizer': optimizer,
  'data': lambda: run_config.fields_of(data, without=['path']),
}


@pytest.fixture
def load(tmp_path):
  file = tmp_path / 'tiny.py'
  file.write_text(CONFIG)

  def load(overrides=None, variant=''):
    return config_file.load(f'{file}{variant}', overrides or {}, SECTIONS)

  return load


def test_every_field_of_every_section_is_listed(load):
  assert load().to_dict() == {
    'num_steps': 100,
    'seed': 7,
    'model': {
      'name': 'gpt',
      'preset': 'small',
      'num_heads': 2,
      'width': 128,
      'vocab_size': None,
    },
    'optimizer': {'name': 'adamw', 'learning_rate': 1.0, 'b2': 0.95},
    'data': {'shuffle': True, 'spans': ()},
  }


@pytest.mark.parametrize(
  ('variant', 'overrides', 'width'),
  [
    ('', {}, 128),
    ('', {'model.preset': 'large'}, 1024),
    (':wide', {}, 512),
    (':wide', {'model.preset': 'large'}, 512),
    (':wide', {'model.preset': 'large', 'model.width': 64}, 64),
    (':wide', {'model.width': 64}, 64),
  ],
)
def test_overrides_beat_the_file_which_beats_the_preset(
  load, variant, overrides, width
):
  assert load(overrides, variant).model.width == width


def test_overrides_may_be_text_or_values(load):
  texts = {
    'optimizer.learning_rate': '3',
    'data.shuffle': 'false',
    'data.spans': '1,2',
    'model.vocab_size': '65',
    'num_steps': '5',
  }
  typed = {
    'optimizer.learning_rate': 3,
    'data.shuffle': False,
    'data.spans': [1, 2],
    'model.vocab_size': 65,
    'num_steps': 5,
  }
  config = load(texts)
  assert config.to_dict() == load(typed).to_dict()
  assert config.data.spans == (1, 2)
  assert type(config.optimizer.learning_rate) is float


def test_another_builder_takes_what_it_knows_of_the_file(load):
  config = load({'optimizer.name': 'sgd'})
  assert config.optimizer.to_dict() == {
    'name': 'sgd',
    'learning_rate': 1.0,
    'momentum': None,
  }


def test_a_config_is_locked_and_typed(load):
  config = load()
  with pytest.raises(AttributeError):
    config.model.depth = 3
  with pytest.raises(TypeError):
    config.model.num_heads = 'many'
  with pytest.raises(TypeError):
    config.model.vocab_size = 'many'  # None so far, and an integer one day.
  config.model.vocab_size = 65


@pytest.mark.parametrize(
  ('overrides', 'complaint'),
  [
    (
      {'model.num_head': '1'},
      'There is no config.model.num_head. Did you mean config.model.num_heads?',
    ),
    (
      {'learning_rate': '1'},
      'There is no config.learning_rate.'
      ' Did you mean config.optimizer.learning_rate?',
    ),
    (
      {'modell.zzz': '1'},
      'There is no config.modell.zzz. There are config.num_steps, config.seed,'
      ' config.model, config.optimizer, config.data.',
    ),
    ({'model.width.x': '1'}, 'There is no config.model.width.x.'),
    (
      {'optimizer.learning_rate': 'fast'},
      "config.optimizer.learning_rate is 'fast', but it is to be a number.",
    ),
    ({'data.path': 'x'}, 'There is no config.data.path.'),
  ],
)
def test_a_wrong_override_is_named(load, overrides, complaint):
  with pytest.raises(UserError) as raised:
    load(overrides)
  assert str(raised.value).startswith(complaint)


@pytest.mark.parametrize(
  ('text', 'complaint'),
  [
    ('', 'bad.py has no get_config.'),
    ('def get_config(', 'bad.py is not Python:'),
    (CONFIG.replace('b2=', 'b22='), 'bad.py: There is no config.optimizer.b22'),
    (CONFIG.replace('num_heads=2', "num_heads='x'"), 'config.model.num_heads'),
    (
      CONFIG.replace('learning_rate=1, ', ''),
      'bad.py does not say config.optimizer.learning_rate, which has no default',
    ),
  ],
)
def test_a_wrong_file_is_named(tmp_path, text, complaint):
  (tmp_path / 'bad.py').write_text(text)
  with pytest.raises(UserError) as raised:
    config_file.load(str(tmp_path / 'bad.py'), {}, SECTIONS)
  assert complaint in str(raised.value)


def test_a_missing_file_or_variant_names_those_there_are(load, tmp_path):
  with pytest.raises(
    UserError, match=r"tiny.py:tall: Unknown .* use '' or 'wide'"
  ):
    load(variant=':tall')
  load()
  with pytest.raises(UserError, match=r'no config file .*no\.py.*tiny\.py'):
    config_file.load(str(tmp_path / 'no.py'), {}, SECTIONS)


def test_a_file_may_return_a_mapping_as_a_value(tmp_path):
  def objective(*, scales: dict[str, float]): ...

  config = config_dict.create(objective=dict(scales={'tokens': 2}))
  file = tmp_path / 'scales.py'
  file.write_text(f'get_config = lambda variant: {config.to_dict()!r}')
  sections = {'objective': lambda: inspect.signature(objective).parameters}
  loaded = config_file.load(str(file), {}, sections)
  assert type(loaded.objective.scales) is dict
  assert dict(**loaded.objective) == {'scales': {'tokens': 2}}


@pytest.mark.parametrize(
  'key',
  [
    'model.name',
    'model.preset',
    'objective.name',
    'optimizer.name',
    'parallel.kind',
  ],
)
def test_a_choice_that_there_is_not_is_named(key):
  file = pathlib.Path(__file__).parents[2] / 'configs/gpt.py'
  with pytest.raises(UserError) as raised:
    config_file.load(f'{file}:debug', {key: 'nosuch'}, sections.SECTIONS)
  assert "'nosuch'" in str(raised.value)
  assert f'config.{key}' in str(raised.value)
