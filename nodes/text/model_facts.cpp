#include "nodes/text/model_facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/port_types.h"
#include "engine/core/problem.h"

namespace rewardloom {

namespace {

std::int64_t element_count(const WeightShape& weight) {
  std::int64_t count = 1;
  for (const std::int64_t size : weight.shape) count *= size;
  return count;
}

}  // namespace

std::int64_t LanguageModelFacts::trained_parameters() const {
  const bool scores = config.head != HeadKind::language_model;
  const bool everything = part == TrainedPart::all && !config.lora;
  std::int64_t total = 0;
  for (const WeightShape& weight : weight_shapes(config)) {
    const bool head = weight.name.starts_with(head_module(config) + ".");
    if (everything || (head && (scores || part == TrainedPart::head))) {
      total += element_count(weight);
    }
  }
  if (part == TrainedPart::head || !config.lora) return total;
  for (const WeightShape& weight : adapter_shapes(config)) total += element_count(weight);
  return total;
}

double LanguageModelFacts::take_copies(bool with_gradient) const {
  bool& counted = with_gradient ? counted_with_gradient_ : counted_;
  if (counted) return 0;
  counted = true;
  return copied_bytes(config, own_kernels(), with_gradient);
}

std::shared_ptr<const LanguageModelFacts> facts_of_copy(const LanguageModelFacts& model) {
  auto facts = std::make_shared<LanguageModelFacts>();
  facts->config = model.config;
  facts->tokenizer = model.tokenizer;
  facts->part = model.part;
  facts->device = model.device;
  return facts;
}

std::shared_ptr<const LanguageModelFacts> facts_with_score_head(const LanguageModelFacts& trunk,
                                                                HeadKind kind, std::int64_t labels,
                                                                TrainedPart part) {
  auto facts = std::make_shared<LanguageModelFacts>();
  facts->config = with_score_head(trunk.config, kind, labels);
  facts->tokenizer = trunk.tokenizer;
  facts->device = trunk.device;
  facts->part = part;
  return facts;
}

const LanguageModelFacts& facts_of(const Extent& extent) {
  const auto* const facts = dynamic_cast<const LanguageModelFacts*>(extent.facts.get());
  if (facts != nullptr) return *facts;
  throw Failure("estimate", "nothing is known of its model before the run");
}

void state_model(Estimate& estimate, Extent& handle,
                 std::shared_ptr<const LanguageModelFacts> facts) {
  estimate.cost.device = facts->device;
  estimate.cost.parameters = facts->config.parameter_count();
  estimate.cost.weights = 4.0 * static_cast<double>(estimate.cost.parameters);
  handle.facts = std::move(facts);
}

void RowLengths::add(std::int64_t before, std::int64_t written) {
  ++extent_.rows;
  extent_.tokens += before + written;
  extent_.longest = std::max(extent_.longest, before + written);
  extent_.written += written;
}

PassSize some_of(const Extent& rows, std::int64_t count) {
  const std::int64_t some = std::min(count, rows.rows);
  if (some <= 0) return {};
  const std::int64_t mean = rows.tokens / rows.rows;
  return {some, some * mean + (rows.longest - mean), rows.longest, some * rows.written / rows.rows};
}

void add_passes(NodeCost& cost, const PassBytes& pass, std::int64_t count) {
  cost.activations += static_cast<double>(count) * pass.activations;
  cost.cache += static_cast<double>(count) * pass.cache;
  cost.logits += static_cast<double>(count) * pass.logits;
}

Work pass_work(const LanguageModelFacts& model, double flop, const PassSize& size,
               bool with_gradient) {
  const ModelConfig& c = model.config;
  std::string kind =
      fmt::format("{} {} rows, {} tokens, {} read, {} {} {} {} {} on {}",
                  with_gradient ? "training" : "scoring", size.sequences, size.tokens, size.wanted,
                  c.architecture, c.hidden_size, c.intermediate_size, c.outputs(),
                  static_cast<int>(c.compute), model.device.str());
  return {flop, std::move(kind), [config = c, size, with_gradient, device = model.device] {
            return pass_rate(config, size, with_gradient, device);
          }};
}

void state_scoring(Estimate& e, const LanguageModelFacts& model, const Extent& given,
                   bool last_token_only) {
  if (given.rows == 0) throw Failure("estimate", "nothing is known of its rows before the run");
  Extent rows = given;
  if (last_token_only) rows.written = rows.rows;
  const std::int64_t chunk = e.micro_batch() > 0 ? e.micro_batch() : 16;
  const PassSize pass = some_of(rows, chunk);
  add_passes(e.cost, scoring_bytes(model.config, pass, model.own_kernels()),
             e.at_once((rows.rows + chunk - 1) / chunk));
  e.cost.micro_batch = chunk;
  e.cost.device = model.device;
  e.cost.copies += model.take_copies(false);
  const PassSize all{rows.rows, rows.tokens, rows.longest, rows.written};
  e.cost.work.push_back(pass_work(model, forward_flop(model.config, all), pass, false));
}

Extent answer_extent(const LanguageModelFacts& model, const Extent& prompts) {
  if (!prompts.example) {
    throw Failure("estimate", "nothing is known of its prompts before the run");
  }
  const Prompts& given = prompts.example.get<Prompts>();
  RowLengths lengths;
  for (std::size_t i = 0; i < std::min(given.text.size(), given.reference.size()); ++i) {
    const auto before = model.tokenizer->encode_prompt(given.text[i]);
    const auto answer = model.tokenizer->encode_answer(given.text[i], given.reference[i]);
    lengths.add(static_cast<std::int64_t>(before.size()),
                static_cast<std::int64_t>(answer.size()) + 1);
  }
  return lengths.extent();
}

Extent pair_extent(const LanguageModelFacts& model, const Extent& preferences) {
  if (!preferences.example) {
    throw Failure("estimate", "nothing is known of its pairs before the run");
  }
  const Preferences& p = preferences.example.get<Preferences>();
  RowLengths lengths;
  for (std::size_t i = 0; i < p.chosen.size(); ++i) {
    const auto before =
        static_cast<std::int64_t>(model.tokenizer->encode_prompt(p.prompt[i]).size());
    for (const std::string* answer : {&p.chosen[i], &p.rejected[i]}) {
      const auto ids = model.tokenizer->encode_answer(p.prompt[i], *answer);
      lengths.add(before, static_cast<std::int64_t>(ids.size()) + 1);
    }
  }
  return lengths.extent();
}

}  // namespace rewardloom
