#include "nodes/sample/generation.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "engine/core/problem.h"
#include "nodes/sample/sampler.h"

namespace rewardloom {

namespace {

/// Rows first..first+count-1, decoded together until all have ended.
class Chunk {
 public:
  Chunk(const Decoder& decoder, const std::vector<std::vector<std::int64_t>>& prompts,
        const std::vector<std::int64_t>& prompt_of_row, std::int64_t first, std::int64_t count)
      : decoder_(decoder), first_(first), count_(count) {
    std::vector<std::int64_t> local(prompts.size(), -1);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t p = prompt_of_row[first + i];
      if (local[p] < 0) {
        local[p] = static_cast<std::int64_t>(prompts_.size());
        prompts_.push_back(prompts[p]);
        longest_ = std::max(longest_, static_cast<std::int64_t>(prompts[p].size()));
      }
      prompt_of_slot_.push_back(local[p]);
    }
  }

  void run(const GenerationOptions& options, const Random& random,
           std::vector<GeneratedRow>& rows) {
    const c10::NoGradGuard no_gradient;
    // The last token is never fed back, so that it needs no place in the cache.
    const auto session = decoder_.decode(count_, longest_ + options.max_tokens - 1);
    at::Tensor logits = session->prefill(prompts_, prompt_of_slot_);
    std::vector<std::int64_t> active(count_);
    for (std::int64_t i = 0; i < count_; ++i) active[i] = i;
    for (std::int64_t t = 0; t < options.max_tokens && !active.empty(); ++t) {
      if (t > 0) logits = session->step(active, last_);
      active = write(active, logits, t, options, random, rows);
    }
  }

 private:
  /// Appends one token to each active row; returns those that go on, their tokens in last_.
  std::vector<std::int64_t> write(const std::vector<std::int64_t>& active, const at::Tensor& logits,
                                  std::int64_t t, const GenerationOptions& options,
                                  const Random& random, std::vector<GeneratedRow>& rows) {
    at::Tensor uniforms = at::empty({static_cast<std::int64_t>(active.size())}, at::kDouble);
    for (std::size_t i = 0; i < active.size(); ++i) {
      uniforms.data_ptr<double>()[i] = random.at(first_ + active[i], t).uniform();
    }
    const SampledTokens sampled = sample_tokens(logits, uniforms, options.sampling);
    std::vector<std::int64_t> going_on;
    last_.clear();
    for (std::size_t i = 0; i < active.size(); ++i) {
      GeneratedRow& row = rows[first_ + active[i]];
      const std::int64_t token = sampled.tokens.data_ptr<std::int64_t>()[i];
      row.tokens.push_back(token);
      row.log_probs.push_back(sampled.log_probs.data_ptr<float>()[i]);
      row.entropy.push_back(sampled.entropy.data_ptr<float>()[i]);
      const auto& stop = options.stop_tokens;
      row.finished = std::find(stop.begin(), stop.end(), token) != stop.end() ||
                     (options.stops && options.stops(row.tokens));
      if (row.finished) continue;
      going_on.push_back(active[i]);
      last_.push_back(token);
    }
    return going_on;
  }

  const Decoder& decoder_;
  std::int64_t first_;
  std::int64_t count_;
  std::int64_t longest_ = 1;
  std::vector<std::vector<std::int64_t>> prompts_;
  std::vector<std::int64_t> prompt_of_slot_;
  std::vector<std::int64_t> last_;
};

}  // namespace

std::int64_t rows_together(const ModelConfig& config, c10::Device device, std::int64_t rows) {
  if (!device.is_cpu()) return rows;
  return config.has_own_kernels() ? 16 : 64;
}

std::vector<GeneratedRow> generate(const Decoder& decoder,
                                   const std::vector<std::vector<std::int64_t>>& prompts,
                                   const std::vector<std::int64_t>& prompt_of_row,
                                   const GenerationOptions& options, const Random& random,
                                   const ParallelFor& parallel) {
  const std::int64_t count = static_cast<std::int64_t>(prompt_of_row.size());
  std::vector<GeneratedRow> rows(count);
  if (options.max_tokens <= 0) {
    throw Failure("sampling-options", "max_tokens must be at least 1");
  }
  const bool given = options.chunk_rows > 0 && decoder.device().is_cpu();
  const std::int64_t size =
      given ? options.chunk_rows : rows_together(decoder.config(), decoder.device(), count);
  const std::int64_t chunks = (count + size - 1) / std::max<std::int64_t>(size, 1);
  parallel(static_cast<std::size_t>(chunks), [&](std::size_t c) {
    const std::int64_t first = static_cast<std::int64_t>(c) * size;
    Chunk chunk(decoder, prompts, prompt_of_row, first, std::min(size, count - first));
    chunk.run(options, random, rows);
  });
  return rows;
}

}  // namespace rewardloom
