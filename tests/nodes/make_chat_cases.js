// Writes chat_cases.json: conversations with tools and thoughts as Qwen's own templates render them.
//   npm install @huggingface/jinja --ignore-scripts
//   node make_chat_cases.js QWEN2_5_TOKENIZER_CONFIG QWEN3_TOKENIZER_CONFIG > chat_cases.json
const {Template} = require('@huggingface/jinja');
const fs = require('fs');

const tools = [{type: 'function', function: {name: 'add', description: 'Adds two numbers: "a" + b \u2211',
  parameters: {type: 'object', properties: {a: {type: 'number'}, b: {type: 'number'}}, required: ['a', 'b']}}},
  {type: 'function', function: {name: 'now', parameters: {type: 'object', properties: {}}}}];
const call = (name, args) => ({type: 'function', function: {name, arguments: args}});
const user = content => ({role: 'user', content});
const assistant = (content, more = {}) => Object.assign({role: 'assistant', content}, more);
const tool = content => ({role: 'tool', content});
const conversations = {
  plain: [user('Hi')],
  system: [{role: 'system', content: 'Be brief.'}, user('Hi')],
  'two systems': [{role: 'system', content: 'Be brief.'}, user('Hi'), {role: 'system', content: 'Be long.'}, user('So?')],
  'one call': [user('1+2?'), assistant('', {tool_calls: [call('add', {a: 1, b: 2})]}), tool('3')],
  'said and called': [user('1+2?'), assistant('I add.', {tool_calls: [call('add', {a: 1, b: 2.5}), call('now', {})]}), tool('3'), tool('noon'), assistant('3, at noon.')],
  'bare call': [user('1+2?'), assistant('', {tool_calls: [{name: 'add', arguments: {a: [1, {x: null}], b: 'q"\u00e9'}}]}), tool('3'), assistant('3'), user('thanks')],
  'thought and called': [user('1+2?'), assistant('<think>\nadd them\n</think>\n\nI add.', {tool_calls: [call('add', {a: 1, b: 2})]}), tool('3'), assistant('<think>\n\nthree\n\n</think>\n\n3')],
  'two turns of thought': [user('a'), assistant('<think>\nb\n</think>\n\nc'), user('d'), assistant('<think>e</think>f'), user('g')],
  'reasoning apart': [user('a'), assistant('c', {reasoning_content: '\nb\n'}), user('d'), assistant('\nf', {reasoning_content: 'e'})],
  'no thought': [user('a'), assistant('c'), assistant('d')],
  'result as a question': [user('a'), assistant('<think>x</think>b'), user('<tool_response>\n3\n</tool_response>'), assistant('<think>y</think>c')],
  'nested marks': [user('a'), assistant('<think>x<think>y</think>z</think>\n\nb')],
  'answer first': [assistant('b'), user('c')],
};

const out = [];
for (const [format, path] of [['qwen2_5', process.argv[2]], ['qwen3', process.argv[3]]]) {
  const template = new Template(JSON.parse(fs.readFileSync(path)).chat_template);
  for (const [name, messages] of Object.entries(conversations)) {
    for (const given of [null, tools]) {
      for (const [generate, thinking] of [[true, null], [true, false], [false, true]]) {
        if (format === 'qwen2_5' && thinking === false) continue;
        const context = {messages, add_generation_prompt: generate};
        if (given) context.tools = given;
        if (thinking !== null) context.enable_thinking = thinking;
        out.push({format, name, messages, tools: given !== null, generate, thinking, text: template.render(context)});
      }
    }
  }
}
// Conversations stand once, cases name them.
const line = c => JSON.stringify(c).replace(/[\u007f-\uffff]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
for (const c of out) delete c.messages;
process.stdout.write(`{"tools": ${line(tools)},\n"conversations": ${line(conversations)},\n"cases": [\n${out.map(line).join(',\n')}\n]}\n`);
