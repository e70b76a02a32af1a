#include "engine/core/port_types.h"

#include "engine/core/real_numbers.h"

namespace rewardloom {

at::Tensor Completions::mask() const {
  return kinds.eq(static_cast<std::int64_t>(TokenKind::action));
}

at::Tensor Completions::lengths() const { return mask().sum(-1); }

Rewards Rewards::of(const Completions& completions, at::Tensor total) {
  Rewards rewards;
  rewards.total = real_numbers(total, at::kFloat);
  rewards.group = completions.group;
  rewards.batch = completions.batch;
  return rewards;
}

void Metrics::add(std::string name, double value) {
  names.push_back(std::move(name));
  values.push_back(value);
}

Advantages::Advantages(at::Tensor values, const Rewards& from)
    : advantages(real_numbers(values, at::kFloat)), group(from.group), batch(from.batch) {}

namespace {
constexpr FieldOptions kMain{.main = true};
constexpr FieldOptions kOptional{.optional = true};
constexpr FieldOptions kMainReal{.main = true, .real = true};
constexpr FieldOptions kOptionalReal{.optional = true, .real = true};
}  // namespace

void fields(FieldVisitor& v, Dataset& x) {
  v.texts("text", x.text, "P", kMain);
  v.texts("id", x.id, "P", kOptional);
  v.texts("reference", x.reference, "P", kOptional);
  v.rows("fields", x.fields, "P", kOptional);
}

void fields(FieldVisitor& v, Prompts& x) {
  fields(v, static_cast<Dataset&>(x));
  v.tensor("tokens", x.tokens, "P,L", kOptional);
  v.tensor("mask", x.mask, "P,L", kOptional);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Completions& x) {
  v.tensor("tokens", x.tokens, "N,T", kMain);
  v.tensor("kinds", x.kinds, "N,T", kOptional);
  v.tensor("prompt", x.prompt, "N", kOptional);
  v.tensor("group", x.group, "N", kOptional);
  v.tensor("log_probs", x.log_probs, "N,T", kOptionalReal);
  v.tensor("entropy", x.entropy, "N,T", kOptionalReal);
  v.tensor("finished", x.finished, "N", kOptional);
  v.texts("text", x.text, "N", kOptional);
  v.texts("prompt_text", x.prompt_text, "N", kOptional);
  v.texts("reference", x.reference, "N", kOptional);
  v.rows("fields", x.fields, "N", kOptional);
  v.number("temperature", x.temperature, kOptional);
  v.integer("weight_version", x.weight_version);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, LogProbs& x) {
  v.tensor("log_probs", x.log_probs, "N,T", kMainReal);
  v.tensor("mask", x.mask, "N,T", kOptional);
  v.integer("weight_version", x.weight_version);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Rewards& x) {
  v.tensor("total", x.total, "N", kMainReal);
  v.tensors("components", x.components, "N", kOptionalReal);
  v.tensor("absent", x.absent, "N", kOptional);
  v.tensor("group", x.group, "N", kOptional);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, TokenRewards& x) {
  v.tensor("rewards", x.rewards, "N,T", kMainReal);
  v.tensor("mask", x.mask, "N,T", kOptional);
  v.tensor("group", x.group, "N", kOptional);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, StepRewards& x) {
  v.tensor("rewards", x.rewards, "N,S", kMainReal);
  v.tensor("boundaries", x.boundaries, "N,S", kOptional);
  v.tensor("group", x.group, "N", kOptional);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Advantages& x) {
  v.tensor("advantages", x.advantages, "N,*", kMainReal);
  v.tensor("group", x.group, "N", kOptional);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Values& x) {
  v.tensor("values", x.values, "N,*", kMain);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Returns& x) {
  v.tensor("returns", x.returns, "N,*", kMainReal);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Preferences& x) {
  v.texts("prompt", x.prompt, "N", kOptional);
  v.texts("chosen", x.chosen, "N", kMain);
  v.texts("rejected", x.rejected, "N");
  v.tensor("margin", x.margin, "N", kOptionalReal);
  v.tensor("weight", x.weight, "N", kOptionalReal);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Tests& x) {
  v.rows("tests", x.tests, "N", kMain);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Verdicts& x) {
  v.rows("verdicts", x.verdicts, "N", kMain);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Images& x) {
  v.tensor("images", x.images, "N,C,H,W", kMain);
  v.tensor("group", x.group, "N", kOptional);
  v.tensor("labels", x.labels, "N", kOptional);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Latents& x) {
  v.tensor("latents", x.latents, "N,*", kMainReal);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Features& x) {
  v.tensor("features", x.features, "N,D", kMainReal);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Trajectories& x) {
  v.tensor("observations", x.observations, "N,S,*", kMain);
  v.tensor("actions", x.actions, "N,S,*", kOptional);
  v.tensor("rewards", x.rewards, "N,S", kOptionalReal);
  v.tensor("terminated", x.terminated, "N,S", kOptional);
  v.tensor("truncated", x.truncated, "N,S", kOptional);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Metrics& x) {
  v.numbers("values", x.values, "K", kMain);
  v.texts("names", x.names, "K");
}

void fields(FieldVisitor& v, Scalar& x) { v.number("value", x.value, kMain); }

void fields(FieldVisitor& v, Text& x) { v.text("text", x.text, kMain); }

void fields(FieldVisitor& v, TextRows& x) {
  v.texts("texts", x.texts, "N", kMain);
  v.integer("batch", x.batch);
}

void fields(FieldVisitor& v, Table& x) {
  v.rows("cells", x.cells, "N", kMain);
  v.texts("columns", x.columns, "K", kOptional);
}

namespace {

class NameList final : public FieldVisitor {
 public:
  FieldNames names;
  void tensor(const char* n, at::Tensor&, const char*, FieldOptions o) override { add(n, o); }
  void tensors(const char* n, NamedTensors&, const char*, FieldOptions o) override { add(n, o); }
  void texts(const char* n, std::vector<std::string>&, const char*, FieldOptions o) override {
    add(n, o);
  }
  void rows(const char* n, std::vector<Json>&, const char*, FieldOptions o) override { add(n, o); }
  void numbers(const char* n, std::vector<double>&, const char*, FieldOptions o) override {
    add(n, o);
  }
  void text(const char* n, std::string&, FieldOptions o) override { add(n, o); }
  void json(const char* n, Json&, FieldOptions o) override { add(n, o); }
  void integer(const char* n, std::int64_t&) override { add(n, {}); }
  void number(const char* n, double&, FieldOptions o) override { add(n, o); }

