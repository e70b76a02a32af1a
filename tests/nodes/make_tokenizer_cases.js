// Writes tokenizer_cases.json: small tokenizers, one for each component or mix of components, and
// what Hugging Face's own library makes of difficult texts with them.
//   npm install tokenizers@0.23.2 --ignore-scripts && node make_tokenizer_cases.js > tokenizer_cases.json
const {Tokenizer} = require('tokenizers');

const texts = [
  '', ' ', 'Hello, world!', "I'm can't we'll  do  3 things; don't", '  lead and trail \n\n',
  'caf\u00e9 cafe\u0301 na\u00efve \u212b \u1e9b\u0323', '\ufb01ne \uff21\uff22\uff23 \u2460 x\u00b2',
  '\u4f60\u597d\uff0c\u4e16\u754c 12\u0967\u2167', '\u0130stanbul STRASSE \u03a3\u03a3',
  'tab\tnbsp\u00a0line\u2028em\u2003end', 'snake_case $5+3=8^2 <a|b> ~`', '\ud83d\ude42 \ud83d\udc68\u200d\ud83d\udc69 zw\u200dj\ufeff',
  'na\u0000ul \u0007bell \ufffd', '\u0628\u0650\u0633\u0652\u0645 \u0939\u093f\u0928\u094d\u0926\u0940', 'abc123def45 6',
  'the cat\'s hat, unwantable runningly', '\u2581under\u2581score', 'aaaaaaaa bbbb'];

const id = (list, token) => list.indexOf(token);
const added = (tokens, list) => tokens.map(t => Object.assign(
    {id: id(list, t.content), single_word: false, lstrip: false, rstrip: false, normalized: false, special: false}, t));
const file = (parts) => Object.assign({version: '1.0', truncation: null, padding: null, added_tokens: [],
  normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null}, parts);

// A vocabulary in which each piece that the library cuts is a token: ids show the cuts.
function piecesModel(parts) {
  const probe = Tokenizer.fromString(JSON.stringify(file(Object.assign({}, parts, {added_tokens: [], post_processor: null,
    model: {type: 'BPE', vocab: {'<unk>': 0}, merges: [], unk_token: '<unk>'}}))));
  const list = ['<unk>'];
  const add = t => { if (t && !list.includes(t)) list.push(t); };
  for (const text of texts) {
    let normal = text;
    if (parts.normalizer) normal = probe.getNormalizer().normalizeString(text);
    for (const c of normal) if (c.charCodeAt(0) < 0x250) add(c);
    if (!normal) continue;
    const pieces = parts.pre_tokenizer ? probe.getPreTokenizer().preTokenizeString(normal).map(p => p[0]) : [normal];
    pieces.forEach(add);
  }
  return list;
}

const cases = [];
async function record(name, json, more = []) {
  const tokenizer = Tokenizer.fromString(JSON.stringify(json));
  const rows = [];
  for (const text of texts.concat(more)) {
    const whole = (await tokenizer.encode(text, null, {addSpecialTokens: true})).getIds();
    const ids = (await tokenizer.encode(text, null, {addSpecialTokens: false})).getIds();
    // What equals the value before it is left out.
    const row = {text: texts.includes(text) ? texts.indexOf(text) : text, ids};
    const decoded = await tokenizer.decode(whole, false), skipped = await tokenizer.decode(whole, true);
    if (whole.join() !== ids.join()) row.whole = whole;
    // Normalised added tokens come back in their normalised form there, here as they are.
    const own = json.normalizer && json.added_tokens.some(t => t.normalized);
    if ((json.decoder || name === 'no decoder') && !own) row.decoded = decoded;
    if (skipped !== decoded && !own) row.skipped = skipped;
    rows.push(row);
  }
  cases.push({name, tokenizer: json, cases: rows});
}

