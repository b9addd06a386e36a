"""How each family tokenizes text: a vocabulary and the steps around it.

Each function returns a pipeline of the `tokenizers` library with the special
tokens, at the positions, that the published models were trained with.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import (
  AddedToken,
  Tokenizer,
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
)

from lm.types import UserError

END_OF_TEXT = '<|endoftext|>'
BERT_SPECIALS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
ROBERTA_SPECIALS = ('<s>', '<pad>', '</s>', '<unk>', '<mask>')
T5_SPECIALS = ('<pad>', '</s>', '<unk>')
NUM_SENTINELS = 100  # T5's; each noise span takes one.

ROLES = ('bos', 'eos', 'pad', 'unk', 'mask', 'cls', 'sep')
_FAMILY_ROLES = (
  dict(zip(('pad', 'unk', 'cls', 'sep', 'mask'), BERT_SPECIALS)),
  dict(zip(('bos', 'pad', 'eos', 'unk', 'mask'), ROBERTA_SPECIALS))
  | dict(cls='<s>', sep='</s>'),
  dict(zip(('pad', 'eos', 'unk'), T5_SPECIALS)),
  dict(bos=END_OF_TEXT, eos=END_OF_TEXT),
  {},
)


def byte_level(
  vocab: Mapping[str, int],
  merges: Sequence[tuple[str, str]],
  words: bool = True,
) -> Tokenizer:
  """Returns GPT-2's pipeline: byte-level BPE, never across its words.

  Args:
    vocab: The id of every token.
    merges: The pairs to merge, in order of priority.
    words: Whether text is split into words before merging.
  """
  pipeline = Tokenizer(models.BPE(dict(vocab), list(merges)))
  pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=words
  )
  pipeline.decoder = decoders.ByteLevel()
  pipeline.post_processor = processors.ByteLevel(trim_offsets=False)
  return pipeline


def roberta(
  vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]
) -> Tokenizer:
  """Returns RoBERTa's pipeline: GPT-2's, with an encoder's special tokens."""
  pipeline = byte_level(vocab, merges)
  *others, mask = ROBERTA_SPECIALS
  # The space before a word is part of it, so a mask replaces it too.
  mask = AddedToken(mask, lstrip=True, special=True)
  pipeline.add_special_tokens([*others, mask])
  begin, end = (('<s>', vocab['<s>']), ('</s>', vocab['</s>']))
  pipeline.post_processor = processors.RobertaProcessing(
    end, begin, trim_offsets=True, add_prefix_space=False
  )
  return pipeline


def wordpiece(
  vocab: Mapping[str, int],
  lowercase: bool,
  strip_accents: bool | None = None,
  chinese_characters: bool = True,
) -> Tokenizer:
  """Returns BERT's pipeline: WordPiece, with the longest pieces of each word.

  Args:
    vocab: The id of every piece; those inside a word begin with `##`.
    lowercase: Whether text is lowercased.
    strip_accents: Whether accents are removed; None means as `lowercase`.
    chinese_characters: Whether each Chinese character is a word of its own.
  """
  missing = [special for special in BERT_SPECIALS if special not in vocab]
  if missing:
    raise UserError(
      f'The WordPiece vocabulary has no {" ".join(missing)}, which mark'
      ' what is unknown, masked or between sentences. Give the vocab.txt of a'
      ' BERT, named by config.data.tokenizer.'
    )
  pipeline = Tokenizer(models.WordPiece(dict(vocab), unk_token='[UNK]'))
  pipeline.normalizer = normalizers.BertNormalizer(
    clean_text=True,
    handle_chinese_chars=chinese_characters,
    strip_accents=strip_accents,
    lowercase=lowercase,
  )
  pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  pipeline.decoder = decoders.WordPiece(prefix='##')
  pipeline.add_special_tokens(list(BERT_SPECIALS))
  pipeline.post_processor = processors.TemplateProcessing(
    single='[CLS] $A [SEP]',
    pair='[CLS] $A [SEP] $B:1 [SEP]:1',
    special_tokens=[(name, vocab[name]) for name in ('[CLS]', '[SEP]')],
  )
  return pipeline


