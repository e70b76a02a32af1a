#include "nodes/sample/generation.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <mutex>

#include "engine/core/problem.h"
#include "nodes/sample/sampler.h"

namespace rewardloom {

namespace {

/// Weights beyond this size are read from memory at every step: all rows then share a pass, and
/// threads share the pass.
constexpr std::int64_t cached_weight_bytes = std::int64_t{32} * 1024 * 1024;

bool threads_share_passes(const ModelConfig& config, c10::Device device) {
  if (!device.is_cpu() || !config.has_own_kernels()) return false;
  const std::int64_t bytes = config.compute == ComputeType::bfloat16 ? 2 : 4;
  return config.parameter_count() * bytes > cached_weight_bytes;
}

/// Everything that is to be written, and the rows that have been.
struct Task {
  const Decoder& decoder;
  const std::vector<std::vector<std::int64_t>>& prompts;
  const std::vector<std::int64_t>& prompt_of_row;
  const GenerationOptions& options;
  const Random& random;
  std::vector<GeneratedRow>& rows;
};

/// Rows that wait for their turn.
class RowQueue {
 public:
  RowQueue(const std::vector<std::int64_t>& prompt_of_row, std::int64_t first, std::int64_t last)
      : prompt_of_row_(prompt_of_row), next_(first), last_(last) {}

  struct Range {
    std::int64_t first = 0, last = 0;
    bool empty() const { return first == last; }
  };
  /// The next rows of one prompt, at most so many; an empty range when none are left.
  Range take(std::int64_t most) {
    const std::lock_guard lock(mutex_);
    Range out{next_, next_};
    while (out.last < last_ && out.last < out.first + most &&
           prompt_of_row_[out.last] == prompt_of_row_[out.first]) {
      ++out.last;
    }
    next_ = out.last;
    return out;
  }

 private:
  std::mutex mutex_;
  const std::vector<std::int64_t>& prompt_of_row_;
  std::int64_t next_, last_;
};

/// One decoding session; rows that end leave their slots to the next ones of a queue.
class Worker {
 public:
  Worker(const Task& task, RowQueue& queue, std::int64_t slots, const ParallelCalls* parallel)
      : task_(task),
        queue_(queue),
        parallel_(parallel),
        slots_(slots),
        row_in_slot_(slots, 0),
        mixes_(task.decoder.has_own_kernels()) {
    for (std::int64_t slot = slots; slot-- > 0;) free_.push_back(slot);
  }

  void run() {
    const c10::NoGradGuard no_gradient;
    for (;;) {
      refill();
      if (starts_.empty() && active_.empty()) return;
      if (!session_) open();
      write(session_->advance(starts_, active_, last_));
    }
  }

 private:
  /// The last token of a row is never fed back, so that it needs no place in the cache.
  void open() {
    std::size_t longest = 1;
    for (const auto& prompt : task_.prompts) longest = std::max(longest, prompt.size());
    session_ = task_.decoder.decode(
        slots_, static_cast<std::int64_t>(longest) + task_.options.max_tokens - 1, parallel_,
        task_.options.recorded);
  }

  void refill() {
    starts_.clear();
    // Own kernels read prompts in the pass of the other rows; operators take a pass of their own,
    // which pays for several.
    if (!mixes_ && !active_.empty() && 4 * free_.size() < static_cast<std::size_t>(slots_)) return;
    while (!free_.empty()) {
      if (waiting_.empty()) waiting_ = queue_.take(slots_);
      if (waiting_.empty()) return;
      const std::int64_t row = waiting_.first++, slot = free_.back();
      free_.pop_back();
      row_in_slot_[slot] = row;
      starts_.push_back({slot, &task_.prompts[task_.prompt_of_row[row]]});
    }
  }

  /// Appends one token to each row; those that go on come to stand in active_ and last_.
  void write(const at::Tensor& logits) {
    std::vector<std::int64_t> slots;
    for (const SlotStart& start : starts_) slots.push_back(start.slot);
    slots.insert(slots.end(), active_.begin(), active_.end());
    at::Tensor uniforms = at::empty({static_cast<std::int64_t>(slots.size())}, at::kDouble);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const std::int64_t row = row_in_slot_[slots[i]];
      uniforms.data_ptr<double>()[i] =
          task_.random.at(row, task_.rows[row].tokens.size()).uniform();
    }
    const SampledTokens sampled =
        sample_tokens(logits, uniforms, task_.options.sampling, task_.options.top_tokens);
    active_.clear();
    last_.clear();
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (append(task_.rows[row_in_slot_[slots[i]]], sampled, i)) {
        active_.push_back(slots[i]);
        last_.push_back(sampled.tokens.data_ptr<std::int64_t>()[i]);
      } else {
        free_.push_back(slots[i]);
      }
    }
  }

