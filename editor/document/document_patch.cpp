#include "editor/document/document_patch.h"

#include <algorithm>
#include <iterator>

namespace rewardloom {
namespace {

template <class T>
SpanPatch<T> spanBetween(const std::vector<T>& before, const std::vector<T>& after) {
  const std::size_t shorter = std::min(before.size(), after.size());
  std::size_t head = 0;
  while (head < shorter && before[head] == after[head]) ++head;
  std::size_t tail = 0;
  while (tail < shorter - head &&
         before[before.size() - 1 - tail] == after[after.size() - 1 - tail]) {
    ++tail;
  }
  const auto middle = [&](const std::vector<T>& list) {
    return std::vector<T>(list.begin() + static_cast<std::ptrdiff_t>(head),
                          list.end() - static_cast<std::ptrdiff_t>(tail));
  };
  return {head, middle(before), middle(after)};
}

template <class T>
void splice(std::vector<T>& list, const SpanPatch<T>& patch, bool forwards) {
  if (patch.empty()) return;
  const std::vector<T>& out = forwards ? patch.before : patch.after;
  const std::vector<T>& in = forwards ? patch.after : patch.before;
  const auto first = list.begin() + static_cast<std::ptrdiff_t>(patch.first);
  const auto at = list.erase(first, first + static_cast<std::ptrdiff_t>(out.size()));
  list.insert(at, in.begin(), in.end());
}

template <class T>
void assign(T& value, const ValuePatch<T>& patch, bool forwards) {
  if (!patch.empty()) value = forwards ? patch.after : patch.before;
}

std::vector<DocumentPatch::Member> members(const Json& object) {
  std::vector<DocumentPatch::Member> list;
  for (const auto& [key, value] : object.items()) list.emplace_back(key, value);
  return list;
}

Json objectOf(const std::vector<DocumentPatch::Member>& list) {
  Json object = Json::object();
  auto& target = object.get_ref<Json::object_t&>();
  target.reserve(list.size());
  // Appended without the look for an equal key, which would be quadratic.
  for (const auto& [key, value] : list) {
    static_cast<std::vector<Json::object_t::value_type>&>(target).emplace_back(key, value);
  }
  return object;
}

}  // namespace

DocumentPatch DocumentPatch::between(const Document& before, const Document& after) {
  DocumentPatch patch;
  patch.name_ = {before.name, after.name};
  patch.about_ = {before.about, after.about};
  patch.parameters_ = {before.parameters, after.parameters};
  patch.settings_ = {before.settings, after.settings};
  patch.placement_ = {before.placement, after.placement};
  patch.other_ = {before.other, after.other};
  if (before.layout != after.layout) {
    patch.layout_ = spanBetween(members(before.layout), members(after.layout));
  }
  patch.nodes_ = spanBetween(before.nodes, after.nodes);
  patch.subgraphs_ = spanBetween(before.subgraphs, after.subgraphs);
  return patch;
}

bool DocumentPatch::empty() const { return !touchesMeaning() && layout_.empty(); }

bool DocumentPatch::touchesMeaning() const {
  return !(name_.empty() && about_.empty() && parameters_.empty() && settings_.empty() &&
           placement_.empty() && other_.empty() && nodes_.empty() && subgraphs_.empty());
}

std::set<std::string> DocumentPatch::touchedNodes() const {
  std::set<std::string> names;
  for (const GraphNode& node : nodes_.before) names.insert(node.name);
  for (const GraphNode& node : nodes_.after) names.insert(node.name);
  return names;
}

void DocumentPatch::move(Document& document, bool forwards) const {
  assign(document.name, name_, forwards);
  assign(document.about, about_, forwards);
  assign(document.parameters, parameters_, forwards);
  assign(document.settings, settings_, forwards);
  assign(document.placement, placement_, forwards);
  assign(document.other, other_, forwards);
  if (!layout_.empty()) {
    std::vector<Member> list = members(document.layout);
    splice(list, layout_, forwards);
    document.layout = objectOf(list);
  }
  splice(document.nodes, nodes_, forwards);
  splice(document.subgraphs, subgraphs_, forwards);
}

}  // namespace rewardloom
