#include "nodes/text/post_processor.h"

#include <fmt/format.h>

namespace rewardloom {

namespace {

std::vector<std::int64_t> template_ids(const TokenizerPart& specials, const std::string& name) {
  const TokenizerPart token = specials.at(name.c_str());
  if (token.is_null()) specials.refuse(fmt::format("lacks {}, which the template names", name));
  std::vector<std::int64_t> ids;
  for (const TokenizerPart& id : token.items("ids")) ids.push_back(token_id(id.json(), id.place()));
  return ids;
}

Surround of_template(const TokenizerPart& part) {
  Surround out;
  bool behind = false;
  for (const TokenizerPart& item : part.items("single")) {
    if (item.has("Sequence")) {
      const std::string which = item.at("Sequence").text("id");
      if (behind || which != "A") item.refuse("a template for one text holds the sequence A once");
      behind = true;
      continue;
    }
    const std::string name = item.at("SpecialToken").text("id");
    for (const std::int64_t id : template_ids(part.at("special_tokens"), name)) {
      (behind ? out.behind : out.before).push_back(id);
    }
  }
  if (!behind) part.refuse("the template has no place for the text");
  return out;
}

/// [text, id] under a key.
std::int64_t pair_id(const TokenizerPart& part, const char* key) {
  const std::vector<TokenizerPart> pair = part.items(key);
  if (pair.size() != 2) part.refuse(fmt::format("{} is not [token, id]", key));
  return token_id(pair[1].json(), pair[1].place());
}

Surround surround_of_one(const TokenizerPart& part) {
  const std::string type = part.type();
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return of_template(part);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    return {{pair_id(part, "cls")}, {pair_id(part, "sep")}};
  }
  part.unsupported(
      {"TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence"});
}

}  // namespace

Surround surround_of(const TokenizerPart& post_processor) {
  Surround all;
  for (const TokenizerPart& part : post_processor.sequence("processors")) {
    const Surround outer = surround_of_one(part);
    all.before.insert(all.before.begin(), outer.before.begin(), outer.before.end());
    all.behind.insert(all.behind.end(), outer.behind.begin(), outer.behind.end());
  }
  return all;
}

}  // namespace rewardloom
