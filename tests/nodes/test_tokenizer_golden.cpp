#include <QElapsedTimer>
#include <QProcess>
#include <QTemporaryDir>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "nodes/text/tokenizer.h"
#include "tests/nodes/model_files.h"
#include "tests/qt_test.h"

using namespace rewardloom;
namespace fs = std::filesystem;

namespace {

using Ids = std::vector<std::int64_t>;

std::string shown(const std::string& name, const std::string& text, const Ids& got,
                  const Ids& wanted) {
  return name + ": " + Json(text).dump() + " gives " + Json(got).dump() + ", not " +
         Json(wanted).dump();
}

/// A tokenizer.json with one part replaced; else a vocabulary of letters with byte pairs.
Json small_json(const std::string& part = "", const Json& value = Json()) {
  Json json;
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = nullptr;
  json["post_processor"] = nullptr;
  json["decoder"] = {{"type", "Fuse"}};
  json["added_tokens"] = Json::array();
  json["model"] = {{"type", "BPE"},
                   {"unk_token", "?"},
                   {"vocab", {{"?", 0}, {"a", 1}, {"b", 2}, {"ab", 3}}},
                   {"merges", {"a b"}}};
  if (!part.empty()) json[part] = value;
  return json;
}

std::string failure_of(const Json& json) {
  try {
    json_tokenizer(json.dump(), Json::object());
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}
}  // namespace

class TestTokenizerGolden : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  /// Cases made by Hugging Face's library: make_tokenizer_cases.js.
  void every_component_does_what_the_reference_library_does() {
    const Json file =
        read_json(fs::path(REWARDLOOM_SOURCE_DIR) / "tests/nodes/tokenizer_cases.json");
    std::size_t rows = 0;
    for (const Json& entry : file["cases"]) {
      const std::string name = entry["name"];
      const auto tokenizer = json_tokenizer(entry["tokenizer"].dump(), Json::object());
      for (const Json& row : entry["cases"]) {
        const Json& given = row["text"];
        const std::string text =
            given.is_string() ? given : file["texts"][given.get<std::size_t>()];
        const Ids ids = row["ids"], got = tokenizer->encode(text);
        QVERIFY2(got == ids, shown(name, text, got, ids).c_str());
        const Ids whole = row.value("whole", ids), all = tokenizer->encode_whole(text);
        QVERIFY2(all == whole, shown(name, text, all, whole).c_str());
        if (!row.contains("decoded")) continue;
        const std::string decoded = row["decoded"];
        QCOMPARE(tokenizer->decode(whole, false), decoded);
        QCOMPARE(tokenizer->decode(whole, true), row.value("skipped", decoded));
        ++rows;
      }
    }
    QVERIFY2(file["cases"].size() > 55 && rows > 300, std::to_string(rows).c_str());
  }

  void a_damaged_sentencepiece_model_is_refused() {
    QTemporaryDir folder;
    const fs::path path = folder.path().toStdString();
    write_durably(path / "tokenizer.model", "pieces");
    for (const fs::path& given : {path, path / "tokenizer.model"}) {
      try {
        load_tokenizer(given);
        QFAIL("it was read");
      } catch (const Failure& failure) {
        QVERIFY2(!failure.problem().text.empty(), failure.what());
      }
    }
  }

  void unsupported_components_are_named_with_their_place_data() {
    QTest::addColumn<QString>("part");
    QTest::addColumn<QString>("value");
    QTest::addColumn<QString>("message");
    QTest::newRow("normalizer") << "normalizer"
                                << "{\"type\": \"Nmt\"}"
                                << "normalizer: Nmt";
    QTest::newRow("within")
        << "normalizer"
        << "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Odd\"}]}]}"
        << "normalizer.normalizers[1].normalizers[0]: Odd";
    QTest::newRow("pre_tokenizer") << "pre_tokenizer"
                                   << "{\"type\": \"UnicodeScripts\"}"
                                   << "pre_tokenizer: UnicodeScripts";
    QTest::newRow("decoder") << "decoder"
                             << "{\"type\": \"CTC\"}"
                             << "decoder: CTC";
    QTest::newRow("post_processor") << "post_processor"
                                    << "{\"type\": \"Odd\"}"
                                    << "post_processor: Odd";
    QTest::newRow("model") << "model"
                           << "{\"type\": \"WordLevel\", \"vocab\": {}}"
                           << "model: WordLevel";
    QTest::newRow("dropout")
        << "model"
        << "{\"type\": \"BPE\", \"vocab\": {}, \"merges\": [], \"dropout\": 0.1}"
        << "dropout";
    QTest::newRow("no type") << "decoder"
                             << "{\"kind\": \"Fuse\"}"
                             << "decoder: has no type";
    QTest::newRow("a number") << "decoder"
                              << "3"
                              << "decoder: is a JSON number";
    QTest::newRow("intersection")
        << "pre_tokenizer"
        << "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a-z&&[^b]]\"}, \"behavior\": \"Isolated\"}"
        << "intersection";
    QTest::newRow("pattern")
        << "pre_tokenizer"
        << "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\"}"
        << "pre_tokenizer.pattern: the pattern ( does not compile";
    QTest::newRow("behavior")
        << "pre_tokenizer"
        << "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Odd\"}"
        << "behavior Odd";
    QTest::newRow("merge") << "model"
                           << "{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}"
                           << "model.merges: element 0";
    QTest::newRow("huge id")
        << "model"
        << "{\"type\": \"BPE\", \"vocab\": {\"a\": 99999999999}, \"merges\": []}"
        << "99999999999 is no token id";
    QTest::newRow("unknown")
        << "model"
        << "{\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}, \"unk_token\": \"[UNK]\"}"
        << "[UNK] is not in the vocabulary";
    QTest::newRow("template")
        << "post_processor"
        << "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {}}"
        << "lacks <s>";
  }
  void unsupported_components_are_named_with_their_place() {
    QFETCH(QString, part);
    QFETCH(QString, value);
    QFETCH(QString, message);
    QCOMPARE(failure_of(small_json()), std::string());
    const std::string failure =
        failure_of(small_json(part.toStdString(), Json::parse(value.toStdString())));
    QVERIFY2(failure.find(message.toStdString()) != std::string::npos, failure.c_str());
  }

