#include "engine/run/recorder.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <variant>

#include "engine/core/port_types.h"
#include "engine/io/histogram.h"
#include "engine/run/out_of_memory.h"
#include "engine/run/probe_rows.h"

namespace rewardloom {

namespace {
struct ProbeWork {
  std::int64_t iteration;
  std::string node;
  std::string port;
  Value value;
  Branches branches;
};
struct CompletionsWork {
  Value value;
  TokenText token_text;
  Branches branches;
};
struct SpanWork {
  std::int64_t iteration;
  std::vector<Span> spans;
};
}  // namespace

struct Recorder::Work {
  std::variant<MetricRow, ProbeWork, CompletionsWork, EventRow, AlarmRow, NodeRow, SpanWork> what;
};

struct Recorder::Implementation {
  explicit Implementation(const RecorderOptions& o)
      : options(o), store(o.folder / "run.db"), start(std::chrono::steady_clock::now()) {
    if (options.resumed_at) store.truncate_after(*options.resumed_at);
    if (options.tensorboard) {
      board =
          std::make_unique<TensorBoardWriter>(options.folder / "tensorboard", options.resumed_at);
    }
    if (options.trace) {
      trace = std::make_unique<TraceFile>(options.folder / "trace.json");
      trace->name_process("rewardloom");
    }
    thread = std::thread([this] { work_loop(); });
  }

  void work_loop();
  void write(Work& work);
  void write(const MetricRow& row);
  void write(const ProbeWork& work);
  void write_rows(const ProbeWork& work);
  void write(const CompletionsWork& work) {
    batches.remember(work.value, work.token_text, work.branches);
  }
  void write(const EventRow& row) { store.add(row); }
  void write(const AlarmRow& row) { store.add(row); }
  void write(const NodeRow& row) { store.add(row); }
  void write(const SpanWork& work);

  RecorderOptions options;
  RunStore store;
  std::unique_ptr<TensorBoardWriter> board;
  std::unique_ptr<TraceFile> trace;
  BatchTexts batches;
  std::chrono::steady_clock::time_point start;

