// Counter-based random numbers: what a draw is depends on where it is, never on what was drawn
// before. Philox4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace rewardloom {

/// Mixes two 64-bit words into one (the finaliser of SplitMix64 over their sum).
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t z = a + 0x9e3779b97f4a7c15ULL * (b + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// FNV-1a; names become stream identities with it, so it must never change.
constexpr std::uint64_t hash_name(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return h;
}

/// Where a stream of random numbers lives: the run's seed, the node, the iteration.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint64_t node = 0;
  std::uint64_t iteration = 0;
};

/// The draws of one (sample, token) of a stream. Copies draw the same numbers.
class Random {
 public:
  explicit Random(const RandomKey& key, std::uint64_t sample = 0, std::uint64_t token = 0)
      : key_(mix(mix(key.seed, key.node), key.iteration)), sample_(sample), token_(token) {}

  /// The stream of another sample or token under the same key.
  Random at(std::uint64_t sample, std::uint64_t token = 0) const {
    Random other = *this;
    other.sample_ = sample;
    other.token_ = token;
    other.index_ = 0;
    other.block_ = 0;
    return other;
  }

  std::uint32_t bits() {
    const std::uint32_t lane = index_++ & 3;
    if (lane == 0) words_ = philox(block_++);
    return words_[lane];
  }
  std::uint64_t bits64() {
    const std::uint64_t high = bits();
    return high << 32 | bits();
  }
  /// In [0, 1), 53 random bits.
  double uniform() { return static_cast<double>(bits64() >> 11) * 0x1.0p-53; }
  /// Standard normal (Box and Muller).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }
  /// In [0, count); count must be positive. Unbiased (rejection).
  std::uint64_t below(std::uint64_t count) {
    const std::uint64_t limit = ~std::uint64_t{0} - ~std::uint64_t{0} % count;
    std::uint64_t draw = bits64();
    while (draw >= limit) draw = bits64();
    return draw % count;
  }

 private:
  std::array<std::uint32_t, 4> philox(std::uint32_t block) const {
    std::array<std::uint32_t, 4> c{block, static_cast<std::uint32_t>(token_),
                                   static_cast<std::uint32_t>(sample_),
                                   static_cast<std::uint32_t>(sample_ >> 32 ^ token_ >> 32 << 16)};
    std::uint32_t k0 = static_cast<std::uint32_t>(key_);
    std::uint32_t k1 = static_cast<std::uint32_t>(key_ >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c[2];
      c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
           static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    return c;
  }

  std::uint64_t key_;
  std::uint64_t sample_;
  std::uint64_t token_;
  std::uint32_t block_ = 0;
  std::uint32_t index_ = 0;
  std::array<std::uint32_t, 4> words_{};
};

}  // namespace rewardloom
