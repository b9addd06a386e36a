"""A text is as likely as one answer at a time adds up to."""

from itertools import chain

import numpy as np
import pytest

from lm.scoring import forms, texts
from lm.scoring.texts import Span
from lm.types import UserError
from tests.scoring import naive
from tests.scoring.naive import SENTENCES, left_to_right, log_probs, trained

MASKED = ('bert', 'roberta')


def scores(one, spans, form, **options):
  found = texts.span_scores(*one, spans, form, **options)
  assert found.log_probs.dtype == np.float64
  return found


def test_a_gpt_reads_a_sentence_from_the_token_that_ends_texts():
  one = trained('gpt')
  found = texts.sentence_scores(*one, SENTENCES, 'left_to_right')
  for number, sentence in enumerate(SENTENCES):
    tokens = one.tokenizer.encode(sentence)
    expected = left_to_right(one, [one.tokenizer.eos_id], tokens)
    assert found.log_probs[number] == pytest.approx(expected, abs=1e-4)
    assert found.num_tokens[number] == len(tokens)
    assert found.num_bytes[number] == len(sentence)


def test_without_such_a_token_the_first_one_is_not_scored():
  one = trained('gpt', end=False)
  assert one.tokenizer.eos_id is None
  found = texts.sentence_scores(*one, ['é cat'], 'left_to_right')
  tokens = one.tokenizer.encode('é cat')
  expected = left_to_right(one, tokens[:1], tokens[1:])
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)
  # The first token is one of the two bytes of é.
  assert found.num_tokens[0] == len(tokens) - 1
  assert found.num_bytes[0] == len(' cat') + 1


def test_a_text_that_begins_with_the_token_is_not_given_it_twice():
  one = trained('gpt')
  plain, marked = texts.sentence_scores(
    *one, ['the cat', '<|endoftext|>the cat'], 'left_to_right'
  ).log_probs
  assert plain == pytest.approx(marked, abs=1e-4)


@pytest.mark.parametrize(
  'before, text, scored',
  [
    ('the cat', ' sat on the', ' sat on the'),
    (
      'the cat ',
      'sat',
      ' sat',
    ),  # The space is of the word, as it is tokenized.
    ('the man', 'ly man', 'ly man'),
    ('', 'the cat', 'the cat'),
  ],
)
def test_a_continuation_is_scored_after_its_context(before, text, scored):
  one = trained('gpt')
  found = texts.continuation_scores(*one, [before], [text], 'left_to_right')
  whole = one.tokenizer.encode(before + text)
  count = len(one.tokenizer.encode(scored))
  context = whole[:-count] if before else [one.tokenizer.eos_id]
  expected = left_to_right(one, context, whole[-count:])
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)
  assert found.num_tokens[0] == count
  assert found.num_bytes[0] == len(text)


def test_a_token_across_the_border_is_of_the_continuation():
  one = trained('gpt')
  whole = one.tokenizer.encode('the cat')
  assert one.tokenizer.decode(whole[2:]) == ' cat'
  assert len(whole) == 3
  found = texts.continuation_scores(*one, ['the c'], ['at'], 'left_to_right')
  expected = left_to_right(one, whole[:2], whole[2:])
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)


def test_a_gpt_scores_what_follows_a_blank_too():
  one = trained('gpt')
  span = Span('the ', 'man', ' sat on the mat.')
  found = scores(one, [span], 'left_to_right')
  whole = one.tokenizer.encode('the man sat on the mat.')
  context = len(one.tokenizer.encode('the'))
  expected = left_to_right(one, whole[:context], whole[context:])
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)
  assert found.num_tokens[0] == len(whole) - context
  assert found.num_bytes[0] == len('man sat on the mat.')


def pll(one, tokens, places, hidden):
  """Masks one token, and what `hidden` says, at a time."""
  begin, end = one.tokenizer.cls_id, one.tokenizer.sep_id
  total = 0.0
  for place in places:
    row = [begin, *tokens, end]
    for other in hidden(place):
      row[1 + other] = one.tokenizer.mask_id
    total += log_probs(one, row)[1 + place, tokens[place]]
  return total


