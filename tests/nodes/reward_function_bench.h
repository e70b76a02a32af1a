// Runs reward.python on answers that a test makes up, with the functions of reward_functions/.
#pragma once
#include <signal.h>
#include <torch/types.h>
#include <unistd.h>

#include <QElapsedTimer>
#include <cerrno>
#include <fstream>
#include <map>
#include <set>

#include "tests/nodes/node_bench.h"
#include "tests/qt_test.h"

namespace rewardloom::testing {

inline std::string function_file(const std::string& name) {
  return std::string(REWARDLOOM_SOURCE_DIR) + "/tests/nodes/reward_functions/" + name;
}

/// Completions whose answers are `texts`, each character a token, in groups of `group_size`.
inline Completions written(const std::vector<std::string>& texts, std::vector<Json> fields = {},
                           std::int64_t group_size = 2) {
  std::size_t longest = 1;
  for (const std::string& text : texts) longest = std::max(longest, text.size());
  const auto rows = static_cast<std::int64_t>(texts.size());
  Completions c;
  c.tokens = at::zeros({rows, 2 + static_cast<std::int64_t>(longest)}, at::kLong);
  c.kinds = at::zeros_like(c.tokens, at::kChar);
  c.kinds.slice(1, 0, 2).fill_(static_cast<std::int64_t>(TokenKind::prompt));
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::string& text = texts[static_cast<std::size_t>(row)];
    for (std::size_t t = 0; t < text.size(); ++t) {
      c.tokens[row][static_cast<std::int64_t>(2 + t)] = static_cast<unsigned char>(text[t]);
      c.kinds[row][static_cast<std::int64_t>(2 + t)] = static_cast<std::int64_t>(TokenKind::action);
    }
    c.prompt_text.push_back("p" + std::to_string(row));
  }
  c.group = at::arange(rows) / group_size;
  c.group = c.group.to(at::kLong);
  c.text = texts;
  c.reference.resize(texts.size());
  c.fields = std::move(fields);
  c.batch = 5;
  return c;
}

struct Scored {
  std::vector<double> total;
  std::set<std::int64_t> absent;
  std::map<std::int64_t, std::string> failed;
  std::map<std::string, double> metrics;
  std::map<std::string, std::vector<double>> components;
  std::vector<std::string> alarms;
};

inline std::vector<double> list_of(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kDouble).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

/// The node, kept, so that its workers are.
class Function {
 public:
  Function(const std::string& file, const std::string& function, Json params = Json::object())
      : bench_("reward.python", complete(file, function, std::move(params)), "score") {
    bench_.context.skip_rows = true;
  }
  Scored operator()(const Completions& completions, std::int64_t iteration = 0) {
    bench_.context.failed_rows.clear();
    bench_.context.metrics.clear();
    bench_.context.alarms.clear();
    bench_.connect("completions", {Value::of(completions)});
    bench_.fire(iteration);
    const Rewards& rewards = bench_.out<Rewards>("rewards");
    Scored out;
    out.total = list_of(rewards.total);
    if (rewards.absent.defined()) {
      const std::vector<double> absent = list_of(rewards.absent);
      for (std::size_t i = 0; i < absent.size(); ++i) {
        if (absent[i] != 0) out.absent.insert(static_cast<std::int64_t>(i));
      }
    }
    out.failed = bench_.context.failed_rows;
    out.metrics = bench_.context.metrics;
    out.alarms = bench_.context.alarms;
    for (const auto& [name, tensor] : rewards.components) out.components[name] = list_of(tensor);
    return out;
  }
  Bench& bench() { return bench_; }

 private:
  static Json complete(const std::string& file, const std::string& function, Json params) {
    params["file"] = file.starts_with('/') ? file : function_file(file);
    if (!function.empty()) params["function"] = function;
    if (!params.contains("workers")) params["workers"] = 1;
    return params;
  }
  Bench bench_;
};

inline Scored score(const std::string& file, const std::string& function, const Completions& c,
                    const Json& params = Json::object()) {
  return Function(file, function, params)(c);
}

inline Problem problem_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.problem();
  }
  return {Severity::note, "none", {}, "nothing was thrown", "", {}};
}

inline Problem start_problem(const std::string& file, const std::string& function = "",
                             const Json& params = Json::object()) {
  return problem_of([&] { score(file, function, written({"a"}), params); });
}

inline bool has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  qWarning("\"%s\" is not in \"%s\"", part.c_str(), text.c_str());
  return false;
}

inline std::vector<Json> same_fields(std::size_t rows, const Json& fields) {
  return std::vector<Json>(rows, fields);
}

/// Process ids that a function wrote down.
inline std::vector<pid_t> noted(const std::string& file) {
  std::ifstream in(file);
  std::vector<pid_t> list;
  for (pid_t pid; in >> pid;) list.push_back(pid);
  return list;
}

inline bool all_gone(const std::vector<pid_t>& processes, int milliseconds) {
  QElapsedTimer timer;
  timer.start();
  while (timer.elapsed() < milliseconds) {
    bool gone = true;
    for (const pid_t pid : processes) gone = gone && ::kill(pid, 0) < 0 && errno == ESRCH;
    if (gone) return true;
    QTest::qSleep(10);
  }
  return false;
}

/// Children of this process, zombies too.
inline std::size_t own_children() {
  std::ifstream in("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  std::size_t count = 0;
  for (pid_t pid; in >> pid;) ++count;
  return count;
}

}  // namespace rewardloom::testing