 private:
  void add(const char* name, FieldOptions options) {
    names.all.emplace_back(name);
    if (options.main) names.main = name;
    if (options.real) names.real.emplace_back(name);
  }
};

template <class T>
PortType value_type(const char* name, const char* dims, const char* doc, bool probe = false) {
  PortType type;
  type.declaration = {name, doc, dims, false, probe, {}};
  type.make = []() -> std::shared_ptr<void> { return std::make_shared<T>(); };
  type.visit = [](FieldVisitor& v, void* value) { fields(v, *static_cast<T*>(value)); };
  NameList list;
  T empty{};
  fields(list, empty);
  type.declaration.fields = list.names.all;
  return type;
}

const char* handle_name(std::string_view type) {
  // The one handle whose C++ name is not the port type's.
  return type == "ReferenceModel" ? "Reference" : type.data();
}

PortType handle_type(const char* name, const char* doc) {
  PortType type;
  type.declaration = {name, doc, "", true, false, {}};
  return type;
}

}  // namespace

FieldNames field_names(const PortType& type) {
  if (type.visit == nullptr) return {};
  NameList list;
  type.visit(list, type.make().get());
  return list.names;
}

#define REWARDLOOM_VALUE(T, dims, doc, ...)                                   \
  const PortType& PortTraits<T>::type() {                                     \
    static const PortType type = value_type<T>(#T, dims, doc, ##__VA_ARGS__); \
    return type;                                                              \
  }
#define REWARDLOOM_HANDLE(T, doc)                                   \
  const PortType& PortTraits<T>::type() {                           \
    static const PortType type = handle_type(handle_name(#T), doc); \
    return type;                                                    \
  }

REWARDLOOM_VALUE(Dataset, "P", "rows: id, text, reference answer, any further fields")
REWARDLOOM_VALUE(Prompts, "P", "the rows that one iteration works on")
REWARDLOOM_VALUE(Completions, "N,T",
                 "sampled answers with tokens, kinds, groups, behaviour log-probs")
REWARDLOOM_VALUE(LogProbs, "N,T", "log-probabilities of the sampled tokens", true)
REWARDLOOM_VALUE(Rewards, "N", "one reward per row, named components, absent rows marked", true)
REWARDLOOM_VALUE(TokenRewards, "N,T", "one reward per token", true)
REWARDLOOM_VALUE(StepRewards, "N,S", "one reward per step, with step boundaries", true)
REWARDLOOM_VALUE(Advantages, "N", "one advantage per row, or per token", true)
REWARDLOOM_VALUE(Values, "N", "predicted returns per row or per token")
REWARDLOOM_VALUE(Returns, "N", "what a value model should predict")
REWARDLOOM_VALUE(Preferences, "N", "pairs of answers, the first preferred; margin and weight")
REWARDLOOM_VALUE(Tests, "N", "unit tests of each row")
REWARDLOOM_VALUE(Verdicts, "N", "pass, wrong, error or timeout of each test of each row")
REWARDLOOM_VALUE(Images, "N,C,H,W", "images in channels-first order")
REWARDLOOM_VALUE(Latents, "N", "latent tensors of a generator")
REWARDLOOM_VALUE(Features, "N,D", "one feature vector per row")
REWARDLOOM_VALUE(Trajectories, "N,S", "steps in environments")
REWARDLOOM_VALUE(Metrics, "", "named numbers")
REWARDLOOM_VALUE(Scalar, "", "one number")
REWARDLOOM_VALUE(Text, "", "one text")
REWARDLOOM_VALUE(TextRows, "N", "one text per row")
REWARDLOOM_VALUE(Table, "", "named columns, rows of cells")
REWARDLOOM_HANDLE(Policy, "a model that samples and is trained")
REWARDLOOM_HANDLE(ReferenceModel, "a frozen model to compare a policy with")
REWARDLOOM_HANDLE(RewardModel, "a model that scores rows")
REWARDLOOM_HANDLE(ValueModel, "a model that predicts returns")
REWARDLOOM_HANDLE(Judge, "a model that compares or grades rows")
REWARDLOOM_HANDLE(Generator, "a model that makes images or latents")
REWARDLOOM_HANDLE(Discriminator, "a model that tells made from real")
REWARDLOOM_HANDLE(Encoder, "a model that gives features")

const PortType& PortTraits<LossTerm>::type() {
  static const PortType type = [] {
    PortType t;
    t.declaration = {
        "LossTerm", "a loss, evaluated inside an optimizer's micro-batches", "", false, false, {}};
    return t;
  }();
  return type;
}

namespace {
template <class... T>
std::vector<const PortType*> types_of() {
  return {&PortTraits<T>::type()...};
}
}  // namespace

std::vector<const PortType*> core_port_types() {
  return types_of<Dataset, Prompts, Completions, LogProbs, Rewards, TokenRewards, StepRewards,
                  Advantages, Values, Returns, Preferences, Tests, Verdicts, Images, Latents,
                  Features, Trajectories, Metrics, Scalar, Text, TextRows, Table, LossTerm, Policy,
                  ReferenceModel, RewardModel, ValueModel, Judge, Generator, Discriminator,
                  Encoder>();
}

}  // namespace rewardloom