@pytest.mark.parametrize('family', MASKED)
def test_pll_masks_one_token_at_a_time(family):
  one = trained(family)
  found = texts.sentence_scores(*one, SENTENCES, 'pll')
  for number, sentence in enumerate(SENTENCES):
    tokens = one.tokenizer.encode(sentence).tolist()
    expected = pll(one, tokens, range(len(tokens)), lambda place: [place])
    assert found.log_probs[number] == pytest.approx(expected, abs=1e-4)
    assert found.num_tokens[number] == len(tokens)
    assert found.num_bytes[number] == len(sentence)


@pytest.mark.parametrize('family', MASKED)
def test_within_words_later_tokens_are_masked_too(family):
  one = trained(family)
  found = texts.sentence_scores(*one, SENTENCES, 'pll_word_l2r')
  for number, sentence in enumerate(SENTENCES):
    words = {
      # Its tokenizer divides at punctuation, the other at white space alone.
      'bert': lambda text: text.replace('.', ' .').split(),
      'roberta': lambda text: text.replace(' ', '| ').split('|'),
    }[family](sentence)
    cut = [one.tokenizer.encode(word).tolist() for word in words]
    tokens = [token for word in cut for token in word]
    assert tokens == one.tokenizer.encode(sentence).tolist()
    ends = np.repeat(np.cumsum([*map(len, cut)]), [*map(len, cut)])
    hidden = lambda place, ends=ends: range(place, ends[place])
    expected = pll(one, tokens, range(len(tokens)), hidden)
    assert found.log_probs[number] == pytest.approx(expected, abs=1e-4)
  plain = texts.sentence_scores(*one, SENTENCES, 'pll').log_probs
  assert not np.allclose(found.log_probs, plain)


PIECE = forms.Piece(
  tokens=np.array([5, 6, 7, 8], np.int32),
  start=0,
  end=4,
  word_starts=np.array([True, False, False, True]),
  alone=True,
  name='Text 0',
)
M = 4
READER = forms.Reader(
  forms.Vocabulary(10, cls_id=2, sep_id=3, mask_id=M), max_len=6
)


@pytest.mark.parametrize(
  'form, expected',
  [
    (
      'pll',
      [
        ([2, M, 6, 7, 8, 3], 1, 5),
        ([2, 5, M, 7, 8, 3], 2, 6),
        ([2, 5, 6, M, 8, 3], 3, 7),
        ([2, 5, 6, 7, M, 3], 4, 8),
      ],
    ),
    (
      'pll_word_l2r',
      [
        ([2, M, M, M, 8, 3], 1, 5),
        ([2, 5, M, M, 8, 3], 2, 6),
        ([2, 5, 6, M, 8, 3], 3, 7),
        ([2, 5, 6, 7, M, 3], 4, 8),
      ],
    ),
  ],
)
def test_what_is_masked_is_literally_this(form, expected):
  rows = forms.FORMS[form].rows(PIECE, READER, 0)
  assert [
    (row.tokens.tolist(), *row.predict_at, *row.targets) for row in rows
  ] == expected


@pytest.mark.parametrize('family', MASKED)
def test_of_a_blank_only_the_choice_is_scored(family):
  one = trained(family)
  span = Span('The ', 'manly dog', ' sat.')
  found = scores(one, [span], 'pll')
  tokens = one.tokenizer.encode('The manly dog sat.').tolist()
  shown = [one.tokenizer.decode([token]) for token in tokens]
  after = len(one.tokenizer.encode(' sat.'))
  before = len(one.tokenizer.encode('The'))
  places = range(before, len(tokens) - after)
  assert ''.join(shown[before:-after]).replace('##', '').split() in (
    ['manlydog'],
    ['manly', 'dog'],
  )
  expected = pll(one, tokens, places, lambda place: [place])
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)
  assert found.num_tokens[0] == len(places)
  assert found.num_bytes[0] == len('manly dog')


