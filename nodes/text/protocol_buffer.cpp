#include "nodes/text/protocol_buffer.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

[[noreturn]] void refuse_message(const std::string& why) {
  throw Failure("protocol-buffer", "the file is no protocol buffer: " + why,
                "fetch it again; a Git LFS pointer is not the file itself");
}

}  // namespace

ProtocolField ProtocolReader::next() {
  using Kind = ProtocolField::Kind;
  const std::uint64_t tag = varint();
  ProtocolField field;
  field.key = tag >> 3;
  switch (tag & 7) {
    case 0: field.number = varint(); break;
    case 1:
      field.kind = Kind::fixed64;
      take(8);
      break;
    case 2:
      field.kind = Kind::delimited;
      field.bytes = take(varint());
      break;
    case 5: {
      field.kind = Kind::fixed32;
      const std::string_view bytes = take(4);
      std::uint32_t bits = 0;
      for (std::size_t i = 4; i-- > 0;) bits = bits << 8 | static_cast<unsigned char>(bytes[i]);
      std::memcpy(&field.decimal, &bits, sizeof bits);
      break;
    }
    default: refuse_message(fmt::format("it has a field of kind {}", tag & 7));
  }
  return field;
}

std::uint64_t ProtocolReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(take(1)[0]);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  refuse_message("a number is too long");
}

std::string_view ProtocolReader::take(std::uint64_t size) {
  if (size > rest_.size()) refuse_message("it ends early");
  const std::string_view out = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return out;
}

}  // namespace rewardloom
