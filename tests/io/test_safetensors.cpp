#include <ATen/ATen.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <limits>
#include <random>

#include "engine/io/safetensors.h"
#include "tests/io/io_test.h"

using namespace rewardloom;

namespace {

const std::vector<at::ScalarType> all_dtypes = {at::kDouble, at::kFloat, at::kHalf,  at::kBFloat16,
                                                at::kLong,   at::kInt,   at::kShort, at::kChar,
                                                at::kByte,   at::kBool};

Package sample_package() {
  Package package;
  for (const at::ScalarType dtype : all_dtypes) {
    package.tensors[c10::toString(dtype)] = at::arange(6).reshape({2, 3}).remainder(2).to(dtype);
  }
  package.tensors["weights"] = at::linspace(-1, 1, 7).to(at::kFloat);
  package.tensors["scalar"] = at::scalar_tensor(2.5, at::kDouble);
  package.tensors["none"] = at::empty({0, 4}, at::kFloat);
  package.meta = {{"text", "plain \"quoted\" \n ü"},
                  {"looks_like_number", "5"},
                  {"number", 5},
                  {"nested", {{"a", {1, 2.5, nullptr}}}},
                  {"empty", ""}};
  return package;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.nbytes() == 0 ||
          std::memcmp(a.contiguous().data_ptr(), b.contiguous().data_ptr(), a.nbytes()) == 0);
}

std::string first_difference(const Package& a, const Package& b) {
  if (a.meta != b.meta) return "meta " + a.meta.dump() + " against " + b.meta.dump();
  if (a.tensors.size() != b.tensors.size()) return "number of tensors";
  for (const auto& [name, tensor] : a.tensors) {
    if (b.tensors.count(name) == 0 || !same_bits(tensor, b.tensors.at(name))) return name;
  }
  return {};
}

// Quotation marks in `header` are written ', for the eyes.
std::string raw_file(std::string header, const std::string& data = {}) {
  std::replace(header.begin(), header.end(), '\'', '"');
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

void touch(const Package& package) {
  for (const auto& [name, tensor] : package.tensors) tensor.to(at::kDouble).sum().item<double>();
}

}  // namespace

