"""GPT, BERT, RoBERTa and T5 in JAX, compared on equal terms."""

from typing import Any


def __getattr__(name: str) -> Any:
  """Imports `lm.load` and others lazily, so that `import lm` imports no JAX."""
  if name not in ('load', 'save', 'save_huggingface', 'Pretrained'):
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from lm import pretrained

  return getattr(pretrained, name)
