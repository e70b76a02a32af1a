// TensorBoard event files, written without TensorFlow: TFRecord frames around protocol buffers.
#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/io/run_rows.h"

namespace rewardloom {

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`.
std::uint32_t crc32c(std::string_view bytes);

/// Appends to a fresh file events.out.tfevents.SECONDS.HOST.PID.N in `folder`, never to an old one.
/// Failure `write-failed` with the path.
class TensorBoardWriter {
 public:
  /// `resumed_at` hides what earlier files of the folder hold of steps >= it.
  explicit TensorBoardWriter(const std::filesystem::path& folder,
                             std::optional<std::int64_t> resumed_at = {});
  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;

  /// `wall_time` is in Unix seconds; 0 is taken as now. The format keeps scalars as float32.
  void scalar(std::string_view tag, std::int64_t step, double value, double wall_time = 0);
  /// An empty distribution is left out, as TensorBoard cannot show one.
  void histogram(std::string_view tag, std::int64_t step, const Distribution& distribution,
                 double wall_time = 0);
  /// Hands what was written to the system; also done every 64 KiB and at the end.
  void flush();
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  void event(std::string_view payload);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::string pending_;
};

}  // namespace rewardloom
