// The parameters that say which server is asked, and how patiently.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "engine/core/node.h"
#include "engine/core/step.h"
#include "nodes/sample/openai_api.h"
#include "nodes/sample/remote_client.h"

namespace rewardloom {

struct EndpointParams {
  explicit EndpointParams(Node* node);

  /// Failure `api-key` where the environment lacks the variable that api_key_env names,
  /// `remote-url`, `file-not-found` for ca_file.
  RemoteOptions options(const StepSettings& settings) const;
  /// A body with model and question; `text` goes into the user's message or is the prompt.
  Json body(const std::string& system, const std::string& text) const;
  /// The cache of this node: in the run folder unless `cache` is an absolute path.
  std::shared_ptr<AnswerCache> open_cache(const Step& step) const;
  /// What tells request `index` of this firing from all others.
  static std::string place(const Step& step, std::size_t index);
  /// A seed for the server, from (run seed, node, iteration, index): 31 bits.
  static std::int64_t seed(const Step& step, std::size_t index);

  Param<std::string> base_url;
  Param<std::string> model;
  Param<RemoteApi> api;
  Param<std::string> api_key_env;
  Param<std::string> ca_file;
  Param<double> timeout;
  Param<double> deadline;
  Param<std::int64_t> retries;
  Param<double> backoff;
  Param<double> backoff_limit;
  Param<std::int64_t> concurrency;
  Param<std::string> cache;
  Param<Json> extra;
};

/// requests, tries, failed and unusable of one firing, as metrics.
void report_requests(Step& step, const std::vector<RemoteOutcome>& outcomes);

}  // namespace rewardloom
