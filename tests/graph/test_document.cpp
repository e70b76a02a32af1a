#include <QTemporaryDir>
#include <random>

#include "engine/graph/document.h"
#include "engine/graph/document_reader.h"
#include "engine/graph/hash.h"
#include "engine/graph/json_text.h"
#include "engine/graph/migration.h"
#include "engine/graph/override.h"
#include "tests/graph/example_graphs.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::examples;

namespace {

/// The problem that `act` throws; fails the test where it throws none.
template <class Act>
Problem problem_of(Act act) {
  try {
    act();
  } catch (const Failure& failure) {
    return failure.problem();
  }
  return {};
}

/// Random graphs in random layouts, with keys, types and references that need not make sense.
class RandomGraph {
 public:
  explicit RandomGraph(unsigned seed) : random_(seed) {}

  std::string text() {
    std::string out = "{" + space() + "\"rewardloom\":" + space() + "1";
    if (chance(2)) member(out, "name", string());
    if (chance(2)) member(out, "about", string());
    if (chance(2)) member(out, "parameters", object(1));
    if (chance(2)) member(out, "settings", object(0));
    if (chance(3)) member(out, "colour", value(2));
    member(out, "nodes", nodes());
    if (chance(2)) member(out, "subgraphs", subgraphs());
    if (chance(2)) member(out, "placement", object(1));
    if (chance(2)) member(out, "layout", object(2));
    return space() + out + space() + "}" + space();
  }

  int number(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

 private:
  bool chance(int of) { return number(of) == 0; }
  std::string space() {
    static const char* const spaces[] = {"", "", " ", "\n", "\n  ", "\t", "\r\n"};
    return spaces[number(7)];
  }
  std::string name() {
    return std::string(1, static_cast<char>('a' + number(26))) + std::to_string(++count_);
  }
  std::string string() {
    static const char* const texts[] = {
        "\"\"",
        "\"plain\"",
        "\"$name\"",
        "\"$$x\"",
        "\"gr\\u00fcn\"",
        "\"\xC3\xA9t\xC3\xA9\"",
        "\"a\\nb\\\"\"",
        "\"\\ud83d\\ude00 long enough to need a line of its own somewhere in a "
        "file that is wide\""};
    return texts[number(8)];
  }
  std::string scalar() {
    static const char* const scalars[] = {"0",      "-0.0", "1e-4",  "0.10", "12345678901234567890",
                                          "1.5E+3", "true", "false", "null", "-7"};
    return chance(3) ? string() : scalars[number(10)];
  }
  void member(std::string& out, const std::string& key, const std::string& text) {
    const bool first = out.find_first_not_of(" \n\r\t{", 0) == std::string::npos;
    out += (first ? "" : ",") + space() + "\"" + key + "\"" + space() + ":" + space() + text;
  }
  std::string object(int depth) {
    std::string out = "{";
    for (int i = number(4); i > 0; --i) member(out, name(), value(depth));
    return out + space() + "}";
  }
  std::string list(int depth) {
    std::string out = "[" + space();
    for (int i = number(5), first = 1; i > 0; --i, first = 0)
      out += (first ? "" : ", ") + value(depth);
    return out + "]";
  }
  std::string value(int depth) {
    if (depth == 0 || chance(2)) return scalar();
    return chance(2) ? object(depth - 1) : list(depth - 1);
  }
  std::string reference() { return "\"" + name() + "." + name() + "\""; }
  std::string inputs() {
    std::string out = "{";
    for (int i = number(4); i > 0; --i) {
      member(out, name(),
             chance(3) ? "[" + reference() + "," + space() + reference() + "]" : reference());
    }
    return out + "}";
  }
  std::string nodes() {
    std::string out = "{";
    for (int i = number(6); i > 0; --i) {
      std::string node = "{";
      if (chance(3)) member(node, "params", object(2));
      member(node, "type", "\"some.type\"");
      if (chance(2)) member(node, "inputs", inputs());
      if (chance(4)) member(node, "on_error", "{\"policy\": \"retry\", \"attempts\": 2}");
      if (chance(4)) member(node, "deadline", "2.50");
      if (chance(4)) member(node, "role", "\"gold\"");
      if (chance(4)) member(node, name(), value(2));
      member(out, name(), node + space() + "}");
    }
    return out + space() + "}";
  }
  std::string subgraphs() {
    std::string body = "{";
    member(body, "nodes", nodes());
    if (chance(2)) member(body, "inputs", "{\"a\": \"Rewards\"}");
    if (chance(2)) member(body, "outputs", "{\"b\":\"x.y\"}");
    if (chance(2)) member(body, "odd", value(1));
    std::string out = "{";
    member(out, name(), body + "}");
    return out + "}";
  }

  std::mt19937 random_;
  int count_ = 0;
};

}  // namespace

class TestDocument : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void a_graph_is_read_as_it_is_written();
  void saving_an_unchanged_graph_changes_no_byte();
  void random_graphs_keep_their_bytes_and_have_one_canonical_layout();
  void a_change_is_written_in_the_canonical_layout();
  void numbers_keep_their_spelling();
  void one_changed_node_changes_few_lines();
  void unknown_keys_are_kept_and_reported();
  void errors_name_line_and_column();
  void versions_are_checked_and_old_ones_migrated();
  void every_kind_of_migration_step_works();
  void saving_is_atomic_and_follows_links();
  void overrides_change_parameters_nodes_and_settings();
  void overrides_inside_subgraphs_touch_one_use_only();
  void wrong_overrides_name_near_names_data();
  void wrong_overrides_name_near_names();
  void hashes_depend_on_the_meaning_alone();
};

