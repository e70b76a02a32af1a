#include "nodes/code/runner_params.h"

#include <algorithm>

namespace rewardloom {

RunnerParams::RunnerParams(Node* node)
    : language(node, "language", ProgramLanguage::python, "what the programs are written in"),
      timeout_s(node, "timeout_s", 10.0, "longest time of one test",
                {.min = 0.01, .max = 60, .unit = "s"}),
      memory_mb(
          node, "memory_mb", 512,
          "address space of a process of a program; all of its processes together may hold twice that",
          {.min = 64, .max = 1 << 20, .unit = "MiB"}),
      processes(node, "processes", 16, "most processes and threads of a program",
                {.min = 1, .max = 1024, .unit = "processes"}),
      output_mb(node, "output_mb", 4, "longest output, and largest file",
                {.min = 1, .max = 1024, .unit = "MiB"}),
      workers(node, "workers", 2, "sandboxes at once", {.min = 1, .max = 256, .unit = "sandboxes"}),
      compare(node, "compare", OutputCompare::strip_equal, "when an output is the expected one"),
      tolerance(node, "tolerance", 1e-6, "of float_tol", {.min = 0}),
      quiet(node, "quiet", true,
            "a pass needs some output and an empty standard error, as UTRL has it"),
      max_tokens(node, "max_tokens", 16, "longest program of the mini-language",
                 {.min = 1, .max = 4096, .unit = "tokens"}),
      max_steps(node, "max_steps", 64, "longest run of the mini-language",
                {.min = 1, .max = 10000, .unit = "steps"}) {}

ProgramPoolOptions RunnerParams::options() const {
  ProgramPoolOptions out;
  out.language = language();
  out.limits.seconds = timeout_s();
  out.limits.memory = memory_mb();
  out.limits.processes = processes();
  out.limits.output = output_mb();
  out.limits.folder = std::max<std::int64_t>(out.limits.folder, 4 * output_mb());
  out.rules = {compare(), tolerance(), quiet()};
  out.workers = static_cast<std::size_t>(workers());
  return out;
}

void ProgramRunner::prepare(const RunnerParams& params) const {
  if (params.language() == ProgramLanguage::mini) return;
  const std::lock_guard lock(mutex_);
  pool(params).start();
}

ProgramPool& ProgramRunner::pool(const RunnerParams& params) const {
  if (!pool_) pool_ = std::make_unique<ProgramPool>(params.options());
  return *pool_;
}

std::vector<ProgramVerdicts> ProgramRunner::run(const RunnerParams& params,
                                                const std::vector<ProgramJob>& jobs,
                                                const std::function<bool()>& cancelled) const {
  if (params.language() != ProgramLanguage::mini) {
    const std::lock_guard lock(mutex_);
    return pool(params).run(jobs, cancelled);
  }
  std::vector<ProgramVerdicts> out;
  out.reserve(jobs.size());
  for (const ProgramJob& job : jobs) {
    out.push_back(run_mini(job, params.max_tokens(), params.max_steps()));
  }
  return out;
}

void report_verdicts(Step& step, const std::vector<ProgramVerdicts>& programs) {
  std::array<double, 6> count{};
  double tests = 0;
  for (const ProgramVerdicts& program : programs) {
    for (const Verdict verdict : program.verdicts) ++count[static_cast<std::size_t>(verdict)];
    tests += static_cast<double>(program.verdicts.size());
  }
  step.metric("tests", tests);
  if (tests == 0) return;
  constexpr std::pair<Verdict, const char*> kMetrics[] = {
      {Verdict::pass, "pass_rate"}, {Verdict::wrong, "wrong"},
      {Verdict::error, "errors"},   {Verdict::timeout, "timeouts"},
      {Verdict::fault, "faults"},   {Verdict::compile_error, "compile_errors"}};
  for (const auto& [verdict, name] : kMetrics) {
    step.metric(name, count[static_cast<std::size_t>(verdict)] / tests);
  }
}

}  // namespace rewardloom