  /// Whether the row goes on.
  bool append(GeneratedRow& row, const SampledTokens& sampled, std::size_t i) const {
    const GenerationOptions& options = task_.options;
    const std::int64_t token = sampled.tokens.data_ptr<std::int64_t>()[i];
    row.tokens.push_back(token);
    row.log_probs.push_back(sampled.log_probs.data_ptr<float>()[i]);
    row.entropy.push_back(sampled.entropy.data_ptr<float>()[i]);
    if (const std::int64_t k = options.top_tokens; k > 0) {
      const std::int64_t* const ids = sampled.top.tokens.data_ptr<std::int64_t>() + i * k;
      const float* const log_probs = sampled.top.log_probs.data_ptr<float>() + i * k;
      row.top_tokens.insert(row.top_tokens.end(), ids, ids + k);
      row.top_log_probs.insert(row.top_log_probs.end(), log_probs, log_probs + k);
    }
    const auto& stop = options.stop_tokens;
    row.finished = std::find(stop.begin(), stop.end(), token) != stop.end() ||
                   (options.stops && options.stops(row.tokens));
    return !row.finished && static_cast<std::int64_t>(row.tokens.size()) < options.max_tokens;
  }

  const Task& task_;
  RowQueue& queue_;
  const ParallelCalls* parallel_;
  std::int64_t slots_;
  std::vector<std::int64_t> free_, row_in_slot_;
  bool mixes_;
  RowQueue::Range waiting_;
  std::vector<SlotStart> starts_;
  std::vector<std::int64_t> active_, last_;  ///< slots, and the tokens they wrote last
  std::unique_ptr<DecodingSession> session_;
};

/// Where passes depend on the rows beside, by rounding, who decodes what must not depend on time:
/// each worker has its share of the rows.
void generate_in_shares(const Task& task, std::int64_t workers, std::int64_t slots,
                        const ParallelCalls& parallel) {
  const auto count = static_cast<std::int64_t>(task.prompt_of_row.size());
  parallel(static_cast<std::size_t>(workers), [&](std::size_t w) {
    const auto at = static_cast<std::int64_t>(w);
    RowQueue share(task.prompt_of_row, count * at / workers, count * (at + 1) / workers);
    Worker(task, share, slots, nullptr).run();
  });
}

}  // namespace

std::int64_t rows_together(const ModelConfig& config, c10::Device device, std::int64_t rows) {
  if (!device.is_cpu()) return rows;
  return config.has_own_kernels() && !threads_share_passes(config, device) ? 16 : 64;
}

std::int64_t decoding_sessions(const ModelConfig& config, c10::Device device, std::int64_t rows,
                               std::int64_t slots) {
  if (!device.is_cpu() || threads_share_passes(config, device)) return 1;
  constexpr std::int64_t most_shares = 16;
  const std::int64_t sessions = (rows + slots - 1) / slots;
  return config.has_own_kernels() ? sessions : std::min(most_shares, sessions);
}

std::vector<GeneratedRow> generate(const Decoder& decoder,
                                   const std::vector<std::vector<std::int64_t>>& prompts,
                                   const std::vector<std::int64_t>& prompt_of_row,
                                   const GenerationOptions& options, const Random& random,
                                   const ParallelCalls& parallel) {
  if (options.max_tokens <= 0) {
    throw Failure("sampling-options", "max_tokens must be at least 1");
  }
  const auto count = static_cast<std::int64_t>(prompt_of_row.size());
  std::vector<GeneratedRow> rows(count);
  if (count == 0) return rows;
  const std::int64_t most = options.batch_rows > 0
                                ? options.batch_rows
                                : rows_together(decoder.config(), decoder.device(), count);
  const std::int64_t slots = std::min(most, count);
  const Task task{decoder, prompts, prompt_of_row, options, random, rows};
  const std::int64_t sessions = decoding_sessions(decoder.config(), decoder.device(), count, slots);
  if (!decoder.has_own_kernels()) {
    generate_in_shares(task, sessions, slots, parallel);
    return rows;
  }
  RowQueue queue(prompt_of_row, 0, count);
  if (threads_share_passes(decoder.config(), decoder.device())) {
    Worker(task, queue, slots, &parallel).run();
    return rows;
  }
  parallel(static_cast<std::size_t>(sessions),
           [&](std::size_t) { Worker(task, queue, slots, nullptr).run(); });
  return rows;
}

}  // namespace rewardloom