void TestDocument::a_graph_is_read_as_it_is_written() {
  const Document document = parse(grpo);
  QCOMPARE(document.name, std::string("GRPO on arithmetic"));
  QCOMPARE(document.nodes.size(), std::size_t{7});
  QCOMPARE(document.nodes[2].name, std::string("rollout"));
  const GraphNode* const update = document.node("update");
  QVERIFY(update != nullptr);
  QCOMPARE(update->type, std::string("optimize.policy"));
  QCOMPARE(update->inputs.size(), std::size_t{4});
  QVERIFY(update->input("policy")->from.front() == (Reference{"actor", "policy"}));
  QVERIFY(!update->input("policy")->list);
  QVERIFY(update->input("terms")->list);
  QVERIFY(document.node("nobody") == nullptr);
  QVERIFY(document.reading_problems().empty());
  const Document nested = parse(co_training);
  QCOMPARE(nested.subgraphs.size(), std::size_t{3});
  QVERIFY(nested.subgraph("train_left")->nodes[0].subgraph() == std::string_view("step"));
  QVERIFY(nested.subgraph("step")->outputs[1].second == (Reference{"check", "rewards"}));
}

void TestDocument::saving_an_unchanged_graph_changes_no_byte() {
  const std::string odd =
      "\xEF\xBB\xBF{ \"nodes\" :{\"b\":{\"type\":\"x.y\"} },\r\n\"rewardloom\":1}";
  for (const std::string& text : {grpo, co_training, odd}) {
    Document document = parse(text);
    QCOMPARE(document.text(), text);
    GraphNode& first = document.nodes.front();
    const std::string type = first.type;
    first.type = "changed.type";
    QVERIFY(document.text() != text);
    first.type = type;
    QCOMPARE(document.text(), text);
  }
}

void TestDocument::random_graphs_keep_their_bytes_and_have_one_canonical_layout() {
  for (unsigned seed = 0; seed < 400; ++seed) {
    RandomGraph random(seed);
    const std::string text = random.text();
    Document document = parse(text);
    QCOMPARE(document.text(), text);
    const std::string canonical = document.canonical_text();
    const Document again = parse(canonical);
    QVERIFY2(again.same_content(document), canonical.c_str());
    QCOMPARE(again.canonical_text(), canonical);
    QCOMPARE(again.text(), canonical);
    if (document.nodes.empty()) continue;
    document.nodes[static_cast<std::size_t>(random.number(static_cast<int>(document.nodes.size())))]
        .params["added"] = 0.125;
    const std::string changed = document.text();
    QVERIFY(changed != text);
    QVERIFY(parse(changed).same_content(document));
    QCOMPARE(parse(changed).text(), changed);
  }
}

