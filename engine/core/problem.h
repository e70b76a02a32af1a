// One value for everything that can be wrong: a line in the terminal, an object in JSON, a badge in
// the editor.
#pragma once
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

enum class Severity { error, warning, note };

/// Where a problem is. `port` names a port or a parameter. Empty parts are left out when printed.
struct Place {
  std::string file;
  std::string node;
  std::string port;
  bool operator==(const Place&) const = default;
};

/// What is wrong, where, and what to do. `code` is stable and kebab-case; `text` starts in lower
/// case, names what was found and what is allowed; `help` says what to do.
struct Problem {
  Severity severity = Severity::error;
  std::string code;
  Place where;
  std::string text;
  std::string help;
  std::optional<std::int64_t> iteration;
  bool operator==(const Problem&) const = default;
};

/// The form of the terminal:
///   error[type-mismatch]: graphs/x.json: adv.rewards
///     expects Rewards [N], but kl.token_rewards gives TokenRewards [N,T]
///     help: put reward.sum_tokens between them, or connect kl.rewards
std::string format(const Problem& problem);
Json to_json(const Problem& problem);
Problem problem_from_json(const Json& json);
std::string_view to_string(Severity severity);

/// The only exception that our code throws for a user's or a run's fault.
class Failure : public std::exception {
 public:
  explicit Failure(Problem problem);
  Failure(std::string code, std::string text, std::string help = {});
  const char* what() const noexcept override { return message_.c_str(); }
  const Problem& problem() const noexcept { return problem_; }
  /// The same failure with the parts of `where` that it lacks.
  Failure at(const Place& where) const;

 private:
  Problem problem_;
  std::string message_;
};

/// The names among `known` that are nearest to `wrong` (edit distance), best first, at most
/// `limit`.
std::vector<std::string> nearest(std::string_view wrong, const std::vector<std::string>& known,
                                 std::size_t limit = 3);
/// "a", "a or b", "a, b or c".
std::string listed(const std::vector<std::string>& names, std::string_view conjunction = "or");

}  // namespace rewardloom
