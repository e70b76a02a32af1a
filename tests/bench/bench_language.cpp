// Sampling and training of a small language model on one thread: this side of
// tests/bench/language_models.py, which sends commands and sets the figures beside a plain PyTorch
// loop's. `rewardloom bench language FOLDER` reads from standard input, one command a line:
//   compute float32|bfloat16   reads the model anew, with passes in that precision
//   sample ROWS SEED           32 tokens behind 16 random ones per row
//   train                      one clipped policy-gradient step on what was sampled last
//   mismatch                   log-probs of what was sampled last: the sampler's against those of
//                              a float32 trainer
//   threads N                  threads that share what comes after
//   decode TOKENS ROWS         greedy continuations of so many tokens; ROWS: prompts of token ids
//                              with commas between, semicolons between prompts
//   logits ROW                 of the token behind one prompt
//   uneven ROWS SEED REFILL    answers of very uneven lengths; REFILL 0: sets of 16 rows one after
//                              the other, as if no row took another's place
//   curve FILE STEPS           steps on the rows of a safetensors file; gives the losses
// and answers each with a line of JSON.
#include <ATen/Parallel.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <torch/types.h>

#include <cmath>
#include <ctime>
#include <iostream>
#include <sstream>

#include "engine/io/safetensors.h"
#include "nodes/sample/completion_rows.h"
#include "nodes/sample/generation.h"
#include "nodes/text/language_model.h"
#include "nodes/text/row_scores.h"
#include "tests/bench/figures.h"
#include "tests/nodes/node_bench.h"

namespace rewardloom::bench {

namespace {

using testing::Bench;
using Clock = std::chrono::steady_clock;

/// Wall and processor time since it was made.
class Stopwatch {
 public:
  Json answer(std::int64_t tokens) const {
    return {{"wall", seconds_since(wall_)},
            {"processor", static_cast<double>(std::clock() - processor_) / CLOCKS_PER_SEC},
            {"tokens", tokens}};
  }

 private:
  Clock::time_point wall_ = Clock::now();
  std::clock_t processor_ = std::clock();
};

constexpr std::int64_t kPrompt = 16, kAnswer = 32;

void one_after_the_other(std::size_t count, const std::function<void(std::size_t)>& call) {
  for (std::size_t i = 0; i < count; ++i) call(i);
}

/// As a run's nodes call parts of their work.
void by_tbb(std::size_t count, const std::function<void(std::size_t)>& call) {
  if (count == 1) return call(0);
  oneapi::tbb::parallel_for(std::size_t{0}, count, call, oneapi::tbb::simple_partitioner());
}

using Ids = std::vector<std::int64_t>;

std::vector<Ids> rows_of(const std::string& text) {
  std::vector<Ids> rows;
  std::istringstream list(text);
  for (std::string part; std::getline(list, part, ';');) {
    Ids& row = rows.emplace_back();
    std::istringstream ids(part);
    for (std::string id; std::getline(ids, id, ',');) row.push_back(std::stoll(id));
  }
  return rows;
}

Ids in_order(std::size_t count) {
  Ids list;
  for (std::size_t i = 0; i < count; ++i) list.push_back(static_cast<std::int64_t>(i));
  return list;
}

/// AdamW as PyTorch sets it up.
const Json kTraining = {{"learning_rate", 1e-4}, {"weight_decay", 0.0}, {"max_grad_norm", 0.0}};

class LanguageBench {
 public:
  explicit LanguageBench(std::string folder) : folder_(std::move(folder)) { open("float32"); }

