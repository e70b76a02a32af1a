// PNG files (ISO/IEC 15948): written without compression, read by libpng.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace rewardloom {

/// pixels [H,W] or [H,W,3] uint8 -> the bytes of a PNG file.
std::string png_bytes(const at::Tensor& pixels);

/// The bytes of a PNG file -> [C,H,W] uint8, C 1 (grey) or 3 (colour); 16 bits become 8, palettes
/// colours, and what is transparent lies on black. Failure `bad-png` naming `path`: no PNG file, a
/// broken one, or more than 2^26 pixels.
at::Tensor decode_png(const std::string& bytes, const std::string& path);

/// images [N,C,H,W] in [-1,1], C 1 or 3 -> uint8 [H',W'] or [H',W',3]: rows of `columns` images,
/// each enlarged `zoom` times, a pixel of grey between them. Failure `bad-shape`.
at::Tensor image_grid(const at::Tensor& images, std::int64_t columns, std::int64_t zoom);

}  // namespace rewardloom
