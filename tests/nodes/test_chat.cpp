#include <QTemporaryDir>

#include "engine/io/durable_file.h"
#include "engine/run/evaluate.h"
#include "nodes/text/chat_template.h"
#include "nodes/text/tokenizer.h"
#include "tests/nodes/model_files.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/unpacked_tokenizer.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;
namespace fs = std::filesystem;

namespace {

using Ids = std::vector<std::int64_t>;

const Json greeting = Json::parse(R"([{"role": "system", "content": " Be brief. "},
  {"role": "user", "content": " Hi\n"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "So?"}])");

std::string failure_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.problem().code + ": " + failure.what();
  }
  return "";
}

/// A folder with a tokenizer whose template of one text begins with <s>, and ids of its own.
fs::path write_model(const QTemporaryDir& folder, const std::string& chat_template) {
  const fs::path path = folder.path().toStdString();
  Json vocab = Json::object();
  for (int c = 32; c < 127; ++c) vocab[std::string(1, static_cast<char>(c))] = c;
  vocab["\n"] = 10;
  const auto token = [](const char* text, int id) {
    return Json{{"id", id}, {"content", text}, {"special", true}};
  };
  Json json;
  json["added_tokens"] = {token("<s>", 0), token("<|start_header_id|>", 1),
                          token("<|end_header_id|>", 2), token("<|eot_id|>", 3)};
  json["decoder"] = {{"type", "Fuse"}};
  json["post_processor"] = Json::parse(R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}})");
  json["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}};
  write_durably(path / "tokenizer.json", json.dump());
  const Json config = {{"bos_token", "<s>"},
                       {"eos_token", {{"content", "<|eot_id|>"}}},
                       {"chat_template", chat_template}};
  write_durably(path / "tokenizer_config.json", config.dump());
  return path;
}

Prompts prompts_of(std::vector<std::string> texts, std::vector<Json> fields = {}) {
  Prompts p;
  p.text = std::move(texts);
  for (std::size_t i = 0; i < p.text.size(); ++i) p.id.push_back(std::to_string(i));
  p.fields = std::move(fields);
  return p;
}

}  // namespace

