// The port types: the field's standard words. N = rows, T = tokens, S = steps, P = prompts.
// A tensor that is not there is undefined; `batch` ties what belongs to one set of rows together.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/value.h"

namespace rewardloom {

/// Values of Completions::kinds.
enum class TokenKind : std::int8_t { padding = 0, prompt = 1, action = 2, observation = 3 };

/// Rows of a data set.
struct Dataset {
  std::vector<std::string> id;         ///< [P]
  std::vector<std::string> text;       ///< [P] the prompt
  std::vector<std::string> reference;  ///< [P] the reference answer, may be empty
  std::vector<Json> fields;            ///< [P] any further fields of the row
};

/// The rows that one iteration works on.
struct Prompts : Dataset {
  at::Tensor tokens;       ///< [P,L] int64, left-padded; optional: the sampler tokenises the text
  at::Tensor mask;         ///< [P,L] bool, false on padding; optional
  std::int64_t batch = 0;  ///< identity of this set of rows
};

/// N sampled answers with all that is known of their sampling.
struct Completions {
  at::Tensor tokens;              ///< [N,T] int64: prompt left-padded, then the answer right-padded
  at::Tensor kinds;               ///< [N,T] int8, TokenKind
  at::Tensor prompt;              ///< [N] int64: index into the prompts
  at::Tensor group;               ///< [N] int64: which rows are compared with each other
  at::Tensor log_probs;           ///< [N,T] behaviour log-probs of the actions, 0 elsewhere
  at::Tensor entropy;             ///< [N,T] of the sampling distribution; optional
  at::Tensor finished;            ///< [N] bool: ended by itself (not cut at max_tokens)
  std::vector<std::string> text;  ///< [N] the answer
  std::vector<std::string> prompt_text;  ///< [N]
  std::vector<std::string> reference;    ///< [N] reference answer of the prompt, may be empty
  std::vector<Json> fields;              ///< [N] further fields of the prompt's row; optional
  double temperature = 1.0;
  std::int64_t weight_version = 0;  ///< of the weights that sampled
  std::int64_t batch = 0;

  std::int64_t rows() const { return tokens.size(0); }
  /// [N,T] bool: tokens that the policy wrote.
  at::Tensor mask() const;
  /// [N] int64: tokens that the policy wrote.
  at::Tensor lengths() const;
};

/// log pi(token), 0 outside the mask, over the same support and temperature as sampled.
struct LogProbs {
  at::Tensor log_probs;  ///< [N,T]
  at::Tensor mask;       ///< [N,T] bool; optional
  std::int64_t weight_version = 0;
  std::int64_t batch = 0;
};

/// One reward per row. Rows that could not be scored are absent: counted, never 0.
struct Rewards {
  at::Tensor total;         ///< [N]
  NamedTensors components;  ///< each [N]; optional
  at::Tensor absent;        ///< [N] bool; optional
  at::Tensor group;         ///< [N] int64; optional
  std::int64_t batch = 0;

  /// Rewards for these completions: their groups and batch, nothing absent.
  static Rewards of(const Completions& completions, at::Tensor total);
};

struct TokenRewards {
  at::Tensor rewards;  ///< [N,T], 0 outside the mask
  at::Tensor mask;     ///< [N,T] bool; optional
  at::Tensor group;    ///< [N] int64; optional
  std::int64_t batch = 0;
};

struct StepRewards {
  at::Tensor rewards;  ///< [N,S]
  at::Tensor
      boundaries;    ///< [N,S] int64: index of the step's last token, -1 where there is no step
  at::Tensor group;  ///< [N] int64; optional
  std::int64_t batch = 0;
};

/// [N] or [N,T], tied to the rows they belong to.
struct Advantages {
  at::Tensor advantages;
  at::Tensor group;  ///< [N]; optional
  std::int64_t batch = 0;
  Advantages() = default;
  Advantages(at::Tensor values, const Rewards& from);
};

struct Values {
  at::Tensor values;  ///< [N] or [N,T]
  std::int64_t batch = 0;
};

struct Returns {
  at::Tensor returns;  ///< [N] or [N,T]
  std::int64_t batch = 0;
};

/// Pairs of rows, the first preferred.
struct Preferences {
  std::vector<std::string> prompt;    ///< [N]
  std::vector<std::string> chosen;    ///< [N]
  std::vector<std::string> rejected;  ///< [N]
  at::Tensor margin;                  ///< [N]; optional
  at::Tensor weight;                  ///< [N]; optional
  std::int64_t batch = 0;
};

/// Unit tests of each row.
struct Tests {
  std::vector<Json> tests;  ///< [N]: a list of {"input", "output"}
  std::int64_t batch = 0;
};

/// pass / wrong / error / timeout of each test of each row.
struct Verdicts {
  std::vector<Json> verdicts;  ///< [N]: a list of texts
  std::int64_t batch = 0;
};

struct Images {
  at::Tensor images;  ///< [N,C,H,W]
  at::Tensor group;   ///< [N]; optional
  at::Tensor labels;  ///< [N] int64; optional
  std::int64_t batch = 0;
};
struct Latents {
  at::Tensor latents;  ///< [N,...]
  std::int64_t batch = 0;
};
struct Features {
  at::Tensor features;  ///< [N,D]
  std::int64_t batch = 0;
};

/// Steps in environments.
struct Trajectories {
  at::Tensor observations;  ///< [N,S,...]
  at::Tensor actions;       ///< [N,S,...]
  at::Tensor rewards;       ///< [N,S]
  at::Tensor terminated;    ///< [N,S] bool
  at::Tensor truncated;     ///< [N,S] bool
  std::int64_t batch = 0;
};

/// Named numbers, in the order in which they were added.
struct Metrics {
  std::vector<std::string> names;
  std::vector<double> values;
  void add(std::string name, double value);
};
struct Scalar {
  double value = 0;
};
struct Text {
  std::string text;
};
struct TextRows {
  std::vector<std::string> texts;  ///< [N]
  std::int64_t batch = 0;
};
struct Table {
  std::vector<std::string> columns;
  std::vector<Json> cells;  ///< one list of cells per row
};

/// What a handle names: state that lives across iterations, checkpointed with the run.
class HandleState {
 public:
  virtual ~HandleState() = default;
  /// A word for messages, e.g. "language model".
  virtual std::string kind() const = 0;
  virtual void save(Package& out) const = 0;
  virtual void load(const Package& in) = 0;
  /// Counts the writes; samples carry it.
  std::int64_t weight_version() const { return weight_version_; }
  void set_weight_version(std::int64_t version) { weight_version_ = version; }