void TestDocument::a_change_is_written_in_the_canonical_layout() {
  Document document = parse(grpo);
  document.node("adv")->params["epsilon"] = 1e-4;
  document.node("rollout")->about =
      "eight answers to every task, from the policy as it is at the start";
  document.placement = Json::object();
  QCOMPARE(QString::fromStdString(document.text()), QString::fromStdString(R"({
  "rewardloom": 1,
  "name": "GRPO on arithmetic",
  "parameters": {"group_size": 8},
  "settings": {"iterations": 150, "seed": 0},
  "nodes": {
    "tasks":    {"type": "data.arithmetic", "params": {"digits": 2}},
    "actor":    {"type": "text.policy"},
    "rollout":  {"type": "sample.generate",
                 "about": "eight answers to every task, from the policy as it is at the start",
                 "inputs": {"policy": "actor.policy", "prompts": "tasks.prompts"},
                 "params": {"group_size": "$group_size", "max_tokens": 8}},
    "check":    {"type": "reward.exact_match", "inputs": {"completions": "rollout.completions"}},
    "adv":      {"type": "advantage.group", "inputs": {"rewards": "check.rewards"}, "params": {"epsilon": 1e-4}},
    "clip":     {"type": "loss.policy_clip", "params": {"low": 0.2, "high": 0.2}},
    "update":   {"type": "optimize.policy",
                 "inputs": {"policy": "actor.policy", "completions": "rollout.completions",
                            "advantages": "adv.advantages", "terms": ["clip.term"]},
                 "params": {"learning_rate": 1e-4}}
  },
  "layout": {"tasks": [0, 0], "frames": [{"title": "Rollout", "around": ["tasks", "actor", "rollout"]}]}
}
)"));
}

void TestDocument::numbers_keep_their_spelling() {
  Document document = parse(
      R"({"rewardloom": 1, "nodes": {"a": {"type": "x.y", "params": {"p": 1e-4, "q": 2.50, "r": 1e22, "s": 3}}}})");
  document.nodes[0].params["t"] = 0.1;
  const std::string text = document.text();
  QVERIFY2(text.find(R"({"p": 1e-4, "q": 2.50, "r": 1e22, "s": 3, "t": 0.1})") != std::string::npos,
           text.c_str());
}

void TestDocument::one_changed_node_changes_few_lines() {
  const auto lines = [](const std::string& text) {
    return QString::fromStdString(text).split(QLatin1Char('\n'));
  };
  Document document = parse(parse(co_training).canonical_text());
  const QStringList before = lines(document.text());
  document.nodes.insert(document.nodes.begin() + 1,
                        GraphNode{.name = "a_node_with_a_long_name", .type = "data.arithmetic"});
  const QStringList after = lines(document.text());
  QCOMPARE(after.size(), before.size() + 1);
  for (const QString& line : before) QVERIFY(after.contains(line));
}

void TestDocument::unknown_keys_are_kept_and_reported() {
  const Document document = parse(
      R"({"rewardloom": 1, "nots": 1, "nodes": {"a": {"type": "x.y", "parms": {"p": [1, {"q": 2}]}}}})");
  QCOMPARE(document.reading_problems().size(), std::size_t{2});
  for (const Problem& problem : document.reading_problems()) {
    QCOMPARE(problem.code, std::string("unknown-key"));
    QVERIFY(problem.severity == Severity::warning);
  }
  QVERIFY((document.nodes[0].other == Json{{"parms", {{"p", {1, {{"q", 2}}}}}}}));
  const Document again = parse(document.canonical_text());
  QVERIFY(again.same_content(document));
}

void TestDocument::errors_name_line_and_column() {
  const auto at = [](const std::string& text) {
    const Problem problem = problem_of([&] { parse(text); });
    return problem.code + ": " + problem.text.substr(0, problem.text.find(": "));
  };
  QCOMPARE(at("{\n  \"rewardloom\": 1,\n  \"nodes\": {,}\n}"),
           std::string("json-syntax: line 3, column 13"));
  QCOMPARE(at("["), std::string("json-syntax: line 1, column 2"));
  QCOMPARE(at(""), std::string("json-syntax: line 1, column 1"));
  QCOMPARE(at("{\n\"a\": nul}"), std::string("json-syntax: line 2, column 9"));
  QCOMPARE(at(std::string(500, '[')).substr(0, 11), std::string("json-syntax"));
}

