#include "engine/io/safetensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <tuple>

#include "engine/core/problem.h"
#include "engine/io/mapped_file.h"
#include "engine/io/safetensors_header.h"

namespace rewardloom {

namespace {

// A tensor as its bytes go to the file: on the CPU, dense, contiguous, outside of any graph.
at::Tensor storable(const std::string& name, const at::Tensor& tensor) {
  const bool dense = tensor.defined() && tensor.layout() == at::kStrided && !tensor.is_quantized();
  if (!dense) {
    throw Failure("safetensors-unwritable",
                  fmt::format("tensor \"{}\" is {}", name,
                              tensor.defined() ? "sparse or quantised" : "undefined"),
                  tensor.defined() ? "make it dense first" : "leave it out");
  }
  return tensor.detach().to(at::kCPU).resolve_neg().contiguous();
}

struct Layout {
  std::vector<TensorEntry> entries;
  std::vector<at::Tensor> tensors;
};

Layout lay_out(const Package& package) {
  using Item = std::pair<std::string, at::Tensor>;
  std::vector<Item> items;
  for (const auto& [name, tensor] : package.tensors)
    items.emplace_back(name, storable(name, tensor));
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return std::make_tuple(-a.second.element_size(), std::string_view(a.first)) <
           std::make_tuple(-b.second.element_size(), std::string_view(b.first));
  });
  Layout layout;
  std::size_t reached = 0;
  for (const auto& [name, tensor] : items) {
    const std::size_t end = reached + tensor.nbytes();
    layout.entries.push_back({name, tensor.scalar_type(), tensor.sizes().vec(), reached, end});
    layout.tensors.push_back(tensor);
    reached = end;
  }
  return layout;
}

template <typename Sink>
void emit(const Package& package, Sink&& sink) {
  const Layout layout = lay_out(package);
  sink(std::string_view(format_safetensors_header(layout.entries, package.meta)));
  for (const at::Tensor& tensor : layout.tensors) {
    if (tensor.nbytes() == 0) continue;
    sink(std::string_view(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes()));
  }
}

// Any other byte in a bool is undefined behaviour for whoever reads it.
void check_bools(const TensorEntry& entry, std::string_view bytes, const std::string& name) {
  if (entry.dtype != at::kBool) return;
  const auto wrong = std::find_if(bytes.begin(), bytes.end(), [](char c) { return (c & ~1) != 0; });
  if (wrong == bytes.end()) return;
  refuse_safetensors(
      name, fmt::format("tensor \"{}\" of dtype BOOL holds the byte {} at element {}; 0 and 1 are "
                        "allowed",
                        entry.name, static_cast<unsigned char>(*wrong), wrong - bytes.begin()));
}

at::Tensor copied(const TensorEntry& entry, std::string_view bytes) {
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.dtype));
  if (!bytes.empty()) std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

template <typename MakeTensor>
Package read_package(std::string_view file, const std::string& name, MakeTensor&& make_tensor) {
  SafetensorsHeader header = parse_safetensors_header(file, name);
  Package package;
  package.meta = std::move(header.index.meta);
  const std::string_view data = file.substr(header.data_begin);
  for (const TensorEntry& entry : header.index.tensors) {
    const std::string_view bytes = data.substr(entry.begin, entry.end - entry.begin);
    check_bools(entry, bytes, name);
    package.tensors.emplace(entry.name, make_tensor(entry, bytes));
  }
  return package;
}

Package read_mapped(const std::filesystem::path& path) {
  const auto file = std::make_shared<MappedFile>(path);
  const auto make = [&](const TensorEntry& entry, std::string_view bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    if (bytes.empty() || address % c10::elementSize(entry.dtype) != 0) return copied(entry, bytes);
    char* data = file->data() + (bytes.data() - file->bytes().data());
    return at::from_blob(
        data, entry.shape, [file](void*) {}, at::TensorOptions().dtype(entry.dtype));
  };
  return read_package(file->bytes(), path.string(), make);
}

}  // namespace

Package read_safetensors(const std::filesystem::path& path, Reading reading) {
  if (reading == Reading::mapped) return read_mapped(path);
  const MappedFile file(path);
  return read_package(file.bytes(), path.string(), copied);
}

SafetensorsIndex read_safetensors_index(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_safetensors_header(file.bytes(), path.string()).index;
}

Package safetensors_from_bytes(std::string_view bytes, std::string_view name) {
  return read_package(bytes, std::string(name), copied);
}

std::string safetensors_bytes(const Package& package) {
  std::string bytes;
  emit(package, [&](std::string_view block) { bytes.append(block); });
  return bytes;
}

void write_safetensors(DurableFile& file, const Package& package) {
  emit(package, [&](std::string_view block) { file.write(block); });
}

void write_safetensors(const std::filesystem::path& path, const Package& package,
                       Durability durability) {
  DurableFile file(path, durability);
  write_safetensors(file, package);
  file.commit();
}

}  // namespace rewardloom
