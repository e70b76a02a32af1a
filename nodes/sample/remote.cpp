#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/data/rows.h"
#include "nodes/sample/completion_rows.h"
#include "nodes/sample/endpoint_params.h"
#include "nodes/sample/remote_tokens.h"
#include "nodes/text/loaded_tokenizer.h"

namespace rewardloom {

namespace {

enum class RemoteLogProbs { off, raw, processed };
constexpr auto choices(RemoteLogProbs) {
  return std::to_array<Choice<RemoteLogProbs>>({
      {RemoteLogProbs::off, "off", "not asked for"},
      {RemoteLogProbs::raw, "raw",
       "of the model itself, as OpenAI and vLLM's raw_logprobs: they are those of sampling at "
       "temperature 1 (or 0, greedy) and top_p 1 alone"},
      {RemoteLogProbs::processed, "processed",
       "of the distribution that was sampled, as vLLM's processed_logprobs"},
  });
}

/// The answers of one firing, row by row as asked; what a failed request owed stays empty.
struct RemoteRows {
  std::vector<RemoteAnswer> answers;
  std::vector<char> there;
};

}  // namespace

struct SampleRemote final : Node, Prepares {
  Input<Prompts> prompts{this, "prompts", "what it answers"};
  Output<Completions> completions{this,
                                  "completions",
                                  "group_size answers to each prompt, failed ones left out",
                                  {.facts = {{"group_size", "$group_size"}}}};
  EndpointParams endpoint{this};
  Param<std::string> tokenizer{this,
                               "tokenizer",
                               required,
                               "Hugging Face folder or tokenizer.json of the model that is trained",
                               {.path = true}};
  Param<std::int64_t> group_size{this, "group_size", 1, "answers per prompt", {.min = 1}};
  Param<std::int64_t> per_request{
      this, "per_request", 0, "answers asked for at once (n); 0: all of a prompt", {.min = 0}};
  Param<std::int64_t> max_tokens{
      this, "max_tokens", 64, "longest answer", {.min = 1, .unit = "tokens"}};
  Param<double> temperature{this, "temperature", 1.0, "as the server has it", {.min = 0}};
  Param<double> top_p{this,
                      "top_p",
                      1.0,
                      "keeps the fewest tokens of this mass; 1: all",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Param<std::vector<std::string>> stop{this, "stop", std::vector<std::string>{},
                                       "texts that end an answer"};
  Param<bool> send_seed{this, "send_seed", true,
                        "sends a seed drawn from the run's, for servers that honour it"};
  Param<std::string> system{this, "system", "", "system message before each prompt; empty: none"};
  Param<std::optional<std::string>> messages_field{
      this, "messages_field", std::nullopt,
      "path to a list of messages in a prompt's row, sent instead of its text; null: none"};
  Param<RemoteLogProbs> log_probs{this, "log_probs", RemoteLogProbs::raw,
                                  "what the server's log-probs are"};
  Param<bool> require_log_probs{this, "require_log_probs", false,
                                "an answer without behaviour log-probs is a failed row"};
  State<TokenTexts> texts{this, "tokenizer"};
  State<AnswerCache> answers{this, "answers"};
  Synonyms words{
      this, {"rollout", "OpenAI", "vLLM", "SGLang", "llama.cpp", "endpoint", "HTTP", "teacher"}};
  Doc doc{
      this,
      "Asks an OpenAI-compatible server for group_size answers to each prompt; row i * "
      "group_size + g answers prompt i, its group is i. A request that breaks, times out or "
      "meets 408, 409, 425, 429 or 5xx is made again after min(backoff_limit, backoff * 2^k) "
      "seconds, the second half of which is drawn from (seed, node, iteration, request, try), or "
      "when Retry-After says; what still fails is a failed row: under on_error skip_row it is "
      "left out, groups become ragged. A firing in which all rows fail is an error.\n"
      "Tokens are the ids that the server gives (vLLM: extra {\"return_token_ids\": true}), else "
      "those whose texts come with the log-probs, else the text encoded by `tokenizer`, with the "
      "end token where the answer ended by itself.\n"
      "log_probs [N,T] are there only if every row has one for each of its tokens and they are "
      "those of the sampled distribution (see log_probs); else the field is missing as a whole, "
      "no-log-probs is raised, and importance ratios against sampling are refused by whoever "
      "needs them (optimize.policy: old_log_probs recomputed). weight_version is -1: no weights "
      "of this run. entropy is missing.\n"
      "With cache, answers (and failures that were skipped) are kept under a hash of place and "
      "request; a run that is resumed or replayed takes them from there."};

  void prepare(const StepSettings& settings) const override {
    endpoint.options(settings);
    Json body = Json::object();
    merge_extra(body, endpoint.extra());
    check_log_probs();
    check_messages();
  }

  void run(Step& step) const override {
    prepare(step.settings());
    const Prompts& given = step[prompts];
    const auto known = step.shared(texts, [&] {
      return std::make_shared<TokenTexts>(tokenizer_from(step.path(tokenizer())));
    });
    auto tokens = prompt_tokens(given, known->tokenizer());
    alarm_double_begin(step, known->tokenizer(), tokens);
    const RemoteRows got = ask(step, given, tokens, known->tokenizer());
    step[completions] = collect(step, given, tokens, got, *known);
  }

 private:
  /// Raw log-probs are those of sampling only where nothing changes the distribution.
  bool are_of_sampling() const {
    if (log_probs() != RemoteLogProbs::raw) return log_probs() == RemoteLogProbs::processed;
    bool as_it_is = (temperature() == 1 || temperature() == 0) && top_p() == 1;
    if (endpoint.extra().is_object()) {
      for (const char* name :
           {"temperature", "top_p", "top_k", "min_p", "typical_p", "logit_bias", "presence_penalty",
            "frequency_penalty", "repetition_penalty", "guided_json", "guided_regex",
            "guided_choice", "guided_grammar", "structured_outputs", "response_format"}) {
        as_it_is = as_it_is && !endpoint.extra().contains(name);
      }
    }
    return as_it_is;
  }

  void check_log_probs() const {
    if (!require_log_probs() || are_of_sampling()) return;
    throw Failure(
        "remote-log-probs",
        fmt::format("log-probs are required, but {} ones at temperature {} and top_p {} (or "
                    "with what extra sets) are not those of sampling",
                    detail::json_of(log_probs()).get<std::string>(), temperature(), top_p()),
        "sample at temperature 1 and top_p 1, or let the server give processed log-probs and "
        "set log_probs to processed");
  }

  RemoteRows ask(Step& step, const Prompts& given,
                 const std::vector<std::vector<std::int64_t>>& tokens,
                 const Tokenizer& with) const {
    const std::int64_t most = per_request() == 0 ? group_size() : per_request();
    std::vector<RemoteRequest> requests;
    std::vector<std::pair<std::int64_t, std::int64_t>> rows;  // first row and how many
    for (std::size_t p = 0; p < tokens.size(); ++p) {
      for (std::int64_t g = 0; g < group_size(); g += most) {
        const std::int64_t count = std::min(most, group_size() - g);
        rows.emplace_back(static_cast<std::int64_t>(p) * group_size() + g, count);
        requests.push_back({body(step, given, tokens[p], with, p, count, requests.size()),
                            EndpointParams::place(step, requests.size())});
      }
    }
    RemoteRows got;
    got.answers.resize(tokens.size() * static_cast<std::size_t>(group_size()));
    got.there.assign(got.answers.size(), 0);
    AskHooks hooks;
    hooks.accept = [&](std::size_t i, const Json& reply) {
      auto list = read_answers(endpoint.api(), reply, static_cast<std::size_t>(rows[i].second));
      for (std::size_t k = 0; k < list.size(); ++k) {
        const std::size_t row = static_cast<std::size_t>(rows[i].first) + k;
        got.answers[row] = std::move(list[k]);
        got.there[row] = 1;
      }
    };
    hooks.give_up = [&](std::size_t i, const std::string& reason) {
      for (std::int64_t k = 0; k < rows[i].second; ++k) step.fail_row(rows[i].first + k, reason);
    };
    hooks.cancelled = [&] { return step.cancelled(); };
    const auto cache = step.shared(answers, [&] { return endpoint.open_cache(step); });
    const auto outcomes =
        ask_all(endpoint.options(step.settings()), requests, step.random(), *cache, hooks);
    report_requests(step, outcomes);
    return got;
  }

  Json body(const Step& step, const Prompts& given, const std::vector<std::int64_t>& tokens,
            const Tokenizer& with, std::size_t p, std::int64_t count, std::size_t index) const {
    const bool chat = endpoint.api() == RemoteApi::chat;
    const bool ids_only = given.text.empty();
    Json json = endpoint.body(system(), ids_only ? with.decode(tokens) : given.text[p]);
    if (messages_field()) json["messages"] = messages(step, given, p);
    if (!chat && ids_only) json["prompt"] = tokens;
    json["n"] = count;
    json["max_tokens"] = max_tokens();
    json["temperature"] = temperature();
    json["top_p"] = top_p();
    if (!stop().empty()) json["stop"] = stop();
    if (send_seed()) json["seed"] = EndpointParams::seed(step, index);
    if (log_probs() != RemoteLogProbs::off) json["logprobs"] = chat ? Json(true) : Json(1);
    merge_extra(json, endpoint.extra());
    return json;
  }

  void check_messages() const {
    if (!messages_field() || endpoint.api() == RemoteApi::chat) return;
    throw Failure("remote-messages", "messages_field is set, but completions take a text",
                  "set api to chat, or leave messages_field null");
  }

  Json messages(const Step& step, const Prompts& given, std::size_t p) const {
    const Json* const list =
        p < given.fields.size() ? at_path(given.fields[p], *messages_field()) : nullptr;
    if (list == nullptr || !list->is_array()) {
      step.fail("data-field",
                fmt::format("prompt {} has no list of messages at {}", p, *messages_field()),
                "each is an object with role and content");
    }
    Json all = Json::array();
    if (!system().empty()) all.push_back(chat_messages(system(), "")[0]);
    all.insert(all.end(), list->begin(), list->end());
    return all;
  }

  Completions collect(Step& step, const Prompts& given,
                      std::vector<std::vector<std::int64_t>>& tokens, const RemoteRows& got,
                      const TokenTexts& known) const {
    std::vector<GeneratedRow> rows;
    std::vector<std::int64_t> prompt_of_row;
    std::vector<std::string> written;
    std::int64_t without = 0, other_text = 0;
    for (std::size_t i = 0; i < got.answers.size(); ++i) {
      if (!got.there[i]) continue;
      const RemoteAnswer& answer = got.answers[i];
      const std::size_t p = i / static_cast<std::size_t>(group_size());
      RemoteRow row =
          remote_row(answer, given.text.empty() ? "" : given.text[p], !stop().empty(), known);
      if (!usable(step, i, row)) continue;
      if (!answer.prompt_tokens.empty()) tokens[p] = answer.prompt_tokens;
      without += row.row.log_probs.empty();
      other_text += row.other_text;
      rows.push_back(std::move(row.row));
      prompt_of_row.push_back(static_cast<std::int64_t>(p));
      written.push_back(cut_at(answer.text, stop()));
    }
    if (rows.empty() && !got.answers.empty()) {
      step.fail("no-rows", fmt::format("none of {} answers came", got.answers.size()),
                "look at the alarms and at the server's own log");
    }
    Completions out;
    const SpecialTokens& special = known.tokenizer().special();
    lay_out(tokens, prompt_of_row, rows, special.padding.value_or(special.end.value_or(0)), out);
    describe(given, prompt_of_row, std::move(written), out);
    out.entropy = at::Tensor();
    if (without > 0 || !are_of_sampling()) out.log_probs = at::Tensor();
    out.temperature = temperature();
    out.weight_version = -1;
    out.batch = step.new_batch();
    report(step, rows, without, other_text);
    return out;
  }

  bool usable(Step& step, std::size_t i, const RemoteRow& row) const {
    const char* fault = nullptr;
    if (row.row.tokens.empty()) fault = "the answer is empty";
    if (require_log_probs() && row.row.log_probs.empty()) {
      fault = "the answer came without a log-prob for each token";
    }
    if (fault == nullptr) return true;
    step.fail_row(static_cast<std::int64_t>(i), fault);
    return false;
  }

  void report(Step& step, const std::vector<GeneratedRow>& rows, std::int64_t without,
              std::int64_t other_text) const {
    report_lengths(step, rows);
    step.metric("log_probs/missing", static_cast<double>(without));
    if (log_probs() != RemoteLogProbs::off && (without > 0 || !are_of_sampling())) {
      step.alarm(
          "no-log-probs",
          without > 0
              ? fmt::format("{} of {} answers came without a log-prob for each token: the "
                            "completions carry none",
                            without, rows.size())
              : "raw log-probs are those of sampling at temperature 1 and top_p 1 alone: the "
                "completions carry none");
    }
    if (other_text > 0) {
      step.alarm(
          "tokenizer-mismatch",
          fmt::format("the token ids of {} of {} answers spell another text than the server's "
                      "with this tokenizer",
                      other_text, rows.size()));
    }
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SampleRemote, "Sample answers from a server",
                "platform.openai.com/docs/api-reference")