def t5_span(one, before, span, after):
  """Asks the decoder for a span and what ends it."""
  first, second = one.tokenizer.vocabulary.sentinel_ids[:2]
  end, pad = one.tokenizer.eos_id, one.tokenizer.pad_id
  answers = log_probs(one, [pad, first, *span], [*before, first, *after, end])
  asked = [*span, second if len(after) else end]
  return sum(answers[1 + place, token] for place, token in enumerate(asked))


def test_a_t5_writes_each_word_in_the_place_of_a_sentinel():
  one = trained('t5')
  found = texts.sentence_scores(*one, SENTENCES[1:3], 'spans')
  for number, sentence in enumerate(SENTENCES[1:3]):
    words = sentence.replace(' ', '| ').split('|')
    cut = [one.tokenizer.encode(word).tolist() for word in words]
    tokens = one.tokenizer.encode(sentence).tolist()
    assert [*chain(*cut)] == tokens
    expected = 0.0
    for place, word in enumerate(cut):
      before, after = [*chain(*cut[:place])], [*chain(*cut[place + 1 :])]
      expected += t5_span(one, before, word, after)
    assert found.log_probs[number] == pytest.approx(expected, abs=1e-4)
    assert found.num_tokens[number] == len(tokens)
    assert found.num_bytes[number] == len(sentence)


@pytest.mark.parametrize('after', [' sat.', ''])
def test_a_t5_writes_a_choice_as_one_span(after):
  one = trained('t5')
  found = scores(one, [Span('The ', 'manly dog', after)], 'spans')
  before, span, rest = (
    one.tokenizer.encode(text) for text in ('The', ' manly dog', after)
  )
  expected = t5_span(one, before, span, rest)
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)
  assert found.num_tokens[0] == len(span)


@pytest.mark.parametrize('context', ['The cat', ''])
def test_a_decoder_answers_a_source(context):
  one = trained('t5')
  found = texts.continuation_scores(*one, [context], ['a dog'], 'target')
  source = [*one.tokenizer.encode(context), one.tokenizer.eos_id]
  read, expected = [one.tokenizer.pad_id], 0.0
  for token in one.tokenizer.encode('a dog').tolist():
    expected += log_probs(one, read, source)[-1, token]
    read.append(token)
  assert found.log_probs[0] == pytest.approx(expected, abs=1e-4)
  assert found.num_tokens[0] == len(read) - 1
  assert found.num_bytes[0] == len('a dog')


@pytest.mark.parametrize(
  'family, form',
  [('gpt', 'left_to_right'), ('bert', 'pll_word_l2r'), ('t5', 'spans')],
)
def test_how_rows_are_batched_changes_nothing(family, form):
  one = trained(family)
  sentences = SENTENCES * 2
  whole = texts.sentence_scores(*one, sentences, form)
  apart = texts.sentence_scores(*one, sentences, form, batch_tokens=40)
  np.testing.assert_allclose(whole.log_probs, apart.log_probs, atol=1e-4)
  np.testing.assert_array_equal(whole.log_probs[:4], whole.log_probs[4:])


def test_what_is_likeliest_everywhere_is_known():
  one = trained('gpt')
  for context in ('the', 'A dog', ' mat', 'man', ' cat', 'ran to'):
    tokens = one.tokenizer.encode(context).tolist()
    best = one.tokenizer.decode([int(log_probs(one, tokens)[-1].argmax())])
    if len(one.tokenizer.encode(context + best)) == len(tokens) + 1:
      break  # Not all tokens are texts, and some join with what precedes them.
  else:
    pytest.fail('No continuation is the likeliest.')
  assert best != ' dog'
  spans = [Span(context, best), Span(context, ' dog')]
  found = scores(one, spans, 'left_to_right', greedy=True)
  assert found.greedy.tolist() == [True, False]
  assert not scores(one, spans, 'left_to_right').greedy.any()


LONG = 'the cat ' * 30


