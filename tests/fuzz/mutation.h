// Damage: how the fuzz program changes bytes and JSON.
#pragma once
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom::fuzz {

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }

  /// Bits, bytes, numbers at their limits, cuts, repetitions.
  std::string bytes(std::string text) {
    for (std::size_t count = 1 + below(4); count > 0; --count) one_change(text);
    return text;
  }

  /// One or a few values take the place of others, keys are lost, lists grow.
  Json json(Json value) {
    for (std::size_t count = 1 + below(3); count > 0; --count) change(value, value, 0);
    return value;
  }

 private:
  void one_change(std::string& text) {
    const std::size_t at = below(text.size()), length = 1 + below(below(2) == 0 ? 8 : 256);
    switch (below(7)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 1:
        if (!text.empty()) text[at] = static_cast<char>(random_());
        break;
      case 2: text.erase(at, length); break;
      case 3: text.insert(at, text.substr(below(text.size()), length)); break;
      case 4: text.resize(below(text.size() + 1)); break;
      case 5: overwrite_number(text, at); break;
      default: text.insert(at, words()[below(words().size())]);
    }
  }

  void overwrite_number(std::string& text, std::size_t at) {
    static const std::uint64_t limits[] = {0,
                                           1,
                                           0x7F,
                                           0xFF,
                                           0x7FFF,
                                           0xFFFF,
                                           0x7FFFFFFF,
                                           0xFFFFFFFF,
                                           0x100000000,
                                           0x7FFFFFFFFFFFFFFF,
                                           0xFFFFFFFFFFFFFFFF};
    const std::uint64_t value = limits[below(std::size(limits))];
    for (std::size_t i = 0, size = std::size_t{1} << below(4); i < size && at + i < text.size();
         ++i) {
      text[at + i] = static_cast<char>(value >> (8 * i) & 0xFF);
    }
  }

  static const std::vector<std::string>& words() {
    static const std::vector<std::string> list{"18446744073709551615",
                                               "-1",
                                               "1e999",
                                               "null",
                                               "[]",
                                               "{}",
                                               "\"\"",
                                               "[[[[[[[[",
                                               "{\"a\":",
                                               "\\u0000",
                                               "\xFF",
                                               "\xED\xA0\x80",
                                               "(?:a*)*b",
                                               "[",
                                               "\\",
                                               "\xE2\x96\x81",
                                               "<0x0A>",
                                               "F64",
                                               "BF16",
                                               "data_offsets"};
    return list;
  }

  Json any_value(const Json& root) {
    switch (below(9)) {
      case 0: return nullptr;
      case 1: return static_cast<std::int64_t>(random_());
      case 2: return below(300);
      case 3: return -1.5e300;
      case 4: return below(2) == 0;
      case 5: return Json::array();
      case 6: return Json::object();
      case 7: {
        const std::string& word = words()[below(words().size())];
        return word.find_first_of("\xFF\xED") == std::string::npos ? word : "x";
      }
      default: return somewhere(root);
    }
  }

  const Json& somewhere(const Json& root) {
    const Json* at = &root;
    while (at->is_structured() && !at->empty() && below(4) != 0) {
      auto next = at->begin();
      std::advance(next, static_cast<std::ptrdiff_t>(below(at->size())));
      at = &*next;
    }
    return *at;
  }

  void change(Json& value, const Json& root, int depth) {
    if (value.is_structured() && !value.empty() && (depth == 0 || below(6) != 0)) {
      auto next = value.begin();
      std::advance(next, static_cast<std::ptrdiff_t>(below(value.size())));
      if (below(12) == 0) {
        value.erase(next);
        return;
      }
      return change(*next, root, depth + 1);
    }
    if (value.is_array() && below(2) == 0) {
      value.push_back(any_value(root));
    } else {
      value = any_value(root);
    }
  }

  std::mt19937_64 random_;
};

}  // namespace rewardloom::fuzz
