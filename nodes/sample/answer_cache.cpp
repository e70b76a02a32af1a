#include "nodes/sample/answer_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

constexpr std::string_view kBefore = "{\"key\":\"";
constexpr std::size_t kKeyLength = 64;

std::string line_of(const std::string& key, const Json& entry) {
  Json line = Json::object();
  line["key"] = key;
  line.update(entry);
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string request_key(std::string_view place, const Json& body) {
  const std::string text =
      fmt::format("{}\n{}", place, body.dump(-1, ' ', false, Json::error_handler_t::replace));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw Failure("answer-cache", "SHA-256 is not available", "look at the OpenSSL configuration");
  }
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

AnswerCache::AnswerCache(std::filesystem::path path) : path_(std::move(path)) {
  if (path_.empty()) return;
  open();
  index();
}

AnswerCache::~AnswerCache() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void AnswerCache::open() {
  std::error_code ignored;  // what matters is whether the file opens
  if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path(), ignored);
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("opened");
}

void AnswerCache::index() {
  std::ifstream in(path_, std::ios::binary);
  std::string line;
  std::int64_t start = 0;
  while (std::getline(in, line)) {
    const auto length = static_cast<std::int64_t>(line.size());
    torn_ = in.eof();
    const bool keyed = line.starts_with(kBefore) && line.size() > kBefore.size() + kKeyLength &&
                       line.back() == '}';
    if (keyed && !torn_) {
      lines_[line.substr(kBefore.size(), kKeyLength)] = {start, length};
    }
    start += length + 1;
  }
  if (in.bad()) fail("read");
}

std::optional<Json> AnswerCache::find(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = lines_.find(key);
  if (found == lines_.end()) return std::nullopt;
  std::string text(static_cast<std::size_t>(found->second.length), '\0');
  const ssize_t got = ::pread(descriptor_, text.data(), text.size(), found->second.start);
  if (got != static_cast<ssize_t>(text.size())) fail("read");
  Json entry = Json::parse(text, nullptr, false);
  if (!entry.is_object() || entry.value("key", "") != key) return std::nullopt;
  entry.erase("key");
  return entry;
}

void AnswerCache::store(const std::string& key, const Json& entry) {
  if (path_.empty()) return;
  const std::lock_guard lock(mutex_);
  const std::string line = (torn_ ? "\n" : "") + line_of(key, entry);
  if (::write(descriptor_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    torn_ = true;
    fail("written");
  }
  // Where it went is asked for, not counted: another node may append to the same file.
  const std::int64_t end = ::lseek(descriptor_, 0, SEEK_CUR);
  const auto length = static_cast<std::int64_t>(line.size()) - (torn_ ? 2 : 1);
  torn_ = false;
  lines_[key] = {end - 1 - length, length};
}

std::size_t AnswerCache::size() const {
  const std::lock_guard lock(mutex_);
  return lines_.size();
}

void AnswerCache::fail(std::string_view doing) const {
  const int error = errno;
  throw Failure("answer-cache",
                fmt::format("{} cannot be {}: {}", path_.string(), doing, std::strerror(error)),
                "look at the folder's permissions and free space, or leave cache empty");
}

}  // namespace rewardloom
