#include <QRegularExpression>
#include <cmath>

#include "engine/graph/checker.h"
#include "engine/graph/dot.h"
#include "engine/graph/schema.h"
#include "engine/graph/settings.h"
#include "tests/graph/example_graphs.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::examples;

namespace {

/// As much of JSON Schema as graph_schema uses; the first thing that does not fit, or nothing.
class Validator {
 public:
  explicit Validator(const Json& schema) : root_(schema) {}
  std::string fault(const Json& value) const { return fault(root_, value, "$"); }

 private:
  std::string fault(const Json& schema, const Json& value, const std::string& path) const {
    if (schema.is_boolean()) return schema.get<bool>() ? "" : path + " is not allowed";
    for (const auto& [key, rule] : schema.items()) {
      const std::string text = keyword(schema, key, rule, value, path);
      if (!text.empty()) return text;
    }
    return {};
  }

  std::string keyword(const Json& schema, const std::string& key, const Json& rule,
                      const Json& value, const std::string& path) const {
    if (key == "$ref") return fault(resolve(rule.get<std::string>()), value, path);
    if (key == "type")
      return has_type(value, rule.get<std::string>()) ? ""
                                                      : path + " is no " + rule.get<std::string>();
    if (key == "const") return value == rule ? "" : path + " is not " + rule.dump();
    if (key == "enum")
      return std::find(rule.begin(), rule.end(), value) != rule.end()
                 ? ""
                 : path + " is none of " + rule.dump();
    if (key == "minimum") return !value.is_number() || value >= rule ? "" : path + " is too small";
    if (key == "maximum") return !value.is_number() || value <= rule ? "" : path + " is too large";
    if (key == "exclusiveMinimum")
      return !value.is_number() || value > rule ? "" : path + " is too small";
    if (key == "exclusiveMaximum")
      return !value.is_number() || value < rule ? "" : path + " is too large";
    if (key == "minItems")
      return !value.is_array() || value.size() >= rule.get<std::size_t>() ? ""
                                                                          : path + " is too short";
    if (key == "maxItems")
      return !value.is_array() || value.size() <= rule.get<std::size_t>() ? ""
                                                                          : path + " is too long";
    if (key == "pattern") {
      const QRegularExpression pattern(QString::fromStdString(rule.get<std::string>()));
      const bool fits = !value.is_string() ||
                        pattern.match(QString::fromStdString(value.get<std::string>())).hasMatch();
      return fits ? "" : path + " has not the pattern " + rule.get<std::string>();
    }
    if (key == "anyOf" || key == "oneOf") {
      int fits = 0;
      for (const Json& option : rule) fits += fault(option, value, path).empty();
      const bool good = key == "anyOf" ? fits > 0 : fits == 1;
      return good ? "" : path + " fits no option";
    }
    if (key == "allOf") {
      for (const Json& part : rule) {
        if (std::string text = fault(part, value, path); !text.empty()) return text;
      }
      return {};
    }
    if (key == "if") {
      return fault(rule, value, path).empty() ? fault(schema["then"], value, path) : "";
    }
    if (key == "required" && value.is_object()) {
      for (const Json& name : rule) {
        if (!value.contains(name.get<std::string>()))
          return path + " lacks " + name.get<std::string>();
      }
    }
    if (key == "items" && value.is_array()) {
      for (const Json& item : value) {
        if (std::string text = fault(rule, item, path + "[]"); !text.empty()) return text;
      }
    }
    if (key == "properties" && value.is_object()) {
      for (const auto& [name, part] : rule.items()) {
        if (!value.contains(name)) continue;
        if (std::string text = fault(part, value[name], path + "." + name); !text.empty())
          return text;
      }
    }
    if (key == "additionalProperties" && value.is_object()) {
      for (const auto& [name, member] : value.items()) {
        if (schema.contains("properties") && schema["properties"].contains(name)) continue;
        if (std::string text = fault(rule, member, path + "." + name); !text.empty()) return text;
      }
    }
    return {};
  }

  Json resolve(std::string reference) const {
    std::string pointer = reference.substr(1);
    return root_.at(Json::json_pointer(pointer));
  }

  static bool has_type(const Json& value, const std::string& type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    if (type == "null") return value.is_null();
    if (type == "number") return value.is_number();
    return type == "integer" && value.is_number() &&
           value.get<double>() == std::floor(value.get<double>());
  }

  const Json& root_;
};

}  // namespace

class TestSchema : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void good_graphs_fit();
  void wrong_graphs_do_not_fit_data();
  void wrong_graphs_do_not_fit();
  void it_offers_what_the_declarations_say();
  void a_picture_shows_clusters_handles_and_types();
  void a_picture_of_a_wrong_graph_is_drawn_too();
};

void TestSchema::good_graphs_fit() {
  const Json schema = graph_schema(catalogue());
  const Validator validator(schema);
  for (const std::string& text : {grpo, co_training}) {
    QCOMPARE(QString::fromStdString(validator.fault(Json::parse(text))), QString());
  }
}

