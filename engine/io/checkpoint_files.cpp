#include "engine/io/checkpoint_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <system_error>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/mapped_file.h"
#include "engine/io/safetensors.h"

namespace rewardloom {

namespace {

namespace fs = std::filesystem;

constexpr int format_version = 1;
constexpr const char* manifest_name = "manifest.json";
constexpr std::string_view writing_prefix = ".writing-";
constexpr std::string_view removing_prefix = ".removing-";

std::string folder_name(std::int64_t iteration) { return fmt::format("{:06}", iteration); }

// "000010" to 10; nothing for any other name.
std::optional<std::int64_t> iteration_of(const std::string& name) {
  std::int64_t iteration = 0;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data(), end, iteration);
  const bool number = error == std::errc() && rest == end && iteration >= 0;
  return number && folder_name(iteration) == name ? std::optional(iteration) : std::nullopt;
}

// What is named as a checkpoint, by iteration; its content is not looked at.
std::map<std::int64_t, fs::path> named_folders(const fs::path& folder) {
  std::map<std::int64_t, fs::path> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::optional<std::int64_t> iteration = iteration_of(entry.path().filename().string());
    if (iteration) found.emplace(*iteration, entry.path());
  }
  return found;
}

bool allowed_name(const std::string& name) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  };
  return !name.empty() && name.front() != '.' && name != manifest_name &&
         std::all_of(name.begin(), name.end(), allowed);
}