  void a_template_that_names_an_id_outside_the_vocabulary_is_refused() {
    const Json bert = {{"type", "BertProcessing"}, {"sep", {"s", 9}}, {"cls", {"c", 1}}};
    QVERIFY(failure_of(small_json("post_processor", bert)).find("token 9") != std::string::npos);
  }

  void wordpiece_takes_the_longest_start_and_gives_whole_words_up() {
    Json json = small_json("model", {{"type", "WordPiece"},
                                     {"unk_token", "[UNK]"},
                                     {"max_input_chars_per_word", 5},
                                     {"vocab",
                                      {{"[UNK]", 0},
                                       {"un", 1},
                                       {"u", 2},
                                       {"##want", 3},
                                       {"##n", 4},
                                       {"##ed", 5},
                                       {"##w", 6}}}});
    json["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", false}};
    const auto tokenizer = json_tokenizer(json.dump(), Json::object());
    QCOMPARE(tokenizer->encode("un"), Ids{1});
    QCOMPARE(tokenizer->encode("unn"), (Ids{1, 4}));
    QCOMPARE(tokenizer->encode("unwed"), (Ids{1, 6, 5}));
    // "unwx" begins well, but what is left has no piece; six characters are too many.
    QCOMPARE(tokenizer->encode("unwx"), Ids{0});
    QCOMPARE(tokenizer->encode("unwant"), Ids{0});
    QCOMPARE(tokenizer->decode({1, 6, 5, 2}), std::string("unwed u"));
  }

  void broken_utf8_counts_as_replacement_characters() {
    QCOMPARE(*invalid_utf8("ab\xC3"), std::size_t{2});
    QCOMPARE(*invalid_utf8("\xED\xA0\x80"), std::size_t{0});  // a surrogate
    QVERIFY(!invalid_utf8("\u00e4\U0001F642"));
    // One for each maximal start of a character (the Unicode Standard, table 3-8).
    QCOMPARE(repaired_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
             std::string("a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"));
    const auto tokenizer = json_tokenizer(small_json().dump(), Json::object());
    QCOMPARE(tokenizer->encode("a\xFF"), (Ids{1, 0}));
  }

  void time_grows_with_the_length_of_a_word() {
    Json json =
        small_json("model", {{"type", "BPE"},
                             {"vocab", {{"a", 0}, {"aa", 1}, {"aaaa", 2}, {"b", 3}, {"ab", 4}}},
                             {"merges", {"a a", "aa aa", "a b"}}});
    json["pre_tokenizer"] = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
    const auto tokenizer = json_tokenizer(json.dump(), Json::object());
    const auto seconds = [&](std::size_t length) {
      const std::string text(length, 'a');
      QElapsedTimer timer;
      timer.start();
      if (tokenizer->encode(text).size() != length / 4) qFatal("wrong ids");
      return 1e-9 * static_cast<double>(timer.nsecsElapsed());
    };
    seconds(1 << 14);
    const double once = std::min(seconds(1 << 16), seconds(1 << 16)), more = seconds(1 << 20);
    // Sixteen times as long; quadratic time would be 256 times as much.
    QVERIFY2(more < 100 * once, qPrintable(QString("%1 s and %2 s").arg(once).arg(more)));
  }
};

REWARDLOOM_TEST(TestTokenizerGolden)
#include "test_tokenizer_golden.moc"
