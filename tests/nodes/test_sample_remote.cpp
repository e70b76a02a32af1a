#include <ATen/ATen.h>

#include <QTemporaryDir>
#include <cstdlib>
#include <set>

#include "nodes/sample/remote_tokens.h"
#include "tests/nodes/node_bench.h"
#include "tests/nodes/scripted_server.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

using Ids = std::vector<std::int64_t>;

// 0 separator, 1 end, 2 padding, 3 unknown, then 0-9 + - * =.
const std::string kTokenizer = REWARDLOOM_SOURCE_DIR "/resources/models/arithmetic";

Json node_params(const std::string& url) {
  Json p = Json::object();
  p["base_url"] = url;
  p["model"] = "scripted";
  p["tokenizer"] = kTokenizer;
  p["group_size"] = 2;
  p["max_tokens"] = 8;
  p["timeout"] = 0.4;
  p["deadline"] = 5;
  p["retries"] = 1;
  p["backoff"] = 0.01;
  return p;
}

Value two_prompts() {
  Prompts prompts;
  prompts.id = {"a", "b"};
  prompts.text = {"12+30", "7*8"};
  prompts.reference = {"42", "56"};
  prompts.fields = {{{"turns", {{{"role", "user"}, {"content", "first"}}}}}, {{"level", 2}}};
  return Value::of(std::move(prompts));
}

Json chat_choice(int index, const std::string& text, const std::string& reason = "stop") {
  return {{"index", index},
          {"message", {{"role", "assistant"}, {"content", text}}},
          {"finish_reason", reason}};
}

/// One token per character and a log-prob of -0.1 times its place, as OpenAI lays them out.
Json with_log_probs(Json choice) {
  Json content = Json::array();
  double value = 0;
  for (const char c : choice["message"]["content"].get<std::string>()) {
    value -= 0.1;
    content.push_back({{"token", std::string(1, c)}, {"logprob", value}, {"bytes", {int{c}}}});
  }
  choice["logprobs"]["content"] = content;
  return choice;
}

std::string user_text(const SeenRequest& request) {
  return request.body["messages"].back()["content"].get<std::string>();
}

std::string solution(const std::string& task) { return task == "12+30" ? "42" : "56"; }

/// Answers with the solution, then with 9 cut off at the limit.
Json two_answers(const SeenRequest& request, bool log_probs = true) {
  Json choices = {chat_choice(1, "9", "length"), chat_choice(0, solution(user_text(request)))};
  if (log_probs) {
    for (Json& choice : choices) choice = with_log_probs(choice);
  }
  return {{"choices", choices}};
}

Bench bench(const Json& params) {
  Bench b("sample.remote", params, "rollout");
  b.connect("prompts", {two_prompts()});
  return b;
}

Ids row_of(const at::Tensor& tensor, std::int64_t row) {
  const at::Tensor line = tensor[row].to(at::kLong).contiguous();
  return {line.data_ptr<std::int64_t>(), line.data_ptr<std::int64_t>() + line.numel()};
}

std::string code_of(const std::function<void()>& call, std::string* text = nullptr) {
  try {
    call();
  } catch (const Failure& failure) {
    if (text != nullptr) *text = failure.problem().text;
    return failure.problem().code;
  }
  return "none";
}

}  // namespace

