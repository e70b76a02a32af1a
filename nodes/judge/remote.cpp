#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/judge/judging.h"
#include "nodes/reward/rows.h"
#include "nodes/sample/endpoint_params.h"

namespace rewardloom {

namespace {

enum class JudgeTask { score, compare };
constexpr auto choices(JudgeTask) {
  return std::to_array<Choice<JudgeTask>>({
      {JudgeTask::score, "score", "a number for each answer"},
      {JudgeTask::compare, "compare", "which of two answers is better"},
  });
}

constexpr const char* kScoreTemplate =
    "Judge how good the answer to a task is: whether it is correct, complete and to the point. "
    "Length and tone count for nothing.\n"
    "\n"
    "Task:\n"
    "{prompt}\n"
    "\n"
    "Answer:\n"
    "{answer}\n"
    "\n"
    "Give your reasons in a few sentences. End with a line that holds nothing but a whole number "
    "from 1 (useless) to 10 (perfect) in double brackets, such as [[4]].";
constexpr const char* kCompareTemplate =
    "Two answers to one task are to be compared: which is more correct, more complete and more "
    "to the point? Length, tone and the order in which they stand count for nothing.\n"
    "\n"
    "Task:\n"
    "{prompt}\n"
    "\n"
    "Answer A:\n"
    "{answer_a}\n"
    "\n"
    "Answer B:\n"
    "{answer_b}\n"
    "\n"
    "Give your reasons in a few sentences. End with a line that holds nothing but [[A]], [[B]] "
    "or [[tie]].";
constexpr const char* kScorePattern = R"(\[\[\s*([-+]?\d+(?:\.\d+)?)\s*\]\])";
constexpr const char* kComparePattern = R"(\[\[\s*(A|B|C|tie)\s*\]\])";

std::vector<std::int64_t> groups_of(const Completions& c) {
  std::vector<std::int64_t> list(static_cast<std::size_t>(c.rows()), 0);
  if (!c.group.defined()) return list;
  const at::Tensor group = c.group.to(at::kCPU, at::kLong).contiguous();
  std::copy_n(group.data_ptr<std::int64_t>(), list.size(), list.begin());
  return list;
}

}  // namespace

struct JudgeRemote final : Node, Prepares {
  Input<Completions> completions{this, "completions", "the answers to judge"};
  Output<Rewards> rewards{this, "rewards", "the scores, or the share of comparisons won"};
  Output<Preferences> preferences{this, "preferences",
                                  "pairs of one group of which one is preferred"};
  Output<Values> table{this,
                       "table",
                       "[i,j] = scores of i and j when i is shown first, for preference.tournament",
                       {.dims = "N,N,*"}};
  EndpointParams endpoint{this};
  Param<JudgeTask> task{this, "task", JudgeTask::score, "what the judge is asked for"};
  Param<std::string> question{this, "template", "",
                              "what it is sent, with {prompt} {answer} or {answer_a} {answer_b}, "
                              "{reference}; empty: a plain question in English"};
  Param<std::string> system{this, "system", "", "system message; empty: none"};
  Param<std::string> pattern{
      this, "pattern", "",
      "regular expression whose group 1 is the verdict, the last match counts; empty: [[...]]"};
  Param<double> lowest{this, "lowest", 1.0, "lowest score that is taken"};
  Param<double> highest{this, "highest", 10.0, "highest score that is taken"};
  Param<ComparedWith> with{this, "compare_with", ComparedWith::all, "what is compared with what"};
  Param<bool> swap{this, "swap", true, "asks for each comparison in both orders and averages"};
  Param<double> temperature{this, "temperature", 0.0, "of the judge", {.min = 0}};
  Param<std::int64_t> max_tokens{
      this, "max_tokens", 1024, "longest answer of the judge", {.min = 1, .unit = "tokens"}};
  Param<bool> send_seed{this, "send_seed", true,
                        "sends a seed drawn from the run's, for servers that honour it"};
  State<AnswerCache> answers_state{this, "answers"};
  Synonyms words{this,
                 {"LLM as a judge", "grader", "AI feedback", "RLAIF", "pairwise", "win rate",
                  "generative reward model", "OpenAI"}};
  Doc doc{
      this,
      "Asks an OpenAI-compatible server what answers are worth. score: one request per answer; "
      "the verdict is a number of lowest..highest. compare: one request per pair and order; A, "
      "B, C or tie, where C is a tie. An answer without such a verdict is asked for again (with "
      "another seed), as are requests that fail; retries counts for both.\n"
      "rewards [N]: the score, or the share of its comparisons that a row won, ties half. A row "
      "whose score is missing, or none of whose comparisons was decided, is absent, never 0 "
      "(under on_error skip_row; else the run stops).\n"
      "preferences: of the pairs compared, or in score mode of all pairs of a group, those that "
      "are no tie. margin is the difference of the scores, or 2 |p - 1/2| of the preference p.\n"
      "table [N,N,2]: the scores of both, or the preference p and 1 - p, in that order; NaN for "
      "a pair of other groups and where a verdict is missing.\n"
      "With swap a comparison counts only if both orders were answered, and their mean counts; "
      "position_bias says how much oftener than half the answer shown first wins, "
      "order_disagreement in what share of comparisons the order decides. Without, the order is "
      "drawn for each pair.\n"
      "With cache, verdicts are kept in the run folder, so that a resumed run gets the same."};

