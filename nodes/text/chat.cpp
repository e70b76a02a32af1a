#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/chat_template.h"
#include "nodes/text/loaded_tokenizer.h"

namespace rewardloom {

namespace {

using Ids = std::vector<std::int64_t>;

/// tokens [P,L] int64 and mask [P,L] bool, padded on the left.
void put_tokens(const std::vector<Ids>& rows, std::int64_t padding, Prompts& out) {
  std::size_t longest = 0;
  for (const Ids& row : rows) longest = std::max(longest, row.size());
  const auto p = static_cast<std::int64_t>(rows.size()), l = static_cast<std::int64_t>(longest);
  out.tokens = at::full({p, l}, padding, at::kLong);
  out.mask = at::zeros({p, l}, at::kBool);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t gap = longest - rows[i].size();
    std::copy(rows[i].begin(), rows[i].end(),
              out.tokens.data_ptr<std::int64_t>() + i * longest + gap);
    std::fill_n(out.mask.data_ptr<bool>() + i * longest + gap, rows[i].size(), true);
  }
}

/// The text that a format begins with where no tokenizer says it.
std::string begin_text(ChatFormat format) {
  if (format == ChatFormat::llama3 || format == ChatFormat::llama3_1) return "<|begin_of_text|>";
  if (format == ChatFormat::gemma || format == ChatFormat::gemma3) return "<bos>";
  return "";
}

}  // namespace

struct TextChat final : Node {
  State<LoadedTokenizer> loaded{this, "tokenizer"};
  Input<Prompts> prompts{this, "prompts",
                         "conversations in a field of each row, or single questions"};
  Output<Prompts> out{this, "prompts", "as the model was trained on them, with ids"};
  TokenizerParams source{this};
  Param<ChatFormat> format{this, "format", ChatFormat::from_model, "how turns are marked"};
  Param<std::string> messages{
      this, "messages", "messages",
      "field with a list of {role, content}; a row without it asks its text"};
  Param<std::string> tools{this, "tools", "tools",
                           "field with functions that may be called (Qwen)"};
  Param<std::optional<std::string>> system{this, "system", std::nullopt,
                                           "system prompt of conversations without one; null: the "
                                           "template's own"};
  Param<bool> generation_prompt{this, "generation_prompt", true, "end with the start of an answer"};
  Param<std::optional<bool>> thinking{this, "thinking", std::nullopt,
                                      "Qwen3: false begins the answer with an empty thought"};
  Param<std::string> date{this, "date", "26 Jul 2024", "that Llama 3.1 is told"};
  Synonyms words{this,
                 {"chat template", "ChatML", "conversation", "messages", "apply_chat_template"}};
  Doc doc{
      this,
      "Conversations as text and token ids. The format is known by the markers in the model's "
      "chat_template: ChatML with and without Qwen's additions, Llama 3, Gemma, plain. Ids are "
      "those of the rendered text, which has its own begin token: none is added, and two are an "
      "alarm. Without model and tokenizer, format must be set and only text is given. [P] rows."};

  void run(Step& step) const override {
    const Prompts& given = step[prompts];
    const auto state = step.shared(loaded, [&] {
      return std::make_shared<LoadedTokenizer>(source.given() ? source.load(step)
                                                              : LoadedTokenizer{});
    });
    const ChatStyle style = style_of(*state);
    Prompts rendered = given;
    rendered.tokens = rendered.mask = at::Tensor();
    rendered.batch = step.new_batch();
    for (std::size_t i = 0; i < given.text.size(); ++i) {
      rendered.text[i] = render(given, i, style, state->tokenizer.get());
    }
    if (state->tokenizer) add_ids(step, *state->tokenizer, rendered);
    step[out] = std::move(rendered);
  }

 private:
  ChatStyle style_of(const LoadedTokenizer& state) const {
    ChatStyle style{format(), system()};
    if (format() != ChatFormat::from_model) return style;
    if (!state.tokenizer) {
      throw Failure("chat-template", "neither a model nor a format is given",
                    "set model, or format to the one that the model was trained on");
    }
    style = chat_style_of(state.config);
    if (system()) style.system = system();
    return style;
  }

  std::string render(const Prompts& given, std::size_t row, const ChatStyle& style,
                     const Tokenizer* tokenizer) const {
    const Json* const fields = row < given.fields.size() ? &given.fields[row] : nullptr;
    const auto field = [&](const std::string& key) {
      return fields != nullptr && fields->is_object() && fields->contains(key) ? (*fields)[key]
                                                                               : Json();
    };
    Json conversation = field(messages());
    if (conversation.is_null())
      conversation = Json::array({{{"role", "user"}, {"content", given.text[row]}}});
    ChatOptions options;
    options.generation_prompt = generation_prompt();
    options.thinking = thinking();
    options.date = date();
    options.system = style.system;
    options.tools = field(tools());
    options.begin = begin_text(style.format);
    if (tokenizer != nullptr && !options.begin.empty() && tokenizer->special().begin) {
      options.begin = tokenizer->token_text(*tokenizer->special().begin);
    }
    try {
      return render_chat(style.format, conversation, options);
    } catch (const Failure& failure) {
      Problem problem = failure.problem();
      problem.text = fmt::format("row {}: {}", row, problem.text);
      throw Failure(std::move(problem));
    }
  }

  /// Of a character tokenizer the separator is what an answer begins behind.
  void add_ids(Step& step, const Tokenizer& tokenizer, Prompts& rendered) const {
    std::vector<Ids> rows(rendered.text.size());
    const SpecialTokens& special = tokenizer.special();
    step.parallel(rows.size(), [&](std::size_t i) {
      rows[i] = tokenizer.encode(rendered.text[i]);
      if (special.separator && generation_prompt()) rows[i].push_back(*special.separator);
    });
    alarm_double_begin(step, tokenizer, rows);
    put_tokens(rows, special.padding.value_or(special.end.value_or(0)), rendered);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextChat, "Chat template", "")
