#include "nodes/reward/python_pool.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <filesystem>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr std::size_t kLogBytes = 1 << 20;
constexpr std::size_t kMostSentAhead = 32;
constexpr double kTick = 0.1;  ///< seconds between two looks at whether the run is to stop

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

bool PythonFunction::takes(std::string_view keyword) const {
  return any_keyword || contains(names, keyword);
}

bool PythonFunction::needs(std::string_view keyword) const {
  return contains(required, keyword) && !contains(args, keyword);
}

/// The calls of one `run`.
struct PythonPool::Work {
  const std::vector<std::string>& calls;
  std::vector<PythonAnswer> answers;
  std::deque<std::size_t> waiting;
  std::size_t done = 0;

  explicit Work(const std::vector<std::string>& given) : calls(given), answers(given.size()) {
    for (std::size_t i = 0; i < given.size(); ++i) waiting.push_back(i);
  }
  bool finished() const { return done == calls.size(); }
  void settle(std::size_t call, PythonAnswer answer) {
    answers[call] = std::move(answer);
    ++done;
  }
};

PythonPool::PythonPool(PythonPoolOptions options) : options_(std::move(options)) {
  workers_.resize(std::max<std::size_t>(options_.workers, 1));
}

PythonPool::~PythonPool() {
  for (Worker& worker : workers_) {
    if (worker.process) worker.process->finish();
  }
}

const PythonFunction& PythonPool::function() {
  Worker& first = workers_.front();
  try {
    while (!known_) {
      if (!first.process) start(first);
      wait(kTick);
      serve(first, nullptr);
      check_time(first, nullptr);
    }
  } catch (...) {
    first = Worker();
    throw;
  }
  return function_;
}

std::vector<PythonAnswer> PythonPool::run(const std::vector<std::string>& calls,
                                          const std::function<bool()>& cancelled) {
  function();
  Work work(calls);
  try {
    while (!work.finished()) {
      if (cancelled()) {
        throw Failure("cancelled", fmt::format("stopped while {} was running", options_.job.file));
      }
      hand_out(work);
      wait(seconds_left());
      for (Worker& worker : workers_) {
        if (!worker.process) continue;
        serve(worker, &work);
        check_time(worker, &work);
      }
    }
  } catch (...) {
    // What they still have belongs to no run any more.
    for (Worker& worker : workers_) {
      if (worker.process) worker.process->kill();
    }
    for (Worker& worker : workers_) worker = Worker();
    ending_.clear();
    throw;
  }
  ending_.clear();
  return std::move(work.answers);
}

void PythonPool::start(Worker& worker) {
  worker.process = std::make_unique<PythonProcess>(
      options_.job, [this](std::string_view text) { note_output(text); });
  worker.ready = false;
  worker.outstanding.clear();
  worker.since = Clock::now();
}

/// Gives calls to idle workers, fewer at once towards the end, so that none is left with many.
void PythonPool::hand_out(Work& work) {
  std::size_t asked = 0;
  for (const Worker& worker : workers_) asked += worker.process != nullptr;
  for (Worker& worker : workers_) {
    if (work.waiting.empty()) return;
    if (!worker.process) {
      if (asked >= work.waiting.size()) continue;
      start(worker);
      ++asked;
    }
    if (!worker.ready) continue;
    const std::size_t ahead =
        std::clamp<std::size_t>(work.waiting.size() / (4 * workers_.size()), 1, kMostSentAhead);
    if (worker.outstanding.size() > ahead / 2) continue;
    while (worker.outstanding.size() < ahead && !work.waiting.empty()) {
      const std::size_t call = work.waiting.front();
      worker.process->send(work.calls[call]);
      work.waiting.pop_front();
      if (worker.outstanding.empty()) worker.since = Clock::now();
      worker.outstanding.push_back(call);
    }
    worker.process->pump();
  }
}

double PythonPool::seconds_left() const {
  double left = kTick;
  for (const Worker& worker : workers_) {
    if (!worker.process || (worker.ready && worker.outstanding.empty())) continue;
    const double limit = worker.ready ? options_.deadline : options_.start_deadline;
    const std::chrono::duration<double> spent = Clock::now() - worker.since;
    left = std::min(left, limit - spent.count());
  }
  return std::max(left, 0.0);
}

