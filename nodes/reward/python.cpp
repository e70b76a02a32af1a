#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>

#include "engine/core/registry.h"
#include "nodes/reward/python_pool.h"
#include "nodes/reward/python_rows.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

constexpr std::size_t kReasonsShown = 3;

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::string whole_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in && std::filesystem::is_regular_file(path)) return text;
  throw Failure("python-file", fmt::format("{} cannot be read", path),
                "set file to the Python file that holds the reward function");
}

}  // namespace

struct PythonReward final : Node, Prepares {
  Input<Completions> completions{this, "completions", "the answers, with the fields of their rows"};
  Output<Rewards> rewards{this, "rewards", "what the function returned for each answer"};
  Param<std::string> file{this, "file", required, "the Python file", {.path = true}};
  Param<std::string> function{
      this, "function", "",
      "the function in it; empty: compute_score, or the only one that looks like verl's or TRL's"};
  Param<RewardConvention> convention{this, "convention", RewardConvention::automatic,
                                     "how it is called"};
  Param<Json> args{this, "args", Json::object(),
                   "further keyword arguments, the same in each call; they win over the rows'"};
  Param<Json> columns{
      this, "columns", Json::object(),
      "where keyword arguments are found in the rows, e.g. {\"solution\": \"reward_model.truth\"}; "
      "\"reference\" is the reference answer"};
  Param<AtOnce> at_once{this, "at_once", AtOnce::all, "what a function of TRL's kind gets at once"};
  Param<bool> conversational{
      this, "conversational", false,
      "TRL: prompts and completions are lists of {role, content} instead of texts"};
  Param<std::string> python{this, "python", "python3", "the interpreter"};
  Param<std::int64_t> workers{
      this, "workers", 4, "most processes at once", {.min = 1, .max = 256, .unit = "processes"}};
  Param<double> deadline{
      this, "deadline", 10.0, "longest call", {.min = 0, .exclusive_min = true, .unit = "s"}};
  Param<double> start_deadline{this,
                               "start_deadline",
                               60.0,
                               "longest time to load the file",
                               {.min = 0, .exclusive_min = true, .unit = "s"}};
  Param<std::int64_t> memory{this,
                             "memory",
                             4096,
                             "data that one process may hold, RLIMIT_DATA; 0: no limit",
                             {.min = 0, .unit = "MiB"}};
  Synonyms words{
      this, {"custom reward function", "verl", "TRL", "compute_score", "verifier", "rule-based"}};
  Doc doc{
      this,
      "Calls a reward function as verl or TRL do, from a file that needs no change; arguments that "
      "the function does not take are left out.\n"
      "verl: compute_score(data_source, solution_str, ground_truth, extra_info=None) -> a number "
      "or "
      "a dict with \"score\". Each argument is the row's field of that name (ground_truth also "
      "reward_model.ground_truth, or the reference answer). TRL: f(prompts, completions, "
      "completion_ids, trainer_state, log_metric, log_extra, a list per column) -> a list of "
      "numbers or None. Both may be async.\n"
      "rewards [N]. An exception, None under verl, text, NaN, infinity, a list of another length, "
      "a call beyond its deadline or the end of the process make the rows of that call fail: they "
      "are absent, never 0 (under on_error skip_row; else the run stops). None under TRL says that "
      "the function does not apply: the row is absent and no failure (metric not_applicable). "
      "Numbers in a dict are metrics, and components if all rows have them.\n"
      "The file is loaded once by each of up to `workers` processes, started as needed and kept; "
      "what they print goes to logs/ in the run folder. random, numpy and torch are seeded before "
      "each call, so that neither workers nor order change a result. All processes that the "
      "function starts end with the node.\n"
      "It is isolation against accidents: the code runs with your rights, so run only code that "
      "you trust."};

  void prepare(const StepSettings& settings) const override {
    const std::lock_guard lock(mutex_);
    pool(settings).function();
  }

  void run(Step& step) const override {
    const std::lock_guard lock(mutex_);
    const Completions& c = step[completions];
    PythonPool& workers_pool = pool(step.settings());
    const PythonCalls calls =
        python_calls(step, c, {workers_pool.function(), at_once(), conversational(), columns()});
    const auto answers = workers_pool.run(calls.messages, [&] { return step.cancelled(); });
    give(step, c, python_scores(c.text.size(), calls, answers));
  }

