"""PyTorch's contender of `benchmarks.gpu`: prints results as a line of JSON.

GPT-2 is written here in plain PyTorch; BERT and T5 are those of transformers.
"""

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import interleaved
from benchmarks.gpu_cases import WARM_UP, WINDOW, Case

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
GPT_SIZES = {  # Layers, heads, width.
  'gpt2': (12, 12, 768),
  'gpt2-medium': (24, 16, 1024),
  'gpt2-xl': (48, 25, 1600),
}


class Block(nn.Module):
  """A layer of GPT-2."""

  def __init__(self, width: int, heads: int):
    super().__init__()
    self.heads = heads
    self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
    self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
    self.up = nn.Linear(width, 4 * width)
    self.down = nn.Linear(4 * width, width)

  def forward(self, x: Tensor) -> Tensor:
    rows, length, width = x.shape
    three = self.qkv(self.norm(x)).view(rows, length, 3, self.heads, -1)
    query, key, value = three.permute(2, 0, 3, 1, 4)
    read = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    x = x + self.out(read.transpose(1, 2).reshape(rows, length, width))
    hidden = F.gelu(self.up(self.mlp_norm(x)), approximate='tanh')
    return x + self.down(hidden)


class GPT(nn.Module):
  """GPT-2, with tied embeddings."""

  def __init__(
    self, layers: int, heads: int, width: int, vocab_size: int, max_len: int
  ):
    super().__init__()
    self.token = nn.Embedding(vocab_size, width)
    self.position = nn.Embedding(max_len, width)
    self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
    self.norm = nn.LayerNorm(width)
    for module in self.modules():
      if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
      if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)

  def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean loss."""
    order = torch.arange(tokens.shape[1], device=tokens.device)
    x = self.token(tokens) + self.position(order)
    for block in self.blocks:
      x = block(x)
    scores = F.linear(self.norm(x), self.token.weight)
    return F.cross_entropy(scores.flatten(0, 1).float(), labels.flatten())


def build(case: Case) -> nn.Module:
  """Returns the model, whose inputs are those of `batch_of`."""
  sizes = case.sizes
  if case.family == 'gpt':
    layers, heads, width = GPT_SIZES[case.preset]
    return GPT(
      sizes.get('num_layers', layers),
      sizes.get('num_heads', heads),
      sizes.get('embed_dim', width),
      sizes.get('vocab_size', 50_304),
      case.length,
    )
  return Scored(_of_transformers(case))


class Scored(nn.Module):
  """A model of transformers that returns only its loss."""

  def __init__(self, model: nn.Module):
    super().__init__()
    self.model = model

  def forward(self, **inputs: Tensor) -> Tensor:
    return self.model(**inputs).loss


def _of_transformers(case: Case) -> nn.Module:
  import transformers

  sizes = case.sizes
  if case.family == 'bert':
    config = transformers.BertConfig(
      vocab_size=sizes.get('vocab_size', 30_592),
      hidden_size=sizes.get('embed_dim', 1024),
      num_hidden_layers=sizes.get('num_layers', 24),
      num_attention_heads=sizes.get('num_heads', 16),
      intermediate_size=sizes.get('mlp_dim', 4096),
      max_position_embeddings=sizes.get('max_len', 512),
      hidden_dropout_prob=0.0,
      attention_probs_dropout_prob=0.0,
      attn_implementation='sdpa',
    )
    return transformers.BertForMaskedLM(config)
  config = transformers.T5Config(
    vocab_size=sizes.get('vocab_size', 32_128),
    d_model=sizes.get('embed_dim', 768),
    d_kv=sizes.get('head_dim', 64),
    d_ff=sizes.get('mlp_dim', 3072),
    num_layers=sizes.get('num_layers', 12),
    num_heads=sizes.get('num_heads', 12),
    dropout_rate=0.0,
    decoder_start_token_id=0,
    use_cache=False,
  )
  return transformers.T5ForConditionalGeneration(config)


def batch_of(case: Case) -> dict[str, Tensor]:
  """Returns a batch of random tokens."""
  rows = np.random.default_rng(0)
  size = case.sizes.get('vocab_size', 30_000)

  def draw(length):
    tokens = rows.integers(5, size, (case.batch, length), dtype=np.int64)
    return torch.from_numpy(tokens).to(DEVICE)

  tokens = draw(case.length)
  if case.family == 'gpt':
    return {'tokens': tokens, 'labels': draw(case.length)}
  if case.family == 't5':
    return {'input_ids': tokens, 'labels': draw(case.made)}
  asked = torch.from_numpy(rows.random(tokens.shape) < 0.15).to(DEVICE)
  return {'input_ids': tokens, 'labels': torch.where(asked, tokens, -100)}


def train(told: dict[str, Any]) -> dict[str, Any]:
  """Returns the seconds of a step, and the peak memory."""
  case = Case(**told['case'])
  torch.manual_seed(0)
  torch.set_float32_matmul_precision('high')
  try:
    model = build(case).to(DEVICE).train()
  except ImportError as missing:
    return {'missing': str(missing)}
  batch = batch_of(case)
  optimizer = torch.optim.AdamW(
    model.parameters(), 1e-4, weight_decay=0.1, fused=DEVICE == 'cuda'
  )
  score = torch.compile(model) if told['compiled'] else model

  def step():
    with torch.autocast(DEVICE, torch.bfloat16):
      loss = score(**batch)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()

  taken, losses, began = [], [], time.perf_counter()
  for number in range(WARM_UP + WINDOW * told['windows']):
    loss = step()
    if number >= WARM_UP - 1 and (number + 1 - WARM_UP) % WINDOW == 0:
      losses.append(interleaved.rounded(loss.item()))  # Waits for the loss.
      wait()
      taken.append((time.perf_counter() - began) / WINDOW)
      began = time.perf_counter()
  peak = torch.cuda.max_memory_allocated() if DEVICE == 'cuda' else None
  middle = np.quantile(taken[1:], (0.25, 0.75))
  return {
    'seconds': interleaved.rounded(statistics.median(taken[1:])),
    'quartiles': [interleaved.rounded(q) for q in middle],
    'first_seconds': interleaved.rounded(taken[0] * WINDOW),
    'losses': losses,
    'parameters': sum(p.numel() for p in model.parameters()),
    'compiled': told['compiled'],
    'peak_bytes': peak,
    **about(),
  }


def products(told: dict[str, Any]) -> dict[str, Any]:
  """Returns the FLOP/s of square matrix products in bfloat16, by size."""
  return {
    **{str(size): _product(size) for size in told['sizes']},
    **about(),
  }


def _product(size: int, times: int = 20) -> float:
  """Returns the FLOP/s of products that each depend on the one before."""
  kind = {'dtype': torch.bfloat16, 'device': DEVICE}
  x, y = torch.randn(size, size, **kind), torch.randn(size, size, **kind)
  y = y / size**0.5

  def run():
    out = x
    for _ in range(times):
      out = out @ y
    wait()

  taken = interleaved.seconds({'product': run}, turns=5, warm_up=2)
  return interleaved.rates(taken, 2 * size**3 * times)['product']


def wait() -> None:
  """Returns when the device is done."""
  if DEVICE == 'cuda':
    torch.cuda.synchronize()


def about() -> dict[str, Any]:
  """Returns the device and the versions of packages."""
  name = torch.cuda.get_device_name() if DEVICE == 'cuda' else 'cpu'
  return {
    'device': name,
    'versions': interleaved.versions('torch', 'triton', 'transformers')
    | {'cuda': str(torch.version.cuda), 'cudnn': str(_cudnn())},
  }


def _cudnn() -> int | None:
  return torch.backends.cudnn.version() if DEVICE == 'cuda' else None


TASKS = {'train': train, 'products': products}

if __name__ == '__main__':
  told = json.loads(sys.argv[1])
  print(json.dumps(TASKS[told['task']](told)))
