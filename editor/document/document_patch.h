// What one edit changed in a document: small, exact, applicable forwards and backwards.
#pragma once
#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/graph/document.h"

namespace rewardloom {

/// A run of elements of a list and what stands there instead.
template <class T>
struct SpanPatch {
  std::size_t first = 0;
  std::vector<T> before;
  std::vector<T> after;

  bool empty() const { return before.empty() && after.empty(); }
};

/// A value and what it became.
template <class T>
struct ValuePatch {
  T before;
  T after;

  bool empty() const { return before == after; }
};

class DocumentPatch {
 public:
  using Member = std::pair<std::string, Json>;

  static DocumentPatch between(const Document& before, const Document& after);

  bool empty() const;
  void apply(Document& document) const { move(document, true); }
  void revert(Document& document) const { move(document, false); }

  /// Whether anything but positions, frames and notes differs.
  bool touchesMeaning() const;
  bool touchesLayout() const { return !layout_.empty(); }
  bool touchesSubgraphs() const { return !subgraphs_.empty(); }
  /// Names of the graph's own nodes that were added, removed or changed.
  std::set<std::string> touchedNodes() const;

 private:
  void move(Document& document, bool forwards) const;

  ValuePatch<std::string> name_, about_;
  ValuePatch<Json> parameters_, settings_, placement_, other_;
  SpanPatch<Member> layout_;
  SpanPatch<GraphNode> nodes_;
  SpanPatch<Subgraph> subgraphs_;
};

}  // namespace rewardloom
