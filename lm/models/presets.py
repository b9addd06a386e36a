"""The published sizes, by name. Counts are held to their papers by a test."""

GPT2 = {
  'vocab_size': 50_257,
  'max_len': 1024,
  'embedding_dropout': 0.1,
  'attention_dropout': 0.1,
  'residual_dropout': 0.1,
  'position_init_std': 0.01,  # OpenAI's code; the rest has 0.02.
}

# Layer numbers alternate between dense and locally banded attention, in a band
# whose width is not published: 256 is the reading of GPT-Neo.
GPT3 = {'vocab_size': 50_257, 'max_len': 2048, 'local_window': 256}

# nanoGPT leaves out every bias, the norms' included, and has the exact GELU.
NANOGPT = {'vocab_size': None, 'use_bias': False, 'activation': 'gelu'}


def _sizes(num_layers, num_heads, embed_dim):
  """The sizes that the GPT papers leave implicit: F = 4 D and H K = D."""
  return {
    'num_layers': num_layers,
    'num_heads': num_heads,
    'head_dim': embed_dim // num_heads,
    'embed_dim': embed_dim,
    'mlp_dim': 4 * embed_dim,
  }


GPT = {
  'gpt1': GPT2
  | _sizes(12, 12, 768)
  | {
    'vocab_size': 40_478,
    'max_len': 512,
    'norm_position': 'post',
    'position_init_std': 0.02,
    'scale_residual_init': False,
  },
  'gpt2': GPT2 | _sizes(12, 12, 768),
  'gpt2-medium': GPT2 | _sizes(24, 16, 1024),
  'gpt2-large': GPT2 | _sizes(36, 20, 1280),
  'gpt2-xl': GPT2 | _sizes(48, 25, 1600),
  # Brown et al. 2020, table 2.1. Where its heads times width is not d_model:
  # XL has 16 heads of 128 here, and 13B is 5120 wide.
  'gpt3-125m': GPT3 | _sizes(12, 12, 768),
  'gpt3-350m': GPT3 | _sizes(24, 16, 1024),
  'gpt3-760m': GPT3 | _sizes(24, 16, 1536),
  'gpt3-1.3b': GPT3 | _sizes(24, 16, 2048),
  'gpt3-2.7b': GPT3 | _sizes(32, 32, 2560),
  'gpt3-6.7b': GPT3 | _sizes(32, 32, 4096),
  'gpt3-13b': GPT3 | _sizes(40, 40, 5120),
  'gpt3-175b': GPT3 | _sizes(96, 96, 12_288),
  # nanoGPT's two character models; the vocabulary is the text's.
  'nano': NANOGPT | _sizes(4, 4, 128) | {'max_len': 64},
  'baby': NANOGPT
  | _sizes(6, 6, 384)
  | {
    'max_len': 256,
    'embedding_dropout': 0.2,
    'attention_dropout': 0.2,
    'residual_dropout': 0.2,
  },
  # The decoder of many tutorials: the base model of Vaswani et al. 2017 without
  # its encoder.
  'article': _sizes(6, 8, 512)
  | {
    'vocab_size': 10_000,
    'max_len': 128,
    'activation': 'relu',
    'norm_position': 'post',
    'position': 'sinusoidal',
    'scale_embeddings': True,
    'scale_residual_init': False,
    # Tied to the output, and multiplied by sqrt(512) on the way in.
    'init_std': 512**-0.5,
    'embedding_dropout': 0.1,
    'residual_dropout': 0.1,
  },
}

PRESETS = {'gpt': GPT}