class TestChat : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void golden_conversations_match_data() {
    QTest::addColumn<QString>("archive");
    QTest::addColumn<QString>("golden");
    QTest::newRow("qwen2.5") << "qwen2_5"
                             << "chat-qwen2.5";
    QTest::newRow("qwen3") << "qwen3"
                           << "chat-qwen3";
  }
  void golden_conversations_match() {
    if (!model_files::available()) QSKIP("no golden ids here");
    QFETCH(QString, archive);
    QFETCH(QString, golden);
    const UnpackedTokenizer files = unpacked_tokenizer(archive.toStdString());
    const auto tokenizer = json_tokenizer(files.json, files.config);
    const ChatStyle style = chat_style_of(files.config);
    const Json cases = read_json(model_files::shared() / "tokenizer-golden" /
                                 (golden.toStdString() + ".json"))["cases"];
    QVERIFY(cases.size() >= 12);
    for (const Json& c : cases) {
      ChatOptions options;
      options.generation_prompt = c["add_generation_prompt"];
      if (!c["enable_thinking"].is_null()) options.thinking = c["enable_thinking"].get<bool>();
      options.system = style.system;
      const std::string text = render_chat(style.format, c["messages"], options);
      QCOMPARE(text, c["text"].get<std::string>());
      QCOMPARE(tokenizer->encode(text), c["ids"].get<Ids>());
      QCOMPARE(tokenizer->decode(tokenizer->encode(text), false), text);
    }
  }

  /// Renderings of Qwen's own templates: make_chat_cases.js.
  void tools_and_thoughts_are_rendered_as_the_templates_do() {
    const Json file = read_json(fs::path(REWARDLOOM_SOURCE_DIR) / "tests/nodes/chat_cases.json");
    QVERIFY(file["cases"].size() > 100);
    for (const Json& c : file["cases"]) {
      ChatOptions options;
      options.generation_prompt = c["generate"];
      if (!c["thinking"].is_null()) options.thinking = c["thinking"].get<bool>();
      if (c["tools"].get<bool>()) options.tools = file["tools"];
      const bool older = c["format"] == "qwen2_5";
      const std::string text =
          render_chat(older ? ChatFormat::qwen2_5 : ChatFormat::qwen3,
                      file["conversations"][c["name"].get<std::string>()], options);
      QVERIFY2(text == c["text"].get<std::string>(), (c["name"].dump() + "\n" + text).c_str());
    }
  }

  void llama_gemma_and_plain_follow_their_published_forms() {
    ChatOptions options;
    options.begin = "<|begin_of_text|>";
    const std::string turns =
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nSo?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n";
    QCOMPARE(render_chat(ChatFormat::llama3, greeting, options),
             "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>" +
                 turns);
    QCOMPARE(
        render_chat(ChatFormat::llama3_1, greeting, options),
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: "
        "December 2023\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>" +
            turns);
    options.begin = "<bos>";
    options.generation_prompt = false;
    QCOMPARE(
        render_chat(ChatFormat::gemma3, greeting, options),
        std::string(
            "<bos><start_of_turn>user\n Be brief. \n\nHi<end_of_turn>\n<start_of_turn>model\nHello"
            "<end_of_turn>\n<start_of_turn>user\nSo?<end_of_turn>\n"));
    options.generation_prompt = true;
    Json asked = Json::parse(R"([{"role": "user", "content": "Hi"}])");
    QCOMPARE(render_chat(ChatFormat::gemma, asked, options),
             std::string("<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"));
    QCOMPARE(render_chat(ChatFormat::chatml, asked, options),
             std::string("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
    QCOMPARE(render_chat(ChatFormat::plain, greeting, options),
             std::string(" Be brief.  Hi\nHelloSo?"));
  }

  void what_a_format_has_no_place_for_is_refused() {
    const ChatOptions options;
    const auto failure = [&](ChatFormat format, const char* messages) {
      return failure_of([&] { render_chat(format, Json::parse(messages), options); });
    };
    QVERIFY(failure(ChatFormat::gemma,
                    R"([{"role": "system", "content": "x"}, {"role": "user", "content": "y"}])")
                .find("message 0 is a system turn") != std::string::npos);
    QVERIFY(failure(ChatFormat::gemma,
                    R"([{"role": "user", "content": "x"}, {"role": "user", "content": "y"}])")
                .find("message 1 is a turn of user") != std::string::npos);
    QVERIFY(failure(ChatFormat::llama3, R"([{"role": "tool", "content": "x"}])")
                .find("message 0 holds tool calls") != std::string::npos);
    QVERIFY(failure(ChatFormat::chatml, R"([{"role": "user"}])")
                .find("message 0 has no text content") != std::string::npos);
    QVERIFY(failure(ChatFormat::chatml, R"([{"role": "wizard", "content": "x"}])")
                .find("role wizard") != std::string::npos);
    QVERIFY(failure(ChatFormat::qwen3, "[]").find("empty") != std::string::npos);
    QVERIFY(failure(ChatFormat::qwen3, R"([{"role": "assistant", "tool_calls": [{"name": 3}]}])")
                .find("tool call") != std::string::npos);
    ChatOptions tools;
    tools.tools = Json::array({{{"name", "f"}}});
    QVERIFY(failure_of([&] { render_chat(ChatFormat::llama3, greeting, tools); }).find("llama3") !=
            std::string::npos);
  }

  void formats_are_known_by_their_markers_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<int>("format");
    QTest::addColumn<QString>("system");
    const auto row = [](const char* name, const char* text, ChatFormat format, const char* system) {
      QTest::newRow(name) << text << static_cast<int>(format) << system;
    };
    row("chatml",
        R"({{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'}})",
        ChatFormat::chatml, "");
    row("chatml with a prompt",
        R"({{ '<|im_start|>system\nBe good.<|im_end|>\n' }}{{'<|im_start|>' + message['role']}})",
        ChatFormat::chatml, "Be good.");
    row("llama3", R"({{'<|start_header_id|>' + message['role']}})", ChatFormat::llama3, "");
    row("llama3.1",
        R"({{"<|start_header_id|>system"}}{{"Cutting Knowledge Date: December 2023\n"}})",
        ChatFormat::llama3_1, "");
    row("gemma", R"({{'<start_of_turn>' + role}})", ChatFormat::gemma, "");
    row("gemma3", R"({%- set first_user_prefix = "" -%}{{'<start_of_turn>' + role}})",
        ChatFormat::gemma3, "");
    row("plain", "{% for message in messages %}{{ message['content'] }}{% endfor %}",
        ChatFormat::plain, "");
  }
  void formats_are_known_by_their_markers() {
    QFETCH(QString, text);
    QFETCH(int, format);
    QFETCH(QString, system);
    const ChatStyle style = chat_style_of({{"chat_template", text.toStdString()}});
    QCOMPARE(static_cast<int>(style.format), format);
    QCOMPARE(style.system.value_or(""), system.toStdString());
    const Json several = {
        {"chat_template", {{{"name", "default"}, {"template", text.toStdString()}}}}};
    QCOMPARE(static_cast<int>(chat_style_of(several).format), format);
    QVERIFY_EXCEPTION_THROWN(chat_style_of(Json::object()), Failure);
    QVERIFY_EXCEPTION_THROWN(
        chat_style_of({{"chat_template", "[INST] {{ message['content'] }} [/INST]"}}), Failure);
  }

  void the_node_renders_conversations_and_pads_their_ids() {
    QTemporaryDir folder;
    Bench bench("text.chat", {{"model", write_model(folder, "<|start_header_id|>").string()}});
    bench.connect("prompts",
                  {Value::of(prompts_of({"Hi", ""}, {Json::object(), {{"messages", greeting}}}))});
    bench.fire();
    const Prompts& out = bench.out<Prompts>("prompts");
    const std::string asked =
        "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|"
        "end_header_id|>\n\n";
    QCOMPARE(out.text[0], asked);
    QVERIFY(out.text[1].starts_with("<s><|start_header_id|>system<|end_header_id|>\n\nBe brief."));
    const std::int64_t length = out.mask[0].sum().item<std::int64_t>();
    QVERIFY(length < out.tokens.size(1));
    QCOMPARE(out.mask[1].sum().item<std::int64_t>(), out.tokens.size(1));
    const auto tokenizer = load_tokenizer(folder.path().toStdString());
    const at::Tensor row = out.tokens[0].slice(0, out.tokens.size(1) - length);
    const Ids ids(row.data_ptr<std::int64_t>(), row.data_ptr<std::int64_t>() + length);
    QCOMPARE(ids, tokenizer->encode(asked));
    QCOMPARE(ids[0], 0);
    QVERIFY(ids[1] != 0);
    QCOMPARE(out.tokens[0][0].item<std::int64_t>(), 3);  // the end token pads
    QVERIFY(bench.context.alarms.empty());
  }

  void two_begin_tokens_are_an_alarm() {
    QTemporaryDir folder;
    const std::string model = write_model(folder, "{{ message['content'] }}").string();
    Bench chat("text.chat", {{"model", model}});
    chat.connect("prompts", {Value::of(prompts_of({"<s><s>Hi"}))});
    chat.fire();
    QCOMPARE(chat.context.alarms, std::vector<std::string>{"double-begin"});
    // The text has one, and the post-processor adds another.
    Bench tokenize("text.tokenize", {{"model", model}});
    tokenize.connect("text", {Value::of(TextRows{{"x", "<s>Hi"}})});
    tokenize.fire();
    QCOMPARE(tokenize.context.alarms, std::vector<std::string>{"double-begin"});
    Bench once("text.tokenize", {{"model", model}, {"special", false}});
    once.connect("text", {Value::of(TextRows{{"x", "<s>Hi"}})});
    once.fire();
    QVERIFY(once.context.alarms.empty());
  }

  void rows_and_bytes_of_invalid_text_are_named() {
    QTemporaryDir folder;
    const std::string model = write_model(folder, "").string();
    const Value text = Value::of(TextRows{{"good", "b\xFFig"}});
    Bench strict("text.tokenize", {{"model", model}});
    strict.connect("text", {text});
    const std::string failure = failure_of([&] { strict.fire(); });
    QVERIFY2(failure.find("invalid-utf8") == 0 &&
                 failure.find("row 1: byte 0xFF at offset 1") != std::string::npos,
             failure.c_str());
    Bench lenient("text.tokenize", {{"model", model}, {"invalid", "replace"}, {"special", false}});
    lenient.connect("text", {text});
    lenient.fire();
    QCOMPARE(lenient.out<Table>("ids").cells[1], Json({'b', 'i', 'g'}));
  }

  void texts_become_ids_and_ids_texts() {
    QTemporaryDir folder;
    const std::string model = write_model(folder, "").string();
    Package in;
    in.meta["text"] = {"Hi", "", "a b"};
    const EvaluateResult encoded =
        evaluate(all_nodes(), "text.tokenize", {{"model", model}, {"show_tokens", true}}, in);
    QCOMPARE(encoded.outputs.meta["ids"], Json::parse("[[0, 72, 105], [0], [0, 97, 32, 98]]"));
    QCOMPARE(encoded.outputs.meta["tokens"][2], Json::parse(R"(["<s>", "a", " ", "b"])"));
    Package back;
    back.meta["ids"] = encoded.outputs.meta["ids"];
    const std::string file = (fs::path(model) / "tokenizer.json").string();
    const EvaluateResult decoded =
        evaluate(all_nodes(), "text.tokenize", {{"tokenizer", file}, {"decode", true}}, back);
    QCOMPARE(decoded.outputs.meta["text"], in.meta["text"]);
    back.meta["ids"] = Json::parse("[[72], [72, 500]]");
    const std::string failure = failure_of([&] {
      evaluate(all_nodes(), "text.tokenize", {{"model", model}, {"decode", true}}, back);
    });
    QVERIFY2(failure.find("row 1, position 1: id 500") != std::string::npos, failure.c_str());
    QVERIFY(
        !failure_of([&] { evaluate(all_nodes(), "text.tokenize", Json::object(), in); }).empty());
  }
};

REWARDLOOM_TEST(TestChat)
#include "test_chat.moc"
