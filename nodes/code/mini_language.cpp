#include "nodes/code/mini_language.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>

namespace rewardloom {
namespace {

constexpr std::size_t kDeepestMini = 200;

std::vector<std::string_view> mini_tokens(std::string_view source) {
  constexpr std::string_view kBlank = " \t\r\n";
  std::vector<std::string_view> tokens;
  for (std::size_t at = source.find_first_not_of(kBlank); at != std::string_view::npos;) {
    const std::size_t end = std::min(source.find_first_of(kBlank, at), source.size());
    tokens.push_back(source.substr(at, end - at));
    at = source.find_first_not_of(kBlank, end);
  }
  return tokens;
}

std::optional<std::int64_t> mini_integer(std::string_view token) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (error != std::errc() || end != token.data() + token.size()) return std::nullopt;
  return value;
}

}  // namespace

class MiniProgram::Parser {
 public:
  Parser(MiniProgram& program, std::string_view source, const MiniLimits& limits)
      : program_(program), tokens_(mini_tokens(source)) {
    if (tokens_.empty()) fail("there is no program");
    if (static_cast<std::int64_t>(tokens_.size()) > limits.tokens) {
      fail(fmt::format("{} tokens are more than {}", tokens_.size(), limits.tokens));
    }
  }

  void program() {
    if (!failed() && !guard_of(here())) {
      add_case(Guard::always, 0, sum());
    }
    while (!failed() && at_ < tokens_.size()) {
      if (const auto guard = guard_of(here())) {
        ++at_;
        const std::int32_t bound = sum();
        expect(":");
        add_case(*guard, bound, sum());
      } else if (here() == "else" && !program_.cases_.empty() &&
                 program_.cases_.back().guard != Guard::always) {
        ++at_;
        add_case(Guard::always, 0, sum());
      } else {
        fail(fmt::format("\"{}\" does not belong there", here()));
      }
    }
  }

 private:
  bool failed() const { return !program_.fault_.empty(); }
  void fail(std::string text) {
    if (!failed()) program_.fault_ = fmt::format("token {}: {}", at_ + 1, text);
  }
  std::string_view here() const { return at_ < tokens_.size() ? tokens_[at_] : ""; }
  void expect(std::string_view token) {
    if (here() != token) {
      fail(fmt::format("\"{}\" is missing before \"{}\"", token, here()));
    } else {
      ++at_;
    }
  }
  void add_case(Guard guard, std::int32_t bound, std::int32_t value) {
    if (!program_.cases_.empty() && program_.cases_.back().guard == Guard::always) {
      fail("nothing can follow a case without a guard");
    }
    program_.cases_.push_back({guard, bound, value});
  }
  std::int32_t add(Term term) {
    program_.terms_.push_back(term);
    return static_cast<std::int32_t>(program_.terms_.size() - 1);
  }

  static std::optional<Guard> guard_of(std::string_view token) {
    constexpr std::pair<std::string_view, Guard> kGuards[] = {
        {"<", Guard::less},     {"<=", Guard::at_most}, {"=", Guard::equal},
        {"!=", Guard::unequal}, {">", Guard::greater},  {">=", Guard::at_least}};
    for (const auto& [name, guard] : kGuards) {
      if (name == token) return guard;
    }
    return std::nullopt;
  }

  std::int32_t sum() {
    std::int32_t left = product();
    while (!failed() && (here() == "+" || here() == "-")) {
      const Operation operation = here() == "+" ? Operation::add : Operation::subtract;
      ++at_;
      left = add({operation, left, product()});
    }
    return left;
  }

  std::int32_t product() {
    std::int32_t left = factor();
    while (!failed() && starts_factor()) left = add({Operation::multiply, left, factor()});
    return left;
  }

  bool starts_factor() const {
    const std::string_view token = here();
    return token == "x" || token == "f" || token == "(" || mini_integer(token);
  }

  std::int32_t factor() {
    if (++depth_ > kDeepestMini) fail("it is nested too deeply");
    if (failed()) return 0;
    const std::string_view token = here();
    if (!starts_factor()) {
      fail(token.empty() ? "a value is missing at the end"
                         : fmt::format("\"{}\" is no value", token));
      return 0;
    }
    ++at_;
    std::int32_t term = 0;
    if (token == "x") {
      term = add({Operation::x});
    } else if (token == "f") {
      term = add({Operation::call, factor()});
    } else if (token == "(") {
      term = sum();
      expect(")");
    } else {
      term = add({Operation::number, 0, 0, *mini_integer(token)});
    }
    --depth_;
    return term;
  }

  MiniProgram& program_;
  std::vector<std::string_view> tokens_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
};

MiniProgram::MiniProgram(std::string_view source, const MiniLimits& limits) : steps_(limits.steps) {
  Parser(*this, source, limits).program();
}

struct MiniProgram::Run {
  const MiniProgram& program;
  std::int64_t left;  ///< steps
  MiniResult::State state = MiniResult::State::value;
  const char* fault = "";

  std::int64_t fail(MiniResult::State kind, const char* text) {
    if (state == MiniResult::State::value) {
      state = kind;
      fault = text;
    }
    return 0;
  }

  std::int64_t call(std::int64_t x) {
    for (const Case& one : program.cases_) {
      if (!holds(one, x)) continue;
      return state == MiniResult::State::value ? term(one.value, x) : 0;
    }
    return fail(MiniResult::State::error, "no case applies");
  }

  bool holds(const Case& one, std::int64_t x) {
    if (one.guard == Guard::always) return true;
    const std::int64_t bound = term(one.bound, x);
    switch (one.guard) {
      case Guard::less: return x < bound;
      case Guard::at_most: return x <= bound;
      case Guard::equal: return x == bound;
      case Guard::unequal: return x != bound;
      case Guard::greater: return x > bound;
      case Guard::at_least: return x >= bound;
      default: return true;
    }
  }

  std::int64_t term(std::int32_t index, std::int64_t x) {
    const Term& one = program.terms_[static_cast<std::size_t>(index)];
    if (one.operation == Operation::number) return one.number;
    if (one.operation == Operation::x) return x;
    if (--left < 0) return fail(MiniResult::State::timeout, "");
    const std::int64_t a = term(one.left, x);
    if (state != MiniResult::State::value) return 0;
    if (one.operation == Operation::call) return call(a);
    const std::int64_t b = term(one.right, x);
    if (state != MiniResult::State::value) return 0;
    return combine(one.operation, a, b);
  }

  std::int64_t combine(Operation operation, std::int64_t a, std::int64_t b) {
    std::int64_t value = 0;
    bool over = false;
    switch (operation) {
      case Operation::add: over = __builtin_add_overflow(a, b, &value); break;
      case Operation::subtract: over = __builtin_sub_overflow(a, b, &value); break;
      default: over = __builtin_mul_overflow(a, b, &value); break;
    }
    return over ? fail(MiniResult::State::error, "a number leaves 64 bits") : value;
  }
};

MiniResult MiniProgram::run(std::int64_t x) const {
  Run run{*this, steps_};
  const std::int64_t value = run.call(x);
  return {run.state, value, run.fault};
}

}  // namespace rewardloom
