"""The presets are the published models, to the last parameter."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm import models
from lm.types import Projection, UserError, path_of
from tests.models import tiny

# Brown et al. 2020, table 2.1: layers, width, heads, and the width of a head.
# As printed but for two rows that contradict themselves: XL has 24 heads there,
# which are not 2048 wide, and 13B a width of 5140, which is not 40 heads.
GPT3 = {
  'gpt3-125m': (12, 768, 12, 64),
  'gpt3-350m': (24, 1024, 16, 64),
  'gpt3-760m': (24, 1536, 16, 96),
  'gpt3-1.3b': (24, 2048, 16, 128),
  'gpt3-2.7b': (32, 2560, 32, 80),
  'gpt3-6.7b': (32, 4096, 32, 128),
  'gpt3-13b': (40, 5120, 40, 128),
  'gpt3-175b': (96, 12288, 96, 128),
}


def gpt2_formula(vocab_size, max_len, num_layers, width):
  blocks = num_layers * (12 * width**2 + 13 * width)
  return vocab_size * width + max_len * width + blocks + 2 * width


COUNTS = {
  'gpt1': 116_534_784,
  'gpt2': 124_439_808,
  'gpt2-medium': 354_823_168,
  'gpt2-large': 774_030_080,
  'gpt2-xl': 1_557_611_200,
  # Of 65 characters. nanoGPT prints 0.80M and 10.65M, positions left out.
  'nano': 795_904 + 64 * 128,
  'baby': 10_646_784 + 256 * 384,
  # No positions to learn, and no norm at the end.
  'article': 10_000 * 512 + 6 * (12 * 512**2 + 13 * 512),
} | {
  name: gpt2_formula(50_257, 2048, layers, width)
  for name, (layers, width, _, _) in GPT3.items()
}


def build(preset, **settings):
  if models.PRESETS['gpt'][preset]['vocab_size'] is None:
    settings = {'vocab_size': 65} | settings
  return models.build('gpt', preset, **settings)


def shapes(model):
  """The parameters by path, without a byte of memory for them."""
  tokens = jnp.zeros((1, 2), jnp.int32)
  params = jax.eval_shape(model.init, jax.random.key(0), tokens)['params']
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {path_of(path): leaf for path, leaf in leaves}


def count(leaves):
  return sum(leaf.size for leaf in leaves.values())


@pytest.mark.parametrize('preset', models.PRESETS['gpt'])
def test_a_preset_has_the_published_number_of_parameters(preset):
  assert count(shapes(build(preset))) == COUNTS[preset]


MLM, NSP = ('tokens',), ('tokens', 'next_sentence')
POOLED = {'heads': (), 'pooler': True}
PUBLISHED = [
  ('bert', 'base', POOLED, 109_482_240),
  ('bert', 'base', {'heads': ()}, 108_891_648),
  ('bert', 'base', {'heads': MLM}, 109_514_298),
  ('bert', 'base', {'heads': NSP}, 110_106_428),
  ('bert', 'large', POOLED, 335_141_888),
  ('bert', 'large', {'heads': ()}, 334_092_288),
  ('bert', 'large', {'heads': MLM}, 335_174_458),
  ('bert', 'large', {'heads': NSP}, 336_226_108),
  ('bert', 'base-cased', POOLED, 108_310_272),
  ('bert', 'base-cased', {'heads': ()}, 107_719_680),
  ('bert', 'base-cased', {'heads': MLM}, 108_340_804),
  ('bert', 'base-cased', {'heads': NSP}, 108_932_934),
  ('bert', 'large-cased', POOLED, 333_579_264),
  ('bert', 'large-cased', {'heads': ()}, 332_529_664),
  ('bert', 'large-cased', {'heads': MLM}, 333_610_308),
  ('bert', 'large-cased', {'heads': NSP}, 334_661_958),
  ('bert', 'tiny', POOLED, 4_385_920),
  ('bert', 'tiny', {'heads': NSP}, 4_433_468),
  ('bert', 'mini', POOLED, 11_170_560),
  ('bert', 'mini', {'heads': NSP}, 11_267_900),
  ('bert', 'small', POOLED, 28_763_648),
  ('bert', 'small', {'heads': NSP}, 29_058_876),
  ('bert', 'medium', POOLED, 41_373_184),
  ('bert', 'medium', {'heads': NSP}, 41_668_412),
  # Vocabulary apart, as bert-base-uncased.
  ('bert', 'base-chinese', POOLED, 109_482_240 - (30_522 - 21_128) * 768),
  ('roberta', 'base', POOLED, 124_645_632),
  ('roberta', 'base', {'heads': ()}, 124_055_040),
  ('roberta', 'base', {}, 124_697_433),
  ('roberta', 'large', POOLED, 355_359_744),
  ('roberta', 'large', {'heads': ()}, 354_310_144),
  ('roberta', 'large', {}, 355_412_057),
  ('t5', 'small', {}, 60_506_624),
  ('t5', 'base', {}, 222_903_552),
  ('t5', 'large', {}, 737_668_096),
  ('t5', '3b', {}, 2_851_598_336),
  ('t5', '11b', {}, 11_307_321_344),
  ('t5', 'v1.1-small', {}, 76_961_152),
  ('t5', 'v1.1-base', {}, 247_577_856),
  ('t5', 'v1.1-large', {}, 783_150_080),
  ('t5', 'v1.1-xl', {}, 2_849_757_184),
  ('t5', 'v1.1-xxl', {}, 11_135_332_352),
  # Vaswani et al. 2017, table 3: 65 and 213 million, with biases everywhere
  # and a vocabulary of about 37,000.
  ('transformer', 'base', {}, 63_082_496),
  ('transformer', 'big', {}, 214_245_376),
]


@pytest.mark.parametrize('name, preset, settings, expected', PUBLISHED)
def test_encoders_have_the_published_number_of_parameters(
  name, preset, settings, expected
):
  model = models.build(name, preset, **settings)
  inputs = {'tokens': jnp.zeros((1, 2), jnp.int32)}
  if model.form == 'encoder_decoder':
    inputs['source_tokens'] = inputs['tokens']
  params = jax.eval_shape(model.init, jax.random.key(0), **inputs)['params']
  leaves = jax.tree_util.tree_leaves_with_path(params)
  assert count({path_of(path): leaf for path, leaf in leaves}) == expected


@pytest.mark.parametrize(
  'preset, published',
  [
    ('gpt2', 85_056_000),
    ('gpt2-medium', 302_311_424),
    ('gpt2-large', 708_390_400),
    ('gpt2-xl', 1_475_561_600),
  ],
)
def test_without_embeddings_the_count_is_the_published_one_too(
  preset, published
):
  leaves = shapes(build(preset))
  del leaves['token/embedding'], leaves['position/embedding']
  assert count(leaves) == published


@pytest.mark.parametrize(
  'preset, printed', [('nano', '0.80'), ('baby', '10.65')]
)
def test_nanogpt_prints_this_number_of_millions(preset, printed):
  leaves = shapes(build(preset))
  del leaves['position/embedding']
  assert f'{count(leaves) / 1e6:.2f}' == printed


# What no count tells: layers, width, heads, width of a head, MLP, positions.
SIZES = {
  'gpt1': (12, 768, 12, 64, 3072, 512),
  'gpt2': (12, 768, 12, 64, 3072, 1024),
  'gpt2-medium': (24, 1024, 16, 64, 4096, 1024),
  'gpt2-large': (36, 1280, 20, 64, 5120, 1024),
  'gpt2-xl': (48, 1600, 25, 64, 6400, 1024),
  'nano': (4, 128, 4, 32, 512, 64),
  'baby': (6, 384, 6, 64, 1536, 256),
  'article': (6, 512, 8, 64, 2048, 128),
} | {
  name: (layers, width, heads, head_width, 4 * width, 2048)
  for name, (layers, width, heads, head_width) in GPT3.items()
}


@pytest.mark.parametrize('preset', models.PRESETS['gpt'])
def test_a_preset_has_the_published_sizes(preset):
  config = build(preset).config
  assert (
    config.num_layers,
    config.embed_dim,
    config.num_heads,
    config.head_dim,
    config.mlp_dim,
    config.max_len,
  ) == SIZES[preset]


@pytest.mark.parametrize(
  'preset, activation, norm_position, use_bias, dropout',
  [
    ('gpt1', 'gelu_tanh', 'post', True, 0.1),
    ('gpt2', 'gelu_tanh', 'pre', True, 0.1),
    ('gpt3-175b', 'gelu_tanh', 'pre', True, 0.0),
    ('nano', 'gelu', 'pre', False, 0.0),  # torch.nn.GELU() is not the tanh.
    ('baby', 'gelu', 'pre', False, 0.2),
    ('article', 'relu', 'post', True, 0.1),
  ],
)
def test_a_preset_computes_as_its_source(
  preset, activation, norm_position, use_bias, dropout
):
  config = build(preset).config
  assert config.activation == activation
  assert config.norm_position == norm_position
  assert config.norm_eps == 1e-5
  assert config.use_bias == use_bias
  assert config.residual_dropout == dropout
  assert config.embedding_dropout == dropout


def test_only_gpt3_has_local_layers_and_only_the_article_scales_embeddings():
  local = {name for name in COUNTS if build(name).local_window is not None}
  scaled = {name for name in COUNTS if build(name).scale_embeddings}
  assert local == set(GPT3)
  assert scaled == {'article'}


def test_initial_weights_have_the_published_spread():
  sizes = {'num_layers': 8, 'embed_dim': 64, 'vocab_size': 500, 'max_len': 200}
  model = tiny.gpt(**sizes, mlp_dim=256, num_heads=4, head_dim=16)
  init = tiny.quick_jit(model.init)(jax.random.key(0), tiny.tokens())
  leaves = jax.tree_util.tree_leaves_with_path(init['params'])
  spread = {path_of(path): float(jnp.std(leaf)) for path, leaf in leaves}
  block = 'decoder/block'
  expected = {
    'token/embedding': 0.02,
    'position/embedding': 0.01,
    f'{block}/attention/query/kernel': 0.02,
    f'{block}/mlp/up/kernel': 0.02,
    f'{block}/attention/out/kernel': 0.02 / 4,  # sqrt(2 x 8 layers)
    f'{block}/mlp/down/kernel': 0.02 / 4,
    f'{block}/mlp/down/bias': 0.0,
    f'{block}/mlp_norm/scale': 0.0,
    'decoder/final_norm/scale': 0.0,
  }
  for path, value in expected.items():
    np.testing.assert_allclose(spread[path], value, rtol=0.03, err_msg=path)
  kernels = init['params']['decoder']['block']['mlp']['up']['kernel']
  assert len(np.unique(kernels)) > 0.99 * kernels.size  # No layer is a copy.


def test_padded_rows_of_the_vocabulary_are_never_an_answer():
  padded, tokens = tiny.gpt(vocab_multiple=8), tiny.tokens()
  params = tiny.params_of(padded)
  assert params['token']['embedding'].shape == (16, 6)
  got = tiny.logits(padded, tokens)
  assert np.all(got[..., 13:] == np.finfo(np.float32).min)
  assert np.all(jax.nn.softmax(got)[..., 13:] == 0)
  cut = params | {'token': {'embedding': params['token']['embedding'][:13]}}
  expected = tiny.logits(tiny.gpt(), tokens, params=cut)
  np.testing.assert_allclose(got[..., :13], expected, atol=1e-6)


def test_padded_rows_of_the_vocabulary_learn_nothing():
  features = jnp.ones((1, 2, 3))

  def score(table):
    logits = Projection(features, table, vocab_size=5).logits()
    return jax.nn.log_softmax(logits)[..., 3].sum()

  grads = tiny.quick_jit(jax.grad(score))(jnp.arange(24.0).reshape(8, 3) / 24)
  assert np.all(grads[5:] == 0) and np.all(grads[:5] != 0)


BERT = {'name': 'bert', 'preset': 'base'}
ELECTRA = {'name': 'electra', 'preset': 'small'}
T5 = {'name': 't5', 'preset': 'small'}
RELATIVE = {'position': 'relative'}


@pytest.mark.parametrize(
  'arguments, choices',
  [
    ({'name': 'gtp', 'preset': 'gpt2'}, 'config.model.name to one of gpt'),
    ({'name': 'gpt', 'preset': 'gpt4'}, 'config.model.preset to one of gpt1,'),
    ({'residual_dropout': 1.0}, 'at least 0 and under 1'),
    ({'vocab_size': None}, 'Set config.model.vocab_size'),
    ({'norm_eps': -1.0}, 'Set config.model.norm_eps above 0'),
    ({'norm_eps': 0.0}, 'Set config.model.norm_eps above 0'),
    ({'init_std': -0.1}, 'Set config.model.init_std to at least 0'),
    ({'embedding_init_std': -0.1}, 'config.model.embedding_init_std'),
    ({'unroll': 0}, 'Set config.model.unroll to 1 or more'),
    ({'position_init_std': -0.1}, 'config.model.position_init_std'),
    ({'local_window': 0}, 'Set config.model.local_window to 1 or more'),
    ({'head_dropout': 1.0}, 'config.model.head_dropout'),
    ({'num_labels': 0}, 'Set config.model.num_labels to 1 or more'),
    (BERT | {'num_token_types': 0}, 'config.model.num_token_types to 1'),
    (BERT | {'position_offset': -1}, 'config.model.position_offset to 0'),
    (ELECTRA | {'generator_size': 0.0}, 'config.model.generator_size above 0'),
    (ELECTRA | {'num_token_types': 0}, 'config.model.num_token_types to 1'),
    (T5 | {'num_decoder_layers': 0}, 'config.model.num_decoder_layers to 1'),
    (T5 | {'relative_buckets': 1}, 'config.model.relative_buckets to 4'),
    (T5 | {'relative_buckets': 3}, 'config.model.relative_buckets to 4'),
    (RELATIVE | {'relative_buckets': 1}, 'relative_buckets to 2 or more'),
  ],
)
def test_what_does_not_exist_is_refused_with_what_does(arguments, choices):
  settings = {'name': 'gpt', 'preset': 'gpt2'} | arguments
  with pytest.raises(UserError, match=choices):
    models.build(**settings)


@pytest.mark.parametrize(
  'field, value, choices',
  [
    ('activation', 'swish', r"\['gelu', 'gelu_tanh', 'relu', 'silu', 'tanh'\]"),
    ('position', 'alibi', r"\['learned', 'relative', 'rotary', 'sinusoidal'\]"),
    ('norm_position', 'middle', r"\['post', 'pre'\]"),
    ('dtype', 'float16', r"\['bfloat16', 'float32'\]"),
  ],
)
def test_a_choice_that_does_not_exist_is_refused_with_those_that_do(
  field, value, choices
):
  # Set afterwards, since in tests the annotation refuses it before anything
  # else can; users' runs do not check annotations.
  config = copy.copy(tiny.gpt().config)
  object.__setattr__(config, field, value)
  with pytest.raises(UserError, match=f'config.model.{field} to .*{choices}'):
    config.__post_init__()


def test_the_fields_of_a_preset_are_what_can_be_set_with_its_values():
  fields = models.fields('gpt', 'gpt3-125m')
  values = {name: field.default for name, field in fields.items()}
  assert values['local_window'] == 256 and values['num_layers'] == 12
  assert not {'config', 'name', 'parent'} & set(values)
  assert models.build('gpt', 'gpt3-125m', **values) == build('gpt3-125m')


@pytest.mark.parametrize('buckets, farthest', [(4, 1), (5, 2), (32, 16)])
def test_the_fewest_buckets_and_the_shortest_distances_work(buckets, farthest):
  model = tiny.build(
    't5', 'small', relative_buckets=buckets, relative_max_distance=farthest
  )
  inputs = {'source_tokens': tiny.tokens(), 'tokens': tiny.tokens()}
  params = tiny.params_for(model, **inputs)
  assert np.isfinite(tiny.apply(model, params, **inputs)).all()


def test_an_activation_of_one_model_alone_is_checked():
  with pytest.raises(UserError, match=r'transform_activation to one of .*gelu'):
    models.build(**BERT, transform_activation='swish')
