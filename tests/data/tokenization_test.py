"""Tokens know how much text they stand for, and where words and sentences are."""

import numpy as np
import pytest

from lm.data import sentences, tokenization, tokenizers
from lm.data.tokenization import SENTENCE_END, WORD_START, Chunk

TEXTS = [
  'The quick brown fox. It jumps over the lazy dog!',
  'Zweite Zeile: äöü ß.\n\n"Why?" she asked. Nobody knew…',
  '今天下雨。我们在家。 Emoji 🙂 too.',
  '  spaces   in front,\tand behind  \n',
]


@pytest.fixture(scope='module', params=tokenizers.KINDS)
def tokenizer(request):
  sizes = {'bpe': 300, 'roberta': 305, 'wordpiece': 150, 'unigram': 160}
  return tokenizers.train(request.param, TEXTS * 3, sizes.get(request.param))


def whole(texts):
  return Chunk(texts, [True] * len(texts))


def test_tokens_are_those_of_the_tokenizer(tokenizer):
  done = tokenization.tokenize(whole(TEXTS), tokenizer, end_of_text=False)
  expected = [tokenizer.encode(text) for text in TEXTS]
  np.testing.assert_array_equal(done.tokens, np.concatenate(expected))
  assert done.sizes.tolist() == [len(tokens) for tokens in expected]
  assert done.tokens.dtype == np.uint16


def test_bytes_add_up_to_the_text(tokenizer):
  done = tokenization.tokenize(whole(TEXTS), tokenizer, end_of_text=False)
  counts = np.split(done.byte_counts, np.cumsum(done.sizes)[:-1])
  assert [int(count.sum()) for count in counts] == [
    len(text.encode()) for text in TEXTS
  ]


@pytest.mark.parametrize(
  'tokenizer',
  ['bpe', 'roberta', 'wordpiece', 'unigram', 'characters', 'bytes'],
  indirect=True,
)
def test_the_end_of_text_follows_every_document_and_stands_for_nothing(
  tokenizer,
):
  done = tokenization.tokenize(whole(TEXTS), tokenizer, end_of_text=True)
  plain = tokenization.tokenize(whole(TEXTS), tokenizer, end_of_text=False)
  ends = np.cumsum(done.sizes) - 1
  assert (done.tokens[ends] == tokenizer.end_id).all()
  assert not done.byte_counts[ends].any() and not done.marks[ends].any()
  for name in ('tokens', 'byte_counts', 'marks'):
    kept = np.delete(getattr(done, name), ends)
    np.testing.assert_array_equal(kept, getattr(plain, name))


def test_what_has_no_tokens_is_left_out(tokenizer):
  texts = ['', 'The fox.', '', '']
  done = tokenization.tokenize(whole(texts), tokenizer, end_of_text=False)
  assert done.tokens.tolist() == tokenizer.encode('The fox.').tolist()
  assert done.sizes.tolist() == [len(done.tokens)]
  nothing = tokenization.tokenize(whole(['', '']), tokenizer, end_of_text=False)
  assert [len(part) for part in nothing] == [0, 0, 0, 0, 0]


def test_marks_stand_at_words_and_sentences():
  tokenizer = tokenizers.train('bytes', [])
  text = 'It is so. And\n\nso on'
  done = tokenization.tokenize(whole([text, 'b']), tokenizer, False)
  marked = {
    mark: ''.join(
      '^' if here & mark else '.' for here in done.marks[: len(text)]
    )
    for mark in (WORD_START, SENTENCE_END)
  }
  # A space is of the word behind it.
  assert text.replace('\n', '/') == 'It is so. And//so on'
  assert marked[WORD_START] == '^.^..^...^...^^^.^..'
  assert marked[SENTENCE_END] == '........^...^......^'
  assert done.marks[-1] == WORD_START | SENTENCE_END


