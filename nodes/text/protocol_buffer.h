// The wire format of protocol buffers, as far as reading needs it.
#pragma once
#include <cstdint>
#include <string_view>

namespace rewardloom {

/// One field of a message. `number` counts where it is a number; `bytes` where it is a text or a
/// message within.
struct ProtocolField {
  std::uint64_t key = 0;
  std::uint64_t number = 0;
  float decimal = 0;
  std::string_view bytes;
  enum class Kind { integer, fixed32, fixed64, delimited } kind = Kind::integer;
};

/// Reads field after field. Failure `protocol-buffer` where the message ends early or is none.
class ProtocolReader {
 public:
  explicit ProtocolReader(std::string_view message) : rest_(message) {}
  bool done() const { return rest_.empty(); }
  ProtocolField next();

 private:
  std::uint64_t varint();
  std::string_view take(std::uint64_t size);
  std::string_view rest_;
};

}  // namespace rewardloom
