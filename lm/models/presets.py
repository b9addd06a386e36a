"""The published sizes, by name. A test compares them with their papers."""

from collections.abc import Mapping
from typing import Any

Sizes = Mapping[str, Mapping[str, Any]]  # By name.

GPT2 = {
  'vocab_size': 50_257,
  'max_len': 1024,
  'embedding_dropout': 0.1,
  'attention_dropout': 0.1,
  'residual_dropout': 0.1,
  'position_init_std': 0.01,  # OpenAI's code; the rest has 0.02.
  'scale_residual_init': True,
}

# Layers alternate between dense and locally banded attention. The width of the
# band is not published; 256 is GPT-Neo's choice.
GPT3 = {
  'vocab_size': 50_257,
  'max_len': 2048,
  'local_window': 256,
  'scale_residual_init': True,
}

# nanoGPT omits all biases, including those of norms, and uses the exact GELU.
NANOGPT = {
  'vocab_size': None,
  'use_bias': False,
  'activation': 'gelu',
  'scale_residual_init': True,
}


def _sizes(num_layers, num_heads, embed_dim):
  """Returns sizes with F = 4 D and H K = D, which GPT papers leave implicit."""
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
  # Brown et al. 2020, table 2.1, but for two rows in which heads times width is
  # not d_model: here, XL has 16 heads of 128, and 13B is 5120 wide.
  'gpt3-125m': GPT3 | _sizes(12, 12, 768),
  'gpt3-350m': GPT3 | _sizes(24, 16, 1024),
  'gpt3-760m': GPT3 | _sizes(24, 16, 1536),
  'gpt3-1.3b': GPT3 | _sizes(24, 16, 2048),
  'gpt3-2.7b': GPT3 | _sizes(32, 32, 2560),
  'gpt3-6.7b': GPT3 | _sizes(32, 32, 4096),
  'gpt3-13b': GPT3 | _sizes(40, 40, 5120),
  'gpt3-175b': GPT3 | _sizes(96, 96, 12_288),
  # nanoGPT's two character-level models; the vocabulary is that of the text.
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
    # Tied to the output, and multiplied by sqrt(512) in the embedding.
    'init_std': 512**-0.5,
    'embedding_dropout': 0.1,
    'residual_dropout': 0.1,
  },
}

# A post-norm encoder that also normalises its embeddings.
ENCODER = {
  'max_len': 512,
  'attention': 'bidirectional',
  'norm_position': 'post',
  'activation': 'gelu',
  'embedding_dropout': 0.1,
  'attention_dropout': 0.1,
  'residual_dropout': 0.1,
  'init': 'truncated_normal',
}
UNCASED = ENCODER | {'vocab_size': 30_522, 'norm_eps': 1e-12}

BERT = {
  'tiny': UNCASED | _sizes(2, 2, 128),  # Turc et al. 2019, up to medium.
  'mini': UNCASED | _sizes(4, 4, 256),
  'small': UNCASED | _sizes(4, 8, 512),
  'medium': UNCASED | _sizes(8, 8, 512),
  'base': UNCASED | _sizes(12, 12, 768),
  'large': UNCASED | _sizes(24, 16, 1024),
  'base-cased': UNCASED | _sizes(12, 12, 768) | {'vocab_size': 28_996},
  'large-cased': UNCASED | _sizes(24, 16, 1024) | {'vocab_size': 28_996},
  'base-chinese': UNCASED | _sizes(12, 12, 768) | {'vocab_size': 21_128},
}

# Clark et al. 2020, table 6, with the embedding as wide as the layers.
ELECTRA = {
  'small': UNCASED | _sizes(12, 4, 256),
  'base': UNCASED | _sizes(12, 12, 768) | {'generator_size': 1 / 3},
  'large': UNCASED | _sizes(24, 16, 1024),
}

ROBERTA_ENCODER = ENCODER | {
  'vocab_size': 50_265,
  'num_token_types': 1,
  'position_offset': 2,  # Positions start after the padding id, which is 1.
  'init': 'normal',
  'drop_before_pooler': True,
}

ROBERTA = {
  'base': ROBERTA_ENCODER | _sizes(12, 12, 768),
  'large': ROBERTA_ENCODER | _sizes(24, 16, 1024),
}


def _t5(num_layers, embed_dim, num_heads, mlp_dim, head_dim=64):
  return {
    'vocab_size': 32_128,
    'max_len': 512,
    'num_layers': num_layers,
    'num_heads': num_heads,
    'head_dim': head_dim,
    'embed_dim': embed_dim,
    'mlp_dim': mlp_dim,
    'attention': 'bidirectional',
    'norm': 'rms',
    'norm_eps': 1e-6,
    'use_bias': False,
    'scale_scores': False,
    'position': 'relative',
    'init': 'fan_in',
    'embedding_init_std': 1.0,
  }


def _t5_v1_0(*sizes, **others):
  return (
    _t5(*sizes, **others)
    | _dropout(0.1)
    | {'activation': 'relu', 'scale_logits': True}
  )


def _t5_v1_1(*sizes):  # Pre-trained without dropout, fine-tuned with it.
  return _t5(*sizes) | {
    'activation': 'gelu_tanh',
    'gated_mlp': True,
    'tie_embeddings': False,
  }


def _dropout(rate: float) -> dict[str, Any]:
  """Returns the same rate for all kinds of dropout."""
  names = ('embedding', 'attention', 'residual', 'mlp', 'head')
  return {f'{name}_dropout': rate for name in names}


T5 = {
  'small': _t5_v1_0(6, 512, 8, 2048),
  'base': _t5_v1_0(12, 768, 12, 3072),
  'large': _t5_v1_0(24, 1024, 16, 4096),
  '3b': _t5_v1_0(24, 1024, 32, 16_384, head_dim=128),
  '11b': _t5_v1_0(24, 1024, 128, 65_536, head_dim=128),
  'v1.1-small': _t5_v1_1(8, 512, 6, 1024),
  'v1.1-base': _t5_v1_1(12, 768, 12, 2048),
  'v1.1-large': _t5_v1_1(24, 1024, 16, 2816),
  'v1.1-xl': _t5_v1_1(24, 2048, 32, 5120),
  'v1.1-xxl': _t5_v1_1(24, 4096, 64, 10_240),
}


def _vaswani(num_heads, embed_dim, rate):
  return _sizes(6, num_heads, embed_dim) | {
    'vocab_size': 37_000,  # "About", shared by English and German.
    'max_len': 512,
    'attention': 'bidirectional',
    'norm_position': 'post',
    'norm_eps': 1e-6,
    'activation': 'relu',
    'position': 'sinusoidal',
    'scale_embeddings': True,
    'init': 'glorot',
    'embedding_init_std': embed_dim**-0.5,
    'embedding_dropout': rate,
    'residual_dropout': rate,
  }


TRANSFORMER = {
  'base': _vaswani(8, 512, 0.1),
  'big': _vaswani(16, 1024, 0.3),
}
