#include <sstream>

#include "engine/io/jsonl.h"
#include "tests/io/io_test.h"

using namespace rewardloom;

class TestJsonl : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void blank_lines_crlf_and_byte_order_mark_are_allowed() {
    TestFolder folder;
    write_raw(folder / "a.jsonl", "\xEF\xBB\xBF{\"b\":1,\"a\":2}\r\n\r\n  \t\n[3]\n\"x\"");
    std::vector<std::pair<std::string, std::size_t>> seen;
    for_each_json_line(folder / "a.jsonl", [&](const Json& value, std::size_t line) {
      seen.emplace_back(value.dump(), line);
    });
    const std::vector<std::pair<std::string, std::size_t>> expected = {
        {"{\"b\":1,\"a\":2}", 1}, {"[3]", 4}, {"\"x\"", 5}};
    QCOMPARE(seen, expected);
    QCOMPARE(read_json_lines(folder / "a.jsonl").size(), 3u);
  }

  void an_error_names_file_line_and_column() {
    // The column counts characters: ü is one.
    std::istringstream input("{\"a\":1}\n\n{\"ü\": 1,, \"b\":2}\n");
    JsonLinesReader reader(input, "x.jsonl");
    QVERIFY(reader.next().has_value());
    const Problem problem = failure_of([&] { reader.next(); });
    QCOMPARE(problem.code, std::string("json-invalid"));
    QCOMPARE(problem.where.file, std::string("x.jsonl:3:9"));
    QCOMPARE(reader.place(), std::string("x.jsonl:3"));
  }

  void a_cut_off_last_line_is_an_error_at_its_end() {
    std::istringstream input("{\"a\":1}\n{\"a\":");
    JsonLinesReader reader(input, "x");
    reader.next();
    QCOMPARE(failure_of([&] { reader.next(); }).where.file, std::string("x:2:6"));
  }

  void invalid_utf8_is_an_error() {
    std::istringstream input("{\"a\":\"\xFF\"}\n");
    JsonLinesReader reader(input, "x");
    QCOMPARE(failure_of([&] { reader.next(); }).code, std::string("json-invalid"));
  }

  void a_whole_json_file_reports_its_line() {
    TestFolder folder;
    write_raw(folder / "a.json", "{\n  \"a\": 1,\n  \"b\": }\n}");
    const Problem problem = failure_of([&] { read_json(folder / "a.json"); });
    QCOMPARE(problem.where.file, (folder / "a.json").string() + ":3:8");
    write_raw(folder / "b.json", "\xEF\xBB\xBF{\"a\": [1]}\r\n");
    QCOMPARE(read_json(folder / "b.json").dump(), std::string("{\"a\":[1]}"));
  }

  void what_is_written_comes_back() {
    TestFolder folder;
    const std::vector<Json> values = {{{"text", "a\nb"}, {"n", 0.1}}, Json::array({1, nullptr})};
    write_json_lines(folder / "a.jsonl", values);
    QCOMPARE(read_json_lines(folder / "a.jsonl"), values);
    QCOMPARE(read_raw(folder / "a.jsonl"),
             std::string("{\"text\":\"a\\nb\",\"n\":0.1}\n[1,null]\n"));
  }

  void missing_files_and_folders_are_named() {
    TestFolder folder;
    QCOMPARE(failure_of([&] { read_json_lines(folder / "no"); }).code,
             std::string("file-not-found"));
    QCOMPARE(failure_of([&] { read_json_lines(folder.path()); }).code,
             std::string("file-not-found"));
  }
};

REWARDLOOM_TEST(TestJsonl)
#include "test_jsonl.moc"
