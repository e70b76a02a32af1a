#include "nodes/code/program_pool.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

using PoolClock = std::chrono::steady_clock;

constexpr double kPoolTick = 0.1;
constexpr double kSandboxStart = 30;    ///< seconds
constexpr double kAnswerGrace = 20;     ///< seconds after a test's own deadline
constexpr double kWatchAfter = 0.2;     ///< seconds of a test before its memory is looked at
constexpr std::size_t kSentAhead = 2;   ///< so that a driver need not wait for us
constexpr std::size_t kMostLosses = 2;  ///< sandboxes that may end under the same test
constexpr std::int64_t kMostFiles = 4096;
constexpr std::int64_t kMebi = 1 << 20;
/// Bubblewrap, the driver, the test's process, and what has ended but is not yet gone.
constexpr std::int64_t kOwnProcesses = 12;

double seconds_since_start(PoolClock::time_point start) {
  return std::chrono::duration<double>(PoolClock::now() - start).count();
}

/// Sandboxes die with the thread that started them, so one that lives as long as the pool does it.
class StartingThread {
 public:
  StartingThread() : thread_([this] { serve(); }) {}
  ~StartingThread() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  StartingThread(const StartingThread&) = delete;
  StartingThread& operator=(const StartingThread&) = delete;

  std::unique_ptr<Sandbox> start(const SandboxOptions& options, SandboxUser user) {
    std::unique_lock lock(mutex_);
    work_ = [&] { made_ = std::make_unique<Sandbox>(options, user); };
    changed_.notify_all();
    changed_.wait(lock, [this] { return !work_; });
    if (fault_) std::rethrow_exception(std::exchange(fault_, nullptr));
    return std::move(made_);
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || work_; });
      if (ending_) return;
      try {
        work_();
      } catch (const Failure&) {
        fault_ = std::current_exception();
      }
      work_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> work_;
  std::unique_ptr<Sandbox> made_;
  std::exception_ptr fault_;
  bool ending_ = false;
  std::thread thread_;
};

struct Answer {
  Json facts;
  std::string out;
  std::string error;
};

Answer read_answer(const std::string& frame) {
  Answer answer;
  const std::size_t end = frame.find('\0');
  answer.facts = Json::parse(frame.substr(0, end));
  const std::size_t begin = end + 1;
  const auto out = answer.facts.at("sizes").at(0).get<std::size_t>();
  answer.out = frame.substr(begin, out);
  answer.error = frame.substr(begin + out);
  return answer;
}

ProgramStop stop_of(const Json& name) {
  if (!name.is_string()) return ProgramStop::none;
  if (name == "timeout") return ProgramStop::timeout;
  return name == "output" ? ProgramStop::output : ProgramStop::files;
}

ProgramRun run_of(Answer answer) {
  ProgramRun run;
  const Json& facts = answer.facts;
  run.stop = stop_of(facts.at("stopped"));
  run.compiled = facts.value("compiled", true);
  run.has_status = facts.at("status").is_number();
  if (run.has_status) run.status = facts.at("status").get<int>();
  if (facts.contains("verdict") && facts["verdict"].is_array()) {
    run.verdict = facts["verdict"][0].get<std::string>();
    run.text = facts["verdict"][1].get<std::string>();
  }
  run.out = std::move(answer.out);
  run.error = std::move(answer.error);
  return run;
}

}  // namespace

class ProgramPool::Engine {
 public:
  explicit Engine(ProgramPoolOptions options) : options_(std::move(options)) {
    workers_.resize(std::max<std::size_t>(options_.workers, 1));
    options_.sandbox.folder = options_.limits.folder;
  }

  void start() {
    Worker& first = workers_.front();
    try {
      open(first);
      while (!first.ready) {
        wait();
        serve(first, nullptr);
      }
    } catch (const Failure&) {
      first = Worker();
      throw;
    }
  }

  std::vector<ProgramVerdicts> run(const std::vector<ProgramJob>& jobs,
                                   const std::function<bool()>& cancelled) {
    Work work(jobs, options_.language == ProgramLanguage::cpp);
    try {
      while (work.open > 0) {
        if (cancelled()) throw Failure("cancelled", "stopped while programs were running");
        feed(work);
        wait();
        for (Worker& worker : workers_) {
          if (worker.box) serve(worker, &work);
          if (worker.box) check(worker, work);
        }
      }
    } catch (...) {
      // What they still have belongs to no run any more.
      for (Worker& worker : workers_) worker = Worker();
      throw;
    }
    return work.verdicts();
  }