def t5(
  pieces: Sequence[tuple[str, float]], unk_id: int, charsmap: bytes
) -> Tokenizer:
  """Returns T5's pipeline: Unigram, on text with collapsed white space.

  Args:
    pieces: Every piece and its log-probability, in order of id.
    unk_id: The id of the piece for unknown characters.
    charsmap: SentencePiece's compiled table of Unicode normalization.
  """
  pipeline = _unigram(pieces, unk_id)
  if charsmap:
    pipeline.normalizer = normalizers.Precompiled(charsmap)
  pipeline.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
  )
  pipeline.decoder = decoders.Metaspace()
  return pipeline


def unigram(pieces: Sequence[tuple[str, float]], unk_id: int) -> Tokenizer:
  """Returns a Unigram pipeline that, unlike T5's, drops and adds no space.

  So the targets cover the whole text, whichever the tokenizer, and bits per
  byte are comparable.
  """
  pipeline = _unigram(pieces, unk_id)
  pipeline.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split('\n', 'isolated'),
      pre_tokenizers.Metaspace(prepend_scheme='never'),
    ]
  )
  pipeline.decoder = decoders.Metaspace(prepend_scheme='never')
  return pipeline


def sentinels(number: int) -> list[str]:
  """Returns T5's sentinels in order of id: the first has the highest id."""
  return [f'<extra_id_{i}>' for i in reversed(range(number))]


def _unigram(pieces: Sequence[tuple[str, float]], unk_id: int) -> Tokenizer:
  names = [piece for piece, _ in pieces]
  pipeline = Tokenizer(models.Unigram(list(pieces), unk_id))
  pipeline.add_special_tokens(
    [
      name
      for name in names
      if name in T5_SPECIALS or name.startswith('<extra_id_')
    ]
  )
  if '</s>' in names:
    pipeline.post_processor = processors.TemplateProcessing(
      single='$A </s>',
      pair='$A </s> $B </s>',
      special_tokens=[('</s>', names.index('</s>'))],
    )
  return pipeline


def characters(alphabet: Iterable[str]) -> Tokenizer:
  """Returns a tokenizer with one token per character, ids in character order.

  BPE without merges is four times as fast here as a word-level model.
  """
  vocab = {character: i for i, character in enumerate(sorted(alphabet))}
  pipeline = Tokenizer(models.BPE(vocab, []))
  pipeline.decoder = decoders.Fuse()
  return pipeline


def single_bytes() -> Tokenizer:
  """Returns a tokenizer with one token per byte, whose id is the byte."""
  # GPT-2 writes an unprintable byte as the next character from 256 on.
  visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
  hidden = [byte for byte in range(256) if byte not in visible]
  codes = {byte: byte for byte in visible}
  codes |= {byte: 256 + i for i, byte in enumerate(hidden)}
  vocab = {chr(codes[byte]): byte for byte in range(256)}
  return byte_level(vocab, [], words=False)


def role_ids(
  pipeline: Tokenizer, settings: Mapping[str, Any]
) -> dict[str, int | None]:
  """Returns `eos_id` and the like: the id of the token in each role.

  Args:
    pipeline: Its family is the first whose special tokens it has.
    settings: A `tokenizer_config.json`, which overrides the family.
  """
  vocab = pipeline.get_vocab()
  families = ({*family.values()} <= vocab.keys() for family in _FAMILY_ROLES)
  names = dict(next(itertools.compress(_FAMILY_ROLES, families)))
  for role in ROLES:
    told = settings.get(f'{role}_token')
    if told is not None:
      names[role] = told if isinstance(told, str) else told['content']
  return {f'{role}_id': vocab.get(name) for role, name in names.items()}
