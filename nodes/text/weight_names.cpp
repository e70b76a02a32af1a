#include "nodes/text/weight_names.h"

#include <fmt/format.h>

namespace rewardloom {

namespace {

constexpr WeightNames llama_names{
    "model.",
    "embed_tokens",
    "",
    "layers.",
    "norm",
    {"input_layernorm", "", "post_attention_layernorm", "", "", "self_attn.q_proj",
     "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
     "mlp.down_proj"}};

constexpr WeightNames gemma2_names{
    "model.",
    "embed_tokens",
    "",
    "layers.",
    "norm",
    {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
     "post_feedforward_layernorm", "", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
     "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}};

constexpr WeightNames gpt2_names{"transformer.",
                                 "wte",
                                 "wpe",
                                 "h.",
                                 "ln_f",
                                 {"ln_1", "", "ln_2", "", "attn.c_attn", "", "", "", "attn.c_proj",
                                  "", "mlp.c_fc", "mlp.c_proj"}};

class ShapeList {
 public:
  explicit ShapeList(const ModelConfig& config) : config_(config) {}

  void norm(const std::string& name, std::int64_t width) {
    list.push_back({name + ".weight", {width}});
    if (config_.norm == NormKind::layer) list.push_back({name + ".bias", {width}});
  }
  void linear(const LinearModule& m) {
    list.push_back({m.name + ".weight", m.transposed ? std::vector<std::int64_t>{m.in, m.out}
                                                     : std::vector<std::int64_t>{m.out, m.in}});
    if (m.bias) list.push_back({m.name + ".bias", {m.out}});
  }

  std::vector<WeightShape> list;

 private:
  const ModelConfig& config_;
};

std::vector<LinearModule> attention_modules(const ModelConfig& c, const std::string& at) {
  const BlockNames& n = weight_names(c).block;
  const bool transposed = c.layout == WeightLayout::gpt2, bias = c.query_key_value_bias;
  const std::int64_t keys = c.key_value_width(), queries = c.query_width();
  std::vector<LinearModule> list;
  if (*n.fused) {
    list.push_back({at + n.fused, queries + 2 * keys, c.hidden_size, bias, transposed});
  } else {
    list.push_back({at + n.query, queries, c.hidden_size, bias, transposed});
    list.push_back({at + n.key, keys, c.hidden_size, bias, transposed});
    list.push_back({at + n.value, keys, c.hidden_size, bias, transposed});
  }
  list.push_back({at + n.out, c.hidden_size, queries, c.output_bias, transposed});
  return list;
}

std::vector<LinearModule> feed_forward_modules(const ModelConfig& c, const std::string& at) {
  const BlockNames& n = weight_names(c).block;
  const bool transposed = c.layout == WeightLayout::gpt2, bias = c.feed_forward_bias;
  std::vector<LinearModule> list;
  if (c.gated) list.push_back({at + n.gate, c.intermediate_size, c.hidden_size, bias, transposed});
  list.push_back({at + n.up, c.intermediate_size, c.hidden_size, bias, transposed});
  list.push_back({at + n.down, c.hidden_size, c.intermediate_size, bias, transposed});
  return list;
}

void add_block(const ModelConfig& c, std::int64_t index, ShapeList& shapes) {
  const BlockNames& n = weight_names(c).block;
  const std::string at = block_prefix(c, index);
  shapes.norm(at + n.input_norm, c.hidden_size);
  const std::vector<LinearModule> attention = attention_modules(c, at);
  for (std::size_t i = 0; i < attention.size(); ++i) {
    if (c.query_key_norm && i + 1 == attention.size()) {
      shapes.norm(at + "self_attn.q_norm", c.head_size);
      shapes.norm(at + "self_attn.k_norm", c.head_size);
    }
    shapes.linear(attention[i]);
  }
  if (c.norms_after) shapes.norm(at + n.attention_norm, c.hidden_size);
  shapes.norm(at + n.middle_norm, c.hidden_size);
  for (const LinearModule& module : feed_forward_modules(c, at)) shapes.linear(module);
  if (c.norms_after) shapes.norm(at + n.feed_forward_norm, c.hidden_size);
}

}  // namespace

const WeightNames& weight_names(const ModelConfig& config) {
  switch (config.layout) {
    case WeightLayout::gpt2: return gpt2_names;
    case WeightLayout::gemma2: return gemma2_names;
    case WeightLayout::llama: break;
  }
  return llama_names;
}

std::string block_prefix(const ModelConfig& config, std::int64_t index) {
  const WeightNames& n = weight_names(config);
  return fmt::format("{}{}{}.", n.trunk, n.blocks, index);
}

std::string embedding_name(const ModelConfig& config) {
  const WeightNames& n = weight_names(config);
  return std::string(n.trunk) + n.embedding + ".weight";
}

std::string head_module(const ModelConfig& c) {
  if (c.head == HeadKind::language_model) {
    const WeightNames& n = weight_names(c);
    return c.tied_embeddings ? std::string(n.trunk) + n.embedding : "lm_head";
  }
  // GPT2ForTokenClassification alone calls its head so.
  return c.layout == WeightLayout::gpt2 && c.head == HeadKind::token ? "classifier" : "score";
}

bool head_has_bias(const ModelConfig& config) { return config.head == HeadKind::token; }

std::vector<LinearModule> linear_modules(const ModelConfig& c) {
  std::vector<LinearModule> list;
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string at = block_prefix(c, i);
    for (LinearModule& m : attention_modules(c, at)) list.push_back(std::move(m));
    for (LinearModule& m : feed_forward_modules(c, at)) list.push_back(std::move(m));
  }
  return list;
}

std::vector<WeightShape> weight_shapes(const ModelConfig& c) {
  const WeightNames& n = weight_names(c);
  ShapeList shapes(c);
  shapes.list.push_back({embedding_name(c), {c.vocab_size, c.hidden_size}});
  if (c.positions == PositionKind::learned) {
    shapes.list.push_back(
        {std::string(n.trunk) + n.positions + ".weight", {c.max_positions, c.hidden_size}});
  }
  for (std::int64_t i = 0; i < c.layers; ++i) add_block(c, i, shapes);
  shapes.norm(std::string(n.trunk) + n.last_norm, c.hidden_size);
  if (c.head != HeadKind::language_model || !c.tied_embeddings) {
    shapes.linear({head_module(c), c.outputs(), c.hidden_size, head_has_bias(c), false});
  }
  return shapes.list;
}

std::vector<WeightShape> adapter_shapes(const ModelConfig& c) {
  std::vector<WeightShape> list;
  if (!c.lora) return list;
  for (const LinearModule& m : linear_modules(c)) {
    const auto& chosen = c.lora->modules;
    if (std::find(chosen.begin(), chosen.end(), m.name) == chosen.end()) continue;
    list.push_back({m.name + ".lora_A.weight", {c.lora->rank, m.in}});
    list.push_back({m.name + ".lora_B.weight", {m.out, c.lora->rank}});
  }
  return list;
}

}  // namespace rewardloom
