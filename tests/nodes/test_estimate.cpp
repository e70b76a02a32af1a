// What nodes say of their cost before a run, against what a run holds.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <QTemporaryDir>

#include "engine/graph/checker.h"
#include "engine/io/durable_file.h"
#include "engine/run/estimate.h"
#include "nodes/text/cpu_network.h"
#include "nodes/text/pass_cost.h"
#include "tests/nodes/trained_models.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;
namespace fs = std::filesystem;

namespace {

const Json small_sizes = {{"hidden_size", 32},
                          {"intermediate_size", 64},
                          {"num_hidden_layers", 2},
                          {"num_attention_heads", 2},
                          {"num_key_value_heads", 2},
                          {"initializer_range", 0.15},
                          {"max_position_embeddings", 64}};

Json actor(const Json& more) {
  Json params = tiny_model;
  if (!more.is_null()) params.update(more);
  return {{"type", "text.policy"}, {"params", params}};
}

/// A graph that samples, scores and trains.
Json whole_graph(const Json& actor_params, const Json& update_params) {
  Json nodes;
  nodes["tasks"] = {{"type", "data.arithmetic"}, {"params", {{"digits", 2}, {"batch", 10}}}};
  nodes["actor"] = actor(actor_params);
  nodes["rollout"] = {{"type", "sample.generate"},
                      {"inputs", {{"policy", "actor.policy"}, {"prompts", "tasks.prompts"}}},
                      {"params", {{"group_size", 4}, {"max_tokens", 5}}}};
  nodes["check"] = {{"type", "reward.exact_match"},
                    {"inputs", {{"completions", "rollout.completions"}}}};
  nodes["adv"] = {{"type", "advantage.group"}, {"inputs", {{"rewards", "check.rewards"}}}};
  nodes["clip"] = {{"type", "loss.policy_clip"}};
  nodes["update"] = {{"type", "optimize.policy"},
                     {"inputs",
                      {{"policy", "actor.policy"},
                       {"completions", "rollout.completions"},
                       {"advantages", "adv.advantages"},
                       {"terms", {"clip.term"}}}},
                     {"params", update_params}};
  return {{"rewardloom", 1}, {"name", "whole"}, {"nodes", nodes}};
}

GraphEstimate estimated(const Json& graph, int threads = 1) {
  const QTemporaryDir folder;
  const fs::path file = fs::path(folder.path().toStdString()) / "graph.json";
  write_durably(file, graph.dump());
  const Plan plan = compile(Document::load(file), all_nodes().catalogue());
  return estimate_graph(plan, all_nodes(), {threads, "cpu"});
}

const NodeEstimate& row(const GraphEstimate& estimate, const std::string& node) {
  for (const NodeEstimate& entry : estimate.nodes) {
    if (entry.node == node) return entry;
  }
  throw Failure("no-node", node);
}

double bytes_of(const std::map<std::string, at::Tensor>& tensors) {
  double total = 0;
  for (const auto& [name, tensor] : tensors) {
    // Step counters are no moments.
    if (tensor.dim() > 0) total += static_cast<double>(tensor.nbytes());
  }
  return total;
}

/// The optimizer's and the model's bytes after one step.
struct Held {
  double weights, optimizer;
};
Held trained(const Json& actor_params) {
  Json params = tiny_model;
  params.update(actor_params);
  Bench model("text.policy", params, "actor");
  model.fire();
  Prompts prompts;
  for (int i = 0; i < 3; ++i) {
    prompts.id.push_back(std::to_string(i));
    prompts.text.push_back("1+1=");
    prompts.reference.push_back("2");
  }
  Bench update("optimize.sft", {{"learning_rate", 1e-3}}, "train");
  update.connect("policy", {model.value("policy")});
  update.connect("prompts", {Value::of(prompts)});
  update.fire();
  Package saved;
  update.context.states.at("adam").save(saved);
  return {bytes_of(writer(model).decoder().weights()), bytes_of(saved.tensors)};
}

}  // namespace

