// What a model's tokens say, for whoever shows them.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace rewardloom {

/// The text of one token as bytes, which need not be whole characters; empty where there is none.
/// May be called from any thread and after the model is gone.
using TokenText = std::function<std::string(std::int64_t id)>;

/// A HandleState that knows the texts of its tokens.
class TellsTokens {
 public:
  virtual TokenText token_text() const = 0;

 protected:
  ~TellsTokens() = default;
};

}  // namespace rewardloom