  Json answer(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "compute") {
      words >> command;
      open(command);
      return {{"parameters", model().decoder().config().parameter_count()}};
    }
    if (command == "sample") {
      std::int64_t rows = 0;
      std::uint64_t seed = 0;
      words >> rows >> seed;
      return sample(rows, seed);
    }
    if (command == "threads") {
      std::size_t threads = 1;
      words >> threads;
      limit_ = std::make_unique<oneapi::tbb::global_control>(
          oneapi::tbb::global_control::max_allowed_parallelism, threads);
      return {{"threads", threads}};
    }
    if (command == "decode") {
      std::int64_t tokens = 0;
      std::string rows;
      words >> tokens >> rows;
      return decode(tokens, rows_of(rows));
    }
    if (command == "logits") {
      std::string row;
      words >> row;
      return logits(rows_of(row));
    }
    if (command == "uneven") {
      std::int64_t rows = 0;
      std::uint64_t seed = 0;
      bool refill = false;
      words >> rows >> seed >> refill;
      return uneven(rows, seed, refill);
    }
    if (command == "train") return train();
    if (command == "mismatch") return mismatch();
    if (command == "curve") {
      std::string file;
      std::int64_t steps = 0;
      words >> file >> steps;
      return curve(file, steps);
    }
    return {{"error", "no command " + command}};
  }

 private:
  LanguageModel& model() const {
    return dynamic_cast<LanguageModel&>(*actor_->out<Policy>("policy").state);
  }

  void open(const std::string& compute) {
    const std::string characters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX";
    const Json params{{"model", folder_}, {"characters", characters}, {"compute", compute}};
    actor_ = std::make_unique<Bench>("text.policy", params, "actor");
    actor_->fire();
    clip_ = std::make_unique<Bench>("loss.policy_clip", Json::object(), "clip");
    clip_->fire();
    update_ = optimizer();
  }

  std::unique_ptr<Bench> optimizer() const {
    auto update = std::make_unique<Bench>("optimize.policy", kTraining, "update");
    update->connect("policy", {actor_->value("policy")});
    update->connect("terms", {clip_->value("term")});
    return update;
  }

  Json sample(std::int64_t rows, std::uint64_t seed) {
    const Random random({seed, 1, 2});
    std::vector<std::vector<std::int64_t>> prompts(static_cast<std::size_t>(rows));
    std::vector<std::int64_t> prompt_of_row;
    for (std::int64_t i = 0; i < rows; ++i) {
      prompt_of_row.push_back(i);
      for (std::int64_t t = 0; t < kPrompt; ++t) {
        Random draw = random.at(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(t));
        prompts[static_cast<std::size_t>(i)].push_back(static_cast<std::int64_t>(
            draw.below(static_cast<std::uint64_t>(model().decoder().config().vocab_size))));
      }
    }
    GenerationOptions options;
    options.max_tokens = kAnswer;
    const Stopwatch watch;
    const auto answers = generate(model().decoder(), prompts, prompt_of_row, options,
                                  Random({seed, 3, 4}), one_after_the_other);
    Json time = watch.answer(rows * kAnswer);
    rows_ = {};
    lay_out(prompts, prompt_of_row, answers, 0, rows_);
    rows_.weight_version = model().weight_version();
    return time;
  }

  Json decode(std::int64_t tokens, const std::vector<Ids>& prompts) const {
    GenerationOptions options;
    options.max_tokens = tokens;
    options.sampling.temperature = 0;
    const Stopwatch watch;
    const auto rows = generate(model().decoder(), prompts, in_order(prompts.size()), options,
                               Random({1, 2, 3}), by_tbb);
    Json answer = watch.answer(static_cast<std::int64_t>(prompts.size()) * tokens);
    for (const GeneratedRow& row : rows) answer["ids"].push_back(row.tokens);
    return answer;
  }

  Json logits(const std::vector<Ids>& prompts) const {
    const c10::NoGradGuard no_gradient;
    const at::Tensor row = model()
                               .decoder()
                               .decode(1, static_cast<std::int64_t>(prompts[0].size()))
                               ->prefill(prompts, {0})[0];
    return {
        {"logits", std::vector<float>(row.data_ptr<float>(), row.data_ptr<float>() + row.numel())}};
  }