async function pieces(name, parts) {
  const list = piecesModel(parts);
  const vocab = {};
  list.forEach((t, i) => vocab[t] = i);
  await record(name, file(Object.assign({model: {type: 'BPE', dropout: null, unk_token: '<unk>', fuse_unk: false,
    byte_fallback: false, ignore_merges: true, vocab, merges: []}}, parts)));
}

async function main() {
  for (const type of ['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents', 'BertNormalizer', 'ByteLevel']) {
    await pieces('normalizer ' + type, {normalizer: {type, clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true}});
  }
  await pieces('normalizer Bert, nothing on', {normalizer: {type: 'BertNormalizer', clean_text: false, handle_chinese_chars: false, strip_accents: true, lowercase: false}});
  await pieces('normalizer Strip left', {normalizer: {type: 'Strip', strip_left: true, strip_right: false}});
  await pieces('normalizer Sequence', {normalizer: {type: 'Sequence', normalizers: [{type: 'NFD'}, {type: 'StripAccents'},
    {type: 'Sequence', normalizers: [{type: 'Replace', pattern: {Regex: '\\s+'}, content: ' '}, {type: 'Strip', strip_left: true, strip_right: true}]}, {type: 'Prepend', prepend: '_'}]},
    decoder: {type: 'Sequence', decoders: [{type: 'Replace', pattern: {String: '_'}, content: ' '}, {type: 'Fuse'}, {type: 'Strip', content: ' ', start: 1, stop: 0}]}});
  await pieces('pre_tokenizer ByteLevel', {pre_tokenizer: {type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true}, decoder: {type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true}});
  for (const prepend_scheme of ['always', 'first', 'never']) {
    for (const split of [true, false]) {
      const part = {type: 'Metaspace', replacement: '\u2581', prepend_scheme, split};
      await pieces(`Metaspace ${prepend_scheme} ${split}`, {pre_tokenizer: part, decoder: part});
    }
  }
  for (const behavior of ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']) {
    for (const [kind, pattern] of [['text', {String: 'a'}], ['regex', {Regex: '[\\s\\p{P}]'}], ['word', {Regex: '\\w+(?=\\W)|\\h\\h'}]]) {
      await pieces(`Split ${behavior} ${kind}`, {pre_tokenizer: {type: 'Split', pattern, behavior, invert: false}});
    }
  }
  await pieces('Split inverted', {pre_tokenizer: {type: 'Split', pattern: {Regex: '[a-z]+|\\S'}, behavior: 'Removed', invert: true}});
  await pieces('Split at nothing', {pre_tokenizer: {type: 'Split', pattern: {Regex: '(?=[A-Zn])'}, behavior: 'Isolated', invert: false}});
  await pieces('Digits', {pre_tokenizer: {type: 'Digits', individual_digits: false}});
  await pieces('Digits single', {pre_tokenizer: {type: 'Digits', individual_digits: true}});
  await pieces('Punctuation', {pre_tokenizer: {type: 'Punctuation', behavior: 'Contiguous'}});
  await pieces('Whitespace', {pre_tokenizer: {type: 'Whitespace'}});
  await pieces('WhitespaceSplit', {pre_tokenizer: {type: 'WhitespaceSplit'}});
  await pieces('BertPreTokenizer', {pre_tokenizer: {type: 'BertPreTokenizer'}});
  await pieces('CharDelimiterSplit', {pre_tokenizer: {type: 'CharDelimiterSplit', delimiter: 'a'}});
  await pieces('Sequence', {pre_tokenizer: {type: 'Sequence', pretokenizers: [{type: 'WhitespaceSplit'}, {type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'first', split: true}, {type: 'Digits', individual_digits: true}]}});

  const letters = 'abcdefghijklmnopqrstuvwxyz'.split('');
  {
    const list = ['[UNK]', '[CLS]', '[SEP]', ...letters, ...letters.map(c => '##' + c), 'the', 'cat', 'hat', 'un', '##want', '##able',
      'running', '##ly', 'hello', 'world', ',', '.', '!', "'", '##s', '\u4f60', '\u4e16', '3', '12', 'cafe', 'do', 'not', ';'];
    const vocab = {};
    list.forEach((t, i) => vocab[t] = i);
    const model = {type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 12, vocab};
    const specials = added([{content: '[CLS]', special: true}, {content: '[SEP]', special: true}], list);
    const bert = {normalizer: {type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true},
      pre_tokenizer: {type: 'BertPreTokenizer'}, model, added_tokens: specials};
    await record('WordPiece BertProcessing', file(Object.assign({}, bert, {decoder: {type: 'WordPiece', prefix: '##', cleanup: true},
      post_processor: {type: 'BertProcessing', sep: ['[SEP]', 2], cls: ['[CLS]', 1]}})), ['do not stop, the cat [SEP] hat']);
    await record('WordPiece TemplateProcessing', file(Object.assign({}, bert, {decoder: {type: 'WordPiece', prefix: '##', cleanup: false},
      post_processor: {type: 'Sequence', processors: [{type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true},
        {type: 'TemplateProcessing', single: [{SpecialToken: {id: '[CLS]', type_id: 0}}, {SpecialToken: {id: '[CLS]', type_id: 0}}, {Sequence: {id: 'A', type_id: 0}}, {SpecialToken: {id: '[SEP]', type_id: 0}}],
          pair: [{Sequence: {id: 'A', type_id: 0}}, {Sequence: {id: 'B', type_id: 1}}],
          special_tokens: {'[CLS]': {id: '[CLS]', ids: [1], tokens: ['[CLS]']}, '[SEP]': {id: '[SEP]', ids: [2], tokens: ['[SEP]']}}}]}})));
    await record('no decoder', file(Object.assign({}, bert, {post_processor: {type: 'RobertaProcessing', sep: ['[SEP]', 2], cls: ['[CLS]', 1], trim_offsets: true, add_prefix_space: false}})));
  }
  const bytes = [...Array(256).keys()].map(b => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const meta = {type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true};
  const unigram = [['<unk>', 0], ['\u2581', -2.1], ...letters.map((c, i) => [c, -4 - i / 10]), ['\u2581the', -3], ['at', -3.5], ['c', -4.2], ['\u2581c', -4.4], ['cat', -7],
    ['hello', -6], ['\u2581Hello', -6.5], ['aa', -5], ['aaa', -7.4], ['aaaa', -9.9], ['ing', -4.4], ['run', -5], ['unn', -5.1], ['ab', -5], ['abl', -6.2], ['able', -6.3], ['\u4f60', -8]];
  for (const byte_fallback of [false, true]) {
    const vocab = unigram.concat(byte_fallback ? bytes.map(b => [b, -12]) : []);
    await record('Unigram ' + byte_fallback, file({model: {type: 'Unigram', unk_id: 0, vocab, byte_fallback}, pre_tokenizer: meta,
      decoder: byte_fallback ? {type: 'Sequence', decoders: [{type: 'ByteFallback'}, meta]} : meta}));
    await record('Unigram whole ' + byte_fallback, file({model: {type: 'Unigram', unk_id: 0, vocab, byte_fallback}}));
  }
  for (const byte_fallback of [false, true]) {
    for (const fuse_unk of [false, true]) {
      const list = ['<unk>', ...letters, ' ', "'", ',', 'th', 'the', 'at', 'cat', 'aa', 'aaaa', 'll', 'lo', 'llo', 'hat', 'ha', ...(byte_fallback ? bytes : [])];
      const vocab = {};
      list.forEach((t, i) => vocab[t] = i);
      await record(`BPE ${byte_fallback} ${fuse_unk}`, file({model: {type: 'BPE', dropout: null, unk_token: '<unk>', fuse_unk, byte_fallback, vocab,
        merges: ['t h', 'th e', 'a t', 'c at', 'h a', 'h at', 'a a', 'aa aa', 'l l', 'l o', 'll o']},
        decoder: {type: 'Sequence', decoders: [{type: 'ByteFallback'}, {type: 'Fuse'}]}}));
    }
  }
  {
    const list = ['<unk>', ...letters, ...letters.map(c => c + '</w>'), 'ca', 'cat</w>', 'he', 'the</w>', 'th', 'at</w>', 'hat</w>', '!</w>', ',</w>'];
    const vocab = {};
    list.forEach((t, i) => vocab[t] = i);
    await record('BPE with a suffix', file({model: {type: 'BPE', unk_token: '<unk>', end_of_word_suffix: '</w>', vocab,
      merges: ['c a', 'a t</w>', 't h', 'th e</w>', 'c at</w>', 'h at</w>']}, normalizer: {type: 'Lowercase'},
      pre_tokenizer: {type: 'Whitespace'}, decoder: {type: 'BPEDecoder', suffix: '</w>'}}));
    const marked = ['<unk>', ...letters, ...letters.map(c => '##' + c), 'th', 'the', 'at', '##at', 'cat', 'hat'];
    const prefixed = {};
    marked.forEach((t, i) => prefixed[t] = i);
    await record('BPE with a prefix', file({model: {type: 'BPE', unk_token: '<unk>', continuing_subword_prefix: '##', vocab: prefixed,
      merges: ['t ##h', 'th ##e', '##a ##t', 'c ##at', 'h ##at']}, normalizer: {type: 'Lowercase'},
      pre_tokenizer: {type: 'Whitespace'}, decoder: {type: 'WordPiece', prefix: '##', cleanup: true}}));
  }
  {
    const list = ['<unk>', ...letters, ' ', '_', ...'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '<sp>', '<mask>', 'caf\u00c9', 'ab', 'abc', '<x>', '<x><y>', 'WORD', ' lead'];
    const vocab = {};
    list.forEach((t, i) => vocab[t] = i);
    const model = {type: 'BPE', unk_token: '<unk>', fuse_unk: true, vocab, merges: ['a b']};
    const tokens = added([{content: '<sp>', special: true}, {content: '<mask>', special: true, lstrip: true, rstrip: true},
      {content: 'caf\u00c9', normalized: true}, {content: 'abc', single_word: true}, {content: '<x>', rstrip: true}, {content: '<x><y>'},
      {content: 'WORD', normalized: true, single_word: true, lstrip: true}], list);
    const more = ['a<sp>b', 'a <mask> b', '<mask><mask>', 'CAF\u00c9 caf\u00e9 xcaf\u00e9x', 'abc abcd xabc abc', ' <x> <x><y> <x', 'a word WORD words  word.', '<sp> lead<sp>', 'abc\u00e9 \u00e9abc abc_ (abc)', '  <mask>', 'a <x>  <mask> abc'];
    const decoder = {type: 'Fuse'};
    await record('added tokens', file({model, added_tokens: tokens, decoder}), more);
    await record('added tokens, lower case', file({model, added_tokens: tokens, decoder, normalizer: {type: 'Lowercase'}}), more);
    await record('added tokens, Prepend', file({model, added_tokens: tokens, decoder, normalizer: {type: 'Sequence', normalizers: [{type: 'Lowercase'}, {type: 'Prepend', prepend: '_'}]}}), more);
    await record('added tokens, Metaspace first', file({model, added_tokens: tokens, decoder, pre_tokenizer: {type: 'Metaspace', replacement: '_', prepend_scheme: 'first', split: true}}), more);
    await record('added tokens, Metaspace always', file({model, added_tokens: tokens, decoder, pre_tokenizer: {type: 'Metaspace', replacement: '_', prepend_scheme: 'always', split: true}}), more);
  }
  // A line per tokenizer; characters beyond ASCII escaped.
  const line = c => JSON.stringify(c).replace(/[\u007f-\uffff]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
  process.stdout.write('{"texts": ' + line(texts) + ',\n"cases": [\n' + cases.map(line).join(',\n') + '\n]}\n');
}
main().catch(error => { console.error(error); process.exit(1); });
