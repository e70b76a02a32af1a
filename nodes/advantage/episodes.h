// What estimators over steps read: rewards, which steps count, and where episodes end.
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/core/node.h"
#include "nodes/advantage/token_rows.h"

namespace rewardloom {

/// Steps of N rows; a step is a token or a step in an environment. All [N,T].
struct Episodes {
  at::Tensor rewards;
  at::Tensor mask;        ///< bool; undefined: all steps count
  at::Tensor done;        ///< bool: the episode ends after this step; undefined: at the row's end
  at::Tensor terminated;  ///< bool: it ends without a value behind it; done and not terminated is
                          ///< truncated; undefined: as done
};

/// The same as contiguous bool tensors of the rewards' sizes: `done` includes `terminated`, and
/// either stands for both where only one is given. Failure `bad-shape`.
Episodes checked(const Episodes& episodes);

/// Ports from which nodes read episodes: rewards and their mask from token rewards, or rewards and
/// ends from trajectories.
class EpisodePorts {
 public:
  /// `rewards`: options of the port of token rewards.
  explicit EpisodePorts(Node* node, const InputOptions& rewards = detail::plain_input());

  struct Read {
    Episodes episodes;
    TokenRewards from;  ///< group and batch of the rows
  };
  /// Failure `missing-input` if neither rewards nor trajectories are connected.
  Read operator()(const Step& step) const;

 private:
  Optional<TokenRewards> rewards_;
  Optional<Trajectories> trajectories_;
  Optional<Values> done_;
  Optional<Values> terminated_;
  Optional<Completions> completions_;
  Rule something_;
};

}  // namespace rewardloom