void PythonPool::wait(double seconds) {
  std::vector<pollfd> events;
  for (const Worker& worker : workers_) {
    if (!worker.process) continue;
    const PythonProcess& process = *worker.process;
    const short sending = process.wants_to_send() ? POLLOUT : 0;
    // poll leaves out negative descriptors.
    events.push_back({process.data(), static_cast<short>(POLLIN | sending), 0});
    events.push_back({process.output(), POLLIN, 0});
    events.push_back({process.status(), POLLIN, 0});
  }
  ::poll(events.data(), events.size(), static_cast<int>(seconds * 1000) + 1);
}

void PythonPool::serve(Worker& worker, Work* work) {
  worker.process->pump();
  while (const auto frame = worker.process->next()) {
    if (!worker.ready) {
      take_ready(worker, *frame);
      continue;
    }
    if (work == nullptr || worker.outstanding.empty()) continue;
    Json answer = Json::parse(*frame, nullptr, false);
    if (answer.is_discarded()) {
      return lose(worker, work, "another process wrote into the stream of results");
    }
    work->settle(worker.outstanding.front(), {std::move(answer), ""});
    worker.outstanding.pop_front();
    worker.since = Clock::now();
  }
  if (!worker.process->ended()) return;
  if (!worker.ready) {
    fail_start(*worker.process, fmt::format("ended before it had loaded {} ({})", options_.job.file,
                                            worker.process->how_it_ended()));
  }
  lose(worker, work, "its process ended: " + worker.process->how_it_ended());
}

void PythonPool::take_ready(Worker& worker, const std::string& frame) {
  const Json message = Json::parse(frame);
  if (message.contains("fault")) {
    const Json& fault = message["fault"];
    std::string text = fault[1].get<std::string>();
    const std::string printed = worker.process->printed();
    if (!printed.empty()) text += "; it printed: " + printed;
    throw Failure(fault[0].get<std::string>(), text, fault[2].get<std::string>());
  }
  const Json& ready = message.at("ready");
  ready.at("function").get_to(function_.name);
  ready.at("convention").get_to(function_.convention);
  ready.at("any").get_to(function_.any_keyword);
  ready.at("names").get_to(function_.names);
  ready.at("required").get_to(function_.required);
  ready.at("args").get_to(function_.args);
  known_ = true;
  worker.ready = true;
}

void PythonPool::check_time(Worker& worker, Work* work) {
  if (!worker.process || (worker.ready && worker.outstanding.empty())) return;
  const std::chrono::duration<double> spent = Clock::now() - worker.since;
  if (!worker.ready && spent.count() > options_.start_deadline) {
    fail_start(*worker.process, fmt::format("has not loaded {} after {:g} s", options_.job.file,
                                            options_.start_deadline));
  }
  if (worker.ready && spent.count() > options_.deadline) {
    lose(worker, work, fmt::format("no answer within the deadline of {:g} s", options_.deadline));
  }
}

/// The first of its calls failed; the others are for another process.
void PythonPool::lose(Worker& worker, Work* work, const std::string& reason) {
  if (work != nullptr && !worker.outstanding.empty()) {
    const std::string printed = worker.process->printed();
    work->settle(worker.outstanding.front(),
                 {Json(), printed.empty() ? reason : reason + "; it printed: " + printed});
    worker.outstanding.pop_front();
    work->waiting.insert(work->waiting.begin(), worker.outstanding.begin(),
                         worker.outstanding.end());
  }
  worker.process->kill();
  ending_.push_back(std::move(worker.process));
  worker = Worker();
}

void PythonPool::fail_start(const PythonProcess& process, const std::string& what) const {
  std::string text = fmt::format("{} {}", options_.job.interpreter, what);
  const std::string printed = process.printed();
  if (!printed.empty()) text += "; it printed: " + printed;
  throw Failure(
      "python-start", text,
      "try it with the same interpreter: it must be Python 3.8 or later, and the file must "
      "load within start_deadline and memory");
}

void PythonPool::note_output(std::string_view text) {
  if (options_.log.empty() || logged_ >= kLogBytes) return;
  if (!log_.is_open()) {
    std::filesystem::create_directories(std::filesystem::path(options_.log).parent_path());
    log_.open(options_.log, std::ios::app | std::ios::binary);
  }
  const std::string_view part = text.substr(0, kLogBytes - logged_);
  logged_ += part.size();
  log_ << part;
  if (logged_ >= kLogBytes) log_ << "\n(more was printed)\n";
  log_.flush();
}

}  // namespace rewardloom
