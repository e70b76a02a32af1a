#include <fmt/format.h>

#include "engine/core/registry.h"
#include "nodes/flow/bodies.h"

namespace rewardloom {
namespace {

enum class AfterLast { cycle, stay };
constexpr auto choices(AfterLast) {
  return std::to_array<Choice<AfterLast>>({
      {AfterLast::cycle, "cycle", "the first phase again"},
      {AfterLast::stay, "stay", "the last phase goes on to the end of the run"},
  });
}

/// Which phase a run is in; checkpointed.
struct PhaseState {
  std::int64_t phase = 0;
  std::int64_t done = 0;  ///< iterations of this phase so far
  void save(Package& out) const {
    out.meta["phase"] = phase;
    out.meta["done"] = done;
  }
  void load(const Package& in) {
    phase = in.meta.at("phase").get<std::int64_t>();
    done = in.meta.at("done").get<std::int64_t>();
  }
};

/// One entry of the list.
struct Phase {
  std::size_t part = 0;  ///< its place in the list
  std::string name;
  std::optional<std::int64_t> iterations;
  std::int64_t repeat = 1;
  MetricCondition until;
  bool has_until = false;
};

std::optional<std::int64_t> count_of(const Json& entry, const char* key, const std::string& name,
                                     std::int64_t least) {
  if (!entry.contains(key)) return std::nullopt;
  const Json& value = entry[key];
  if (value.is_number_integer() && value.get<std::int64_t>() >= least) {
    return value.get<std::int64_t>();
  }
  throw Failure("bad-phase", fmt::format("phase {}: {} is {}, but must be an integer of {} or more",
                                         name, key, value.dump(), least));
}

Phase phase_of(const Json& entry, std::size_t position) {
  Phase out;
  out.part = position;
  const std::string fallback = fmt::format("{}", position + 1);
  if (!entry.is_object()) {
    throw Failure("bad-phase", fmt::format("phase {} is {}", fallback, entry.dump()),
                  "write {\"name\": NAME, \"body\": SUBGRAPH, \"iterations\": n}");
  }
  out.name = entry.value("name", entry.value("body", fallback));
  for (const auto& [key, value] : entry.items()) {
    if (key == "name" || key == "body" || key == "with" || key == "iterations" || key == "until" ||
        key == "repeat") {
      continue;
    }
    throw Failure("bad-phase", fmt::format("phase {} has an unknown entry {}", out.name, key),
                  "its entries are name, body, with, iterations, until and repeat");
  }
  out.iterations = count_of(entry, "iterations", out.name, 0);
  out.repeat = count_of(entry, "repeat", out.name, 1).value_or(1);
  out.has_until = entry.contains("until");
  if (out.has_until) out.until = MetricCondition::from_json(entry["until"]);
  return out;
}

}  // namespace

struct Phases final : Node {
  Param<std::vector<Json>> phases{
      this, "phases", required,
      "list of {\"name\", \"body\", \"iterations\": n and/or \"until\": {\"metric\", \"above\" "
      "or \"below\"}, \"repeat\": n, \"with\": {...}}"};
  Param<AfterLast> after{this, "after", AfterLast::cycle, "what follows the last phase"};
  Body bodies{this, "phases"};
  State<PhaseState> state{this, "phase"};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"schedule", "curriculum", "alternate", "co-training", "GAN", "who trains"}};
  Doc doc{
      this,
      "Exactly one phase's body runs in each iteration. A phase ends after `iterations` of "
      "them, or as soon as `until` holds for its own outputs, whichever comes first; then the "
      "next begins. A phase of 0 iterations is left out, such as one that prepares what comes from "
      "a file. `repeat` runs the body several times per iteration. Outputs of the other bodies are "
      "absent in that iteration: nodes that need them do not run. Metrics: phase (0, 1, ..., its "
      "place in the list) and phase_iteration."};

  void run(Step& step) const override {
    const std::vector<Phase> all = parsed();
    PhaseState& now = step[state];
    if (now.phase >= static_cast<std::int64_t>(all.size())) {
      step.fail(fmt::format("the run is in phase {}, but there are {}", now.phase + 1, all.size()),
                "resume with the phases that the run began with");
    }
    const Phase& phase = all[static_cast<std::size_t>(now.phase)];
    step.metric("phase", static_cast<double>(phase.part));
    step.metric("phase_iteration", static_cast<double>(now.done));
    NamedValues values;
    for (std::int64_t k = 0; k < phase.repeat && !step.cancelled(); ++k) {
      values = step.run(bodies, {.part = phase.part, .index = k, .of = phase.repeat});
    }
    deliver(step, values);
    ++now.done;
    const bool over = (phase.iterations && now.done >= *phase.iterations) ||
                      (phase.has_until && phase.until.holds(values));
    if (over) advance(now, static_cast<std::int64_t>(all.size()));
  }

 private:
  std::vector<Phase> parsed() const {
    std::vector<Phase> all;
    std::size_t place = 0;
    for (const Json& entry : phases()) {
      Phase phase = phase_of(entry, place++);
      if (phase.iterations != 0) all.push_back(std::move(phase));
    }
    if (all.empty()) {
      throw Failure("bad-phase", "there are no phases",
                    "list at least one, of 1 iteration or more");
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool last_stays = i + 1 == all.size() && (after() == AfterLast::stay || i == 0);
      if (all[i].iterations || all[i].has_until || last_stays) continue;
      throw Failure("bad-phase", fmt::format("phase {} never ends", all[i].name),
                    "give it iterations, or until");
    }
    return all;
  }

  void advance(PhaseState& now, std::int64_t count) const {
    if (now.phase + 1 < count) {
      now = {now.phase + 1, 0};
    } else if (after() == AfterLast::cycle) {
      now = {0, 0};
    }
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Phases, "Phases", "")