 private:
  static constexpr std::size_t kCompile = static_cast<std::size_t>(-1);

  /// A frame that was sent: a test, or the compilation before a program's tests.
  struct Sent {
    std::size_t job;
    std::size_t test;
  };
  /// Tests of one program that stay on one sandbox, compiled there first if need be.
  struct Unit {
    std::size_t job;
    std::size_t next;
    std::size_t end;
    bool compile;
  };
  struct Worker {
    std::unique_ptr<Sandbox> box;
    bool ready = false;
    PoolClock::time_point since;    ///< when it was started, or began with the first frame
    PoolClock::time_point watched;  ///< when its memory was looked at
    std::deque<Sent> sent;
    std::optional<Unit> unit;      ///< with tests that are still to be sent
    std::size_t job = 0, end = 0;  ///< of the unit that was taken last
  };

  struct Work {
    const std::vector<ProgramJob>& jobs;
    std::deque<Unit> waiting;
    std::vector<std::vector<TestResult>> results;
    std::map<std::pair<std::size_t, std::size_t>, std::size_t> losses;
    std::size_t open = 0;

    Work(const std::vector<ProgramJob>& given, bool compile) : jobs(given), results(given.size()) {
      for (std::size_t job = 0; job < given.size(); ++job) {
        const std::size_t count = given[job].tests->size();
        results[job].resize(count);
        open += count;
        if (compile && count > 0) waiting.push_back({job, 0, count, true});
        for (std::size_t test = 0; !compile && test < count; ++test) {
          waiting.push_back({job, test, test + 1, false});
        }
      }
    }
    void settle(const Sent& sent, TestResult result) {
      results[sent.job][sent.test] = std::move(result);
      --open;
    }
    std::vector<ProgramVerdicts> verdicts() const {
      std::vector<ProgramVerdicts> out(results.size());
      for (std::size_t job = 0; job < results.size(); ++job) {
        for (const TestResult& result : results[job]) {
          if (result.verdict != Verdict::pass && out[job].message.empty()) {
            out[job].message = test_message(out[job].verdicts.size(), result);
          }
          out[job].verdicts.push_back(result.verdict);
        }
      }
      return out;
    }
  };

  void open(Worker& worker) {
    if (worker.box) return;
    worker.box = thread_.start(options_.sandbox, options_.user);
    worker.ready = false;
    worker.since = PoolClock::now();
    worker.sent.clear();
  }

  void wait() {
    std::vector<pollfd> events;
    for (const Worker& worker : workers_) {
      if (!worker.box) continue;
      // poll leaves out negative descriptors.
      events.push_back({worker.box->answers(), POLLIN, 0});
      events.push_back({worker.box->output(), POLLIN, 0});
      events.push_back({worker.box->commands_waiting(), POLLOUT, 0});
      events.push_back({worker.box->tests_waiting(), POLLOUT, 0});
    }
    ::poll(events.data(), events.size(), static_cast<int>(1000 * kPoolTick));
  }

  void feed(Work& work) {
    std::size_t asked = 0;
    for (const Worker& worker : workers_) asked += worker.box != nullptr;
    for (Worker& worker : workers_) {
      if (!worker.box && !work.waiting.empty() && asked < work.waiting.size() + 1) {
        open(worker);
        ++asked;
      }
      if (!worker.ready) continue;
      while (worker.sent.size() < kSentAhead && send_next(worker, work)) {
      }
      worker.box->pump();
    }
  }

  /// Sends one frame, if there is one that can be sent now.
  bool send_next(Worker& worker, Work& work) {
    if (!worker.unit) {
      if (work.waiting.empty()) return false;
      if (work.waiting.front().compile && !worker.sent.empty()) return false;
      worker.unit = work.waiting.front();
      work.waiting.pop_front();
      worker.job = worker.unit->job;
      worker.end = worker.unit->end;
    }
    Unit& unit = *worker.unit;
    if (unit.compile) {
      if (!worker.sent.empty()) return false;
      send(worker, {unit.job, kCompile}, compile_command(work.jobs[unit.job].source), "");
      return true;
    }
    const ProgramTest& test = (*work.jobs[unit.job].tests)[unit.next];
    send(worker, {unit.job, unit.next}, test_command(work.jobs[unit.job], test), test_text(test));
    if (++unit.next == unit.end) worker.unit.reset();
    return true;
  }

