#include <fmt/format.h>
#include <torch/types.h>

#include <charconv>
#include <map>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/sample/flow_params.h"

namespace rewardloom {
namespace {

/// The class that a prompt asks for.
std::int64_t class_of_prompt(const std::string& text, std::int64_t classes) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0 && value < classes) {
    return value;
  }
  throw Failure("unknown-class",
                fmt::format("the prompt \"{}\" is none of the generator's classes 0 to {}", text,
                            classes - 1),
                "give prompts that are class numbers, such as image.read makes");
}

}  // namespace

struct SampleFlow final : Node {
  Reads<Generator> generator{this, "generator", "the velocity field"};
  Input<Prompts> prompts{this, "prompts", "the classes to draw, as text"};
  Output<Images> images{this,
                        "images",
                        "drawn images, from -1 to 1, with classes and groups",
                        {.facts = {{"group_size", "$images_per_prompt"}}}};
  Output<Trajectories> trajectories{
      this,
      "trajectories",
      "x before (observations) and after (actions) the stochastic steps",
      {.facts = {{"stochastic_steps", "$stochastic_steps"}}}};
  Output<LogProbs> log_probs{this, "log_probs", "of the stochastic steps, mean per element"};
  Param<std::int64_t> per_prompt{this, "images_per_prompt", 8, "drawn for each prompt", {.min = 1}};
  FlowParams flow{this};
  Param<std::int64_t> stochastic{
      this, "stochastic_steps", 2, "the first ones; 0: none", {.min = 0, .unit = "steps"}};
  Rule level{this, FlowParams::cps_level()};
  Synonyms words{this, {"Flow-GRPO", "Flow-CPS", "diffusion", "rollout", "denoising", "sampler"}};
  Doc doc{
      this,
      "N = prompts x images_per_prompt rows, prompt after prompt. Row r starts from noise of (seed, "
      "node, iteration, r); the first stochastic_steps of `steps` draw, the others are Euler steps. "
      "images [N,C,H,W], held within -1 and 1; trajectories [N,S,C,H,W]; log_probs [N,S]. Equal "
      "prompts share a group. With guidance the steps follow the guided velocity, and log_probs are "
      "those of its steps. Train with optimize.flow_policy and the same steps, kind, noise_level, "
      "log_prob and guidance."};

  void run(Step& step) const override {
    const FlowNet& net = step.read<FlowNet>(generator);
    if (stochastic() > flow.steps()) {
      step.fail(
          "param-range",
          fmt::format("stochastic_steps is {}, but there are {} steps", stochastic(), flow.steps()),
          "let at most all steps be stochastic");
    }
    Images out = rows_of(step, step[prompts], net.shape.classes);
    const FlowSamples drawn = sample_flow(
        step, net, out.labels, {flow.steps(), stochastic(), flow.step_options(), flow.guidance()});
    out.images = drawn.images.clamp(-1, 1);
    if (drawn.before.defined()) {
      step[trajectories] = Trajectories{drawn.before, drawn.after, {}, {}, {}, out.batch};
      step[log_probs] = LogProbs{drawn.log_probs, {}, net.weight_version(), out.batch};
    }
    step[images] = std::move(out);
  }

 private:
  Images rows_of(const Step& step, const Prompts& given, std::int64_t classes) const {
    if (given.text.empty()) step.fail("no-prompts", "there are no prompts", "connect some");
    std::vector<std::int64_t> labels, groups;
    std::map<std::string, std::int64_t> first;
    for (std::size_t i = 0; i < given.text.size(); ++i) {
      const std::int64_t label = class_of_prompt(given.text[i], classes);
      const std::int64_t group =
          first.try_emplace(given.text[i], static_cast<std::int64_t>(i)).first->second;
      labels.insert(labels.end(), static_cast<std::size_t>(per_prompt()), label);
      groups.insert(groups.end(), static_cast<std::size_t>(per_prompt()), group);
    }
    const at::TensorOptions integers = at::TensorOptions().dtype(at::kLong);
    Images out;
    out.labels = at::tensor(labels, integers);
    out.group = at::tensor(groups, integers);
    out.batch = step.new_batch();
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SampleFlow, "Sample from a flow", "arXiv:2505.05470")
