#include "nodes/sample/endpoint_params.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

namespace rewardloom {

EndpointParams::EndpointParams(Node* node)
    : base_url(node, "base_url", required, "the server, e.g. http://127.0.0.1:8000/v1"),
      model(node, "model", required, "the name under which the server knows the model"),
      api(node, "api", RemoteApi::chat, "which of the two interfaces is used"),
      api_key_env(node, "api_key_env", "",
                  "environment variable that holds the key; empty: none is sent"),
      ca_file(node, "ca_file", "", "PEM certificates that https trusts; empty: those of the system",
              {.path = true}),
      timeout(node, "timeout", 120.0, "longest wait for one answer",
              {.min = 0, .exclusive_min = true, .unit = "s"}),
      deadline(node, "deadline", 1800.0, "longest time for all answers of a firing",
               {.min = 0, .exclusive_min = true, .unit = "s"}),
      retries(node, "retries", 5, "further tries after one that failed", {.min = 0}),
      backoff(node, "backoff", 0.5, "pause before the first of them, doubled each time",
              {.min = 0, .unit = "s"}),
      backoff_limit(node, "backoff_limit", 30.0, "longest of these pauses",
                    {.min = 0, .unit = "s"}),
      concurrency(node, "concurrency", 16, "requests under way at once", {.min = 1, .max = 1024}),
      cache(node, "cache", "",
            "JSON Lines file in the run folder that keeps the answers, so that a resumed run gets "
            "the same; empty: none"),
      extra(node, "extra", Json(), "entries added to each request's body; null takes one out") {}

RemoteOptions EndpointParams::options(const StepSettings& settings) const {
  RemoteOptions o;
  o.url = parse_url(base_url());
  o.path = api_path(api());
  if (!ca_file().empty()) o.http.ca_file = path_from(settings.file, ca_file());
  if (!o.http.ca_file.empty() && !std::filesystem::exists(o.http.ca_file)) {
    throw Failure("file-not-found", fmt::format("{} does not exist", o.http.ca_file),
                  "ca_file names a file of PEM certificates");
  }
  if (!api_key_env().empty()) {
    const char* const key = std::getenv(api_key_env().c_str());
    if (key == nullptr || *key == '\0') {
      throw Failure("api-key", fmt::format("the environment variable {} is not set", api_key_env()),
                    "set it to the server's key before starting the run, or leave api_key_env "
                    "empty");
    }
    o.http.bearer = key;
  }
  o.timeout = timeout();
  o.deadline = deadline();
  o.retries = retries();
  o.backoff = backoff();
  o.backoff_limit = backoff_limit();
  o.concurrency = concurrency();
  return o;
}

Json EndpointParams::body(const std::string& system, const std::string& text) const {
  Json json = Json::object();
  json["model"] = model();
  if (api() == RemoteApi::chat) {
    json["messages"] = chat_messages(system, text);
  } else {
    json["prompt"] = system.empty() ? text : system + "\n\n" + text;
  }
  return json;
}

std::shared_ptr<AnswerCache> EndpointParams::open_cache(const Step& step) const {
  namespace fs = std::filesystem;
  if (cache().empty()) return std::make_shared<AnswerCache>();
  return std::make_shared<AnswerCache>(fs::path(step.run_dir()) / cache());
}

std::string EndpointParams::place(const Step& step, std::size_t index) {
  const RandomKey& key = step.random_key();
  return fmt::format("{}/{}/{}/{}", key.seed, key.node, key.iteration, index);
}

std::int64_t EndpointParams::seed(const Step& step, std::size_t index) {
  return static_cast<std::int64_t>(step.random(index).bits() >> 1);
}

void report_requests(Step& step, const std::vector<RemoteOutcome>& outcomes) {
  double tries = 0, failed = 0, unusable = 0;
  for (const RemoteOutcome& outcome : outcomes) {
    tries += static_cast<double>(outcome.tries);
    unusable += static_cast<double>(outcome.unusable);
    failed += !outcome.answered;
  }
  step.metric("requests", static_cast<double>(outcomes.size()));
  step.metric("requests/tries", tries);
  step.metric("requests/failed", failed);
  step.metric("requests/unusable", unusable);
}

}  // namespace rewardloom