  void prepare(const StepSettings& settings) const override {
    endpoint.options(settings);
    Json body = Json::object();
    merge_extra(body, endpoint.extra());
    check_question();
    reading();
  }

  void run(Step& step) const override {
    const Completions& c = step[completions];
    prepare(step.settings());
    check(step, c);
    if (task() == JudgeTask::score) {
      score(step, c);
    } else {
      compare(step, c);
    }
  }

 private:
  bool scores() const { return task() == JudgeTask::score; }
  std::string text() const {
    if (!question().empty()) return question();
    return scores() ? kScoreTemplate : kCompareTemplate;
  }
  Pattern reading() const {
    const char* const plain = scores() ? kScorePattern : kComparePattern;
    return Pattern(pattern().empty() ? plain : pattern(), {.ignore_case = true});
  }

  void check_question() const {
    const std::vector<const char*> slots =
        scores() ? std::vector{"answer"} : std::vector{"answer_a", "answer_b"};
    for (const char* slot : slots) {
      if (has_slot(text(), slot)) continue;
      throw Failure("judge-template",
                    fmt::format("the template has no {{{}}}: the judge would not see it", slot),
                    scores() ? "put {answer} where the answer belongs"
                             : "put {answer_a} and {answer_b} where the answers belong");
    }
    if (scores() && !(lowest() < highest())) {
      throw Failure("judge-range",
                    fmt::format("lowest {} is not below highest {}", lowest(), highest()),
                    "set the range of scores that the template asks for");
    }
  }

  void check(const Step& step, const Completions& c) const {
    const std::string given = text();
    answers(c);
    if (has_slot(given, "reference") || (!scores() && with() == ComparedWith::reference)) {
      references(c);
    }
    if (has_slot(given, "prompt") && c.prompt_text.size() != c.text.size()) {
      step.fail("no-prompts",
                "the template shows the prompt, but the completions carry no texts of "
                "their prompts",
                "take completions from a sampler whose prompts have texts");
    }
  }

  RemoteRequest request(const Step& step, const Completions& c, std::size_t row,
                        std::vector<std::pair<std::string, std::string>> shown,
                        std::size_t index) const {
    if (row < c.prompt_text.size()) shown.emplace_back("prompt", c.prompt_text[row]);
    if (row < c.reference.size()) shown.emplace_back("reference", c.reference[row]);
    Json body = endpoint.body(system(), fill_template(text(), shown));
    body["max_tokens"] = max_tokens();
    body["temperature"] = temperature();
    if (send_seed()) body["seed"] = EndpointParams::seed(step, index);
    merge_extra(body, endpoint.extra());
    return {std::move(body), EndpointParams::place(step, index)};
  }

