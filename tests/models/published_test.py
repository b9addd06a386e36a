"""The encoders and encoder-decoders have the published values, as literals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm import models
from lm.models import electra
from lm.types import path_of
from tests.models import tiny

# Layers, width, heads, width of a head, hidden units.
SIZES = {
  ('bert', 'tiny'): (2, 128, 2, 64, 512),
  ('bert', 'mini'): (4, 256, 4, 64, 1024),
  ('bert', 'small'): (4, 512, 8, 64, 2048),
  ('bert', 'medium'): (8, 512, 8, 64, 2048),
  ('bert', 'base'): (12, 768, 12, 64, 3072),
  ('bert', 'large'): (24, 1024, 16, 64, 4096),
  ('bert', 'base-cased'): (12, 768, 12, 64, 3072),
  ('bert', 'large-cased'): (24, 1024, 16, 64, 4096),
  ('bert', 'base-chinese'): (12, 768, 12, 64, 3072),
  ('roberta', 'base'): (12, 768, 12, 64, 3072),
  ('roberta', 'large'): (24, 1024, 16, 64, 4096),
  ('electra', 'small'): (12, 256, 4, 64, 1024),
  ('electra', 'base'): (12, 768, 12, 64, 3072),
  ('electra', 'large'): (24, 1024, 16, 64, 4096),
  ('t5', 'small'): (6, 512, 8, 64, 2048),
  ('t5', 'base'): (12, 768, 12, 64, 3072),
  ('t5', 'large'): (24, 1024, 16, 64, 4096),
  ('t5', '3b'): (24, 1024, 32, 128, 16_384),
  ('t5', '11b'): (24, 1024, 128, 128, 65_536),
  ('t5', 'v1.1-small'): (8, 512, 6, 64, 1024),
  ('t5', 'v1.1-base'): (12, 768, 12, 64, 2048),
  ('t5', 'v1.1-large'): (24, 1024, 16, 64, 2816),
  ('t5', 'v1.1-xl'): (24, 2048, 32, 64, 5120),
  ('t5', 'v1.1-xxl'): (24, 4096, 64, 64, 10_240),
  ('transformer', 'base'): (6, 512, 8, 64, 2048),
  ('transformer', 'big'): (6, 1024, 16, 64, 4096),
}

# What all sizes of a family share, and computes as its source.
ENCODER = {
  'max_len': 512,
  'attention': 'bidirectional',
  'norm': 'layer',
  'norm_position': 'post',
  'activation': 'gelu',  # By the error function: not the tanh.
  'gated_mlp': False,
  'use_bias': True,
  'scale_scores': True,
  'position': 'learned',
  'embedding_dropout': 0.1,
  'attention_dropout': 0.1,
  'residual_dropout': 0.1,
  'mlp_dropout': 0.0,
  'init_std': 0.02,
  'scale_residual_init': False,
}
BERT = ENCODER | {
  'norm_eps': 1e-12,
  'init': 'truncated_normal',
  'num_token_types': 2,
}
BERT_ONLY = {
  'position_offset': 0,
  'head_dropout': 0.1,
  'drop_before_pooler': False,
}
T5 = {
  'vocab_size': 32_128,
  'attention': 'bidirectional',
  'norm': 'rms',
  'norm_position': 'pre',
  'norm_eps': 1e-6,
  'use_bias': False,
  'scale_scores': False,
  'scale_embeddings': False,
  'position': 'relative',
  'relative_buckets': 32,
  'relative_max_distance': 128,
  'num_decoder_layers': None,  # As many as the encoder has.
  'init': 'fan_in',
  'embedding_init_std': 1.0,
}
DROPOUTS = ('embedding', 'attention', 'residual', 'mlp', 'head')
ALL_DROPOUTS = [f'{place}_dropout' for place in DROPOUTS]
T5_1_0 = dict.fromkeys(ALL_DROPOUTS, 0.1) | {
  'activation': 'relu',
  'gated_mlp': False,
  'tie_embeddings': True,
  'scale_logits': True,
}
T5_1_1 = dict.fromkeys(ALL_DROPOUTS, 0.0) | {
  'activation': 'gelu_tanh',
  'gated_mlp': True,
  'tie_embeddings': False,
  'scale_logits': False,
}
VASWANI = {
  'attention': 'bidirectional',
  'norm': 'layer',
  'norm_position': 'post',
  'norm_eps': 1e-6,
  'activation': 'relu',
  'gated_mlp': False,
  'use_bias': True,
  'scale_scores': True,
  'position': 'sinusoidal',
  'num_decoder_layers': None,
  'scale_embeddings': True,
  'tie_embeddings': True,
  'scale_logits': False,
  'attention_dropout': 0.0,
  'mlp_dropout': 0.0,
  'init': 'glorot',
}
FAMILIES = {
  'bert': BERT | BERT_ONLY,
  'roberta': ENCODER
  | {
    'vocab_size': 50_265,
    'norm_eps': 1e-5,
    'init': 'normal',
    'num_token_types': 1,
    'position_offset': 2,
    'head_dropout': 0.1,
    'drop_before_pooler': True,
  },
  'electra': BERT | {'vocab_size': 30_522},
  't5': T5,
  'transformer': VASWANI,
}
# What one size has.
OWN = {
  ('bert', preset): {'vocab_size': 30_522}
  for preset in ('tiny', 'mini', 'small', 'medium', 'base', 'large')
}
OWN |= {
  ('bert', 'base-cased'): {'vocab_size': 28_996},
  ('bert', 'large-cased'): {'vocab_size': 28_996},
  ('bert', 'base-chinese'): {'vocab_size': 21_128},
  ('electra', 'small'): {'generator_size': 1 / 4},
  ('electra', 'base'): {'generator_size': 1 / 3},
  ('electra', 'large'): {'generator_size': 1 / 4},
  ('transformer', 'base'): {
    'embedding_dropout': 0.1,
    'residual_dropout': 0.1,
    'embedding_init_std': 512**-0.5,
  },
  ('transformer', 'big'): {
    'embedding_dropout': 0.3,
    'residual_dropout': 0.3,
    'embedding_init_std': 1024**-0.5,
  },
}
OWN |= {
  case: T5_1_1 if case[1].startswith('v1.1') else T5_1_0
  for case in SIZES
  if case[0] == 't5'
}


@pytest.mark.parametrize('name, preset', SIZES)
def test_a_preset_has_the_published_values(name, preset):
  expected = FAMILIES[name] | OWN.get((name, preset), {})
  keys = ('num_layers', 'embed_dim', 'num_heads', 'head_dim', 'mlp_dim')
  expected |= dict(zip(keys, SIZES[name, preset]))
  model = models.build(name, preset)
  found = {
    key: getattr(model.config, key, getattr(model, key, 'is not there'))
    for key in expected
  }
  assert found == expected


def test_all_presets_with_an_encoder_are_in_the_table():
  presets = {(name, p) for name in FAMILIES for p in models.PRESETS[name]}
  assert presets == set(SIZES)
  assert models.PRESETS.keys() - FAMILIES.keys() == {'gpt'}


@pytest.mark.parametrize(
  'preset, heads, width, hidden',
  [('small', 1, 64, 256), ('base', 4, 256, 1024), ('large', 4, 256, 1024)],
)
def test_the_generator_of_electra_is_as_small_as_published(
  preset, heads, width, hidden
):
  model = models.build('electra', preset)
  small = electra.smaller(model.config, model.generator_size)
  assert (small.num_heads, small.embed_dim, small.mlp_dim) == (
    heads,
    width,
    hidden,
  )
  assert small.num_layers == model.config.num_layers


WIDE = {
  'vocab_size': 500,
  'max_len': 200,
  'embed_dim': 64,
  'num_heads': 4,
  'head_dim': 24,  # Heads times it is 96, so that no width is another.
  'mlp_dim': 200,
}
# A normal distribution that is cut at two deviations has this share of them.
CUT = 0.879_626
OF_BERT = dict.fromkeys(
  (
    'token/embedding',
    'position/embedding',
    'encoder/block/attention/query/kernel',
    'encoder/block/attention/out/kernel',
    'encoder/block/mlp/up/kernel',
    'encoder/block/mlp/down/kernel',
    'transform/kernel',
  ),
  0.02,
)
OF_BOTH = ('encoder/block/attention', 'decoder/block/attention')
ATTENTIONS = (*OF_BOTH, 'decoder/block/cross')
OF_T5 = {
  'token/embedding': 1.0,
  'encoder/relative_bias': 64**-0.5,
  'decoder/relative_bias': 64**-0.5,
  'encoder/block/mlp/up/kernel': 64**-0.5,
  'decoder/block/mlp/down/kernel': 200**-0.5,
}
for path in ATTENTIONS:
  OF_T5 |= {
    f'{path}/query/kernel': (64 * 24) ** -0.5,
    f'{path}/key/kernel': 64**-0.5,
    f'{path}/value/kernel': 64**-0.5,
    f'{path}/out/kernel': 96**-0.5,
  }
GLOROT = {
  'token/embedding': 512**-0.5,
  'encoder/block/mlp/up/kernel': (2 / 264) ** 0.5,
  'decoder/block/mlp/down/kernel': (2 / 264) ** 0.5,
}
for path in ATTENTIONS:
  for part in ('query', 'key', 'value', 'out'):
    GLOROT[f'{path}/{part}/kernel'] = (2 / 160) ** 0.5
SPREADS = {
  ('bert', 'base'): {path: CUT * std for path, std in OF_BERT.items()},
  ('roberta', 'base'): OF_BERT,
  ('t5', 'small'): OF_T5,
  # As T5X begins its head that is not tied.
  ('t5', 'v1.1-small'): OF_T5
  | {
    'encoder/block/mlp/gate/kernel': 64**-0.5,
    'output/embedding': 64**-0.5,
  },
  ('transformer', 'base'): GLOROT,
}


@pytest.mark.parametrize('name, preset', SPREADS)
def test_initial_weights_have_the_published_spread(name, preset):
  wide = WIDE | {'relative_buckets': 200, 'relative_max_distance': 300}
  model = tiny.build(name, preset, **wide)
  inputs = {'tokens': jnp.zeros((1, 2), jnp.int32)}
  if model.form == 'encoder_decoder':
    inputs['source_tokens'] = inputs['tokens']
  init = tiny.quick_jit(model.init)(jax.random.key(0), **inputs)
  leaves = jax.tree_util.tree_leaves_with_path(init['params'])
  drawn = {path_of(path): np.asarray(leaf) for path, leaf in leaves}
  for path, std in SPREADS[name, preset].items():
    assert abs(drawn[path].std() / std - 1) < 0.06, path
    assert abs(drawn[path].mean()) < 0.1 * std, path
    for layer in drawn[path] if '/block/' in path else ():
      assert abs(layer.std() / std - 1) < 0.06, path
  for path, leaf in drawn.items():
    if path.endswith(('bias', 'scale')) and 'relative' not in path:
      assert np.all(leaf == float(path.endswith('scale'))), path


@pytest.mark.parametrize('name, is_cut', [('bert', True), ('roberta', False)])
def test_only_bert_cuts_its_initial_weights_at_two_deviations(name, is_cut):
  model = tiny.build(name, 'base', **WIDE)
  init = tiny.quick_jit(model.init)(jax.random.key(0), tiny.tokens())
  for path in ('token', 'position'):
    table = init['params'][path]['embedding']
    assert bool(np.abs(table).max() <= 0.04) == is_cut
