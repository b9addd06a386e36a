"""Every study that is shipped is one, of variants that differ."""

import pathlib

import pytest

from experiments import compare
from lm.comparison import terms
from lm.types import UserError

ROOT = pathlib.Path(__file__).parents[2]
STUDIES = sorted(
  path.stem
  for path in (ROOT / 'configs/compare').glob('*.py')
  if path.stem not in {'__init__', 'small'}  # What they have in common.
)
# Beside what a budget decides, all in which the variants of a study differ.
VARIED = {
  'direction': {'model.attention'},
  'masking_rate': {'objective.mask_rate'},
  'norm_position': {'model.norm_position'},
  'positions': {  # The last two for sinusoids alone.
    'model.position',
    'model.scale_embeddings',
    'model.embedding_init_std',
  },
  'scaling': {
    'model.num_layers',
    'model.num_heads',
    'model.embed_dim',
    'model.mlp_dim',
  },
  'bert_to_roberta': {
    'batch_size',
    'data.duplicates',
    'data.packing',
    'data.tokenizer',
    'objective.next_sentence',
  },
}
# Of these, the sections in which all of that is.
SECTIONS = {
  'families': ('data', 'model', 'objective'),
  'objectives': ('objective',),
  'optimizers': ('optimizer',),
}


@pytest.mark.parametrize('name', STUDIES)
@pytest.mark.parametrize('variant', ['', ':embedded'])
def test_a_study_varies_what_it_says_and_nothing_else(
  name, variant, monkeypatch
):
  monkeypatch.chdir(ROOT)
  study = compare.read(
    f'configs/compare/{name}.py{variant}', 0, 0.0, 'here' if not variant else ''
  )
  assert study.question.endswith('?') and study.seeds == 3
  configs = {each.name: compare.resolve(each) for each in study.variants}
  terms.check_distinct(configs, tuned=True)
  differing = terms.differences(configs, tuned=True)
  if name in VARIED:
    assert differing.keys() == VARIED[name]
  else:
    assert {key.partition('.')[0] for key in differing} == {*SECTIONS[name]}
  for config in configs.values():
    assert config['data']['path'] == ('' if variant else 'here/wikitext2/*.txt')


def test_a_study_of_data_asks_for_them(monkeypatch):
  monkeypatch.chdir(ROOT)
  with pytest.raises(UserError, match='--data'):
    compare.read('configs/compare/positions.py', 0, 0.0, '')


def test_a_field_that_no_config_has_is_refused(tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(
    'def get_config(variant):\n'
    "  return {'question': 'What?', 'budget': {'tokens': 9.0},\n"
    "    'variants': ({'name': 'a', 'config': 'configs/gpt.py',\n"
    "      'model': {'num_layer': 2}},)}\n"
  )
  study = compare.read(str(file), 0, 0.0, '')
  with pytest.raises(
    UserError, match=r'Did you mean config\.model\.num_layers'
  ):
    compare.resolve(study.variants[0])
