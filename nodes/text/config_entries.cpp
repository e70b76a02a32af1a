#include "nodes/text/config_entries.h"

#include "nodes/text/model_config.h"

namespace rewardloom {

Json config_entries() {
  Json entries = Json::object();
  const Json anything = Json::object();
  for (const char* name : {"attention_dropout",
                           "attn_logit_softcapping",
                           "attn_pdrop",
                           "bos_token_id",
                           "cache_implementation",
                           "dtype",
                           "embd_pdrop",
                           "eos_token_id",
                           "final_logit_softcapping",
                           "id2label",
                           "label2id",
                           "layer_types",
                           "pad_token_id",
                           "pretraining_tp",
                           "problem_type",
                           "reorder_and_upcast_attn",
                           "resid_pdrop",
                           "rope_parameters",
                           "rope_scaling",
                           "sliding_window",
                           "summary_activation",
                           "summary_first_dropout",
                           "summary_proj_to_labels",
                           "summary_type",
                           "summary_use_proj",
                           "task_specific_params",
                           "torch_dtype",
                           "transformers_version"}) {
    entries[name] = anything;
  }
  const Json size = {{"whole", true}, {"min", 1}};
  for (const char* name :
       {"vocab_size", "hidden_size", "n_embd", "num_hidden_layers", "n_layer",
        "num_attention_heads", "n_head", "max_position_embeddings", "n_positions", "n_ctx",
        "intermediate_size", "n_inner", "num_key_value_heads", "head_dim", "num_labels"}) {
    entries[name] = size;
  }
  for (const char* name : {"rms_norm_eps", "layer_norm_epsilon", "rope_theta", "initializer_range",
                           "query_pre_attn_scalar", "max_window_layers"}) {
    entries[name] = {{"min", 0}};
  }
  for (const char* name :
       {"tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window",
        "use_bidirectional_attention", "scale_attn_by_inverse_layer_idx", "add_cross_attention",
        "scale_attn_weights", "use_cache"}) {
    entries[name] = Json::array({true, false});
  }
  entries["hidden_act"] = entries["activation_function"] = entries["hidden_activation"] =
      Json::array({"silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh"});
  entries["classifier_pooling"] = Json::array({"last", "mean"});
  entries["model_type"] = Json::array({"llama", "mistral", "qwen2", "qwen3", "gpt2", "gemma2"});
  entries["architectures"] = {{"size", 1}, {"items", known_architectures()}};
  Json multiples = Json::array();
  multiples.push_back(Json::array({"num_attention_heads", "num_key_value_heads"}));
  return {{"entries", entries}, {"multiples", multiples}};
}

}  // namespace rewardloom