  std::mutex mutex;
  std::condition_variable arrived;
  std::condition_variable drained;
  std::deque<Work> queue;
  std::size_t droppable = 0;
  bool busy = false;
  bool commit_wanted = false;
  bool stop = false;
  /// Whether waiting for more rows would serve nobody.
  bool hurried() const {
    constexpr std::size_t kMany = 1024;
    return stop || commit_wanted || queue.size() >= kMany || 4 * droppable >= options.queue_limit;
  }
  std::exception_ptr fault;
  std::atomic<std::uint64_t> dropped_values{0};
  std::atomic<std::uint64_t> dropped_spans{0};
  std::thread thread;
};

void Recorder::Implementation::work_loop() {
  std::unique_lock lock(mutex);
  for (;;) {
    arrived.wait_for(lock, std::chrono::milliseconds(200),
                     [&] { return !queue.empty() || stop || commit_wanted; });
    // Rows come in bursts: one transaction for what gathers meanwhile, instead of one for each,
    // leaves the processors to the nodes.
    constexpr std::chrono::milliseconds kGather(20);
    if (!queue.empty()) arrived.wait_for(lock, kGather, [&] { return hurried(); });
    std::deque<Work> batch;
    batch.swap(queue);
    droppable = 0;
    const bool commit = !batch.empty() || commit_wanted;
    busy = true;
    lock.unlock();
    try {
      if (options.before_write && !batch.empty()) options.before_write();
      for (Work& work : batch) write(work);
      if (commit) store.commit();
    } catch (...) {
      // Handed to whoever flushes next: the run must hear of a disk that refuses.
      const std::lock_guard fault_lock(mutex);
      if (!fault) fault = std::current_exception();
    }
    batch.clear();
    lock.lock();
    busy = false;
    if (queue.empty()) {
      commit_wanted = false;
      drained.notify_all();
      if (stop) return;
    }
  }
}

void Recorder::Implementation::write(Work& work) {
  std::visit([this](auto& what) { write(what); }, work.what);
}

void Recorder::Implementation::write(const MetricRow& row) {
  store.add(row);
  if (board) board->scalar(row.name, row.iteration, row.value);
}

void Recorder::Implementation::write(const ProbeWork& work) {
  try {
    write_rows(work);
  } catch (const std::exception& error) {
    const auto memory = out_of_memory(error);
    if (!memory) throw;
    Problem problem = memory->problem();
    problem.where = {"", work.node, work.port};
    problem.iteration = work.iteration;
    problem.text = "recording this port: " + problem.text;
    problem.help = fmt::format(
        "lower settings.record_bins, which is {}, or settings.record_samples", options.bins);
    throw Failure(std::move(problem));
  }
}

void Recorder::Implementation::write_rows(const ProbeWork& work) {
  for (const ProbeComponent& component : probe_components(work.value, work.branches)) {
    HistogramRow row{work.iteration, work.node, work.port, component.name,
                     distribution_of(component.values, component.present, options.bins)};
    if (board) {
      board->histogram(fmt::format("{}.{}/{}", work.node, work.port, component.name),
                       work.iteration, row.distribution);
    }
    store.add(row);
  }
  // One stream for all ports: of one batch each keeps the same rows, so that they can be joined.
  const std::uint64_t stream = hash_name("samples");
  for (SampleRow& row :
       sample_rows(work.value, batches, options.samples,
                   RandomKey{options.seed, stream, static_cast<std::uint64_t>(work.iteration)},
                   work.branches)) {
    row.iteration = work.iteration;
    row.node = work.node;
    row.port = work.port;
    store.add(row);
  }
}

void Recorder::Implementation::write(const SpanWork& work) {
  if (!trace) return;
  for (const Span& span : work.spans) {
    trace->add({.name = *span.name,
                .thread = span.thread,
                .start_us = span.start * 1e6,
                .duration_us = (span.end - span.start) * 1e6,
                .iteration = work.iteration});
  }
}

Recorder::Recorder(const RecorderOptions& options)
    : implementation_(std::make_unique<Implementation>(options)) {}

Recorder::~Recorder() {
  {
    const std::lock_guard lock(implementation_->mutex);
    implementation_->stop = true;
  }
  implementation_->arrived.notify_all();
  if (implementation_->thread.joinable()) implementation_->thread.join();
}

void Recorder::push(Work work, bool droppable) {
  bool wake = false;
  {
    const std::lock_guard lock(implementation_->mutex);
    if (droppable) ++implementation_->droppable;
    implementation_->queue.push_back(std::move(work));
    wake = implementation_->queue.size() == 1 || implementation_->hurried();
  }
  if (wake) implementation_->arrived.notify_one();
}

void Recorder::metric(std::int64_t iteration, std::string name, double value) {
  push({MetricRow{iteration, std::move(name), value}}, false);
}

void Recorder::probe(std::int64_t iteration, std::string node, std::string port, Value value,
                     Branches branches) {
  {
    const std::lock_guard lock(implementation_->mutex);
    if (implementation_->droppable >= implementation_->options.queue_limit) {
      ++implementation_->dropped_values;
      return;
    }
  }
  push({ProbeWork{iteration, std::move(node), std::move(port), std::move(value),
                  std::move(branches)}},
       true);
}

void Recorder::completions(Value value, TokenText token_text, Branches branches) {
  push({CompletionsWork{std::move(value), std::move(token_text), std::move(branches)}}, false);
}

void Recorder::event(std::int64_t iteration, std::string kind, std::string node, Json data) {
  push({EventRow{iteration, std::move(kind), std::move(node), data.dump()}}, false);
}

void Recorder::alarm(std::int64_t iteration, const Problem& problem) {
  AlarmRow row;
  row.iteration = iteration;
  row.node = problem.where.node;
  row.port = problem.where.port;
  row.code = problem.code;
  row.text = problem.text;
  row.help = problem.help;
  row.severity = problem.severity;
  push({row}, false);
}

void Recorder::node(NodeRow row) { push({std::move(row)}, false); }

void Recorder::spans(std::int64_t iteration, std::vector<Span> spans) {
  {
    const std::lock_guard lock(implementation_->mutex);
    if (implementation_->droppable >= implementation_->options.queue_limit) {
      implementation_->dropped_spans += spans.size();
      return;
    }
  }
  push({SpanWork{iteration, std::move(spans)}}, true);
}

void Recorder::flush() {
  Implementation& i = *implementation_;
  std::unique_lock lock(i.mutex);
  i.commit_wanted = true;
  i.arrived.notify_one();
  i.drained.wait(lock, [&] { return i.queue.empty() && !i.busy && !i.commit_wanted; });
  if (i.fault) std::rethrow_exception(std::exchange(i.fault, nullptr));
}

void Recorder::close() {
  flush();
  Implementation& i = *implementation_;
  if (i.board) i.board->flush();
  if (i.trace) i.trace->close();
  i.store.checkpoint_log();
}

double Recorder::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - implementation_->start)
      .count();
}

std::uint64_t Recorder::dropped_values() const { return implementation_->dropped_values; }
std::uint64_t Recorder::dropped_spans() const { return implementation_->dropped_spans; }

}  // namespace rewardloom
