// SentencePiece models trained here by its own programs: ids and texts must be what those give.
#include <QDirIterator>
#include <QProcess>
#include <QStandardPaths>
#include <QTemporaryDir>
#include <fstream>

#include "nodes/text/tokenizer.h"
#include "tests/qt_test.h"

using namespace rewardloom;

namespace {

const char* const kOdd[] = {
    "",
    " ",
    "  two  spaces  ",
    "a",
    "tab\there",
    "caf\xC3\xA9 na\xC3\xAFve \xE2\x80\x94 dash",
    "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE\xE6\x96\x87",
    "\xF0\x9F\x98\x80 smile \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC",
    "fi\xEF\xAC\x81 \xC2\xBD \xE2\x85\xA3",
    "1234567890 3.14 1,000",
    "The reward model scores every answer.",
    "\xE2\x96\x81 a real mark \xE2\x96\x81",
    "zzzzqqqq unknownish \xE1\x9A\xA0\xE1\x9A\xA1",
};

QByteArray run_tool(const QString& tool, const QStringList& arguments, const QByteArray& input) {
  QProcess process;
  process.start(tool, arguments);
  process.write(input);
  process.closeWriteChannel();
  if (!process.waitForFinished(120'000) || process.exitCode() != 0) {
    qWarning("%s: %s", qPrintable(tool), process.readAllStandardError().constData());
    return {};
  }
  return process.readAllStandardOutput();
}

std::vector<std::int64_t> numbers_of(const QByteArray& line) {
  std::vector<std::int64_t> ids;
  for (const QByteArray& word : line.split(' ')) {
    if (!word.trimmed().isEmpty()) ids.push_back(word.trimmed().toLongLong());
  }
  return ids;
}

QByteArray line_of(const std::vector<std::int64_t>& ids) {
  QByteArray line;
  for (const std::int64_t id : ids) line += QByteArray::number(static_cast<qlonglong>(id)) + ' ';
  return line.trimmed() + '\n';
}

QByteArray corpus() {
  QByteArray text;
  QDirIterator files(REWARDLOOM_SOURCE_DIR "/engine/graph", {"*.cpp"}, QDir::Files);
  QStringList names;
  while (files.hasNext()) names << files.next();
  names.sort();
  for (const QString& name : names) {
    QFile file(name);
    if (file.open(QFile::ReadOnly)) text += file.readAll();
  }
  for (const char* line : kOdd) text += QByteArray(line) + '\n';
  return text;
}

}  // namespace

class TestSentencePiece : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;

 private Q_SLOTS:
  void ids_and_texts_are_those_of_its_programs_data() {
    QTest::addColumn<QStringList>("options");
    const QString type = "--model_type=";
    QTest::newRow("unigram") << QStringList{type + "unigram"};
    QTest::newRow("unigram, bytes") << QStringList{type + "unigram", "--byte_fallback=true"};
    QTest::newRow("pairs") << QStringList{type + "bpe"};
    QTest::newRow("pairs, bytes, as Llama") << QStringList{type + "bpe",
                                                           "--byte_fallback=true",
                                                           "--normalization_rule_name=identity",
                                                           "--split_digits=true",
                                                           "--remove_extra_whitespaces=false",
                                                           "--allow_whitespace_only_pieces=true"};
    QTest::newRow("no dummy prefix") << QStringList{type + "unigram", "--add_dummy_prefix=false"};
    QTest::newRow("as T5") << QStringList{type + "unigram", "--pad_id=0", "--eos_id=1",
                                          "--unk_id=2", "--bos_id=-1"};
    QTest::newRow("lower case") << QStringList{type + "bpe",
                                               "--normalization_rule_name=nmt_nfkc_cf"};
    QTest::newRow("symbols of the user")
        << QStringList{type + "bpe", "--user_defined_symbols=<sep>,reward"};
  }
  void ids_and_texts_are_those_of_its_programs() {
    if (QStandardPaths::findExecutable("spm_train").isEmpty()) QSKIP("needs spm_train");
    QFETCH(QStringList, options);
    const QString text = folder_.filePath("corpus.txt"), model = folder_.filePath("made");
    const QByteArray content = corpus();
    QFile file(text);
    QVERIFY(file.open(QFile::WriteOnly) && file.write(content) == content.size());
    file.close();
    run_tool("spm_train",
             QStringList{"--input=" + text, "--model_prefix=" + model, "--vocab_size=600",
                         "--hard_vocab_limit=false", "--minloglevel=2", "--num_threads=1"} +
                 options,
             {});
    const QString model_file = model + ".model";
    QVERIFY(QFile::exists(model_file));
    const auto tokenizer = load_tokenizer(model_file.toStdString());

    QList<QByteArray> lines;
    for (const char* line : kOdd) lines << line;
    for (const QByteArray& line : content.split('\n').mid(0, 300)) lines << line;
    const QByteArray input = lines.join('\n') + '\n';
    const QString given = "--model=" + model_file;
    const QList<QByteArray> expected =
        run_tool("spm_encode", {given, "--output_format=id"}, input).split('\n');
    QCOMPARE(expected.size(), lines.size() + 1);
    QByteArray all_ids;
    for (qsizetype i = 0; i < lines.size(); ++i) {
      const auto ids = tokenizer->encode(lines[i].toStdString());
      QVERIFY2(ids == numbers_of(expected[i]),
               lines[i] + "\nours " + line_of(ids) + "theirs " + expected[i]);
      all_ids += line_of(ids);
    }
    const QList<QByteArray> texts =
        run_tool("spm_decode", {given, "--input_format=id"}, all_ids).split('\n');
    for (qsizetype i = 0; i < lines.size(); ++i) {
      QCOMPARE(QByteArray::fromStdString(
                   tokenizer->decode(tokenizer->encode(lines[i].toStdString()), true)),
               texts[i]);
    }
  }
};

REWARDLOOM_TEST(TestSentencePiece)
#include "test_sentencepiece.moc"
