#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/script.h>

#include <array>
#include <filesystem>
#include <memory>
#include <mutex>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

std::string shape_of(const at::Tensor& tensor) { return c10::str(tensor.sizes()); }

/// The first line of LibTorch's message; the rest is a trace of its own code.
std::string first_line(const std::exception& error) {
  std::string text = error.what();
  // What a script raises stands at the end, after the trace of the script.
  const std::size_t raised = text.rfind("RuntimeError: ");
  if (raised != std::string::npos) text = text.substr(raised);
  return text.substr(0, text.find('\n'));
}

std::string type_name(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble: return "float64";
    case at::kFloat: return "float32";
    case at::kHalf: return "float16";
    case at::kBFloat16: return "bfloat16";
    case at::kLong: return "int64";
    case at::kBool: return "bool";
    default: return at::toString(tensor.scalar_type());
  }
}

/// What may be wrong with a call that failed: the type or the width of the features, else the
/// signature.
std::string call_help(const torch::jit::Module& model, const std::vector<at::Tensor>& given) {
  if (given.size() != 1) {
    return "completions are handed over as model(tokens [N,T] int64, mask [N,T] bool)";
  }
  for (const auto& parameter : model.named_parameters()) {
    const at::Tensor& weight = parameter.value;
    if (!weight.is_floating_point()) continue;
    if (weight.scalar_type() != given[0].scalar_type()) {
      return fmt::format("its parameter {} is {}, the features are {}: give both the same type",
                         parameter.name, type_name(weight), type_name(given[0]));
    }
    if (weight.dim() == 2 && given[0].dim() == 2 && weight.size(1) != given[0].size(1)) {
      return fmt::format("its parameter {} is {}, the features are {}: give features of {} columns",
                         parameter.name, shape_of(weight), shape_of(given[0]), weight.size(1));
    }
    if (weight.dim() == 2) break;
  }
  return "features are handed over as model(features [N,D])";
}

}  // namespace

struct TorchScriptReward final : Node, Prepares {
  Optional<Completions> completions{this, "completions", "the answers, for model(tokens, mask)"};
  Optional<Features> features{this, "features", "instead: one row each, for model(features)"};
  Output<Rewards> rewards{this, "rewards", "the model's score of each row"};
  Param<std::string> file{this, "file", required, "a file of torch.jit.save", {.path = true}};
  Param<std::string> method{this, "method", "forward", "which method of it is called"};
  Rule one_source{this,
                  {{{"features", {{"connected", false}}}},
                   {{"completions", {{"connected", true}}}},
                   "there is nothing to score",
                   "connect completions or features"}};
  Rule not_both{this,
                {{{"features", {{"connected", true}}}},
                 {{"completions", {{"connected", false}}}},
                 "both completions and features are connected",
                 "connect one of them"}};
  Synonyms words{this, {"reward model", "scripted", "torch.jit", "libtorch"}};
  Doc doc{
      this,
      "model(tokens [N,T] int64, mask [N,T] bool) -> [N] or [N,1], where tokens holds prompt and "
      "answer as sampled (prompts padded on the left, answers on the right) and mask is true "
      "where there is a token; or model(features [N,D]) -> [N] or [N,1].\n"
      "The model is in evaluation mode, computes no gradients and is run as scripted, without "
      "the optimiser that changes its arithmetic after the first calls. It lies on the node's "
      "device; micro_batch rows are scored at once. Its parameters are no state of the run: they "
      "are read from the file again. A score that is no number makes its row absent."};

  void prepare(const StepSettings& settings) const override { loaded(settings); }

  void run(Step& step) const override {
    const at::NoGradGuard no_gradients;
    const torch::jit::GraphOptimizerEnabledGuard as_scripted(false);
    torch::jit::Module& model = loaded(step.settings());
    const Completions* const c = step[completions];
    const Features* const f = step[features];
    if ((c == nullptr) == (f == nullptr)) {
      step.fail("completions or features are to be scored, one of them",
                "connect exactly one of them");
    }
    std::vector<at::Tensor> inputs;
    if (c != nullptr) {
      inputs = {c->tokens.to(at::kLong), token_mask(*c)};
    } else {
      inputs = {f->features};
    }
    give(step, c, f, scores(step, model, inputs));
  }

 private:
  static at::Tensor token_mask(const Completions& c) {
    if (!c.kinds.defined()) return at::ones_like(c.tokens, at::kBool);
    return c.kinds.ne(static_cast<std::int64_t>(TokenKind::padding));
  }