  void send(Worker& worker, const Sent& what, const Json& command, const std::string& test) {
    const std::string text = command.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (!worker.box->send(text, test)) {
      throw Failure("bad-test", "a program or a test has 4 GiB or more", "take it out");
    }
    if (worker.sent.empty()) worker.since = worker.watched = PoolClock::now();
    worker.sent.push_back(what);
  }

  Json limits_of(double seconds, std::int64_t memory, std::int64_t file) const {
    return {{"seconds", seconds},
            {"memory", memory * kMebi},
            {"processes", options_.limits.processes},
            {"file", file * kMebi},
            {"files", kMostFiles}};
  }

  Json compile_command(const std::string& source) const {
    const ProgramLimits& limits = options_.limits;
    Json command = limits_of(limits.compile_seconds, limits.compile_memory,
                             std::max<std::int64_t>(limits.output, 32));
    command["processes"] = std::max<std::int64_t>(limits.processes, 16);
    command["kind"] = "compile";
    command["source"] = source;
    command["compiler"] = options_.compiler;
    command["flags"] = options_.compiler_flags;
    return command;
  }

  Json test_command(const ProgramJob& job, const ProgramTest& test) const {
    const bool is_cpp = options_.language == ProgramLanguage::cpp;
    if (is_cpp && test.asserts) {
      throw Failure("bad-test", "a C++ program cannot be tested by asserts",
                    "give its tests as {\"input\": text, \"output\": text}");
    }
    Json command =
        limits_of(options_.limits.seconds, options_.limits.memory, options_.limits.output);
    command["kind"] = test.asserts ? "asserts" : is_cpp ? "binary" : "python";
    if (!is_cpp) command["source"] = job.source;
    if (!test.asserts) command["input"] = test.input;
    return command;
  }

  static std::string test_text(const ProgramTest& test) {
    if (!test.asserts) return "";
    return Json{{"code", test.code}, {"entry", test.entry}}.dump(-1, ' ', true,
                                                                 Json::error_handler_t::replace);
  }

  void serve(Worker& worker, Work* work) {
    worker.box->pump();
    while (const auto frame = worker.box->next()) {
      if (!worker.ready) {
        take_ready(read_answer(*frame));
        worker.ready = known_ = true;
        continue;
      }
      if (work == nullptr || worker.sent.empty()) continue;
      take(worker, *work, read_answer(*frame));
      if (!worker.box) return;
    }
    if (worker.box->ended()) {
      if (!worker.ready) fail_start("ended: " + worker.box->printed());
      lose(worker, work, "its driver ended: " + worker.box->printed());
    } else if (!worker.ready && seconds_since_start(worker.since) > kSandboxStart) {
      fail_start(fmt::format("is not ready after {:g} s", kSandboxStart));
    }
  }

  /// The driver has tried whether a process can be kept from starting more than it may.
  static void take_ready(const Answer& answer) {
    if (answer.facts.value("limited", false)) return;
    throw Failure("sandbox-failed", "the limit on the number of processes does not hold here",
                  "run as an ordinary user, or install util-linux, which has setpriv");
  }

  void take(Worker& worker, Work& work, Answer answer) {
    const Sent sent = worker.sent.front();
    worker.sent.pop_front();
    worker.since = worker.watched = PoolClock::now();
    if (answer.facts.contains("missing")) {
      throw Failure("sandbox-compiler", fmt::format("the sandbox has no {}", options_.compiler),
                    "install g++ (apt-get install g++)");
    }
    const bool retire = answer.facts.value("retire", false);
    const ProgramRun run = run_of(std::move(answer));
    if (sent.test == kCompile) {
      take_compilation(worker, work, run);
    } else {
      const ProgramTest& test = (*work.jobs[sent.job].tests)[sent.test];
      work.settle(sent, judge_run(run, test, options_.rules, options_.limits));
    }
    if (retire) replace(worker, work);
  }