void TestDocument::versions_are_checked_and_old_ones_migrated() {
  for (const char* version : {"2", "0", "-1", "1.5", "\"1\""}) {
    const std::string text = std::string("{\"rewardloom\": ") + version + ", \"nodes\": {}}";
    QCOMPARE(problem_of([&] { parse(text); }).code, std::string("format-version"));
  }
  const std::vector<Migration> migrations = {
      {-1, {{MigrationKind::rename_key, "graph", "nodes", ""}}},
      {0, {{MigrationKind::rename_node_key, "kind", "type", ""}}}};
  const std::string old = R"({"rewardloom": -1, "graph": {"a": {"kind": "text.policy"}}})";
  const Document document = DocumentReader(migrations).read(old, "old.json");
  QCOMPARE(document.format_read(), -1);
  QCOMPARE(document.nodes[0].type, std::string("text.policy"));
  QVERIFY(document.reading_problems().empty());
  const std::string saved = document.text();
  QVERIFY(saved.find("\"rewardloom\": 1") != std::string::npos);
  QVERIFY(parse(saved).same_content(document));
}

void TestDocument::every_kind_of_migration_step_works() {
  Json graph = Json::parse(R"({"rewardloom": 0, "graph": {}, "nodes": {
      "a": {"kind": "old.source", "params": {"n": 1}},
      "b": {"kind": "other.type", "inputs": {"in": "a.out", "all": ["a.out", "b.out"]}, "params": {"n": 2}}},
    "subgraphs": {"s": {"nodes": {"c": {"kind": "old.source"}}, "outputs": {"x": "c.out"}}}})");
  migrate(graph, 0,
          {{0,
            {{MigrationKind::rename_node_key, "kind", "type", ""},
             {MigrationKind::rename_key, "graph", "layout", ""},
             {MigrationKind::rename_port, "out", "rows", "old.source"},
             {MigrationKind::rename_port, "in", "first", "other.type"},
             {MigrationKind::rename_parameter, "n", "count", "old.source"},
             {MigrationKind::rename_type, "old.source", "new.source", ""}}}});
  QCOMPARE(QString::fromStdString(graph.dump()),
           QString::fromStdString(Json::parse(R"({"rewardloom": 1, "layout": {},
    "nodes": {
      "a": {"type": "new.source", "params": {"count": 1}},
      "b": {"type": "other.type", "inputs": {"first": "a.rows", "all": ["a.rows", "b.out"]}, "params": {"n": 2}}},
    "subgraphs": {"s": {"nodes": {"c": {"type": "new.source"}}, "outputs": {"x": "c.rows"}}}})")
                                      .dump()));
}

void TestDocument::saving_is_atomic_and_follows_links() {
  QTemporaryDir folder;
  const std::filesystem::path real = folder.filePath("real.json").toStdString();
  const std::filesystem::path link = folder.filePath("link.json").toStdString();
  Document document = parse(grpo);
  document.save(real);
  QCOMPARE(file_text(real.string()), grpo);
  std::filesystem::create_symlink(real, link);
  document.nodes[0].params["digits"] = 3;
  document.save(link);
  QVERIFY(std::filesystem::is_symlink(link));
  QCOMPARE(file_text(real.string()), document.text());
  QVERIFY(Document::load(real).same_content(document));
  QCOMPARE(document.text(), file_text(real.string()));
  QCOMPARE(QDir(folder.path()).entryList(QDir::Files | QDir::Hidden).size(), 2);
  QCOMPARE(problem_of([&] { document.save(real / "below.json"); }).code,
           std::string("write-failed"));
  QCOMPARE(problem_of([&] { Document::load(real.parent_path() / "none.json"); }).code,
           std::string("missing-file"));
}

void TestDocument::overrides_change_parameters_nodes_and_settings() {
  Document document = parse(grpo);
  apply_override(document, "group_size=16");
  apply_override(document, "settings.seed=7");
  apply_override(document, "update.learning_rate=3e-5");
  apply_override(document, "adv.scale=none");
  apply_override(document, "actor.model=8", &catalogue());
  apply_override(document, "clip.note={\"a\": [1]}");
  QVERIFY(document.parameters["group_size"] == 16);
  QVERIFY(document.settings["seed"] == 7);
  QVERIFY(document.node("update")->params["learning_rate"] == 3e-5);
  QVERIFY(document.node("adv")->params["scale"] == "none");
  QVERIFY(document.node("actor")->params["model"] == "8");
  QVERIFY(document.node("clip")->params["note"]["a"][0] == 1);
  apply_override(document, "parameters.group_size=2");
  QVERIFY(document.parameters["group_size"] == 2);
}