@pytest.mark.parametrize(
  'family, form, max_len',
  [
    ('gpt', 'left_to_right', 12),
    ('bert', 'pll', 12),
    ('t5', 'spans', 12),
    ('t5', 'target', 12),
  ],
)
def test_what_is_too_long_is_named_or_cut(family, form, max_len):
  one = trained(family, max_len)
  span = Span(LONG, 'sat', name='my.jsonl, line 7,')
  with pytest.raises(UserError, match=r'my.jsonl, line 7, has \d\d.* reads 1'):
    scores(one, [span], form)
  found = scores(one, [span], form, too_long='cut').log_probs[0]
  encode = one.tokenizer.encode
  tokens = encode(span.before + span.text).tolist()
  if form == 'left_to_right':
    count = len(encode(' sat'))
    kept = tokens[-max_len - 1 : -count]
    expected = left_to_right(one, kept, tokens[-count:])
  elif form == 'pll':
    kept = tokens[-(max_len - 2) :]
    places = range(len(kept) - len(encode('sat')), len(kept))
    expected = pll(one, kept, places, lambda place: [place])
  elif form == 'spans':
    count = len(encode(' sat'))
    kept = tokens[-count - (max_len - 2) : -count]
    expected = t5_span(one, kept, tokens[-count:], [])
  else:
    source = [*encode(LONG).tolist()[-(max_len - 1) :], one.tokenizer.eos_id]
    expected, read = 0.0, [one.tokenizer.pad_id]
    for token in encode('sat').tolist():
      expected += log_probs(one, read, source)[-1, token]
      read.append(token)
  assert found == pytest.approx(expected, abs=1e-4)
  for too_long in ('error', 'cut'):
    with pytest.raises(UserError, match='Text 0 has'):
      scores(one, [Span('a ', LONG)], form, too_long=too_long)


@pytest.mark.parametrize(
  'family, form, span, message',
  [
    ('gpt', 'left_to_right', Span('a', ''), 'Text 1 is empty'),
    ('bert', 'pll', Span('a', ' '), 'Text 1 is .* no tokens'),
    ('gpt', 'pll', Span('', 'a'), 'Set it to left_to_right'),
    ('bert', 'spans', Span('', 'a'), 'Set it to pll or pll_word_l2r'),
    ('t5', 'left_to_right', Span('', 'a'), 'Set it to spans or target'),
    ('t5', 'target', Span('', 'a', 'b'), 'does not see'),
    ('gpt', 'plll', Span('', 'a'), "no form 'plll'"),
  ],
)
def test_what_cannot_be_scored_is_refused(family, form, span, message):
  with pytest.raises(UserError, match=message):
    scores(trained(family), [Span('', 'a'), span], form)


def test_a_choice_of_cutting_that_there_is_not_is_refused():
  with pytest.raises(UserError, match="'error' or 'cut'"):
    scores(trained('gpt'), [Span('', 'a')], 'left_to_right', too_long='skip')


def test_a_model_without_a_mask_or_sentinels_is_refused():
  model, params, _ = trained('bert')
  unmasked = naive.trained('gpt').tokenizer
  with pytest.raises(UserError, match='no token that masks'):
    texts.sentence_scores(model, params, unmasked, ['a'], 'pll')
  with pytest.raises(UserError, match="Set it to 'target'"):
    model, params, _ = trained('t5')
    texts.sentence_scores(model, params, unmasked, ['a'], 'spans')


def test_a_model_that_answers_no_tokens_is_refused():
  model, params, tokenizer = trained('bert')
  labels = model.clone(heads=('label',))
  with pytest.raises(UserError, match='answers label and no tokens'):
    texts.sentence_scores(labels, params, tokenizer, ['a'], 'pll')


@pytest.mark.parametrize(
  'family, objective, expected',
  [
    ('gpt', 'causal_lm', 'left_to_right'),
    ('bert', None, 'pll_word_l2r'),
    ('t5', None, 'spans'),
    ('t5', 'ul2', 'spans'),
    ('t5', 'prefix_lm', 'target'),
  ],
)
def test_the_form_is_what_the_model_was_trained_for(
  family, objective, expected
):
  model, _, tokenizer = trained(family)
  found = forms.default(model.form, tokenizer.vocabulary, objective)
  assert found == expected
