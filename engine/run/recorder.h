// What a run writes down. Nodes and probes hand over values, which are immutable; a thread of its
// own turns them into rows. Metrics, alarms and events are always kept; samples and spans give way
// when the disk is slow, and that is counted.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/core/token_texts.h"
#include "engine/core/value.h"
#include "engine/io/run_store.h"
#include "engine/io/tensorboard.h"
#include "engine/io/trace_file.h"
#include "engine/run/branches.h"

namespace rewardloom {

struct RecorderOptions {
  std::filesystem::path folder;  ///< the run folder
  int samples = 8;               ///< whole samples kept per probe and iteration
  int bins = 64;                 ///< of a histogram
  bool tensorboard = true;
  bool trace = true;
  std::uint64_t seed = 0;          ///< of the choice of samples
  std::size_t queue_limit = 4096;  ///< values and spans that may wait; more are dropped and counted
  std::optional<std::int64_t> resumed_at;
  std::function<void()> before_write;  ///< tests make the disk slow with it
};

/// One firing of a node, for the trace. Times in seconds since the recorder was made.
struct Span {
  std::shared_ptr<const std::string> name;  ///< outlives the node: the recorder may come to it late
  std::int64_t thread;
  double start;
  double end;
};

class Recorder {
 public:
  explicit Recorder(const RecorderOptions& options);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void metric(std::int64_t iteration, std::string name, double value);
  /// A value that flowed through a probe; its distribution and a reservoir of its rows are kept.
  /// `branches` are those of the node.
  void probe(std::int64_t iteration, std::string node, std::string port, Value value,
             Branches branches = {});
  /// Rows that probes of the same batch will be shown with (prompt, completion, tokens), and what
  /// their tokens say where that is known.
  void completions(Value value, TokenText token_text = {}, Branches branches = {});
  void event(std::int64_t iteration, std::string kind, std::string node, Json data);
  void alarm(std::int64_t iteration, const Problem& problem);
  void node(NodeRow row);
  void spans(std::int64_t iteration, std::vector<Span> spans);

  /// Waits until all that was handed over is in the store and committed. Throws what the thread
  /// met.
  void flush();
  /// flush(), then closes the files.
  void close();

  /// Seconds since the recorder was made.
  double now() const;
  std::uint64_t dropped_values() const;
  std::uint64_t dropped_spans() const;

 private:
  struct Work;
  struct Implementation;
  void push(Work work, bool droppable);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rewardloom
