// The safetensors format (github.com/huggingface/safetensors): an 8-byte length, a JSON header, raw
// data.
#pragma once
#include <c10/core/ScalarType.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/package.h"
#include "engine/io/durable_file.h"

namespace rewardloom {

/// `copied` tensors own their memory; `mapped` ones share a copy-on-write mapping that lives as
/// long as they do (for models: pages are read on first use). A mapped file must not be shortened
/// while it is in use.
enum class Reading { copied, mapped };

/// Reads a file by us or by others. Metadata by others loads as strings, ours as it was written.
/// Failure `file-not-found`, `read-failed` or `safetensors-invalid`, which says what in the file is
/// wrong.
Package read_safetensors(const std::filesystem::path& path, Reading reading = Reading::copied);

/// Writes atomically. Tensors come in order of element size, then name, so that each is aligned;
/// the same package gives the same bytes. Top-level metadata that is no string is stored as JSON
/// text. Failure `write-failed`, or `safetensors-unwritable` for a dtype, name or number the format
/// lacks.
void write_safetensors(const std::filesystem::path& path, const Package& package,
                       Durability durability = Durability::synced);

/// As write_safetensors, into an open file.
void write_safetensors(DurableFile& file, const Package& package);

/// The file's bytes in memory, for pipes.
std::string safetensors_bytes(const Package& package);

/// The inverse; `name` stands for the file in errors. The tensors own their memory.
Package safetensors_from_bytes(std::string_view bytes, std::string_view name = "safetensors");

/// What a header says of one tensor; `begin` and `end` are offsets in bytes into the data.
struct TensorEntry {
  std::string name;
  at::ScalarType dtype;
  std::vector<std::int64_t> shape;
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The checked header of a file, in order of the data; no tensor is read.
struct SafetensorsIndex {
  std::vector<TensorEntry> tensors;
  Json meta = Json::object();
};
SafetensorsIndex read_safetensors_index(const std::filesystem::path& path);

/// "F32" for at::kFloat; Failure `safetensors-unwritable` where the format has no name.
std::string_view safetensors_dtype(at::ScalarType dtype);

}  // namespace rewardloom