class TestSafetensors : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void every_dtype_shape_and_metadata_comes_back() {
    TestFolder folder;
    const Package written = sample_package();
    write_safetensors(folder / "a.safetensors", written);
    for (const Reading reading : {Reading::copied, Reading::mapped}) {
      const Package read = read_safetensors(folder / "a.safetensors", reading);
      QCOMPARE(first_difference(written, read), std::string());
      // Order of keys is part of what is kept.
      QCOMPARE(read.meta.dump(), written.meta.dump());
    }
    QCOMPARE(first_difference(written, safetensors_from_bytes(safetensors_bytes(written))),
             std::string());
  }

  void special_numbers_keep_their_bits() {
    const double inf = std::numeric_limits<double>::infinity();
    Package package;
    package.tensors["x"] = at::tensor({-0.0, inf, -inf, std::nan("7"), 5e-324}, at::kDouble);
    const Package read = safetensors_from_bytes(safetensors_bytes(package));
    QVERIFY(same_bits(package.tensors["x"], read.tensors.at("x")));
  }

  void views_and_gradients_are_stored_as_their_values() {
    Package package;
    package.tensors["t"] = at::arange(6.0).reshape({2, 3}).t().set_requires_grad(true);
    package.tensors["s"] = at::arange(10).slice(0, 1, 9, 3);
    const Package read = safetensors_from_bytes(safetensors_bytes(package));
    QVERIFY(at::equal(read.tensors.at("t"), at::arange(6.0).reshape({2, 3}).t()));
    QVERIFY(at::equal(read.tensors.at("s"), at::tensor({1, 4, 7}, at::kLong)));
    QVERIFY(!read.tensors.at("t").requires_grad());
  }

  void the_same_package_gives_the_same_aligned_bytes() {
    TestFolder folder;
    const std::string bytes = safetensors_bytes(sample_package());
    QCOMPARE(bytes, safetensors_bytes(sample_package()));
    write_raw(folder / "a", bytes);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    QCOMPARE(length % 8, 0u);
    for (const TensorEntry& entry : read_safetensors_index(folder / "a").tensors) {
      QCOMPARE(entry.begin % c10::elementSize(entry.dtype), 0u);
    }
  }

  void python_reads_what_we_write() {
    REQUIRE_PYTHON();
    TestFolder folder;
    Package package;
    package.tensors["a"] = at::tensor({1.5, -2.0}, at::kFloat);
    package.tensors["b"] = at::tensor({1, 0, 1}).to(at::kBool);
    package.meta = {{"who", "me"}, {"list", {1, 2}}};
    write_safetensors(folder / "a.safetensors", package);
    const std::string printed = python(R"(
import json, struct, sys
data = open(sys.argv[1], 'rb').read()
n, = struct.unpack('<Q', data[:8])
head = json.loads(data[8:8 + n])
body = data[8 + n:]
part = lambda name: body[slice(*head[name]['data_offsets'])]
print(head['a']['dtype'], head['a']['shape'], struct.unpack('<2f', part('a')))
print(head['b']['dtype'], head['b']['shape'], list(part('b')))
print(head['__metadata__']['who'], json.loads(head['__metadata__']['list']))
)",
                                       {qt(folder / "a.safetensors")});
    QCOMPARE(printed, std::string("F32 [2] (1.5, -2.0)\nBOOL [3] [1, 0, 1]\nme [1, 2]\n"));
  }

  void files_of_others_load() {
    REQUIRE_PYTHON();
    TestFolder folder;
    // An odd header length, keys in another order than the data, spaces, plain strings that look
    // like JSON.
    python(R"(
import json, struct, sys
head = {'z': {'shape': [2], 'data_offsets': [12, 16], 'dtype': 'BF16'},
        '__metadata__': {'format': 'pt', 'step': '5', 'x': '[1]'},
        'a': {'dtype': 'F32', 'data_offsets': [0, 12], 'shape': [3, 1]}}
text = json.dumps(head, indent=1).encode()
text += b' ' * (1 - len(text) % 2)
data = struct.pack('<3f', 1, 2, 3) + bytes([0x80, 0x3f, 0, 0xc0])
open(sys.argv[1], 'wb').write(struct.pack('<Q', len(text)) + text + data)
)",
           {qt(folder / "a.safetensors")});
    for (const Reading reading : {Reading::copied, Reading::mapped}) {
      const Package read = read_safetensors(folder / "a.safetensors", reading);
      QVERIFY(at::equal(read.tensors.at("a"), at::tensor({1.f, 2.f, 3.f}).reshape({3, 1})));
      QVERIFY(at::equal(read.tensors.at("z").to(at::kFloat), at::tensor({1.f, -2.f})));
      const Json strings = {{"format", "pt"}, {"step", "5"}, {"x", "[1]"}};
      QCOMPARE(read.meta.dump(), strings.dump());
    }
  }

  void published_models_load() {
    const std::filesystem::path data = REWARDLOOM_SOURCE_DIR "/../shared/data";
    int loaded = 0;
    for (const char* folder : {"tinyzero-arith-model", "stories260K-hf", "hf-tiny"}) {
      if (!std::filesystem::exists(data / folder)) continue;
      for (const auto& entry : std::filesystem::recursive_directory_iterator(data / folder)) {
        if (entry.path().extension() != ".safetensors") continue;
        const Package copied = read_safetensors(entry.path());
        QCOMPARE(first_difference(copied, read_safetensors(entry.path(), Reading::mapped)),
                 std::string());
        QCOMPARE(first_difference(copied, safetensors_from_bytes(safetensors_bytes(copied))),
                 std::string());
        QVERIFY(!copied.tensors.empty());
        ++loaded;
      }
    }
    if (loaded == 0) QSKIP("no models are there to read");
  }

  void mapped_tensors_outlive_the_package_and_keep_the_file_as_it_is() {
    TestFolder folder;
    Package package;
    package.tensors["w"] = at::ones({1000}, at::kFloat);
    write_safetensors(folder / "a", package);
    const std::string before = read_raw(folder / "a");
    at::Tensor kept;
    {
      const Package read = read_safetensors(folder / "a", Reading::mapped);
      kept = read.tensors.at("w").slice(0, 10, 20);
    }
    kept.add_(1);
    QCOMPARE(kept.sum().item<float>(), 20.f);
    QCOMPARE(read_raw(folder / "a"), before);
  }

  void lies_in_the_header_are_refused_data() {
    QTest::addColumn<QByteArray>("bytes");
    QTest::addColumn<QString>("says");
    const auto row = [](const char* name, const std::string& bytes, const char* says) {
      QTest::newRow(name) << QByteArray::fromStdString(bytes) << QString(says);
    };
    const std::string four(4, '\0');
    row("empty", "", "has 0 bytes");
    row("short", "abc", "has 3 bytes");
    row("length beyond the file", std::string("\xFF\0\0\0\0\0\0\0{}", 10), "says it has 255 bytes");
    row("length over the limit", std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10),
        "at most 100000000");
    row("no object", raw_file("[]"), "does not start with");
    row("not JSON", raw_file("{\"a\":}"), "not JSON at its byte");
    row("text after the object", raw_file("{} x"), "not JSON");
    row("invalid UTF-8", raw_file("{\"\xFF\":{}}"), "not JSON");
    row("unknown dtype", raw_file("{'a':{'dtype':'F8','shape':[4],'data_offsets':[0,4]}}", four),
        "has dtype \"F8\"; known are F64, F32");
    row("cut off", raw_file("{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", four),
        "which has 4 bytes");
    row("data left over", raw_file("{}", four),
        "the tensors end at byte 0 of the data, which has 4");
    row("size", raw_file("{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,4]}}", four),
        "needs 8 bytes, but its offsets give 4");
    row("negative size", raw_file("{'a':{'dtype':'U8','shape':[-4],'data_offsets':[0,4]}}", four),
        "has \"shape\" with -4");
    row("fraction", raw_file("{'a':{'dtype':'U8','shape':[4.0],'data_offsets':[0,4]}}", four),
        "has \"shape\" with 4.0");
    row("overflow",
        raw_file("{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,0]}}"),
        "larger than memory can be");
    row("overflow hidden by a zero",
        raw_file("{'a':{'dtype':'F32','shape':[0,4294967296,4294967296],'data_offsets':[0,0]}}"),
        "larger than memory can be");
    row("backwards", raw_file("{'a':{'dtype':'U8','shape':[4],'data_offsets':[4,0]}}", four),
        "lies at bytes 4 to 0");
    row("offset beyond 63 bits",
        raw_file("{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,18446744073709551615]}}", four),
        "18446744073709551615");
    row("overlap",
        raw_file("{'a':{'dtype':'U8','shape':[3],'data_offsets':[0,3]},"
                 "'b':{'dtype':'U8','shape':[3],'data_offsets':[1,4]}}",
                 four),
        "they overlap");
    row("hole",
        raw_file("{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},"
                 "'b':{'dtype':'U8','shape':[2],'data_offsets':[2,4]}}",
                 four),
        "they leave a hole");
    row("name twice",
        raw_file("{'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]},"
                 "'a':{'dtype':'U8','shape':[2],'data_offsets':[2,4]}}",
                 four),
        "tensor \"a\" is listed twice");
    row("metadata twice", raw_file("{'__metadata__':{'a':'1','a':'2'}}"), "listed twice");
    row("metadata no text", raw_file("{'__metadata__':{'a':1}}"), "instead of a string");
    row("metadata deep", raw_file("{'__metadata__':{'a':{}}}"), "instead of a string");
    row("dtype missing", raw_file("{'a':{'shape':[4],'data_offsets':[0,4]}}", four),
        "lacks its dtype");
    row("shape missing", raw_file("{'a':{'dtype':'U8','data_offsets':[0,4]}}", four),
        "lacks its shape");
    row("one offset", raw_file("{'a':{'dtype':'U8','shape':[4],'data_offsets':[0]}}", four),
        "lacks the two numbers");
    row("three offsets", raw_file("{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4,4]}}", four),
        "data_offsets");
    row("tensor no object", raw_file("{'a':5}"), "tensor \"a\" is 5");
    row("bool of two",
        raw_file("{'a':{'dtype':'BOOL','shape':[4],'data_offsets':[0,4]}}",
                 std::string("\1\0\2\0", 4)),
        "holds the byte 2 at element 2");
    row("broken marker", raw_file("{'__metadata__':{'rewardloom_json':'[\\'a\\']','a':'{'}}"),
        "metadata \"a\" should be JSON");
  }

  void lies_in_the_header_are_refused() {
    QFETCH(QByteArray, bytes);
    QFETCH(QString, says);
    const Problem problem =
        failure_of([&] { safetensors_from_bytes(bytes.toStdString(), "x.safetensors"); });
    QCOMPARE(problem.code, std::string("safetensors-invalid"));
    QCOMPARE(problem.where.file, std::string("x.safetensors"));
    QVERIFY2(qt(problem.text).contains(says), problem.text.c_str());
  }

  void a_missing_file_is_named() {
    const Problem problem = failure_of([] { read_safetensors("/nowhere/x.safetensors"); });
    QCOMPARE(problem.code, std::string("file-not-found"));
    QVERIFY(qt(problem.text).contains("/nowhere/x.safetensors"));
  }

  void what_the_format_cannot_hold_is_refused() {
    const auto refused = [](Package package) {
      return failure_of([&] { safetensors_bytes(package); }).code == "safetensors-unwritable";
    };
    QVERIFY(refused({{{"c", at::zeros({1}, at::kComplexFloat)}}, Json::object()}));
    QVERIFY(refused({{{"u", at::Tensor()}}, Json::object()}));
    QVERIFY(refused({{{"s", at::eye(2).to_sparse()}}, Json::object()}));
    QVERIFY(refused({{{"__metadata__", at::eye(2)}}, Json::object()}));
    QVERIFY(refused({{{"\xFF", at::eye(2)}}, Json::object()}));
    QVERIFY(refused({{}, {{"loss", {1.0, std::nan("")}}}}));
    QVERIFY(refused({{}, {{"rewardloom_json", "x"}}}));
    QVERIFY(refused({{}, Json::array()}));
  }

  // Any change of a valid file must load or fail with a Failure; nothing else may leave the reader.
  void changed_bytes_load_or_fail_cleanly() {
    const std::string original = safetensors_bytes(sample_package());
    std::uint64_t header = 0;
    std::memcpy(&header, original.data(), 8);
    std::mt19937 random(20260101);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    const std::string tokens = "0123456789{}[]\",:-.eE \\\0\xFF";
    int loaded = 0, refused = 0;
    for (int round = 0; round < 20000; ++round) {
      std::string bytes = original;
      for (std::size_t change = below(3) + 1; change > 0; --change) {
        // Mostly within the header, where the meaning is.
        const std::size_t at =
            below(round % 8 == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), header + 8));
        switch (below(6)) {
          case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
          case 1: bytes[at] = tokens[below(tokens.size())]; break;
          case 2: bytes.insert(at, 1, tokens[below(tokens.size())]); break;
          case 3: bytes.erase(at, below(4) + 1); break;
          case 4: bytes.insert(at, original, below(original.size()), below(40)); break;
          default: bytes.resize(below(bytes.size()) + 1); break;
        }
      }
      // Keep half of the lengths honest, so that the changed header is reached.
      if (round % 2 == 0 && bytes.size() > 8) {
        const std::uint64_t length =
            std::min<std::uint64_t>(bytes.size() - 8, header + below(3) - 1);
        std::memcpy(bytes.data(), &length, 8);
      }
      try {
        touch(safetensors_from_bytes(bytes, "fuzz"));
        ++loaded;
      } catch (const Failure& failure) {
        QCOMPARE(failure.problem().code, std::string("safetensors-invalid"));
        ++refused;
      }
    }
    qInfo("%d changed files loaded, %d were refused", loaded, refused);
    QVERIFY(loaded > 20);
    QVERIFY(refused > 10000);
  }

  void a_huge_header_is_read_in_linear_time() {
    std::string header = "{";
    for (int i = 0; i < 40000; ++i) {
      header +=
          "'tensor" + std::to_string(i) + "':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},";
    }
    header.back() = '}';
    QElapsedTimer timer;
    timer.start();
    QCOMPARE(safetensors_from_bytes(raw_file(header)).tensors.size(), 40000u);
    QVERIFY2(timer.elapsed() < 5000, std::to_string(timer.elapsed()).c_str());
  }

  void a_deeply_nested_header_is_refused() {
    const std::string deep(5'000'000, '[');
    const Problem problem = failure_of([&] { safetensors_from_bytes(raw_file("{\"a\":" + deep)); });
    QCOMPARE(problem.code, std::string("safetensors-invalid"));
  }

  void a_failed_write_leaves_the_old_file_and_nothing_else() {
    TestFolder folder;
    Package package;
    package.tensors["small"] = at::ones({4});
    write_safetensors(folder / "a", package);
    const std::string before = read_raw(folder / "a");
    package.tensors["large"] = at::ones({1 << 20});
    rlimit old_limit{};
    getrlimit(RLIMIT_FSIZE, &old_limit);
    const rlimit limit{256 << 10, old_limit.rlim_max};
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    const Problem problem = failure_of([&] { write_safetensors(folder / "a", package); });
    setrlimit(RLIMIT_FSIZE, &old_limit);
    std::signal(SIGXFSZ, old_handler);
    QCOMPARE(problem.code, std::string("write-failed"));
    QVERIFY2(qt(problem.text).contains(qt(folder / "a")), problem.text.c_str());
    QCOMPARE(read_raw(folder / "a"), before);
    QCOMPARE(files_in(folder.path()), 1u);
  }
};

REWARDLOOM_TEST(TestSafetensors)
#include "test_safetensors.moc"
