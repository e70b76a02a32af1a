// Many requests to one server: several at once, asked again where that may help, done by a
// deadline.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/random.h"
#include "nodes/sample/answer_cache.h"
#include "nodes/sample/http_connection.h"

namespace rewardloom {

struct RemoteOptions {
  Url url;
  std::string path;  ///< behind that of the URL, e.g. "/chat/completions"
  HttpSettings http;
  double timeout = 120;       ///< seconds for one try
  double deadline = 1800;     ///< seconds for all requests together
  std::int64_t retries = 5;   ///< further tries
  double backoff = 0.5;       ///< seconds before the first of them
  double backoff_limit = 30;  ///< longest of these pauses
  std::int64_t concurrency = 16;
};

struct RemoteRequest {
  Json body;
  std::string place;  ///< tells it apart from requests that say the same: its key in the cache
};

struct RemoteOutcome {
  bool answered = false;
  std::int64_t tries = 0;
  std::int64_t unusable = 0;  ///< replies that `accept` refused
  double seconds = 0;         ///< of the last try
};

struct AskHooks {
  /// Takes a reply in, or throws Failure if it is not what was asked for; then the request is made
  /// again, with another `seed` if it has one. Called for several requests at once.
  std::function<void(std::size_t, const Json&)> accept;
  /// Told of a request that stays without an answer, one at a time. What it throws ends all.
  std::function<void(std::size_t, const std::string&)> give_up;
  std::function<bool()> cancelled;
};

/// Seconds before try `attempt` (1 is the first repetition): doubled each time up to the limit,
/// of which the second half is drawn, so that those who failed together do not return together.
double backoff_seconds(const RemoteOptions& options, std::int64_t attempt, Random random);

/// Asks all; request i draws its pauses from random.at(i, attempt). Repeated are: broken
/// connections, timeouts, the statuses 408, 409, 425, 429 and 5xx, and replies that are not
/// accepted; a Retry-After is honoured by all requests. Other 4xx give that request up. Failures:
/// `remote-refused` for 401, 403, 404, 405 and redirections, `remote-certificate`, `cancelled`.
std::vector<RemoteOutcome> ask_all(const RemoteOptions& options,
                                   const std::vector<RemoteRequest>& requests, const Random& random,
                                   AnswerCache& cache, const AskHooks& hooks);

}  // namespace rewardloom