 private:
  std::int64_t weight_version_ = 0;
};

/// The value that travels for a handle: a name for shared state.
struct Handle {
  std::shared_ptr<HandleState> state;
};
struct Policy : Handle {};
/// The port type Reference: a frozen policy (the graph document has a Reference of its own).
struct ReferenceModel : Handle {};
struct RewardModel : Handle {};
struct ValueModel : Handle {};
struct Judge : Handle {};
struct Generator : Handle {};
struct Discriminator : Handle {};
struct Encoder : Handle {};

class LossFunction;

/// A loss to be evaluated inside an optimizer's micro-batch loop. `data` holds row-aligned tensors
/// [N,...] that the loss node received itself, under the names of its loss arguments.
struct LossTerm {
  std::shared_ptr<const LossFunction> function;
  std::string name;  ///< the loss node's name: metrics are recorded under it
  std::vector<std::pair<std::string, at::Tensor>> data;
};

void fields(FieldVisitor& v, Dataset& x);
void fields(FieldVisitor& v, Prompts& x);
void fields(FieldVisitor& v, Completions& x);
void fields(FieldVisitor& v, LogProbs& x);
void fields(FieldVisitor& v, Rewards& x);
void fields(FieldVisitor& v, TokenRewards& x);
void fields(FieldVisitor& v, StepRewards& x);
void fields(FieldVisitor& v, Advantages& x);
void fields(FieldVisitor& v, Values& x);
void fields(FieldVisitor& v, Returns& x);
void fields(FieldVisitor& v, Preferences& x);
void fields(FieldVisitor& v, Tests& x);
void fields(FieldVisitor& v, Verdicts& x);
void fields(FieldVisitor& v, Images& x);
void fields(FieldVisitor& v, Latents& x);
void fields(FieldVisitor& v, Features& x);
void fields(FieldVisitor& v, Trajectories& x);
void fields(FieldVisitor& v, Metrics& x);
void fields(FieldVisitor& v, Scalar& x);
void fields(FieldVisitor& v, Text& x);
void fields(FieldVisitor& v, TextRows& x);
void fields(FieldVisitor& v, Table& x);

#define REWARDLOOM_PORT_TYPE(T)    \
  template <>                      \
  struct PortTraits<T> {           \
    static const PortType& type(); \
  };
REWARDLOOM_PORT_TYPE(Dataset)
REWARDLOOM_PORT_TYPE(Prompts)
REWARDLOOM_PORT_TYPE(Completions)
REWARDLOOM_PORT_TYPE(LogProbs)
REWARDLOOM_PORT_TYPE(Rewards)
REWARDLOOM_PORT_TYPE(TokenRewards)
REWARDLOOM_PORT_TYPE(StepRewards)
REWARDLOOM_PORT_TYPE(Advantages)
REWARDLOOM_PORT_TYPE(Values)
REWARDLOOM_PORT_TYPE(Returns)
REWARDLOOM_PORT_TYPE(Preferences)
REWARDLOOM_PORT_TYPE(Tests)
REWARDLOOM_PORT_TYPE(Verdicts)
REWARDLOOM_PORT_TYPE(Images)
REWARDLOOM_PORT_TYPE(Latents)
REWARDLOOM_PORT_TYPE(Features)
REWARDLOOM_PORT_TYPE(Trajectories)
REWARDLOOM_PORT_TYPE(Metrics)
REWARDLOOM_PORT_TYPE(Scalar)
REWARDLOOM_PORT_TYPE(Text)
REWARDLOOM_PORT_TYPE(TextRows)
REWARDLOOM_PORT_TYPE(Table)
REWARDLOOM_PORT_TYPE(LossTerm)
REWARDLOOM_PORT_TYPE(Policy)
REWARDLOOM_PORT_TYPE(ReferenceModel)
REWARDLOOM_PORT_TYPE(RewardModel)
REWARDLOOM_PORT_TYPE(ValueModel)
REWARDLOOM_PORT_TYPE(Judge)
REWARDLOOM_PORT_TYPE(Generator)
REWARDLOOM_PORT_TYPE(Discriminator)
REWARDLOOM_PORT_TYPE(Encoder)
#undef REWARDLOOM_PORT_TYPE

/// All of the above, for the registry.
std::vector<const PortType*> core_port_types();

}  // namespace rewardloom
