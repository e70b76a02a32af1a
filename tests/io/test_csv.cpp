#include <sstream>

#include "engine/io/csv.h"
#include "tests/io/io_test.h"

using namespace rewardloom;

namespace {

using Records = std::vector<std::vector<std::string>>;

Records records_of(const std::string& text, char separator = ',') {
  std::istringstream input(text);
  CsvReader reader(input, "x.csv", separator);
  Records records;
  while (auto record = reader.next()) records.push_back(std::move(*record));
  return records;
}

}  // namespace

class TestCsv : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void quoted_fields_hold_anything() {
    const Records expected = {{"a", "b,c", "d\"e"}, {"", "line\r\nbreak", ""}, {"x y", "", "é"}};
    QCOMPARE(records_of("a,\"b,c\",\"d\"\"e\"\r\n,\"line\r\nbreak\",\"\"\r\nx y,,é"), expected);
  }

  void line_ends_blank_lines_and_byte_order_mark() {
    const Records expected = {{"a", "b"}, {"1", "2"}, {"3", "4"}};
    QCOMPARE(records_of("\xEF\xBB\xBF"
                        "a,b\n1,2\r\n\n\r\n3,4\n"),
             expected);
    QCOMPARE(records_of("a;b\n1;2\n3;4", ';'), expected);
    QCOMPARE(records_of(""), Records{});
  }

  void python_writes_what_we_read() {
    REQUIRE_PYTHON();
    TestFolder folder;
    python(R"(
import csv, sys
rows = [['id', 'text'], ['1', 'a \x22b\x22, c'], ['2', 'x\ny'], ['3', '']]
csv.writer(open(sys.argv[1], 'w', newline='', encoding='utf-8')).writerows(rows)
)",
           {qt(folder / "a.csv")});
    const std::vector<Json> rows = read_csv(folder / "a.csv");
    QCOMPARE(rows.size(), 3u);
    QCOMPARE(rows[0].dump(), std::string("{\"id\":\"1\",\"text\":\"a \\\"b\\\", c\"}"));
    QCOMPARE(rows[1]["text"].get<std::string>(), std::string("x\ny"));
    QCOMPARE(rows[2]["text"].get<std::string>(), std::string());
  }

  void errors_name_their_place_data() {
    QTest::addColumn<QByteArray>("text");
    QTest::addColumn<QString>("place");
    QTest::newRow("never closed") << QByteArray("a,b\nc,\"d\ne") << "x.csv:2:3";
    QTest::newRow("after the quotation") << QByteArray("a,\"b\" c\n") << "x.csv:1:6";
    QTest::newRow("inside of a field") << QByteArray("é,b\"c\n") << "x.csv:1:4";
  }

  void errors_name_their_place() {
    QFETCH(QByteArray, text);
    QFETCH(QString, place);
    const Problem problem = failure_of([&] { records_of(text.toStdString()); });
    QCOMPARE(problem.code, std::string("csv-invalid"));
    QCOMPARE(qt(problem.where.file), place);
  }

  void ragged_records_and_columns_twice_are_refused() {
    TestFolder folder;
    write_raw(folder / "a.csv", "a,b\n1,2\n\n1,2,3\n");
    const Problem ragged = failure_of([&] { read_csv(folder / "a.csv"); });
    QCOMPARE(ragged.where.file, (folder / "a.csv").string() + ":4:1");
    QCOMPARE(ragged.text, std::string("the header has 2 fields, but this record has 3"));
    write_raw(folder / "b.csv", "a,a\n1,2\n");
    QCOMPARE(failure_of([&] { read_csv(folder / "b.csv"); }).text,
             std::string("column \"a\" is there twice"));
  }
};

REWARDLOOM_TEST(TestCsv)
#include "test_csv.moc"