  torch::jit::Module& loaded(const StepSettings& settings) const {
    const std::lock_guard lock(mutex_);
    if (model_) return *model_;
    const std::string path = path_from(settings.file, file());
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      throw Failure("torchscript-file", fmt::format("there is no {}", path),
                    "paths start at the folder of the graph or at the working directory");
    }
    try {
      auto model = std::make_unique<torch::jit::Module>(torch::jit::load(path, settings.device));
      model->eval();
      if (!model->find_method(method())) throw_method(*model, path);
      model_ = std::move(model);
    } catch (const c10::Error& error) {
      throw Failure("torchscript-file",
                    fmt::format("{} is no TorchScript file: {}", path, first_line(error)),
                    "save the model with torch.jit.script(model).save(path)");
    }
    return *model_;
  }

  [[noreturn]] void throw_method(const torch::jit::Module& model, const std::string& path) const {
    std::vector<std::string> there;
    for (const auto& one : model.get_methods()) there.push_back(one.name());
    throw Failure("torchscript-method", fmt::format("{} has no method {}", path, method()),
                  there.empty() ? "script a module with a forward method"
                                : "its methods are " + listed(there, "and"));
  }

  /// [N], of all rows.
  at::Tensor scores(Step& step, torch::jit::Module& model,
                    const std::vector<at::Tensor>& inputs) const {
    const std::int64_t rows = inputs[0].size(0);
    const std::int64_t at_once =
        step.micro_batch() > 0 ? step.micro_batch() : std::max<std::int64_t>(rows, 1);
    std::vector<at::Tensor> parts;
    for (std::int64_t begin = 0; begin < rows; begin += at_once) {
      const std::int64_t count = std::min(at_once, rows - begin);
      std::vector<c10::IValue> arguments;
      for (const at::Tensor& input : inputs) {
        arguments.emplace_back(input.narrow(0, begin, count).to(step.device()));
      }
      parts.push_back(checked(step, call(step, model, std::move(arguments)), count));
    }
    if (parts.empty()) return at::zeros({0}, at::kDouble);
    return at::cat(parts).to(inputs[0].device());
  }

  c10::IValue call(Step& step, torch::jit::Module& model,
                   std::vector<c10::IValue> arguments) const {
    std::vector<at::Tensor> given;
    for (const c10::IValue& argument : arguments) given.push_back(argument.toTensor());
    try {
      return model.get_method(method())(std::move(arguments));
    } catch (const std::exception& error) {
      std::vector<std::string> shown;
      for (const at::Tensor& one : given) {
        shown.push_back(fmt::format("{} {}", shape_of(one), type_name(one)));
      }
      step.fail("torchscript-call",
                fmt::format("{} fails on {}: {}", file(), listed(shown, "and"), first_line(error)),
                call_help(model, given));
    }
  }

  at::Tensor checked(Step& step, const c10::IValue& result, std::int64_t rows) const {
    const std::string found = !result.isTensor() ? result.tagKind() : shape_of(result.toTensor());
    const bool fits = result.isTensor() && result.toTensor().numel() == rows &&
                      result.toTensor().dim() >= 1 && result.toTensor().dim() <= 2 &&
                      result.toTensor().size(0) == rows;
    if (!fits) {
      step.fail("torchscript-output",
                fmt::format("{} returns {} for {} rows, not [{}] or [{},1]", file(), found, rows,
                            rows, rows),
                "return one score per row, e.g. that of the last token");
    }
    if (result.toTensor().is_complex()) {
      step.fail("torchscript-output", fmt::format("{} returns complex numbers", file()),
                "return real scores");
    }
    return result.toTensor().reshape({rows}).to(at::kDouble);
  }

  void give(Step& step, const Completions* c, const Features* f, const at::Tensor& values) const {
    RowScores kept(static_cast<std::size_t>(values.size(0)));
    const std::vector<double> numbers = numbers_of(values);
    for (std::size_t row = 0; row < numbers.size(); ++row) {
      if (std::isfinite(numbers[row])) {
        kept.set(row, numbers[row]);
      } else {
        kept.fail(step, row, fmt::format("the model gives {}", numbers[row]));
      }
    }
    if (c != nullptr) {
      step[rewards] = scored(step, *c, kept.scores(), kept.absent());
      return;
    }
    Rewards rows;
    rows.total = values;
    rows.batch = f->batch;
    step[rewards] = rescored(step, rows, kept.scores(), kept.absent());
  }

  mutable std::mutex mutex_;
  mutable std::unique_ptr<torch::jit::Module> model_;
};

}  // namespace rewardloom

REWARDLOOM_NODE(TorchScriptReward, "Reward model in TorchScript", "")
