#include "nodes/code/pool_params.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// New rows by the prompt that they answer: its place among the prompts that were sampled.
struct OfferedRows {
  std::string task;
  std::vector<PooledRow> rows;
};

std::vector<double> scores_of(const Step& step, const Values* scores, const PoolParams& params,
                              std::size_t rows) {
  if (scores == nullptr) {
    if (params.replace() != PoolReplace::worst) return std::vector<double>(rows, 0.0);
    step.fail("no-scores", "the worst rows are to leave, but nothing says how good they are",
              "connect scores, or set replace to oldest");
  }
  const at::Tensor& s = scores->values;
  if (s.dim() != 1 || static_cast<std::size_t>(s.size(0)) != rows) {
    step.fail("bad-shape", c10::str("scores are ", s.sizes(), ", but there are ", rows, " rows"),
              "give one score per row");
  }
  return numbers_of(s);
}

std::vector<OfferedRows> offered_rows(const Step& step, const Completions& c,
                                      const std::vector<Json>& contents,
                                      const std::vector<double>& scores) {
  if (c.prompt_text.size() != contents.size()) {
    step.fail("bad-shape",
              fmt::format("there are {} new rows, but {} completions", contents.size(),
                          c.prompt_text.size()),
              "connect the completions from which the rows were read, one row each");
  }
  const std::vector<std::int64_t> prompt =
      c.prompt.defined() ? whole_numbers(c.prompt, "prompt") : std::vector<std::int64_t>{};
  std::map<std::int64_t, OfferedRows> by_prompt;
  for (std::size_t i = 0; i < contents.size(); ++i) {
    OfferedRows& of = by_prompt[prompt.empty() ? static_cast<std::int64_t>(i) : prompt[i]];
    of.task = c.prompt_text[i];
    of.rows.push_back({contents[i], scores[i], c.weight_version, 0, static_cast<std::int64_t>(i)});
  }
  std::vector<OfferedRows> out;
  for (auto& [place, rows] : by_prompt) out.push_back(std::move(rows));
  return out;
}

/// The rows of `offered` that the pool took in, by their prompt's place, where these prompts are
/// the ones that are asked for.
using Fresh = std::map<std::size_t, std::vector<PooledRow>>;

Fresh take_in(Step& step, PoolState& pool, const PoolParams& params, const Completions& c,
              const std::vector<Json>& contents, const Values* scores, const Prompts& prompts,
              PoolChange& total) {
  Fresh fresh;
  std::vector<OfferedRows> offered =
      offered_rows(step, c, contents, scores_of(step, scores, params, contents.size()));
  const bool same_prompts = offered.size() == prompts.text.size();
  for (std::size_t p = 0; p < offered.size(); ++p) {
    std::vector<PooledRow> rows = offered[p].rows;
    for (PooledRow& row : rows) row.iteration = step.iteration();
    const PoolChange change = pool.rows.offer(offered[p].task, std::move(offered[p].rows),
                                              step.iteration(), params.options());
    total.added += change.added;
    total.replaced += change.replaced;
    total.refused += change.refused;
    if (change.refused == 0 && same_prompts && prompts.text[p] == offered[p].task) {
      fresh[p] = std::move(rows);
    }
  }
  return fresh;
}

std::vector<PooledRow> rows_for(const Step& step, const PoolState& pool, const PoolParams& params,
                                const Prompts& prompts, std::size_t place, const Fresh& fresh) {
  const auto wanted = static_cast<std::size_t>(params.draw());
  const auto own = fresh.find(place);
  if (own != fresh.end() && params.order() == PoolOrder::newest && own->second.size() >= wanted) {
    const auto end = own->second.end();
    return {end - static_cast<std::ptrdiff_t>(wanted), end};
  }
  return pool.rows.draw(prompts.text[place], params.draw(), params.order(), step.random(place));
}

}  // namespace

void PoolState::save(Package& out) const {
  rows.save(out);
  out.meta["last_batch"] = last_batch;
}

void PoolState::load(const Package& in) {
  rows.load(in);
  last_batch = in.meta.at("last_batch").get<std::int64_t>();
}

std::vector<Json> through_pool(Step& step, PoolState& pool, const PoolParams& params,
                               const Completions* made_by, const std::vector<Json>& contents,
                               const Values* scores, const Prompts& prompts, Table& provenance) {
  PoolChange change;
  Fresh fresh;
  const bool is_new =
      made_by != nullptr && (made_by->batch == 0 || made_by->batch != pool.last_batch);
  if (is_new) {
    fresh = take_in(step, pool, params, *made_by, contents, scores, prompts, change);
    pool.last_batch = made_by->batch;
  }
  provenance.columns = {"prompt", "weight_version", "iteration", "row", "score"};
  std::vector<Json> out;
  double age = 0;
  for (std::size_t p = 0; p < prompts.text.size(); ++p) {
    for (PooledRow& row : rows_for(step, pool, params, prompts, p, fresh)) {
      age += static_cast<double>(step.iteration() - row.iteration);
      provenance.cells.push_back(
          Json::array({p, row.weight_version, row.iteration, row.row, row.score}));
      out.push_back(std::move(row.content));
    }
  }
  step.metric("rows", static_cast<double>(pool.rows.size()));
  step.metric("tasks", static_cast<double>(pool.rows.tasks()));
  step.metric("added", static_cast<double>(change.added));
  step.metric("replaced", static_cast<double>(change.replaced));
  step.metric("refused", static_cast<double>(change.refused));
  step.metric("age", age / static_cast<double>(std::max<std::size_t>(1, out.size())));
  return out;
}

}  // namespace rewardloom