void TestDocument::overrides_inside_subgraphs_touch_one_use_only() {
  Document document = parse(co_training);
  apply_override(document, "turns/train_left/two/update.learning_rate=9", &catalogue());
  // train_left is used once, step three times: only the step of `two` is a copy.
  QVERIFY(!document.subgraph("step")->nodes[4].params["learning_rate"].is_number());
  QCOMPARE(document.subgraphs.size(), std::size_t{4});
  const Subgraph& body = *document.subgraph("train_left");
  QCOMPARE(body.nodes[0].type, std::string("subgraph.step"));
  QCOMPARE(body.nodes[1].type, std::string("subgraph.step_two"));
  QVERIFY(document.subgraph("step_two")->nodes[4].params["learning_rate"] == 9);
  apply_override(document, "turns/train_right/step.rate=3", &catalogue());
  QVERIFY(document.subgraph("train_right")->nodes[0].params["rate"] == 3);
  QCOMPARE(document.subgraphs.size(), std::size_t{4});
}

void TestDocument::wrong_overrides_name_near_names_data() {
  QTest::addColumn<QString>("assignment");
  QTest::addColumn<QString>("message");
  const auto row = [](const char* assignment, const char* message) {
    QTest::newRow(assignment) << QString::fromUtf8(assignment) << QString::fromUtf8(message);
  };
  row("adv", "there is no value; write node.param=value or name=value");
  row("group_sise=3", "the graph has no parameter \"group_sise\"; did you mean group_size");
  row("seed=3", "the graph has no parameter \"seed\"; write settings.seed");
  row("settings.sed=3", "there is no setting \"sed\"; did you mean seed");
  row("settings.seed=-1", "-1 is below the minimum 0; from which all random numbers of a run come");
  row("advv.epsilon=3", "there is no node \"advv\"; did you mean adv");
  row("adv.epsilom=3", "advantage.group has no parameter \"epsilom\"; did you mean epsilon");
  row("adv/x.epsilon=3", "adv has no nodes inside; ");
}

void TestDocument::wrong_overrides_name_near_names() {
  QFETCH(QString, assignment);
  QFETCH(QString, message);
  Document document = parse(grpo);
  const Problem problem =
      problem_of([&] { apply_override(document, assignment.toStdString(), &catalogue()); });
  QCOMPARE(problem.code, std::string("bad-override"));
  QCOMPARE(QString::fromStdString(problem.text + "; " + problem.help),
           QStringLiteral("--set %1: %2").arg(assignment, message));
  QCOMPARE(document.text(), grpo);
}

void TestDocument::hashes_depend_on_the_meaning_alone() {
  const std::string graph = graph_hash(parse(grpo));
  const std::string parameters = parameter_hash(parse(grpo));
  QCOMPARE(graph.size(), std::size_t{16});
  const auto changed = [&](auto change) {
    Document document = parse(grpo);
    change(document);
    return std::pair(graph_hash(document) != graph, parameter_hash(document) != parameters);
  };
  using Change = std::pair<bool, bool>;
  const Change none{false, false};
  const Change both{true, true};
  QVERIFY(changed([](Document& d) { d.layout = Json::object(); }) == none);
  QVERIFY(changed([](Document& d) { d.placement["adv"] = {{"device", "cpu"}}; }) == none);
  QVERIFY(changed([](Document& d) { d.about = d.name = "another"; }) == none);
  QVERIFY(changed([](Document& d) { std::swap(d.nodes[0], d.nodes[3]); }) == none);
  QVERIFY(changed([](Document& d) { d.nodes[0].params["digits"] = 2.0; }) == none);
  QVERIFY(changed([](Document& d) { d.settings["seed"] = 1; }) == both);
  QVERIFY(changed([](Document& d) { d.settings["iterations"] = 1; }) == Change(false, true));
  QVERIFY(changed([](Document& d) { d.nodes[0].params["digits"] = 3; }) == both);
  QVERIFY(changed([](Document& d) { d.parameters["group_size"] = 3; }) == both);
  QVERIFY(changed([](Document& d) { d.nodes[0].role = "gold"; }) == Change(true, false));
  QVERIFY(changed([](Document& d) { d.nodes[3].inputs[0].from[0].port = "x"; }) ==
          Change(true, false));
  QVERIFY(json_hash({{"ab", "c"}}) != json_hash({{"a", "bc"}}));
  QVERIFY(json_hash({1, 2}) != json_hash({2, 1}));
  // A stable number: runs of other versions must find their own graph again.
  QCOMPARE(json_hash(Json::object()), std::string("1928df19210ca750"));
}

REWARDLOOM_TEST(TestDocument)
#include "test_document.moc"