  void take_compilation(Worker& worker, Work& work, const ProgramRun& run) {
    Unit& unit = *worker.unit;
    unit.compile = false;
    const bool is_good = run.stop == ProgramStop::none && run.has_status && run.status == 0;
    if (is_good) return;
    const std::string text =
        run.stop == ProgramStop::timeout
            ? fmt::format("the compiler takes more than {:g} s", options_.limits.compile_seconds)
            : compiler_message(run.error);
    for (std::size_t test = unit.next; test < unit.end; ++test) {
      work.settle({unit.job, test}, {Verdict::compile_error, text});
    }
    worker.unit.reset();
  }

  /// The first line that tells of an error.
  static std::string compiler_message(const std::string& said) {
    const std::size_t error = said.find("error:");
    if (error == std::string::npos) return "the compiler gave up";
    const std::size_t begin = said.find_last_of('\n', error) + 1;
    return said.substr(begin, said.find('\n', error) - begin);
  }

  void check(Worker& worker, Work& work) {
    if (!worker.ready || worker.sent.empty()) return;
    const bool compiling = worker.sent.front().test == kCompile;
    const double limit = compiling ? options_.limits.compile_seconds : options_.limits.seconds;
    const double spent = seconds_since_start(worker.since);
    if (spent > limit + kAnswerGrace) return lose(worker, &work, "it gives no answer");
    if (compiling || spent < kWatchAfter || seconds_since_start(worker.watched) < kPoolTick) return;
    worker.watched = PoolClock::now();
    const std::int64_t most = options_.limits.processes + kOwnProcesses;
    const TreeUsage usage = usage_of_tree(worker.box->process(), most + 1);
    const ProgramStop stop = usage.processes > most ? ProgramStop::processes
                             : usage.resident > 2 * options_.limits.memory * kMebi
                                 ? ProgramStop::memory
                                 : ProgramStop::none;
    if (stop == ProgramStop::none) return;
    ProgramRun run;
    run.stop = stop;
    const Sent sent = worker.sent.front();
    worker.sent.pop_front();
    work.settle(sent, judge_run(run, (*work.jobs[sent.job].tests)[sent.test], options_.rules,
                                options_.limits));
    replace(worker, work);
  }

  /// The sandbox is gone; what it had is for another one.
  void replace(Worker& worker, Work& work) {
    if (options_.language == ProgramLanguage::cpp) {
      const bool has_test = !worker.sent.empty() && worker.sent.front().test != kCompile;
      if (has_test || worker.unit) {
        const std::size_t first = has_test ? worker.sent.front().test : worker.unit->next;
        work.waiting.push_front({worker.job, first, worker.end, true});
      }
    } else {
      for (auto sent = worker.sent.rbegin(); sent != worker.sent.rend(); ++sent) {
        work.waiting.push_front({sent->job, sent->test, sent->test + 1, false});
      }
    }
    worker = Worker();
  }

  /// It ended without our doing. The test that it had may be tried once more.
  void lose(Worker& worker, Work* work, const std::string& reason) {
    if (work == nullptr || worker.sent.empty()) {
      if (work != nullptr && worker.unit) return replace(worker, *work);
      worker = Worker();
      return;
    }
    const Sent& sent = worker.sent.front();
    if (++work->losses[{sent.job, sent.test}] >= kMostLosses) {
      throw Failure("sandbox-lost",
                    fmt::format("a sandbox ended twice under the same test of program {}, the "
                                "second time: {}",
                                sent.job, reason),
                    "is the machine short of memory, processes or open files? This says nothing "
                    "about the program: run it again");
    }
    replace(worker, *work);
  }

  [[noreturn]] void fail_start(const std::string& what) const {
    const std::string text = fmt::format("{} {}", options_.sandbox.bubblewrap, what);
    if (known_)
      throw Failure("sandbox-failed", text, "is the machine short of memory or processes?");
    throw Failure("sandbox-missing", text, std::string(sandbox_help()));
  }

  ProgramPoolOptions options_;
  StartingThread thread_;
  bool known_ = false;  ///< whether a sandbox has worked
  std::vector<Worker> workers_;
};

ProgramPool::ProgramPool(ProgramPoolOptions options)
    : engine_(std::make_unique<Engine>(std::move(options))) {}
ProgramPool::~ProgramPool() = default;

void ProgramPool::start() { engine_->start(); }

std::vector<ProgramVerdicts> ProgramPool::run(const std::vector<ProgramJob>& jobs,
                                              const std::function<bool()>& cancelled) {
  return engine_->run(jobs, cancelled);
}

}  // namespace rewardloom