 private:
  PythonPool& pool(const StepSettings& settings) const {
    if (pool_) return *pool_;
    for (const Json* object : {&args(), &columns()}) {
      if (object->is_object() || object->is_null()) continue;
      throw Failure("param-kind",
                    fmt::format("args and columns are objects, not {}", object->type_name()),
                    R"(write {"name": value})");
    }
    PythonPoolOptions options;
    options.job.file = std::filesystem::absolute(path_from(settings.file, file())).string();
    options.job.source = whole_file(options.job.file);
    options.job.interpreter = python();
    options.job.function = function();
    options.job.convention = detail::json_of(convention()).get<std::string>();
    if (args().is_object()) options.job.args = args();
    options.job.memory = memory();
    options.workers = static_cast<std::size_t>(workers());
    options.deadline = deadline();
    options.start_deadline = start_deadline();
    if (!settings.run_dir.empty()) {
      std::string name = settings.node;
      std::replace(name.begin(), name.end(), '/', '.');
      options.log = (std::filesystem::path(settings.run_dir) / "logs" / (name + ".txt")).string();
    }
    pool_ = std::make_unique<PythonPool>(std::move(options));
    return *pool_;
  }

  void give(Step& step, const Completions& c, const PythonScores& found) const {
    RowScores scores(found.score.size());
    std::vector<std::uint8_t> absent(found.score.size());
    double not_applicable = 0;
    for (std::size_t row = 0; row < found.score.size(); ++row) {
      absent[row] = found.scored[row] == 0;
      if (found.scored[row] != 0) {
        scores.set(row, found.score[row]);
      } else if (found.failure[row].empty()) {
        ++not_applicable;
      } else {
        scores.fail(step, row, fmt::format("{}: {}", file(), found.failure[row]));
      }
    }
    report_failures(step, found);
    if (not_applicable > 0) step.metric("not_applicable", not_applicable);
    for (const auto& [name, values] : found.metrics) step.metric(name, mean_of(values));
    at::Tensor missing;
    if (std::find(absent.begin(), absent.end(), 1) != absent.end()) {
      missing = at::tensor(at::ArrayRef<std::uint8_t>(absent), at::dtype(at::kByte)).to(at::kBool);
    }
    Rewards out = scored(step, c, scores.scores(), missing);
    add_extras(step, found, out);
    step[rewards] = std::move(out);
  }

  void report_failures(Step& step, const PythonScores& found) const {
    std::size_t failed = 0;
    std::set<std::string> reasons;
    std::string text;
    for (std::size_t row = 0; row < found.failure.size(); ++row) {
      if (found.failure[row].empty()) continue;
      ++failed;
      if (reasons.size() >= kReasonsShown || !reasons.insert(found.failure[row]).second) continue;
      text += fmt::format("; row {}: {}", row, found.failure[row]);
    }
    if (failed == 0) return;
    step.metric("failed", static_cast<double>(failed));
    step.alarm("rows-failed", fmt::format("{}: {} of {} rows have no reward{}", file(), failed,
                                          found.failure.size(), text));
  }

  static void add_extras(Step& step, const PythonScores& found, Rewards& out) {
    std::map<std::string, std::vector<double>> columns_found;
    std::size_t rows = 0;
    for (std::size_t row = 0; row < found.score.size(); ++row) {
      rows += found.scored[row];
      for (const auto& [name, value] : found.extras[row]) columns_found[name].push_back(value);
    }
    for (const auto& [name, values] : columns_found) {
      step.metric(name, mean_of(values));
      if (values.size() != rows) continue;
      std::vector<double> all(found.score.size());
      for (std::size_t row = 0; row < all.size(); ++row) {
        if (found.scored[row] != 0) all[row] = found.extras[row].at(name);
      }
      out.components.emplace_back(
          name,
          at::tensor(at::ArrayRef<double>(all), at::dtype(at::kDouble)).to(out.total.device()));
    }
  }

  mutable std::mutex mutex_;
  mutable std::unique_ptr<PythonPool> pool_;
};

}  // namespace rewardloom

REWARDLOOM_NODE(PythonReward, "Reward function in Python (verl, TRL)", "")
