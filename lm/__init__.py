"""GPT, BERT, RoBERTa and T5 in JAX, compared on equal terms."""

import importlib
import importlib.util
from typing import Any


def __getattr__(name: str) -> Any:
  """Imports `lm.load` and others lazily, so that `import lm` imports no JAX."""
  if name in ('load', 'save', 'save_huggingface', 'Pretrained'):
    return getattr(importlib.import_module('lm.pretrained'), name)
  if importlib.util.find_spec(f'lm.{name}') is not None:  # As lm.models.
    return importlib.import_module(f'lm.{name}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