  /// Three of 64 tokens end an answer: a few are many times as long as most.
  Json uneven(std::int64_t rows, std::uint64_t seed, bool refill) const {
    std::vector<Ids> prompts(static_cast<std::size_t>(rows));
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t t = 0; t < kPrompt; ++t) {
        prompts[static_cast<std::size_t>(i)].push_back((7 * i + 11 * t) % 60);
      }
    }
    GenerationOptions options;
    options.max_tokens = model().decoder().config().max_positions - kPrompt;
    options.stop_tokens = {0, 1, 2};
    const auto together = static_cast<std::size_t>(refill ? rows : 16);
    std::int64_t tokens = 0;
    const Stopwatch watch;
    for (std::size_t first = 0; first < prompts.size(); first += together) {
      const std::vector<Ids> some(prompts.begin() + static_cast<std::ptrdiff_t>(first),
                                  prompts.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                        prompts.size(), first + together)));
      const auto answers = generate(model().decoder(), some, in_order(some.size()), options,
                                    Random({seed, 3, first}), one_after_the_other);
      for (const GeneratedRow& row : answers)
        tokens += static_cast<std::int64_t>(row.tokens.size());
    }
    return watch.answer(tokens);
  }

  Json train() {
    Advantages advantages;
    advantages.advantages = at::sin(at::arange(rows_.rows(), at::kFloat) * 1.3);
    update_->connect("completions", {Value::of(rows_)});
    update_->connect("advantages", {Value::of(advantages)});
    const Stopwatch watch;
    update_->fire();
    return watch.answer(rows_.tokens.numel());
  }

  Json mismatch() const {
    ModelConfig config = model().decoder().config();
    config.compute = ComputeType::float32;
    const Decoder trainer(config, model().decoder().copy().weights());
    const at::Tensor scored =
        score_rows(trainer, token_rows(rows_.tokens, rows_.kinds), {}, 16, one_after_the_other)
            .log_probs;
    const at::Tensor mask = rows_.mask();
    const at::Tensor difference =
        (scored - rows_.log_probs).masked_select(mask).abs().to(at::kDouble);
    return {{"largest", difference.max().item<double>()},
            {"mean_ratio", difference.exp().mean().item<double>()},
            {"outside", difference.gt(std::log(1.1)).to(at::kDouble).mean().item<double>()},
            {"tokens", difference.numel()}};
  }

  Json curve(const std::string& file, std::int64_t steps) {
    const Package batch = read_safetensors(file);
    Completions rows;
    rows.tokens = batch.tensors.at("tokens");
    rows.kinds = at::full(rows.tokens.sizes(), static_cast<int>(TokenKind::action), at::kChar);
    rows.kinds.narrow(1, 0, kPrompt).fill_(static_cast<int>(TokenKind::prompt));
    rows.log_probs = at::constant_pad_nd(batch.tensors.at("old_log_probs"), {kPrompt, 0});
    Advantages advantages;
    advantages.advantages = batch.tensors.at("advantages");
    const auto update = optimizer();
    update->connect("advantages", {Value::of(advantages)});
    Json losses = Json::array();
    for (std::int64_t i = 0; i < steps; ++i) {
      rows.weight_version = model().weight_version();
      update->connect("completions", {Value::of(rows)});
      update->fire(i);
      losses.push_back(update->context.metrics.at("actor/loss"));
    }
    return {{"losses", losses}};
  }

  std::string folder_;
  std::unique_ptr<Bench> actor_, clip_, update_;
  Completions rows_;
  std::unique_ptr<oneapi::tbb::global_control> limit_;
};

}  // namespace

void bench_language(const std::string& folder) {
  if (folder.empty()) {
    print_figure({{"bench", "language"}, {"run", "tests/bench/language_models.py"}});
    return;
  }
  at::set_num_threads(1);
  LanguageBench bench(folder);
  for (std::string line; std::getline(std::cin, line);) print_figure(bench.answer(line));
}

}  // namespace rewardloom::bench