  /// The verdict on each request as `read` reads it; nothing where there is none. `row_of` says
  /// which row a request fails.
  std::vector<std::optional<double>> ask(
      Step& step, const std::vector<RemoteRequest>& requests,
      const std::function<double(const std::string&)>& read,
      const std::function<std::int64_t(std::size_t)>& row_of) const {
    std::vector<std::optional<double>> verdicts(requests.size());
    AskHooks hooks;
    hooks.accept = [&](std::size_t i, const Json& reply) {
      verdicts[i] = read(read_answers(endpoint.api(), reply, 1).front().text);
    };
    hooks.give_up = [&](std::size_t i, const std::string& reason) {
      step.fail_row(row_of(i), reason);
    };
    hooks.cancelled = [&] { return step.cancelled(); };
    const auto cache = step.shared(answers_state, [&] { return endpoint.open_cache(step); });
    report_requests(
        step, ask_all(endpoint.options(step.settings()), requests, step.random(), *cache, hooks));
    return verdicts;
  }

  void score(Step& step, const Completions& c) const {
    const Pattern verdict = reading();
    std::vector<RemoteRequest> requests;
    for (std::size_t i = 0; i < c.text.size(); ++i) {
      requests.push_back(request(step, c, i, {{"answer", c.text[i]}}, i));
    }
    const auto values = ask(
        step, requests,
        [&](const std::string& answer) { return read_score(verdict, answer, lowest(), highest()); },
        [](std::size_t i) { return static_cast<std::int64_t>(i); });
    give(step, c, values);
    const auto pairs = plan_comparisons(groups_of(c), ComparedWith::all);
    JudgeTable judged(c.rows());
    Preferences out;
    std::vector<double> margins;
    for (const Comparison& pair : pairs) {
      const auto &one = values[pair.row], &other = values[pair.other];
      if (!one || !other) continue;
      prefer(c, pair, *one - *other, out, margins);
      judged.set(pair.row, pair.other, *one, *other);
      judged.set(pair.other, pair.row, *other, *one);
    }
    step[table] = Values{judged.scores(), c.batch};
    give(step, std::move(out), margins);
  }

  /// Request 2 k is comparison k with its row shown first, 2 k + 1 the other order (only if swap).
  void compare(Step& step, const Completions& c) const {
    auto pairs = plan_comparisons(groups_of(c), with());
    if (pairs.empty() && c.rows() > 0) {
      step.fail("judge-no-pairs", "no group has two answers that could be compared",
                "sample with a group_size of at least 2, or compare with the reference");
    }
    const std::size_t orders = swap() ? 2 : 1;
    std::vector<RemoteRequest> requests;
    std::vector<char> row_first;
    for (std::size_t k = 0; k < pairs.size(); ++k) {
      for (std::size_t o = 0; o < orders; ++o) {
        row_first.push_back(swap() ? o == 0 : step.random(k, 1).bits() % 2 == 0);
        requests.push_back(shown_pair(step, c, pairs[k], row_first.back() != 0, requests.size()));
      }
    }
    const Pattern verdict = reading();
    const auto values = ask(
        step, requests, [&](const std::string& answer) { return read_preference(verdict, answer); },
        [&](std::size_t i) { return pairs[i / orders].row; });
    step[table] = table_of(c, pairs, values, row_first);
    decide(step, pairs, values, row_first);
    give(step, c, win_rates(pairs, c.text.size()));
    Preferences out;
    std::vector<double> margins;
    for (const Comparison& pair : pairs) {
      if (pair.answered) prefer(c, pair, 2 * pair.preference - 1, out, margins);
    }
    give(step, std::move(out), margins);
  }

