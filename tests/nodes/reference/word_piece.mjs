// Golden token ids for test_encoder: ../data/word_piece.json, by Hugging Face's own tokenizers.
//
// usage: npm i tokenizers@0.23.2 --ignore-scripts && node word_piece.mjs > ../data/word_piece.json
import {createRequire} from 'node:module';
const {Tokenizer} = createRequire(process.cwd() + '/')('tokenizers');

const specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const words = ['the', 'cat', 'un', 'aff', 'able', 'play', 'ing', 'ed', 'token', 'ization', 'cafe',
  'hello', 'world', '20', '##20', '##able', '##aff', '##ing', '##ed', '##s', '##ization', 'straße',
  'Ünder', 'Hello', 'И', 'мир', '##ир', 'μ', 'ελ', '##λα', '日', '本', '語', '豈', 'ᄒ', '##ᅡ', '##ᆫ',
  '##ᄀ', '##ᅳ', '##ᆯ', 'i', '##̇', 'क', '##क', '##ा', 'ा', 'é', '##é', '😀', '##‍'];
const letters = [...'abcdefghijklmnopqrstuvwxyzABCHW0123456789'];
const marks = [...'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~¿¡«»—…。、'];
const vocabulary = {};
for (const token of [...specials, ...letters, ...letters.map(c => '##' + c), ...marks, ...words]) {
  if (!(token in vocabulary)) vocabulary[token] = Object.keys(vocabulary).length;
}

const tokenizer = (lowercase, strip_accents, template) => ({
  version: '1.0', truncation: null, padding: null,
  added_tokens: specials.map((content, id) => ({
    id, content, single_word: false, lstrip: false, rstrip: false, normalized: false,
    special: true})),
  normalizer: {type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents,
    lowercase},
  pre_tokenizer: {type: 'BertPreTokenizer'},
  post_processor: template ? {
    type: 'TemplateProcessing',
    single: [{SpecialToken: {id: '[CLS]', type_id: 0}}, {Sequence: {id: 'A', type_id: 0}},
      {SpecialToken: {id: '[SEP]', type_id: 0}}],
    pair: [{SpecialToken: {id: '[CLS]', type_id: 0}}, {Sequence: {id: 'A', type_id: 0}},
      {SpecialToken: {id: '[SEP]', type_id: 0}}, {Sequence: {id: 'B', type_id: 1}},
      {SpecialToken: {id: '[SEP]', type_id: 1}}],
    special_tokens: {'[CLS]': {id: '[CLS]', ids: [2], tokens: ['[CLS]']},
      '[SEP]': {id: '[SEP]', ids: [3], tokens: ['[SEP]']}}} :
    {type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2]},
  decoder: {type: 'WordPiece', prefix: '##', cleanup: true},
  model: {type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##',
    max_input_chars_per_word: 20, vocab: vocabulary},
});

const texts = ['', ' ', 'The cat', 'unaffable', 'un-affable!', 'playing tokenization', 'CAFÉ café',
  'cafe\u0301', 'Straße', 'hello,world', 'hello\tworld\r\nthe', 'hello\u00a0world', 'a\u200bb',
  'a\u0000b\ufffdc', 'x\u00adY', '日本語', 'a日b', '\uf900', '한글', '2020', '20 20', '$3.14 + 2 = ?',
  '¿the cat? ¡the!', 'ελλα Μ', 'мир Ир', 'İi', 'I\u0307', '[CLS] the [SEP]', 'the[MASK]cat', '[mask]',
  '[ MASK ]', 'aaaaaaaaaaaaaaaaaaaa', 'aaaaaaaaaaaaaaaaaaaaa', 'zebra quux', 'naïve', 'Ünder under',
  'क़ा', '😀 😀😀', 'the\u2028cat', 'the\u3000cat', '«the»—cat…', '_the_', 'ÀÉÎÕÜ', 'e\u0301\u0323x',
  '\u1e9e', 'ﬁ', '𝒳', '\u0600the', '\ud83d\ude00\u200d\ud83d\ude00', 'HELLO World'];

const tokenizers = {
  uncased: tokenizer(true, null, true),
  cased: tokenizer(false, null, false),
  stripped: tokenizer(false, true, true),
  accented: tokenizer(true, false, true),
};
const out = {vocabulary, tokenizers: {}, texts, ids: {}};
for (const [name, json] of Object.entries(tokenizers)) {
  const t = Tokenizer.fromString(JSON.stringify(json));
  out.ids[name] = [];
  for (const text of texts) {
    out.ids[name].push((await t.encode(text, null, {addSpecialTokens: true})).getIds());
  }
  const {vocab, ...model} = json.model;
  out.tokenizers[name] = {...json, model};
}
console.log(JSON.stringify(out));