void TestSchema::wrong_graphs_do_not_fit_data() {
  QTest::addColumn<QString>("pointer");
  QTest::addColumn<QString>("value");
  QTest::addColumn<QString>("fault");
  const auto row = [](const char* pointer, const char* value, const char* fault) {
    QTest::newRow(pointer) << QString::fromUtf8(pointer) << QString::fromUtf8(value)
                           << QString::fromUtf8(fault);
  };
  row("/rewardloom", "2", "$.rewardloom is not 1");
  row("/settings/seeds", "2", "$.settings.seeds is not allowed");
  row("/nodes/adv/type", "\"advantage.grop\"", "$.nodes.adv.type fits no option");
  row("/nodes/adv/params/epsilom", "2", "$.nodes.adv.params.epsilom is not allowed");
  row("/nodes/adv/params/epsilon", "-2", "$.nodes.adv.params.epsilon fits no option");
  row("/nodes/adv/params/scale", "\"some\"", "$.nodes.adv.params.scale fits no option");
  row("/nodes/adv/inputs/rewards", "\"check\"", "$.nodes.adv.inputs.rewards fits no option");
  row("/nodes/adv/inputs/reward", "\"check.rewards\"", "$.nodes.adv.inputs.reward is not allowed");
  row("/nodes/update/inputs", "{}", "$.nodes.update.inputs lacks policy");
  row("/nodes/adv/role", "\"silver\"", "$.nodes.adv.role is not \"gold\"");
}

void TestSchema::wrong_graphs_do_not_fit() {
  QFETCH(QString, pointer);
  QFETCH(QString, value);
  QFETCH(QString, fault);
  Json graph = Json::parse(grpo);
  graph[Json::json_pointer(pointer.toStdString())] = Json::parse(value.toStdString());
  const Json schema = graph_schema(catalogue());
  QCOMPARE(QString::fromStdString(Validator(schema).fault(graph)), fault);
}

void TestSchema::it_offers_what_the_declarations_say() {
  const Json schema = graph_schema(catalogue());
  QVERIFY(schema["$schema"] == "https://json-schema.org/draft/2020-12/schema");
  const Json& nodes = schema["$defs"]["nodes"];
  QCOMPARE(nodes.size(), catalogue().nodes().size());
  const Json& epsilon = nodes["advantage.group"]["properties"]["params"]["properties"]["epsilon"];
  QVERIFY(epsilon["default"] == 1e-6);
  QVERIFY(epsilon["description"] == "added to the spread");
  QVERIFY(epsilon["anyOf"][0]["minimum"] == 0);
  QVERIFY(nodes["advantage.group"]["description"].get<std::string>().find("arXiv:2402.03300") !=
          std::string::npos);
  QVERIFY(nodes["data.rows"]["properties"]["params"]["required"][0] == "file");
  QCOMPARE(schema["properties"]["settings"]["properties"].size(), setting_declarations().size());
}

void TestSchema::a_picture_shows_clusters_handles_and_types() {
  const std::string text = dot_text(parse(co_training), catalogue());
  const auto has = [&](const char* part) {
    return QTest::qVerify(text.find(part) != std::string::npos, part, text.c_str(), __FILE__,
                          __LINE__);
  };
  if (!has("digraph \"graph\" {")) return;
  if (!has("\"left\" [label=\"left\\ntext.policy\"];")) return;
  if (!has("subgraph \"cluster_turns/train_left/one/\" {")) return;
  if (!has("label=\"two\\nsubgraph.step\";")) return;
  if (!has("\"left\" -> \"turns/train_left/one/update\" [label=\"Policy\", style=dashed];")) return;
  if (!has("\"turns/train_left/one/rollout\" -> \"turns/train_left/one/check\" "
           "[label=\"Completions [N,T]\"];"))
    return;
  if (!has("\"turns/train_left/two/update\" -> \"save\" [label=\"Policy\", style=dashed];")) return;
  QCOMPARE(std::count(text.begin(), text.end(), '{'), std::count(text.begin(), text.end(), '}'));
}

void TestSchema::a_picture_of_a_wrong_graph_is_drawn_too() {
  Document document = parse(grpo);
  document.name = "a \"quoted\" name";
  document.node("check")->type = "no.such.type";
  document.node("adv")->role = "gold";
  const std::string text = dot_text(document, catalogue());
  QVERIFY(text.find("digraph \"a \\\"quoted\\\" name\" {") != std::string::npos);
  QVERIFY(text.find("\"check\" [label=\"check\\nno.such.type\", style=\"rounded,dotted\"];") !=
          std::string::npos);
  QVERIFY(text.find("fillcolor=\"#fff4c2\"") != std::string::npos);
}

REWARDLOOM_TEST(TestSchema)
#include "test_schema.moc"