class TestEstimate : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }

  void weights_and_optimizer_are_exact_data() {
    QTest::addColumn<QByteArray>("params");
    QTest::newRow("plain") << QByteArray("{}");
    QTest::newRow("adapters") << QByteArray(
        "{\"lora\": {\"rank\": 3, \"alpha\": 6, \"targets\": [\"q_proj\", \"down_proj\"]}}");
    QTest::newRow("bfloat16") << QByteArray("{\"compute\": \"bfloat16\"}");
  }
  void weights_and_optimizer_are_exact() {
    QFETCH(QByteArray, params);
    const Json given = Json::parse(params.toStdString());
    const Held held = trained(given);
    const GraphEstimate estimate = estimated(whole_graph(given, {{"learning_rate", 1e-3}}));
    QCOMPARE(row(estimate, "actor").cost.weights, held.weights);
    QCOMPARE(row(estimate, "update").cost.optimizer, held.optimizer);
    QCOMPARE(4.0 * static_cast<double>(row(estimate, "actor").cost.parameters), held.weights);
  }

  void sizes_travel_along_the_edges() {
    const GraphEstimate estimate = estimated(whole_graph({}, {{"mini_batch", 20}}));
    for (const NodeEstimate& node : estimate.nodes) QCOMPARE(node.problem, std::string());
    // 40 rows, 20 to a step, 16 and 4 to a pass: two gradients.
    const NodeEstimate update = row(estimate, "update");
    QCOMPARE(update.cost.micro_batch, 16);
    QCOMPARE(update.cost.gradients, 2 * row(estimate, "actor").cost.weights);
    const NodeEstimate rollout = row(estimate, "rollout");
    QVERIFY(rollout.cost.cache > 0 && rollout.flop > 0 && rollout.seconds > 0);
    QVERIFY(update.flop > rollout.flop && update.seconds > 0);
    QCOMPARE(estimate.flop, update.flop + rollout.flop);
    QVERIFY(estimate.peak() > estimate.program && estimate.available > estimate.program);
  }

  void threads_hold_more_at_once() {
    const Json graph = whole_graph({}, Json::object());
    const GraphEstimate one = estimated(graph, 1), three = estimated(graph, 3);
    QCOMPARE(three.kept, one.kept);
    // 40 rows are three passes of at most 16.
    QCOMPARE(row(three, "update").cost.activations, 3 * row(one, "update").cost.activations);
    QCOMPARE(row(three, "update").cost.gradients, row(one, "update").cost.gradients);
  }

  void fewer_rows_and_checkpointing_take_less() {
    const auto activations = [](const Json& model, const Json& placement) {
      Json graph = whole_graph(model, Json::object());
      graph["placement"] = placement;
      return row(estimated(graph), "update").cost.activations;
    };
    const double plain = activations({}, Json::object());
    const Json four{{"update", {{"micro_batch", 4}}}};
    QVERIFY(activations({}, four) < 0.4 * plain);
    QVERIFY(activations({{"gradient_checkpointing", true}}, Json::object()) < plain);
    Json automatic = whole_graph({}, {{"memory_budget", 1.0}});
    automatic["placement"]["update"]["micro_batch"] = "auto";
    const NodeEstimate update = row(estimated(automatic), "update");
    QVERIFY(update.cost.micro_batch > 1);
    QVERIFY(update.cost.activations + update.cost.cache + update.cost.logits < 1.1 * 1048576);
  }

  void kernels_take_the_memory_that_is_stated() {
    // A pass of this size, piece by piece, as the kernels lay it out.
    const auto made = fired("text.policy", {{"config", small_sizes}});
    const Decoder& decoder = writer(*made).decoder();
    const ModelConfig& c = decoder.config();
    const CpuNetwork network(
        c, decoder.weights(),
        std::make_shared<const RotaryTable>(rotary_table(rotary_frequencies(c), c.max_positions)),
        true);
    FlatTokens tokens;
    const std::vector<std::int64_t> lengths{30, 30, 30, 30};
    std::vector<std::int64_t> selected;
    for (std::int64_t s = 0; s < 4; ++s) {
      for (std::int64_t t = 0; t < 30; ++t) {
        selected.push_back(tokens.size());
        tokens.add((s + t) % c.vocab_size, t, s);
      }
    }
    Activations a;
    KeyValueCache cache(c, 1, 4, 30);
    const at::Tensor logits = at::empty({120, c.vocab_size});
    network.forward(tokens, cache, selected, a, Kept::everything, logits.data_ptr<float>());
    WeightMap gradients = decoder.zero_gradients();
    network.backward(tokens, lengths, selected, a, Kept::everything, logits.data_ptr<float>(),
                     gradients);
    double held = 0;
    const auto add = [&](const std::vector<float>& v) {
      held += 4.0 * static_cast<double>(v.size());
    };
    for (const LayerActivations& l : a.layers) {
      for (const auto* v : {&l.input, &l.input_inverse, &l.raw, &l.raw_inverse, &l.qkv, &l.attended,
                            &l.middle, &l.middle_inverse, &l.gate_up}) {
        add(*v);
      }
    }
    for (const auto* v : {&a.hidden, &a.normed, &a.gated, &a.scores, &a.last, &a.last_normed,
                          &a.last_inverse, &a.d_hidden, &a.d_normed, &a.d_gated, &a.d_gate_up,
                          &a.d_qkv, &a.d_raw, &a.d_attended, &a.scratch}) {
      add(*v);
    }
    held += 4.0 * static_cast<double>(a.packed.inner() * a.packed.columns());
    const PassBytes stated = training_bytes(c, pass_size(4, 30, 30), true);
    const double ratio = stated.activations / held;
    QVERIFY2(ratio > 0.9 && ratio < 1.15, qPrintable(QString::number(ratio)));
    QCOMPARE(stated.logits, 2 * 4.0 * static_cast<double>(logits.numel()));
  }

  void bodies_count_as_often_as_they_run() {
    Json graph = whole_graph({}, Json::object());
    graph["nodes"]["exam"] = {{"type", "flow.every"},
                              {"inputs", {{"policy", "actor.policy"}}},
                              {"params", {{"body", "test"}, {"period", 5}}}};
    Json nodes;
    nodes["tasks"] = {{"type", "data.arithmetic"},
                      {"params", {{"split", "held_out"}, {"batch", 4}}}};
    nodes["answers"] = {{"type", "sample.generate"},
                        {"inputs", {{"policy", "inputs.policy"}, {"prompts", "tasks.prompts"}}},
                        {"params", {{"max_tokens", 3}}}};
    nodes["grade"] = {{"type", "eval.accuracy"},
                      {"inputs", {{"completions", "answers.completions"}}}};
    graph["subgraphs"]["test"] = {{"inputs", {{"policy", "Policy"}}},
                                  {"nodes", nodes},
                                  {"outputs", {{"metrics", "grade.metrics"}}}};
    const GraphEstimate estimate = estimated(graph);
    QCOMPARE(row(estimate, "exam/answers").firings, 0.2);
    QVERIFY(row(estimate, "exam/answers").flop > 0);
  }

  void what_is_not_known_is_said() {
    Json graph = whole_graph({{"model", "nowhere"}, {"characters", ""}}, Json::object());
    const GraphEstimate estimate = estimated(graph);
    QVERIFY(row(estimate, "actor").problem.find("nowhere") != std::string::npos);
    QVERIFY(!row(estimate, "update").problem.empty());
    QVERIFY(estimate.flop == 0);
  }

  void devices_that_are_not_here_take_no_memory_here() {
    Json graph = whole_graph({}, Json::object());
    graph["placement"] = {{"actor", {{"device", "cuda:0"}}}, {"update", {{"device", "cuda:0"}}}};
    const GraphEstimate here = estimated(whole_graph({}, Json::object()));
    const GraphEstimate there = estimated(graph);
    QCOMPARE(row(there, "actor").device, std::string("cuda:0"));
    QCOMPARE(row(there, "actor").cost.weights, row(here, "actor").cost.weights);
    QVERIFY(there.kept < here.kept);
    QCOMPARE(row(there, "update").problem, std::string());
    // Sampling happens where the model is.
    QCOMPARE(row(there, "rollout").device, std::string("cuda:0"));
    QCOMPARE(there.transient, 0.0);
    QCOMPARE(there.flop, here.flop);
  }

  void copies_and_rewritten_prompts_are_followed() {
    Json graph = whole_graph({}, Json::object());
    graph["nodes"]["turned"] = {{"type", "data.digit_sequence"},
                                {"inputs", {{"prompts", "tasks.prompts"}}}};
    graph["nodes"]["twin"] = {{"type", "text.policy"}, {"inputs", {{"of", "actor.policy"}}}};
    graph["nodes"]["rollout"]["inputs"] = {{"policy", "twin.policy"},
                                           {"prompts", "turned.prompts"}};
    graph["nodes"]["update"]["inputs"]["policy"] = "twin.policy";
    const GraphEstimate estimate = estimated(graph);
    QCOMPARE(row(estimate, "twin").cost.weights, row(estimate, "actor").cost.weights);
    QCOMPARE(row(estimate, "update").problem, std::string());
    QVERIFY(row(estimate, "rollout").flop > 0);
  }

  void an_average_is_a_model_of_its_own() {
    Json graph = whole_graph({}, Json::object());
    graph["nodes"]["average"] = {{"type", "model.ema"}, {"inputs", {{"policy", "update.policy"}}}};
    graph["nodes"]["score"] = {
        {"type", "text.log_probs"},
        {"inputs", {{"reference", "average.reference"}, {"completions", "rollout.completions"}}}};
    const GraphEstimate estimate = estimated(graph);
    QCOMPARE(row(estimate, "average").cost.weights, row(estimate, "actor").cost.weights);
    QVERIFY(row(estimate, "score").cost.copies > 0 && row(estimate, "score").flop > 0);
  }

  void micro_batches_that_are_none_are_refused() {
    for (const Json& wrong : {Json("many"), Json(-1), Json(1.5), Json(nullptr)}) {
      Json graph = whole_graph({}, Json::object());
      graph["placement"]["update"]["micro_batch"] = wrong;
      const QTemporaryDir folder;
      const fs::path file = fs::path(folder.path().toStdString()) / "graph.json";
      write_durably(file, graph.dump());
      const auto problems = check_file(file, all_nodes().catalogue()).problems;
      QCOMPARE(problems.size(), std::size_t{1});
      QCOMPARE(problems[0].code, std::string("param-type"));
      QCOMPARE(problems[0].where.node, std::string("placement.update"));
    }
  }
};

REWARDLOOM_TEST(TestEstimate)
#include "test_estimate.moc"
