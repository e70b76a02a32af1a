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

Json stories_json() { return read_json(model_files::folder("stories260K") / "tokenizer.json"); }

std::string text_of_failure(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}

}  // namespace

class TestTokenizer : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void stories_match_the_golden_ids() {
    if (!model_files::available()) QSKIP("no golden ids here");
    const auto tokenizer = load_tokenizer(model_files::folder("stories260K"));
    const Json golden = read_json(model_files::shared() / "tokenizer-golden" / "stories260K.json");
    QVERIFY(golden["cases"].size() > 300);
    for (const Json& c : golden["cases"]) {
      const std::string text = c["text"];
      const Ids got = tokenizer->encode_prompt(text);
      QVERIFY2(got == c["ids_with_bos"].get<Ids>(), text.c_str());
      QVERIFY2(tokenizer->decode(got) == c["decoded"].get<std::string>(), c.dump().c_str());
    }
    QCOMPARE(*tokenizer->special().begin, 1);
    QCOMPARE(*tokenizer->special().end, 2);
    QCOMPARE(tokenizer->size(), 512);
  }

  void byte_level_matches_the_golden_ids_data() {
    QTest::addColumn<QString>("archive");
    QTest::addColumn<QString>("golden");
    QTest::newRow("qwen2.5") << "qwen2_5"
                             << "qwen2.5";
  }
  void byte_level_matches_the_golden_ids() {
    if (!model_files::available()) QSKIP("no golden ids here");
    QFETCH(QString, archive);
    QFETCH(QString, golden);
    const fs::path base = model_files::shared() / "tokenizers" / archive.toStdString();
    QProcess unpack;
    unpack.start("gunzip", {"-c", QString::fromStdString(base.string() + ".tokenizer.json.gz")});
    QVERIFY(unpack.waitForFinished());
    const auto tokenizer = bpe_tokenizer(unpack.readAllStandardOutput().toStdString(),
                                         read_json(base.string() + ".tokenizer_config.json"));
    const Json cases =
        read_json(model_files::shared() / "tokenizer-golden" / (golden.toStdString() + ".json"));
    int refused = 0;
    for (const Json& c : cases["cases"]) {
      const std::string text = c["text"];
      Ids got;
      try {
        got = tokenizer->encode(text);
      } catch (const Failure&) {
        ++refused;
        continue;
      }
      QVERIFY2(got == c["ids"].get<Ids>(), text.c_str());
      QCOMPARE(tokenizer->decode(got, false), c["decoded"].get<std::string>());
      QCOMPARE(tokenizer->decode(got), c["decoded_skip_special"].get<std::string>());
    }
    // Combining characters would have to be composed.
    QVERIFY2(refused < 40, qPrintable(QString::number(refused)));
  }

  void characters_follow_the_arithmetic_models_order() {
    const auto tokenizer = character_tokenizer("0123456789,:");
    QCOMPARE(tokenizer->encode_prompt("7,7:9,4"), (Ids{11, 14, 11, 15, 13, 14, 8, 0}));
    QCOMPARE(tokenizer->encode_answer("", "12"), (Ids{5, 6}));
    QCOMPARE(tokenizer->encode("1x"), (Ids{5, 3}));
    QCOMPARE(tokenizer->decode({5, 6, 1, 2}), std::string("12"));
    QCOMPARE(tokenizer->decode({5, 1}, false), std::string("1<E>"));
    QCOMPARE(*tokenizer->special().end, 1);
    QCOMPARE(tokenizer->size(), 16);
  }

  void character_tokenizers_survive_saving() {
    QTemporaryDir folder;
    const fs::path path = folder.path().toStdString();
    const auto tokenizer = character_tokenizer("ab+äß=");
    tokenizer->save(path);
    const auto again = load_tokenizer(path);
    QCOMPARE(again->encode("ßab=ä"), tokenizer->encode("ßab=ä"));
    QCOMPARE(again->decode(again->encode("ßab=ä")), std::string("ßab=ä"));
    if (!model_files::available()) return;
    const auto shipped = load_tokenizer(model_files::folder("tinyzero-arith"));
    QCOMPARE(shipped->encode_prompt("2,5:9,2"),
             character_tokenizer("0123456789,:")->encode_prompt("2,5:9,2"));
  }

  void byte_pair_tokenizers_survive_saving() {
    if (!model_files::available()) QSKIP("no tokenizer here");
    QTemporaryDir folder;
    const fs::path path = folder.path().toStdString();
    const auto tokenizer = load_tokenizer(model_files::folder("stories260K"));
    tokenizer->save(path);
    const auto again = load_tokenizer(path);
    const std::string text = "Once upon a time, there was ünïcode.";
    QCOMPARE(again->encode_prompt(text), tokenizer->encode_prompt(text));
  }

  void an_answer_continues_its_prompt() {
    if (!model_files::available()) QSKIP("no tokenizer here");
    const auto tokenizer = load_tokenizer(model_files::folder("stories260K"));
    Ids ids = tokenizer->encode_prompt("Tom ran");
    const Ids answer = tokenizer->encode_answer("Tom ran", " to the park.");
    ids.insert(ids.end(), answer.begin(), answer.end());
    QCOMPARE(ids, tokenizer->encode_prompt("Tom ran to the park."));
  }

  void unsupported_components_are_named() {
    if (!model_files::available()) QSKIP("no tokenizer here");
    Json json = stories_json();
    json["model"]["type"] = "Unigram";
    QVERIFY(text_of_failure([&] { bpe_tokenizer(json.dump(), Json::object()); }).find("Unigram") !=
            std::string::npos);
    json = stories_json();
    json["normalizer"]["normalizers"][0]["type"] = "Lowercase";
    QVERIFY(text_of_failure([&] {
              bpe_tokenizer(json.dump(), Json::object());
            }).find("Lowercase") != std::string::npos);
    json = stories_json();
    json["decoder"]["decoders"][0]["type"] = "WordPiece";
    QVERIFY(text_of_failure([&] {
              bpe_tokenizer(json.dump(), Json::object());
            }).find("WordPiece") != std::string::npos);
    json = stories_json();
    json["pre_tokenizer"] = Json{{"type", "Whitespace"}};
    QVERIFY(text_of_failure([&] {
              bpe_tokenizer(json.dump(), Json::object());
            }).find("Whitespace") != std::string::npos);
  }

  void a_folder_without_tokenizer_is_refused() {
    QTemporaryDir folder;
    QVERIFY_EXCEPTION_THROWN(load_tokenizer(folder.path().toStdString()), Failure);
  }

  void ids_outside_the_vocabulary_are_refused() {
    QVERIFY_EXCEPTION_THROWN(character_tokenizer("ab")->decode({6}), Failure);
    QVERIFY_EXCEPTION_THROWN(character_tokenizer("ab")->decode({-1}), Failure);
  }
};

REWARDLOOM_TEST(TestTokenizer)
#include "test_tokenizer.moc"
