"""PyTorch models that ours are compared with; imports torch."""

import dataclasses

import torch
import transformers
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Sizes:
  """The sizes of a `PlainGPT`."""

  num_layers: int
  num_heads: int
  embed_dim: int
  max_len: int
  vocab_size: int
  dropout: float = 0.0


class Block(nn.Module):
  """A pre-LN block: attention, then the MLP, each added to x; no biases."""

  def __init__(self, sizes: Sizes):
    super().__init__()
    width = sizes.embed_dim
    self.num_heads, self.rate = sizes.num_heads, sizes.dropout
    self.attention_norm = nn.LayerNorm(width, bias=False)
    self.mlp_norm = nn.LayerNorm(width, bias=False)
    self.read = nn.Linear(width, 3 * width, bias=False)
    self.out = nn.Linear(width, width, bias=False)
    self.up = nn.Linear(width, 4 * width, bias=False)
    self.down = nn.Linear(4 * width, width, bias=False)
    self.dropout = nn.Dropout(sizes.dropout)

  def forward(self, x):
    batch, length, width = x.shape
    parts = self.read(self.attention_norm(x)).split(width, dim=2)
    heads = [
      part.view(batch, length, self.num_heads, -1).transpose(1, 2)
      for part in parts
    ]
    rate = self.rate if self.training else 0.0
    read = F.scaled_dot_product_attention(
      *heads, dropout_p=rate, is_causal=True
    )
    read = read.transpose(1, 2).reshape(batch, length, width)
    x = x + self.dropout(self.out(read))
    hidden = F.gelu(self.up(self.mlp_norm(x)))
    return x + self.dropout(self.down(hidden))


class PlainGPT(nn.Module):
  """A GPT in plain PyTorch, like nanoGPT's."""

  def __init__(self, sizes: Sizes):
    super().__init__()
    width = sizes.embed_dim
    self.token = nn.Embedding(sizes.vocab_size, width)
    self.position = nn.Embedding(sizes.max_len, width)
    self.dropout = nn.Dropout(sizes.dropout)
    self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.num_layers))
    self.norm = nn.LayerNorm(width, bias=False)

  def forward(self, tokens, targets):
    """Returns the mean cross-entropy of the targets."""
    places = torch.arange(tokens.shape[1], device=tokens.device)
    x = self.dropout(self.token(tokens) + self.position(places))
    for block in self.blocks:
      x = block(x)
    logits = self.norm(x) @ self.token.weight.T
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def gpt2(num_layers: int, num_heads: int, embed_dim: int, dropout: float):
  """Returns transformers' GPT-2."""
  config = transformers.GPT2Config(
    n_layer=num_layers,
    n_head=num_heads,
    n_embd=embed_dim,
    resid_pdrop=dropout,
    embd_pdrop=dropout,
    attn_pdrop=dropout,
    use_cache=False,
  )
  return transformers.GPT2LMHeadModel(config)


def bert(num_layers: int, num_heads: int, embed_dim: int, dropout: float):
  """Returns transformers' BERT with its masked-LM head."""
  config = transformers.BertConfig(
    num_hidden_layers=num_layers,
    num_attention_heads=num_heads,
    hidden_size=embed_dim,
    intermediate_size=4 * embed_dim,
    hidden_dropout_prob=dropout,
    attention_probs_dropout_prob=dropout,
  )
  return transformers.BertForMaskedLM(config)


def t5(
  num_layers: int, num_heads: int, embed_dim: int, mlp_dim: int, dropout: float
):
  """Returns transformers' T5 v1.0."""
  config = transformers.T5Config(
    num_layers=num_layers,
    num_heads=num_heads,
    d_model=embed_dim,
    d_ff=mlp_dim,
    dropout_rate=dropout,
    vocab_size=32_128,
    use_cache=False,
  )
  return transformers.T5ForConditionalGeneration(config)