def test_a_sentence_ends_in_the_token_that_holds_its_last_character(tokenizer):
  done = tokenization.tokenize(whole(TEXTS), tokenizer, end_of_text=False)
  expected = []
  for text, encoding in zip(TEXTS, tokenizer.encode_batch(TEXTS)):
    ends = [end for _, end in encoding.offsets]
    holders = {
      next(token for token, end in enumerate(ends) if end > place)
      for place in sentences.ends(text + '\n\n')
    }
    expected += [token in holders for token in range(len(ends))]
  # Where a character is of several tokens, its sentence ends in the first.
  assert (done.marks & SENTENCE_END > 0).tolist() == expected


def test_special_tokens_that_stand_in_the_text_count_no_bytes(shared):
  tokenizer = tokenizers.load(shared / 'data' / 'tok_roberta')
  text = 'The capital is  <mask> of it. And so on.'
  done = tokenization.tokenize(whole([text, 'Yes.']), tokenizer, False)
  mask = done.tokens == tokenizer.mask_id
  assert mask.sum() == 1 and done.byte_counts[mask] == 0
  # The mask token takes the spaces before it along.
  assert done.byte_counts.sum() == len(text) - len('  <mask>') + len('Yes.')
  ends = np.flatnonzero(done.marks & SENTENCE_END)
  words = [tokenizer.decode([token]) for token in done.tokens[ends].tolist()]
  assert words == ['.', '.', '.']


def test_a_large_document_is_cut_where_no_token_changes(monkeypatch, tokenizer):
  monkeypatch.setattr(tokenization, 'CHUNK', 150)
  monkeypatch.setattr(tokenization, 'CONTEXT', 40)
  document = ' \n'.join(TEXTS * 8) + '\n\n   \n'
  pieces = tokenization.cut(document, tokenizer)
  assert len(pieces) > 4
  assert ''.join(pieces) == document
  chunk = Chunk(pieces, [False] * (len(pieces) - 1) + [True])
  done = tokenization.tokenize(chunk, tokenizer, end_of_text=False)
  assert done.tokens.tolist() == tokenizer.encode(document).tolist()
  assert done.ends_document.tolist() == chunk.ends_document
  assert done.byte_counts.sum() == len(document.encode())


def test_what_no_cut_leaves_alone_stays_whole(monkeypatch):
  monkeypatch.setattr(tokenization, 'CHUNK', 10)
  tokenizer = tokenizers.train('bytes', [])
  assert tokenization.cut('x' * 100, tokenizer) == ['x' * 100]


def test_chunks_are_about_as_large_as_asked_for(monkeypatch):
  monkeypatch.setattr(tokenization, 'CHUNK', 1000)
  tokenizer = tokenizers.train('bytes', [])
  documents = ['word ' * 20] * 25
  chunks = list(tokenization.chunks(documents, tokenizer))
  assert chunks == [Chunk(['word ' * 20] * 5, [True] * 5)] * 5


def test_a_cut_document_ends_once(monkeypatch):
  monkeypatch.setattr(tokenization, 'CHUNK', 1000)
  tokenizer = tokenizers.train('bytes', [])
  documents = ['a line\n' * 700, 'another']
  chunks = list(tokenization.chunks(documents, tokenizer))
  assert len(chunks) > 2
  flags = [flag for chunk in chunks for flag in chunk.ends_document]
  assert flags == [False] * (len(flags) - 2) + [True, True]


def test_segmented_chinese_has_words_of_several_tokens():
  text = '我 是 人工 智能 助手\n你好 。'
  tokenizer = tokenizers.train('wordpiece', [text * 3], 16)
  done = {
    words: tokenization.tokenize(whole([text]), tokenizer, False, words)
    for words in ('tokenizer', 'spaces')
  }
  pieces = [tokenizer.decode([int(id)]) for id in done['spaces'].tokens]
  assert ''.join(pieces) == '我是人工智能助手你好。'
  starts = {
    words: ''.join('.#'[int(mark) & WORD_START] for mark in one.marks)
    for words, one in done.items()
  }
  assert starts == {'tokenizer': '###########', 'spaces': '###.#.#.#.#'}
