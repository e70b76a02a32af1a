#include "nodes/sample/remote_client.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/core/problem.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

using Clock = HttpConnection::Clock;
constexpr auto kTick = std::chrono::milliseconds(20);

Clock::duration seconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

/// A server's own words, for messages: one line of valid UTF-8, not long.
std::string excerpt(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  std::string text = body;
  if (json.is_object() && json.contains("error")) {
    const Json& error = json["error"];
    const Json& message = error.is_object() && error.contains("message") ? error["message"] : error;
    text = message.is_string() ? message.get<std::string>()
                               : message.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  std::string line;
  for (const char32_t c : code_points(text.substr(0, 300))) {
    append_utf8(line, c < U' ' || c == 0x7F ? U' ' : c);
  }
  return text.size() > 300 ? line + "..." : line;
}

enum class Verdict { answered, again, give_up };

struct Try {
  Verdict verdict = Verdict::again;
  std::string reason;
  double wait = 0;  ///< that the server asked for
  bool unusable = false;
  Json reply;
};

class Asking {
 public:
  Asking(const RemoteOptions& options, const std::vector<RemoteRequest>& requests,
         const Random& random, AnswerCache& cache, const AskHooks& hooks)
      : options_(options),
        requests_(requests),
        random_(random),
        cache_(cache),
        hooks_(hooks),
        outcomes_(requests.size()),
        deadline_(Clock::now() + seconds(options.deadline)) {}

  std::vector<RemoteOutcome> run() {
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (!replay(i)) open_.push_back(i);
    }
    if (!open_.empty()) ask_open();
    return std::move(outcomes_);
  }

 private:
  /// Takes the answer of an earlier run, or that there was none.
  bool replay(std::size_t i) {
    keys_.push_back(request_key(requests_[i].place, requests_[i].body));
    const auto entry = cache_.find(keys_.back());
    if (!entry) return false;
    RemoteOutcome& outcome = outcomes_[i];
    outcome.tries = entry->value("tries", std::int64_t{1});
    outcome.unusable = entry->value("unusable", std::int64_t{0});
    outcome.seconds = entry->value("seconds", 0.0);
    if (entry->contains("failure")) {
      hooks_.give_up(i, entry->value("failure", ""));
      return true;
    }
    try {
      hooks_.accept(i, entry->at("reply"));
      outcome.answered = true;
    } catch (const Failure&) {
      outcome = {};  // read otherwise than when it was stored: asked for again
    }
    return outcome.answered;
  }

  void ask_open() {
    const auto count =
        std::min<std::size_t>(static_cast<std::size_t>(options_.concurrency), open_.size());
    for (std::size_t i = 0; i < count; ++i) {
      connections_.push_back(std::make_unique<HttpConnection>(options_.url, options_.http));
    }
    running_ = count;
    {
      std::vector<std::jthread> threads;
      for (auto& connection : connections_) {
        threads.emplace_back([this, &connection] { work(*connection); });
      }
      watch();
    }
    if (error_) std::rethrow_exception(error_);
  }

  /// In the calling thread: ends what is late, and everything once the run is to stop.
  void watch() {
    std::unique_lock lock(mutex_);
    while (running_ > 0) {
      changed_.wait_for(lock, kTick);
      if (!stopping_ && hooks_.cancelled()) {
        error_ = std::make_exception_ptr(Failure(
            "cancelled", fmt::format("stopped while waiting for {}", options_.url.origin())));
        stop();
      }
      const auto now = Clock::now();
      for (const auto& connection : connections_) {
        if (stopping_) connection->abort();
        connection->abort_late(now);
      }
    }
  }

  void stop() {
    stopping_ = true;
    changed_.notify_all();
  }

  void work(HttpConnection& connection) {
    // Writing to a connection that was shut down must be an error, not the end of the program.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    try {
      for (;;) {
        const std::size_t turn = next();
        if (turn >= open_.size()) break;
        ask(open_[turn], connection);
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      stop();
    }
    const std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_all();
  }

  std::size_t next() {
    const std::lock_guard lock(mutex_);
    return stopping_ ? open_.size() : turn_++;
  }

  void ask(std::size_t i, HttpConnection& connection) {
    RemoteOutcome& outcome = outcomes_[i];
    std::string reason = "it was never asked";
    for (std::int64_t attempt = 0; attempt <= options_.retries; ++attempt) {
      if (!pause(attempt == 0 ? 0 : backoff_seconds(options_, attempt, random_.at(i, attempt)))) {
        reason = fmt::format("the deadline of {} s leaves no time for try {}; before: {}",
                             options_.deadline, attempt + 1, reason);
        break;
      }
      if (is_stopping()) return;
      const Try result = attempt_once(i, outcome, connection);
      if (is_stopping()) return;
      if (result.verdict == Verdict::answered) return keep(i, outcome, result.reply);
      reason = result.reason;
      if (result.verdict == Verdict::give_up) break;
      if (result.wait > 0) hold_all(result.wait);
    }
    give_up(i, outcome, fmt::format("{} tries: {}", outcome.tries, reason));
  }

  /// False if the pause would last beyond the deadline.
  bool pause(double wanted) {
    std::unique_lock lock(mutex_);
    auto until = Clock::now() + seconds(wanted);
    for (;;) {
      until = std::max(until, held_until_);
      if (until >= deadline_) return false;
      if (stopping_ || Clock::now() >= until) return true;
      changed_.wait_until(lock, until);
    }
  }
  void hold_all(double wait) {
    const std::lock_guard lock(mutex_);
    held_until_ = std::max(held_until_, Clock::now() + seconds(std::min(wait, 1e6)));
  }
  bool is_stopping() {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  Try attempt_once(std::size_t i, RemoteOutcome& outcome, HttpConnection& connection) {
    Json body = requests_[i].body;
    if (outcome.unusable > 0 && body.contains("seed")) {
      body["seed"] = body["seed"].get<std::int64_t>() + outcome.unusable;
    }
    const auto start = Clock::now();
    const HttpReply reply =
        connection.post(options_.url.path + options_.path,
                        body.dump(-1, ' ', false, Json::error_handler_t::replace),
                        std::min(start + seconds(options_.timeout), deadline_));
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    ++outcome.tries;
    outcome.seconds = took;
    Try result = judge(i, reply, took);
    outcome.unusable += result.unusable;
    result.reason = without_key(std::move(result.reason));
    return result;
  }

  Try judge(std::size_t i, const HttpReply& reply, double took) const {
    Try result;
    result.wait = reply.retry_after.value_or(0);
    switch (reply.fault) {
      case HttpFault::none: break;
      case HttpFault::certificate:
        throw Failure("remote-certificate", fmt::format("{}: {}", where(), reply.error),
                      "give ca_file the certificate of the authority that signed the server's");
      case HttpFault::timeout:
        result.reason = fmt::format("no answer within {:.3g} s", took);
        return result;
      default: result.reason = reply.error; return result;
    }
    if (reply.status != 200) return refused(reply, std::move(result));
    return accepted(i, reply, std::move(result));
  }

  Try refused(const HttpReply& reply, Try result) const {
    const int status = reply.status;
    result.reason = fmt::format("status {}: {}", status, excerpt(without_key(reply.body)));
    const bool key = status == 401 || status == 403;
    if (key || status == 404 || status == 405 || (status >= 300 && status < 400)) {
      throw Failure("remote-refused", without_key(fmt::format("{}: {}", where(), result.reason)),
                    key ? "api_key_env names the environment variable that holds the key"
                        : "look at base_url (mostly it ends in /v1), api and model");
    }
    const bool passing =
        status >= 500 || status == 408 || status == 409 || status == 425 || status == 429;
    // Nothing else below 200 or above 299 is going to change.
    result.verdict = passing ? Verdict::again : Verdict::give_up;
    return result;
  }

  Try accepted(std::size_t i, const HttpReply& reply, Try result) const {
    result.reply = Json::parse(reply.body, nullptr, false);
    if (result.reply.is_discarded()) {
      result.reason = fmt::format("the reply is no JSON: {}", excerpt(without_key(reply.body)));
      return result;
    }
    try {
      hooks_.accept(i, result.reply);
      result.verdict = Verdict::answered;
    } catch (const Failure& failure) {
      result.reason = failure.problem().text;
      result.unusable = true;
    }
    return result;
  }

  void keep(std::size_t i, RemoteOutcome& outcome, const Json& reply) {
    outcome.answered = true;
    cache_.store(keys_[i], entry(outcome, "reply", reply));
  }

  /// Only a failure that the run goes on with is remembered: one that ends it must be tried again.
  void give_up(std::size_t i, const RemoteOutcome& outcome, const std::string& reason) {
    const std::lock_guard lock(giving_up_);
    if (is_stopping()) return;
    hooks_.give_up(i, reason);
    cache_.store(keys_[i], entry(outcome, "failure", reason));
  }

  static Json entry(const RemoteOutcome& outcome, const char* name, const Json& value) {
    Json json = Json::object();
    json["tries"] = outcome.tries;
    json["unusable"] = outcome.unusable;
    json["seconds"] = outcome.seconds;
    json[name] = value;
    return json;
  }

  std::string where() const { return options_.url.origin() + options_.url.path + options_.path; }

  /// Servers like to repeat the key that they refuse.
  std::string without_key(std::string text) const {
    const std::string& key = options_.http.bearer;
    if (key.empty()) return text;
    for (std::size_t at = text.find(key); at != std::string::npos; at = text.find(key, at)) {
      text.replace(at, key.size(), "***");
    }
    return text;
  }

  const RemoteOptions& options_;
  const std::vector<RemoteRequest>& requests_;
  const Random random_;
  AnswerCache& cache_;
  const AskHooks& hooks_;
  std::vector<std::string> keys_;
  std::vector<RemoteOutcome> outcomes_;
  std::vector<std::size_t> open_;
  std::vector<std::unique_ptr<HttpConnection>> connections_;
  const Clock::time_point deadline_;
  Clock::time_point held_until_{};
  std::mutex mutex_;
  std::mutex giving_up_;
  std::condition_variable changed_;
  std::size_t turn_ = 0;
  std::size_t running_ = 0;
  bool stopping_ = false;
  std::exception_ptr error_;
};

}  // namespace

double backoff_seconds(const RemoteOptions& options, std::int64_t attempt, Random random) {
  const double doubled = std::ldexp(
      options.backoff,
      static_cast<int>(std::min<std::int64_t>(std::max<std::int64_t>(attempt, 1) - 1, 60)));
  return std::min(doubled, options.backoff_limit) * (0.5 + 0.5 * random.uniform());
}

std::vector<RemoteOutcome> ask_all(const RemoteOptions& options,
                                   const std::vector<RemoteRequest>& requests, const Random& random,
                                   AnswerCache& cache, const AskHooks& hooks) {
  return Asking(options, requests, random, cache, hooks).run();
}

}  // namespace rewardloom
