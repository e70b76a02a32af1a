// Feeds damaged files to the readers of what others wrote, and checks that only Failure comes out.
//   rewardloom_fuzz [SECONDS] [SEED] [safetensors|tokenizer|model]
// An input that does anything else is kept beside the program, and the exit status is 1.
#include <fmt/format.h>
#include <torch/types.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <vector>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/safetensors.h"
#include "nodes/text/tokenizer.h"
#include "tests/fuzz/mutation.h"

namespace {

using namespace rewardloom;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double longest_seconds = 10;

/// A reader, whole files for it, and how they are damaged.
struct Target {
  std::string name;
  std::vector<std::string> whole;
  std::function<std::string(fuzz::Mutator&, const std::string&)> damage;
  std::function<void(const std::string&)> read;
};

std::string damaged_bytes(fuzz::Mutator& mutator, const std::string& whole) {
  return mutator.bytes(whole);
}

Target safetensors_target(const fs::path& folder) {
  const fs::path file = folder / "tensors.safetensors";
  Package package;
  package.tensors["weight"] = at::arange(12, at::kFloat).reshape({3, 4});
  package.tensors["half"] = at::ones({2, 2, 2}, at::kHalf);
  package.tensors["ids"] = at::arange(5, at::kLong);
  package.tensors["empty"] = at::empty({0, 3}, at::kBool);
  package.meta = {{"format", "pt"}, {"note", {1, "two"}}};
  write_safetensors(file, package, Durability::buffered);
  const std::string whole = read_file(file);
  return {"safetensors", {whole}, damaged_bytes, [file](const std::string& bytes) {
            write_durably(file, bytes, Durability::buffered);
            for (const auto& [name, tensor] : read_safetensors(file).tensors) tensor.sum();
          }};
}

/// Both ways through a tokenizer.
void use(const Tokenizer& tokenizer) {
  static const std::vector<std::string> texts{
      "", "the cat's hat, 12 \u00e9e\u0301 \u4f60\u597d \U0001F642 <s> </s>", "  \n\t a\xFF\xC3",
      std::string(300, 'a')};
  for (const std::string& text : texts) {
    const std::vector<std::int64_t> ids = tokenizer.encode_whole(text);
    tokenizer.decode(ids, true);
    tokenizer.decode(ids, false);
    tokenizer.encode_answer("the c", "at");
    for (const std::int64_t id : ids) tokenizer.token_text(id);
  }
}

/// Several of the cases that tests/nodes keeps: every component is in one of them.
std::vector<std::string> whole_tokenizers() {
  const fs::path file = fs::path(REWARDLOOM_SOURCE_DIR) / "tests/nodes/tokenizer_cases.json";
  std::vector<std::string> out;
  const Json cases = Json::parse(read_file(file));
  for (const Json& entry : cases["cases"]) out.push_back(entry["tokenizer"].dump());
  return out;
}

Target tokenizer_target() {
  const auto damage = [](fuzz::Mutator& mutator, const std::string& whole) {
    if (mutator.below(4) == 0) return mutator.bytes(whole);
    return mutator.json(Json::parse(whole)).dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  return {"tokenizer", whole_tokenizers(), damage, [](const std::string& bytes) {
            Json config = {{"bos_token", "<s>"}, {"eos_token", {{"content", "</s>"}}}};
            use(*json_tokenizer(bytes, config));
          }};
}

/// A protocol-buffer field of bytes, or of a number.
std::string delimited(int key, const std::string& bytes) {
  std::string out(1, static_cast<char>(key << 3 | 2));
  for (std::size_t size = bytes.size(); size >= 128; size >>= 7) {
    out += static_cast<char>(size % 128 + 128);
    if (size < 128 * 128) return out + static_cast<char>(size / 128) + bytes;
  }
  return out + static_cast<char>(bytes.size()) + bytes;
}
std::string numbered(int key, int number) {
  return {static_cast<char>(key << 3), static_cast<char>(number)};
}

/// SentencePiece's file: pieces with scores, trainer and normalizer; `kind` 1 unigram, 2 BPE.
std::string sentencepiece_file(int kind) {
  std::string file;
  const auto piece = [&file](const std::string& text, float score, int type) {
    std::string bytes(4, '\0');
    std::memcpy(bytes.data(), &score, 4);
    file += delimited(
        1, delimited(1, text) + static_cast<char>(2 << 3 | 5) + bytes + numbered(3, type));
  };
  piece("<unk>", 0, 2);
  piece("<s>", 0, 3);
  piece("</s>", 0, 3);
  for (int byte = 0; byte < 256; ++byte) piece(fmt::format("<0x{:02X}>", byte), 0, 6);
  float score = 0;
  for (const char* text : {"t", "h", "e", "c", "a", "\u2581", "th", "the", "\u2581the", "\u00e9"}) {
    piece(text, score--, 1);
  }
  // A trie of four empty units before its texts.
  const std::string rules = std::string("\x10\0\0\0", 4) + std::string(16, '\0') + "a";
  file += delimited(2, numbered(3, kind) + static_cast<char>(0x98) + "\x02" + '\x01');
  file += delimited(3, delimited(2, rules) + numbered(3, 1) + numbered(4, 1) + numbered(5, 1));
  return file;
}

Target model_target() {
  return {"model",
          {sentencepiece_file(1), sentencepiece_file(2)},
          damaged_bytes,
          [](const std::string& bytes) { use(*sentencepiece_tokenizer(bytes, Json::object())); }};
}

/// Why an input is a finding; empty for none. `refused` counts inputs that ended in a Failure.
std::string finding(const Target& target, const std::string& input, std::int64_t& refused) {
  const auto start = Clock::now();
  try {
    target.read(input);
  } catch (const Failure&) {
    ++refused;
  } catch (const std::exception& error) {
    return fmt::format("{}", error.what());
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return seconds > longest_seconds ? fmt::format("took {:.1f} s", seconds) : "";
}

/// Each input has a seed of its own, so that one can be made again. It is written down before it is
/// read: what kills the program is found there.
bool fuzz_one(const Target& target, double seconds, std::uint64_t seed, const fs::path& folder) {
  // What is damaged is sound to begin with; else nothing behind the first check would be reached.
  for (const std::string& whole : target.whole) target.read(whole);
  const fs::path kept = folder / (target.name + ".input");
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  std::int64_t count = 0, refused = 0;
  for (; Clock::now() < end; ++count) {
    fuzz::Mutator mutator(seed + static_cast<std::uint64_t>(count));
    const std::string input =
        target.damage(mutator, target.whole[mutator.below(target.whole.size())]);
    write_durably(kept, input, Durability::buffered);
    const std::string found = finding(target, input, refused);
    if (found.empty()) continue;
    const std::string file =
        fmt::format("finding-{}-{}", target.name, seed + static_cast<std::uint64_t>(count));
    write_durably(file, input, Durability::buffered);
    fmt::print("{}: input {}: {}\n  kept in {}\n", target.name, count, found, file);
    return false;
  }
  fmt::print("{}: {} inputs from seed {}, {} of them refused\n", target.name, count, seed, refused);
  return count > 0;
}

int run(double seconds, std::uint64_t seed, const std::string& only) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("rewardloom-fuzz-{}", getpid());
  fs::create_directories(folder);
  const std::vector<Target> all{safetensors_target(folder), tokenizer_target(), model_target()};
  std::vector<Target> targets;
  for (const Target& target : all) {
    if (only.empty() || only == target.name) targets.push_back(target);
  }
  bool sound = !targets.empty();
  for (const Target& target : targets) {
    sound = fuzz_one(target, seconds / static_cast<double>(targets.size()), seed, folder) && sound;
  }
  fs::remove_all(folder);
  return sound ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 5;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  try {
    return run(seconds, seed, argc > 3 ? argv[3] : "");
  } catch (const rewardloom::Failure& failure) {
    fmt::print(stderr, "{}\n", failure.what());
    return 2;
  }
}
