#include "nodes/text/sentencepiece_model.h"

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Failure("tokenizer", "the SentencePiece model is damaged: " + why,
                "fetch the file again; a Git LFS pointer is not the model itself");
}

/// A field of a protocol buffer; `bytes` where it is text or a message.
struct Field {
  std::uint64_t number;
  bool delimited;
  std::string_view bytes;
};

class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : rest_(bytes) {}
  bool done() const { return rest_.empty(); }
  Field next() {
    const std::uint64_t key = varint();
    Field field{key >> 3, false, {}};
    switch (key & 7) {
      case 0:
        varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        field.delimited = true;
        field.bytes = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        refuse(fmt::format("it has a field of kind {}", key & 7));
    }
    return field;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    refuse("a number is too long");
  }
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) refuse("it ends early");
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  std::string_view rest_;
};

std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

/// Each step from each unit stays within the trie, each value within the texts behind it.
void require_sound_map(std::string_view map) {
  if (map.empty()) return;
  if (map.size() <= 4) refuse("its rewriting rules end early");
  const std::uint64_t size = little_endian(map, 0);
  if (size < 1024 || size % 1024 != 0 || size >= map.size() - 4) {
    refuse(fmt::format("its rewriting rules have a trie of {} bytes", size));
  }
  if (map.back() != '\0') refuse("its rewriting rules do not end in a zero byte");
  const std::uint64_t count = size / 4, texts = map.size() - 4 - size;
  const auto unit = [&](std::uint64_t at) { return little_endian(map, 4 + 4 * at); };
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint32_t u = unit(i);
    if (u >> 31) continue;  // a value
    const std::uint64_t to = i ^ (static_cast<std::uint64_t>(u >> 10) << ((u & 0x200U) >> 6));
    const bool empty = u == 0;
    if (!empty && (to | 0xFF) >= count) refuse("its trie leads out of itself");
    const bool leaf = u >> 8 & 1;
    if (leaf && (unit(to) & 0x7FFFFFFFU) >= texts) refuse("its trie points behind its texts");
  }
}

void require_sound_rules(std::string_view spec) {
  for (FieldReader reader(spec); !reader.done();) {
    const Field field = reader.next();
    if (field.number == 2 && field.delimited) require_sound_map(field.bytes);
  }
}

}  // namespace

void require_sound_model(std::string_view model) {
  std::size_t pieces = 0;
  for (FieldReader reader(model); !reader.done();) {
    const Field field = reader.next();
    if (!field.delimited) continue;
    if (field.number == 1) ++pieces;
    if (field.number == 3 || field.number == 5) require_sound_rules(field.bytes);
  }
  if (pieces == 0) refuse("it has no pieces");
}

}  // namespace rewardloom