  RemoteRequest shown_pair(const Step& step, const Completions& c, const Comparison& pair,
                           bool row_first, std::size_t index) const {
    const std::string& own = c.text[pair.row];
    const std::string& other = pair.other < 0 ? c.reference[pair.row] : c.text[pair.other];
    return request(step, c, static_cast<std::size_t>(pair.row),
                   {{"answer_a", row_first ? own : other}, {"answer_b", row_first ? other : own}},
                   index);
  }

  Values table_of(const Completions& c, const std::vector<Comparison>& pairs,
                  const std::vector<std::optional<double>>& values,
                  const std::vector<char>& row_first) const {
    JudgeTable judged(c.rows());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Comparison& pair = pairs[i / (swap() ? 2 : 1)];
      const std::int64_t first = row_first[i] ? pair.row : pair.other;
      const std::int64_t second = row_first[i] ? pair.other : pair.row;
      if (values[i]) judged.set(first, second, *values[i], 1 - *values[i]);
    }
    return {judged.scores(), c.batch};
  }

  void decide(Step& step, std::vector<Comparison>& pairs,
              const std::vector<std::optional<double>>& values,
              const std::vector<char>& row_first) const {
    const std::size_t orders = swap() ? 2 : 1;
    std::vector<std::array<double, 2>> both;
    double ties = 0, answered = 0;
    for (std::size_t k = 0; k < pairs.size(); ++k) {
      const auto& one = values[k * orders];
      const auto& other = values[k * orders + orders - 1];
      if (!one || !other) continue;
      pairs[k].answered = true;
      if (swap()) {
        pairs[k].preference = (*one + 1 - *other) / 2;
        both.push_back({*one, *other});
      } else {
        pairs[k].preference = row_first[k] ? *one : 1 - *one;
      }
      ++answered;
      ties += pairs[k].preference == 0.5;
    }
    step.metric("comparisons", answered);
    step.metric("ties", answered > 0 ? ties / answered : 0);
    if (both.empty()) return;
    const OrderEffect effect = order_effect(both);
    step.metric("position_bias", effect.position_bias);
    step.metric("order_disagreement", effect.disagreement);
  }

  void give(Step& step, const Completions& c,
            const std::vector<std::optional<double>>& values) const {
    std::vector<double> totals;
    at::Tensor absent = at::zeros({static_cast<std::int64_t>(values.size())}, at::kBool);
    double missing = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      totals.push_back(values[i].value_or(0));
      absent.data_ptr<bool>()[i] = !values[i];
      missing += !values[i];
    }
    Rewards out = scored(step, c, totals);
    if (missing > 0) {
      out.absent = absent.to(c.tokens.device());
      step.alarm("absent-rewards", fmt::format("the judge gave no verdict on {} of {} answers",
                                               missing, values.size()));
    }
    step.metric("absent", missing);
    step[rewards] = std::move(out);
  }

  static void prefer(const Completions& c, const Comparison& pair, double by, Preferences& out,
                     std::vector<double>& margins) {
    if (by == 0) return;
    const std::string& own = c.text[pair.row];
    const std::string& other = pair.other < 0 ? c.reference[pair.row] : c.text[pair.other];
    const auto row = static_cast<std::size_t>(pair.row);
    out.prompt.push_back(row < c.prompt_text.size() ? c.prompt_text[row] : "");
    out.chosen.push_back(by > 0 ? own : other);
    out.rejected.push_back(by > 0 ? other : own);
    margins.push_back(std::abs(by));
  }

  void give(Step& step, Preferences out, const std::vector<double>& margins) const {
    out.margin = at::tensor(at::ArrayRef<double>(margins), at::dtype(at::kDouble)).to(at::kFloat);
    out.batch = step.new_batch();
    step[preferences] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(JudgeRemote, "Judge on a server", "arXiv:2306.05685")