// Hashes what it is fed, block by block.
class Hasher {
 public:
  Hasher() : state_(XXH3_createState(), &XXH3_freeState) { XXH3_128bits_reset(state_.get()); }
  void feed(std::string_view bytes) {
    XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
  }
  std::string hexadecimal() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

[[noreturn]] void cannot(const char* doing, const fs::path& path, const std::error_code& error) {
  throw Failure("write-failed",
                fmt::format("cannot {} {}: {}", doing, path.string(), error.message()),
                error == std::errc::no_space_on_device ? "free some space there" : "");
}

// The name goes first, in one step, so that nothing half deleted looks like a checkpoint.
void remove_checkpoint(const fs::path& checkpoint) {
  const fs::path hidden =
      checkpoint.parent_path() / (std::string(removing_prefix) + checkpoint.filename().string());
  std::error_code error;
  fs::remove_all(hidden, error);
  fs::rename(checkpoint, hidden, error);
  if (!error) fs::remove_all(hidden, error);
  if (error) cannot("delete", checkpoint, error);
}

// Gives `from` the name `to`; what had that name before is in `from` afterwards.
void publish(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return;
  const bool taken = errno == EEXIST || errno == ENOTEMPTY;
  if (taken && ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
    return;
  }
  // File systems without renameat2.
  std::error_code error;
  if (fs::exists(to)) remove_checkpoint(to);
  fs::rename(from, to, error);
  if (error) cannot("publish", to, error);
}

std::string manifest_text(Json manifest, bool with_checksum) {
  const auto dumped = [&](int indent) {
    return manifest.dump(indent, ' ', false, Json::error_handler_t::replace);
  };
  if (with_checksum) manifest["checksum"] = xxh3_128(dumped(-1));
  return dumped(with_checksum ? 2 : -1);
}

[[noreturn]] void corrupt(const fs::path& file, const std::string& text) {
  throw Failure({Severity::error, "checkpoint-corrupt", {file.string(), {}, {}}, text, {}, {}});
}

CheckpointInfo parse_manifest(const Json& manifest, const fs::path& checkpoint) {
  CheckpointInfo info;
  info.path = checkpoint;
  info.iteration = manifest.at("iteration").get<std::int64_t>();
  info.meta = manifest.at("meta");
  for (const Json& file : manifest.at("files")) {
    info.files.push_back({file.at("name").get<std::string>(), file.at("bytes").get<std::uint64_t>(),
                          file.at("xxh3_128").get<std::string>()});
    if (!allowed_name(info.files.back().name)) {
      corrupt(checkpoint / manifest_name,
              fmt::format("the manifest lists a file named \"{}\"", info.files.back().name));
    }
  }
  return info;
}

void check_version(const Json& manifest, const fs::path& file) {
  const int version = manifest.at("rewardloom_checkpoint").get<int>();
  if (version == format_version) return;
  throw Failure({Severity::error,
                 "checkpoint-version",
                 {file.string(), {}, {}},
                 fmt::format("the checkpoint has format version {}, this program reads {}", version,
                             format_version),
                 "resume with the program that wrote it",
                 {}});
}

void check_manifest_checksum(Json manifest, const fs::path& file) {
  const std::string expected = manifest.at("checksum").get<std::string>();
  manifest.erase("checksum");
  const std::string found = xxh3_128(manifest_text(manifest, false));
  if (found != expected) {
    corrupt(file,
            fmt::format("the manifest says checksum {}, but its content has {}", expected, found));
  }
}

CheckpointInfo read_manifest(const fs::path& checkpoint) {
  const fs::path file = checkpoint / manifest_name;
  if (!fs::exists(file)) corrupt(file, "the manifest is missing");
  CheckpointInfo info;
  try {
    const Json manifest = Json::parse(read_file(file));
    check_version(manifest, file);
    check_manifest_checksum(manifest, file);
    info = parse_manifest(manifest, checkpoint);
  } catch (const Json::exception& error) {
    corrupt(file, fmt::format("the manifest cannot be understood: {}", error.what()));
  }
  const std::optional<std::int64_t> named = iteration_of(checkpoint.filename().string());
  if (named && *named != info.iteration) {
    corrupt(file, fmt::format("the folder is named for iteration {}, the manifest says {}", *named,
                              info.iteration));
  }
  return info;
}

// Compares size and checksum with what the manifest says.
void check_file(const CheckpointFile& expected, const fs::path& file, std::string_view bytes) {
  if (bytes.size() != expected.bytes) {
    corrupt(file, fmt::format("expected {} bytes with checksum {}, found {} bytes with {}",
                              expected.bytes, expected.checksum, bytes.size(), xxh3_128(bytes)));
  }
  const std::string found = xxh3_128(bytes);
  if (found != expected.checksum) {
    corrupt(file, fmt::format("expected checksum {}, found {}", expected.checksum, found));
  }
}

std::unique_ptr<MappedFile> open_checked(const CheckpointInfo& info, const CheckpointFile& listed) {
  const fs::path file = info.path / listed.name;
  if (!fs::exists(file)) {
    corrupt(file, fmt::format("expected {} bytes with checksum {}, but the file is missing",
                              listed.bytes, listed.checksum));
  }
  auto mapped = std::make_unique<MappedFile>(file);
  check_file(listed, file, mapped->bytes());
  return mapped;
}

bool intact(const CheckpointInfo& info) {
  try {
    for (const CheckpointFile& file : info.files) open_checked(info, file);
    return true;
  } catch (const Failure&) {
    return false;
  }
}

std::string offer_earlier(const fs::path& checkpoint) {
  const fs::path named = checkpoint.has_filename() ? checkpoint : checkpoint.parent_path();
  const std::vector<CheckpointInfo> all = list_checkpoints(named.parent_path());
  for (auto info = all.rbegin(); info != all.rend(); ++info) {
    if (info->path.filename() < named.filename() && intact(*info)) {
      return fmt::format("use {}, the newest intact checkpoint before it", info->path.string());
    }
  }
  return "no earlier checkpoint is intact: restore the file from a copy, or start the run anew";
}

// Runs `read`; a corrupt checkpoint gets the help line that names another one.
template <typename Read>
auto with_offer(const fs::path& checkpoint, Read&& read) {
  try {
    return read();
  } catch (const Failure& failure) {
    Problem problem = failure.problem();
    if (problem.code != "checkpoint-corrupt") throw;
    problem.help = offer_earlier(checkpoint);
    throw Failure(std::move(problem));
  }
}

CheckpointInfo read_existing(const fs::path& checkpoint) {
  if (fs::is_directory(checkpoint)) return read_manifest(checkpoint);
  std::vector<std::string> names;
  for (const CheckpointInfo& info : list_checkpoints(checkpoint.parent_path())) {
    names.push_back(info.path.filename().string());
  }
  throw Failure("checkpoint-missing", fmt::format("there is no checkpoint {}", checkpoint.string()),
                names.empty() ? "its folder holds none" : "there are " + listed(names, "and"));
}

const CheckpointFile& find_file(const CheckpointInfo& info, const std::string& name) {
  std::vector<std::string> names;
  for (const CheckpointFile& file : info.files) {
    if (file.name == name) return file;
    names.push_back(file.name);
  }
  throw Failure("checkpoint-missing",
                fmt::format("checkpoint {} holds no {}", info.path.string(), name),
                names.empty() ? "it is empty" : "it holds " + listed(names, "and"));
}

void prune(const fs::path& folder, const fs::path& written, int keep_last) {
  std::vector<CheckpointInfo> all = list_checkpoints(folder);
  std::erase_if(all, [&](const CheckpointInfo& info) { return info.path == written; });
  const std::size_t kept = static_cast<std::size_t>(keep_last) - 1;
  for (std::size_t i = 0; i + kept < all.size(); ++i) remove_checkpoint(all[i].path);
}

}  // namespace

std::string xxh3_128(std::string_view bytes) {
  Hasher hasher;
  hasher.feed(bytes);
  return hasher.hexadecimal();
}

std::uint64_t CheckpointInfo::bytes() const {
  std::uint64_t sum = 0;
  for (const CheckpointFile& file : files) sum += file.bytes;
  return sum;
}