class TestSampleRemote : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void answers_become_completions() {
    const ScriptedServer server(
        [](const SeenRequest& request) { return respond(two_answers(request)); });
    Bench b = bench(node_params(server.url()));
    b.fire();
    const Completions& c = b.out<Completions>("completions");
    QCOMPARE(c.rows(), 4);
    QVERIFY((c.text == std::vector<std::string>{"42", "9", "56", "9"}));
    QVERIFY((c.prompt_text == std::vector<std::string>{"12+30", "12+30", "7*8", "7*8"}));
    QVERIFY((c.reference == std::vector<std::string>{"42", "42", "56", "56"}));
    QCOMPARE(c.fields[3]["level"].get<int>(), 2);
    QVERIFY(c.group.equal(at::tensor(Ids{0, 0, 1, 1})));
    QVERIFY(c.finished.equal(at::tensor(std::vector<std::int64_t>{1, 0, 1, 0}).to(at::kBool)));
    // "12+30" and the separator, then "42"; "7*8" is padded on the left.
    QVERIFY((row_of(c.tokens, 0) == Ids{5, 6, 14, 7, 4, 0, 8, 6}));
    QVERIFY((row_of(c.tokens, 3) == Ids{2, 2, 11, 16, 12, 0, 13, 2}));
    QVERIFY((row_of(c.kinds, 3) == Ids{0, 0, 1, 1, 1, 1, 2, 0}));
    const at::Tensor expected = at::tensor({0., 0., 0., 0., 0., 0., -0.1, -0.2}).to(at::kFloat);
    QVERIFY(at::allclose(c.log_probs[0], expected));
    QCOMPARE(c.weight_version, -1);
    QVERIFY(!c.entropy.defined());
    QVERIFY(b.context.alarms.empty());
    QCOMPARE(b.context.metrics["requests"], 2.0);
    QCOMPARE(b.context.metrics["response_length/mean"], 1.5);
    QCOMPARE(b.context.metrics["response_length/clip_ratio"], 0.5);
  }

  void requests_say_what_the_parameters_say() {
    const ScriptedServer server([](const SeenRequest&) {
      return respond({{"choices", {chat_choice(0, "1")}}});
    });
    Json params = node_params(server.url());
    params["per_request"] = 1;
    params["temperature"] = 0.5;
    params["top_p"] = 0.9;
    params["stop"] = {"\n"};
    params["system"] = "Be brief.";
    params["extra"] = {{"max_tokens", nullptr}, {"max_completion_tokens", 9}, {"top_k", 3}};
    ::setenv("REWARDLOOM_TEST_KEY", "sk-test", 1);
    params["api_key_env"] = "REWARDLOOM_TEST_KEY";
    Bench b = bench(params);
    b.fire(3, 11);
    std::set<std::int64_t> seeds;
    const auto seen = server.seen();
    QCOMPARE(seen.size(), std::size_t{4});
    for (const SeenRequest& request : seen) {
      const Json& body = request.body;
      QCOMPARE(request.headers.at("authorization"), std::string("Bearer sk-test"));
      QCOMPARE(request.headers.at("content-type"), std::string("application/json"));
      QCOMPARE(request.line, std::string("POST /v1/chat/completions HTTP/1.1"));
      QCOMPARE(body["model"].get<std::string>(), std::string("scripted"));
      QCOMPARE(body["messages"][0].dump(),
               std::string(R"({"role":"system","content":"Be brief."})"));
      QCOMPARE(body["messages"].size(), std::size_t{2});
      QVERIFY(body["n"] == 1 && body["temperature"] == 0.5 && body["top_p"] == 0.9);
      QVERIFY(body["stop"] == Json({"\n"}) && body["top_k"] == 3 && body["logprobs"] == true);
      QVERIFY(!body.contains("max_tokens") && body["max_completion_tokens"] == 9);
      QVERIFY(body["seed"].get<std::int64_t>() >= 0 &&
              body["seed"].get<std::int64_t>() < 1ll << 31);
      seeds.insert(body["seed"].get<std::int64_t>());
    }
    QCOMPARE(seeds.size(), std::size_t{4});
    ::unsetenv("REWARDLOOM_TEST_KEY");
    QCOMPARE(code_of([&] { b.fire(); }), std::string("api-key"));
  }

  void completions_take_text_or_ids_and_give_ids() {
    const ScriptedServer server([](const SeenRequest&) {
      Json choice = {{"index", 0}, {"text", "42"}, {"finish_reason", "stop"}};
      choice["token_ids"] = {8, 6, 1};
      choice["prompt_token_ids"] = {0, 0, 5};
      choice["logprobs"] = {{"tokens", {"4", "2", "<E>"}},
                            {"token_logprobs", {-0.5, -0.25, -0.125}}};
      return respond({{"choices", {choice}}});
    });
    Json params = node_params(server.url());
    params["api"] = "completions";
    params["group_size"] = 1;
    params["system"] = "S:";
    Bench b = bench(params);
    b.fire();
    const Completions& c = b.out<Completions>("completions");
    QVERIFY((row_of(c.tokens, 0) == Ids{0, 0, 5, 8, 6, 1}));
    QVERIFY(
        at::allclose(c.log_probs[1], at::tensor({0., 0., 0., -0.5, -0.25, -0.125}).to(at::kFloat)));
    QCOMPARE(server.seen()[0].line, std::string("POST /v1/completions HTTP/1.1"));
    QVERIFY(server.seen()[0].body["logprobs"] == 1);
    QVERIFY(server.seen()[0].body["prompt"].get<std::string>().starts_with("S:\n\n"));

    Prompts ids;
    ids.tokens = at::tensor(Ids{2, 5, 0}).reshape({1, 3});
    ids.mask = ids.tokens.ne(2);
    b.connect("prompts", {Value::of(std::move(ids))});
    b.fire();
    QVERIFY(server.seen().back().body["prompt"] == Json({5, 0}));
  }

  void ids_in_token_texts_are_taken() {
    const ScriptedServer server([](const SeenRequest&) {
      Json choice = chat_choice(0, "7");
      choice["logprobs"]["content"] = {{{"token", "token_id:11"}, {"logprob", -1.0}},
                                       {{"token", "token_id:1"}, {"logprob", -2.0}}};
      return respond({{"choices", {choice, choice}}});
    });
    Bench b = bench(node_params(server.url()));
    b.fire();
    QVERIFY((row_of(b.out<Completions>("completions").tokens, 0) == Ids{5, 6, 14, 7, 4, 0, 11, 1}));
  }

  void without_log_probs_the_field_is_missing_and_said_so() {
    const ScriptedServer server(
        [](const SeenRequest& request) { return respond(two_answers(request, false)); });
    Bench b = bench(node_params(server.url()));
    b.fire();
    const Completions& c = b.out<Completions>("completions");
    QVERIFY(!c.log_probs.defined());
    QVERIFY(b.context.alarms == std::vector<std::string>{"no-log-probs"});
    QCOMPARE(b.context.metrics["log_probs/missing"], 4.0);
    // Encoded anew: an answer that ended by itself has the end token, one that was cut has none.
    QVERIFY((row_of(c.tokens, 0) == Ids{5, 6, 14, 7, 4, 0, 8, 6, 1}));
    QVERIFY((row_of(c.tokens, 1) == Ids{5, 6, 14, 7, 4, 0, 13, 2, 2}));

    Json params = node_params(server.url());
    params["require_log_probs"] = true;
    Bench strict = bench(params);
    QCOMPARE(code_of([&] { strict.fire(); }), std::string("row-failed"));
    params["require_log_probs"] = false;
    params["log_probs"] = "off";
    Bench off = bench(params);
    off.fire();
    QVERIFY(off.context.alarms.empty() && !server.seen().back().body.contains("logprobs"));
  }

  void log_probs_of_another_distribution_are_not_taken_data() {
    QTest::addColumn<QByteArray>("change");
    QTest::addColumn<bool>("there");
    QTest::newRow("plain") << QByteArray("{}") << true;
    QTest::newRow("greedy") << QByteArray(R"({"temperature": 0})") << true;
    QTest::newRow("tempered") << QByteArray(R"({"temperature": 0.7})") << false;
    QTest::newRow("nucleus") << QByteArray(R"({"top_p": 0.9})") << false;
    QTest::newRow("top_k") << QByteArray(R"({"extra": {"top_k": 5}})") << false;
    QTest::newRow("processed") << QByteArray(R"({"temperature": 0.7, "log_probs": "processed"})")
                               << true;
  }
  void log_probs_of_another_distribution_are_not_taken() {
    QFETCH(QByteArray, change);
    QFETCH(bool, there);
    const ScriptedServer server(
        [](const SeenRequest& request) { return respond(two_answers(request)); });
    Json params = node_params(server.url());
    params.update(Json::parse(change.toStdString()));
    Bench b = bench(params);
    b.fire();
    QCOMPARE(b.out<Completions>("completions").log_probs.defined(), there);
    QCOMPARE(b.context.alarms.size(), std::size_t{there ? 0u : 1u});
    params["require_log_probs"] = true;
    const std::size_t before = server.seen().size();
    Bench strict = bench(params);
    QCOMPARE(code_of([&] { strict.fire(); }), std::string(there ? "none" : "remote-log-probs"));
    QCOMPARE(server.seen().size() - before, std::size_t{there ? 2u : 0u});
  }

  void log_probs_that_do_not_fit_are_not_taken_data() {
    QTest::addColumn<QByteArray>("content");
    QTest::newRow("positive") << QByteArray(R"([{"token": "4", "logprob": 0.5}])");
    QTest::newRow("none kept") << QByteArray(R"([{"token": "4", "logprob": -9999.0}])");
    QTest::newRow("null") << QByteArray(R"([{"token": "4", "logprob": null}])");
    QTest::newRow("unknown token") << QByteArray(R"([{"token": "four", "logprob": -1}])");
    QTest::newRow("no list") << QByteArray(R"({"token": 4})");
  }
  void log_probs_that_do_not_fit_are_not_taken() {
    QFETCH(QByteArray, content);
    const ScriptedServer server([&](const SeenRequest&) {
      Json choice = chat_choice(0, "4");
      choice["logprobs"]["content"] = Json::parse(content.toStdString());
      return respond({{"choices", {choice, with_log_probs(chat_choice(1, "4"))}}});
    });
    Bench b = bench(node_params(server.url()));
    b.fire();
    QVERIFY(!b.out<Completions>("completions").log_probs.defined());
    QCOMPARE(b.context.metrics["log_probs/missing"], 2.0);
  }

  void a_stop_text_is_cut_and_brings_no_end_token_data() {
    QTest::addColumn<QByteArray>("stop_reason");
    QTest::addColumn<bool>("end_token");
    QTest::newRow("not said") << QByteArray("") << false;
    QTest::newRow("the text") << QByteArray(R"("=")") << false;
    QTest::newRow("the end token") << QByteArray("null") << true;
  }
  void a_stop_text_is_cut_and_brings_no_end_token() {
    QFETCH(QByteArray, stop_reason);
    QFETCH(bool, end_token);
    const ScriptedServer server([&](const SeenRequest&) {
      Json choice = chat_choice(0, "42=");
      if (!stop_reason.isEmpty()) choice["stop_reason"] = Json::parse(stop_reason.toStdString());
      return respond({{"choices", {choice}}});
    });
    Json params = node_params(server.url());
    params["stop"] = {"="};
    params["group_size"] = 1;
    Bench b = bench(params);
    b.fire();
    const Completions& c = b.out<Completions>("completions");
    QCOMPARE(c.text[0], std::string("42"));
    QCOMPARE(c.lengths()[0].item<std::int64_t>(), std::int64_t{3} + end_token);
  }

  void ids_of_another_tokenizer_are_noticed() {
    const ScriptedServer server([](const SeenRequest& request) {
      Json choice = chat_choice(0, "42");
      choice["token_ids"] = request.number < 2 ? Json{9, 9} : Json{8, 99999};
      return respond({{"choices", {choice}}});
    });
    Json params = node_params(server.url());
    params["group_size"] = 1;
    params["log_probs"] = "off";
    Bench b = bench(params);
    b.fire();
    QVERIFY(b.context.alarms == std::vector<std::string>{"tokenizer-mismatch"});
    QCOMPARE(code_of([&] { b.fire(); }), std::string("token-range"));
  }

  void failed_rows_are_left_out_and_counted() {
    const ScriptedServer server([](const SeenRequest& request) {
      return user_text(request) == "7*8" ? respond(500, "{}") : respond(two_answers(request));
    });
    Bench b = bench(node_params(server.url()));
    b.context.skip_rows = true;
    b.fire();
    const Completions& c = b.out<Completions>("completions");
    QCOMPARE(c.rows(), 2);
    QVERIFY(c.group.equal(at::tensor(Ids{0, 0})));
    QCOMPARE(b.context.failed_rows.size(), std::size_t{2});
    QCOMPARE(b.context.failed_rows.at(3), std::string("2 tries: status 500: {}"));
    QCOMPARE(b.context.metrics["requests/failed"], 1.0);
    QCOMPARE(b.context.metrics["requests/tries"], 3.0);
    b.context.skip_rows = false;
    QCOMPARE(code_of([&] { b.fire(1); }), std::string("row-failed"));
  }

  void a_firing_without_any_row_is_an_error() {
    const ScriptedServer server([](const SeenRequest&) { return ServerAct{.hang = true}; });
    Json params = node_params(server.url());
    params["timeout"] = 0.1;
    Bench b = bench(params);
    b.context.skip_rows = true;
    QCOMPARE(code_of([&] { b.fire(); }), std::string("no-rows"));
    QCOMPARE(b.context.failed_rows.size(), std::size_t{4});
  }

  void a_server_that_ignores_n_is_named() {
    const ScriptedServer server([](const SeenRequest&) {
      return respond({{"choices", {chat_choice(0, "1")}}});
    });
    Bench b = bench(node_params(server.url()));
    std::string text;
    QCOMPARE(code_of([&] { b.fire(); }, &text), std::string("row-failed"));
    QVERIFY2(text.ends_with("asked for 2 answers, got 1"), text.c_str());
  }

  void messages_of_a_row_are_sent() {
    const ScriptedServer server([](const SeenRequest&) {
      return respond({{"choices", {chat_choice(0, "1"), chat_choice(1, "1")}}});
    });
    Json params = node_params(server.url());
    params["messages_field"] = "turns";
    params["system"] = "Be brief.";
    Bench b = bench(params);
    QCOMPARE(code_of([&] { b.fire(); }), std::string("data-field"));  // the second row has none
    Prompts one;
    one.text = {"1"};
    one.fields = {{{"turns", {{{"role", "user"}, {"content", "first"}}}}}};
    b.connect("prompts", {Value::of(std::move(one))});
    b.fire();
    QCOMPARE(server.seen().back().body["messages"].dump(),
             std::string(R"([{"role":"system","content":"Be brief."},)"
                         R"({"role":"user","content":"first"}])"));
  }

  void a_replay_gives_the_same_bits_without_asking() {
    QTemporaryDir folder;
    std::atomic<int> count = 0;
    const ScriptedServer server([&](const SeenRequest&) {
      // Another answer each time, and now and then none.
      const int k = ++count;
      if (k % 5 == 0) return respond(400, "{}");
      return respond({{"choices",
                       {with_log_probs(chat_choice(0, std::to_string(k))),
                        with_log_probs(chat_choice(1, std::to_string(k * 7)))}}});
    });
    Json params = node_params(server.url());
    params["cache"] = "answers/rollout.jsonl";
    const auto play = [&] {
      Bench b = bench(params);
      b.settings().run_dir = folder.path().toStdString();
      b.context.skip_rows = true;
      std::vector<Package> out;
      for (int i = 0; i < 4; ++i) {
        b.fire(i);
        out.push_back(to_package(b.value("completions")));
      }
      return std::make_pair(out, b.context.metrics);
    };
    const auto [first, metrics] = play();
    QCOMPARE(count.load(), 8);
    const auto [second, again] = play();
    QCOMPARE(count.load(), 8);
    QVERIFY(metrics == again);
    for (std::size_t i = 0; i < first.size(); ++i) {
      QVERIFY(first[i].meta == second[i].meta);
      for (const auto& [name, tensor] : first[i].tensors) {
        QVERIFY2(tensor.equal(second[i].tensors.at(name)), name.c_str());
      }
    }
    QVERIFY(first[0].meta["text"] != first[1].meta["text"]);
    QVERIFY(QFile::exists(folder.filePath("answers/rollout.jsonl")));
  }

  void faults_of_the_set_up_show_before_the_first_iteration_data() {
    QTest::addColumn<QByteArray>("change");
    QTest::addColumn<QString>("code");
    const auto row = [](const char* name, const char* change, const char* code) {
      QTest::newRow(name) << QByteArray(change) << code;
    };
    row("good", "{}", "none");
    row("address", R"({"base_url": "127.0.0.1"})", "remote-url");
    row("key", R"({"api_key_env": "REWARDLOOM_NO_SUCH_KEY"})", "api-key");
    row("certificates", R"({"ca_file": "/nowhere.pem"})", "file-not-found");
    row("stream", R"({"extra": {"stream": true}})", "remote-extra");
    row("messages", R"({"api": "completions", "messages_field": "turns"})", "remote-messages");
    row("log-probs", R"({"require_log_probs": true, "top_p": 0.5})", "remote-log-probs");
  }
  void faults_of_the_set_up_show_before_the_first_iteration() {
    QFETCH(QByteArray, change);
    QFETCH(QString, code);
    Json params = node_params("http://127.0.0.1:1/v1");
    params.update(Json::parse(change.toStdString()));
    const auto node = all_nodes().make("sample.remote", params);
    QCOMPARE(code_of([&] { dynamic_cast<const Prepares&>(*node).prepare({}); }),
             code.toStdString());
  }

  void a_tokenizer_may_be_a_file_and_must_stay_the_same() {
    const auto folder = tokenizer_from(kTokenizer);
    const auto file = tokenizer_from(kTokenizer + "/tokenizer_config.json");
    QVERIFY(folder->encode("1+2") == file->encode("1+2"));
    QCOMPARE(code_of([] { tokenizer_from("/nowhere"); }), std::string("file-not-found"));
    TokenTexts small(character_tokenizer("ab")), large(character_tokenizer("abc"));
    Package package;
    small.save(package);
    small.load(package);
    QCOMPARE(code_of([&] { large.load(package); }), std::string("tokenizer-changed"));
    QCOMPARE(small.id_of("b").value(), 5);
    QVERIFY(!small.id_of("c"));
  }
};

REWARDLOOM_TEST(TestSampleRemote)
#include "test_sample_remote.moc"
