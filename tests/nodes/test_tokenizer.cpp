#include <QTemporaryDir>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "nodes/text/tokenizer.h"
#include "tests/nodes/model_files.h"
#include "tests/nodes/unpacked_tokenizer.h"
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
    QTest::newRow("qwen3") << "qwen3"
                           << "qwen3";
  }
  void byte_level_matches_the_golden_ids() {
    if (!model_files::available()) QSKIP("no golden ids here");
    QFETCH(QString, archive);
    QFETCH(QString, golden);
    const UnpackedTokenizer files = unpacked_tokenizer(archive.toStdString());
    const auto tokenizer = json_tokenizer(files.json, files.config);
    const Json cases =
        read_json(model_files::shared() / "tokenizer-golden" / (golden.toStdString() + ".json"));
    QVERIFY(cases["cases"].size() >= 360);
    QCOMPARE(tokenizer->size(), cases["vocab_size_with_added"].get<std::int64_t>());
    for (const Json& c : cases["cases"]) {
      const std::string text = c["text"];
      const Ids got = tokenizer->encode(text);
      QVERIFY2(got == c["ids"].get<Ids>(), text.c_str());
      QVERIFY2(tokenizer->encode_whole(text) == c["ids_with_special"].get<Ids>(), text.c_str());
      QCOMPARE(tokenizer->decode(got, false), c["decoded"].get<std::string>());
      QCOMPARE(tokenizer->decode(got), c["decoded_skip_special"].get<std::string>());
    }
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
    const auto failure = [](const Json& json) {
      return text_of_failure([&] { json_tokenizer(json.dump(), Json::object()); });
    };
    Json json = stories_json();
    json["model"]["type"] = "WordLevel";
    QVERIFY(failure(json).find("WordLevel") != std::string::npos);
    json = stories_json();
    json["normalizer"]["normalizers"][0]["type"] = "Nmt";
    QVERIFY(failure(json).find("Nmt") != std::string::npos);
    json = stories_json();
    json["decoder"]["decoders"][0]["type"] = "CTC";
    QVERIFY(failure(json).find("CTC") != std::string::npos);
    json = stories_json();
    json["pre_tokenizer"] = Json{{"type", "UnicodeScripts"}};
    QVERIFY(failure(json).find("UnicodeScripts") != std::string::npos);
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
