#include "nodes/image/png.h"

#include <fmt/format.h>
#include <png.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

void put_word(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

std::uint32_t crc32_of(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

std::uint32_t adler32_of(std::string_view bytes) {
  std::uint32_t a = 1, b = 0;
  for (const char c : bytes) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

void put_chunk(std::string& out, std::string_view type, std::string_view data) {
  put_word(out, static_cast<std::uint32_t>(data.size()));
  const std::string body = std::string(type) + std::string(data);
  out += body;
  put_word(out, crc32_of(body));
}

/// A zlib stream of stored blocks.
std::string stored(std::string_view bytes) {
  constexpr std::size_t kMost = 65535;
  std::string out("\x78\x01", 2);
  std::size_t at = 0;
  do {
    const std::size_t size = std::min(kMost, bytes.size() - at);
    const bool last = at + size == bytes.size();
    out.push_back(last ? 1 : 0);
    for (const std::size_t field : {size, ~size}) {
      out.push_back(static_cast<char>(field & 0xff));
      out.push_back(static_cast<char>(field >> 8 & 0xff));
    }
    out += bytes.substr(at, size);
    at += size;
  } while (at < bytes.size());
  put_word(out, adler32_of(bytes));
  return out;
}

[[noreturn]] void bad_png(const std::string& path, const std::string& what) {
  throw Failure("bad-png", fmt::format("{}: {}", path, what),
                "give whole PNG files of up to 2^26 pixels");
}

struct FreePng {
  void operator()(png_image* image) const {
    png_image_free(image);
    delete image;
  }
};

}  // namespace

at::Tensor decode_png(const std::string& bytes, const std::string& path) {
  constexpr double kMostPixels = 1 << 26;
  const std::unique_ptr<png_image, FreePng> image(new png_image{});
  image->version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_memory(image.get(), bytes.data(), bytes.size()) == 0) {
    bad_png(path, image->message);
  }
  if (static_cast<double>(image->width) * image->height > kMostPixels) {
    bad_png(path, fmt::format("has {} x {} pixels", image->width, image->height));
  }
  const bool colour = (image->format & PNG_FORMAT_FLAG_COLOR) != 0;
  image->format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  at::Tensor pixels = at::empty({image->height, image->width, colour ? 3 : 1}, at::kByte);
  const png_color black{0, 0, 0};
  if (png_image_finish_read(image.get(), &black, pixels.data_ptr<std::uint8_t>(), 0, nullptr) ==
      0) {
    bad_png(path, image->message);
  }
  return pixels.permute({2, 0, 1}).contiguous();
}

std::string png_bytes(const at::Tensor& pixels) {
  const at::Tensor p = pixels.contiguous();
  const std::int64_t height = p.size(0), width = p.size(1);
  const std::int64_t channels = p.dim() == 3 ? p.size(2) : 1;
  std::string rows;
  const auto* data = reinterpret_cast<const char*>(p.data_ptr<std::uint8_t>());
  for (std::int64_t y = 0; y < height; ++y) {
    rows.push_back(0);  // no filter
    rows.append(data + y * width * channels, static_cast<std::size_t>(width * channels));
  }
  std::string head;
  put_word(head, static_cast<std::uint32_t>(width));
  put_word(head, static_cast<std::uint32_t>(height));
  head += {8, static_cast<char>(channels == 3 ? 2 : 0), 0, 0, 0};
  std::string out("\x89PNG\r\n\x1a\n", 8);
  put_chunk(out, "IHDR", head);
  put_chunk(out, "IDAT", stored(rows));
  put_chunk(out, "IEND", {});
  return out;
}

at::Tensor image_grid(const at::Tensor& images, std::int64_t columns, std::int64_t zoom) {
  if (images.dim() != 4 || images.size(0) == 0 || (images.size(1) != 1 && images.size(1) != 3)) {
    throw Failure("bad-shape", c10::str("images are ", images.sizes(), ", which cannot be drawn"),
                  "give [N,1,H,W] or [N,3,H,W] with at least one image");
  }
  const at::Tensor bytes =
      ((images.detach().to(at::kCPU, at::kFloat).clamp(-1, 1) + 1) * 127.5).round().to(at::kByte);
  const std::int64_t count = bytes.size(0), channels = bytes.size(1);
  const std::int64_t across = std::min(columns, count), down = (count + across - 1) / across;
  const std::int64_t h = bytes.size(2) * zoom, w = bytes.size(3) * zoom;
  at::Tensor sheet = at::full({down * (h + 1) - 1, across * (w + 1) - 1, channels}, 128, at::kByte);
  for (std::int64_t i = 0; i < count; ++i) {
    const at::Tensor image =
        bytes[i].repeat_interleave(zoom, 1).repeat_interleave(zoom, 2).permute({1, 2, 0});
    sheet.narrow(0, i / across * (h + 1), h).narrow(1, i % across * (w + 1), w).copy_(image);
  }
  return channels == 1 ? sheet.squeeze(2) : sheet;
}

}  // namespace rewardloom