CheckpointWriter::CheckpointWriter(const fs::path& folder, std::int64_t iteration)
    : folder_(folder), iteration_(iteration) {
  if (iteration < 0) {
    throw Failure("checkpoint-name", fmt::format("iteration {} is negative", iteration));
  }
  std::error_code error;
  if (fs::create_directories(folder, error)) sync_folder(folder.parent_path());
  if (error) cannot("create", folder, error);
  remove_unfinished_checkpoints(folder);
  temporary_ = folder / (std::string(writing_prefix) + folder_name(iteration));
  fs::create_directory(temporary_, error);
  if (error) cannot("create", temporary_, error);
}

CheckpointWriter::~CheckpointWriter() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

fs::path CheckpointWriter::entry(const std::string& file_name) {
  const bool taken = std::any_of(files_.begin(), files_.end(), [&](const CheckpointFile& file) {
    return file.name == file_name;
  });
  if (taken || !allowed_name(file_name)) {
    throw Failure("checkpoint-name",
                  fmt::format("\"{}\" {}", file_name,
                              taken ? "is already in the checkpoint"
                                    : "is no name for a file of a checkpoint"),
                  "use letters, digits, '_', '-' and '.', each name once");
  }
  return temporary_ / file_name;
}

void CheckpointWriter::add(const std::string& name, const Package& package) {
  const std::string file_name = name + ".safetensors";
  DurableFile file(entry(file_name));
  Hasher hasher;
  file.observe([&](std::string_view bytes) { hasher.feed(bytes); });
  write_safetensors(file, package);
  file.commit();
  files_.push_back({file_name, file.size(), hasher.hexadecimal()});
}

void CheckpointWriter::add_bytes(const std::string& file_name, std::string_view bytes) {
  write_durably(entry(file_name), bytes);
  files_.push_back({file_name, bytes.size(), xxh3_128(bytes)});
}

void CheckpointWriter::write_manifest() const {
  Json files = Json::array();
  for (const CheckpointFile& file : files_) {
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3_128", file.checksum}});
  }
  const Json manifest = {{"rewardloom_checkpoint", format_version},
                         {"iteration", iteration_},
                         {"files", files},
                         {"meta", meta_}};
  write_durably(temporary_ / manifest_name, manifest_text(manifest, true) + "\n");
}

fs::path CheckpointWriter::commit(int keep_last) {
  const fs::path published = folder_ / folder_name(iteration_);
  write_manifest();
  publish(temporary_, published);
  sync_folder(folder_);
  std::error_code error;
  fs::remove_all(temporary_, error);
  if (error) cannot("delete", temporary_, error);
  temporary_.clear();
  if (keep_last > 0) prune(folder_, published, keep_last);
  return published;
}

std::vector<CheckpointInfo> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointInfo> found;
  for (const auto& [iteration, path] : named_folders(folder)) {
    try {
      found.push_back(read_manifest(path));
    } catch (const Failure&) {
      // Documented: a folder whose manifest cannot be read is no checkpoint to choose from.
    }
  }
  return found;
}

CheckpointInfo newest_checkpoint(const fs::path& folder) {
  const std::map<std::int64_t, fs::path> all = named_folders(folder);
  if (all.empty()) {
    throw Failure("checkpoint-missing",
                  fmt::format("there is no checkpoint in {}", folder.string()),
                  "name a run folder that has one, or start the run anew");
  }
  return verify_checkpoint(all.rbegin()->second);
}

CheckpointInfo read_checkpoint(const fs::path& checkpoint) {
  return with_offer(checkpoint, [&] { return read_existing(checkpoint); });
}

CheckpointInfo verify_checkpoint(const fs::path& checkpoint) {
  return with_offer(checkpoint, [&] {
    CheckpointInfo info = read_existing(checkpoint);
    for (const CheckpointFile& file : info.files) open_checked(info, file);
    return info;
  });
}

Package load_checkpoint(const fs::path& checkpoint, const std::string& name) {
  return with_offer(checkpoint, [&] {
    const CheckpointInfo info = read_existing(checkpoint);
    const CheckpointFile listed = find_file(info, name + ".safetensors");
    return safetensors_from_bytes(open_checked(info, listed)->bytes(),
                                  (info.path / listed.name).string());
  });
}

std::string load_checkpoint_bytes(const fs::path& checkpoint, const std::string& file_name) {
  return with_offer(checkpoint, [&] {
    const CheckpointInfo info = read_existing(checkpoint);
    return std::string(open_checked(info, find_file(info, file_name))->bytes());
  });
}

void remove_checkpoints_after(const fs::path& folder, std::int64_t iteration) {
  for (const auto& [named, path] : named_folders(folder)) {
    if (named > iteration) remove_checkpoint(path);
  }
}

std::size_t remove_unfinished_checkpoints(const fs::path& folder) {
  std::vector<fs::path> unfinished;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(writing_prefix) || name.starts_with(removing_prefix)) {
      unfinished.push_back(entry.path());
    }
  }
  for (const fs::path& path : unfinished) {
    fs::remove_all(path, error);
    if (error) cannot("delete", path, error);
  }
  return unfinished.size();
}

}  // namespace rewardloom
