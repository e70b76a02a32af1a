#include <cmath>

#include "engine/core/json.h"
#include "engine/io/tensorboard.h"
#include "tests/io/io_test.h"

using namespace rewardloom;

namespace {

// Its own reading of TFRecord, CRC-32C and protocol buffers: nothing of the writer is used.
const std::string reader = R"(
import glob, json, os, struct, sys

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff

def mask(crc):
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff

def records(data):
    at = 0
    while at < len(data):
        length, crc = struct.unpack_from('<QI', data, at)
        assert crc == mask(crc32c(data[at:at + 8])), 'length checksum'
        body = data[at + 12:at + 12 + length]
        assert struct.unpack_from('<I', data, at + 12 + length)[0] == mask(crc32c(body)), 'checksum'
        yield body
        at += 16 + length

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at

def fields(data):
    at, out = 0, {}
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 1:
            value, at = struct.unpack_from('<d', data, at)[0], at + 8
        elif wire == 5:
            value, at = struct.unpack_from('<f', data, at)[0], at + 4
        else:
            assert wire == 2, wire
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        out[number] = value
    return out

def doubles(data):
    return list(struct.unpack('<%dd' % (len(data) // 8), data))

for path in sorted(glob.glob(os.path.join(sys.argv[1], '*tfevents*'))):
    for body in records(open(path, 'rb').read()):
        event = fields(body)
        out = {'step': event.get(2, 0), 'time': event[1]}
        if 3 in event:
            out['version'] = event[3].decode()
        if 7 in event:
            out['session'] = fields(event[7])[1]
        if 5 in event:
            value = fields(fields(event[5])[1])
            out['tag'] = value[1].decode()
            if 2 in value:
                out['value'] = value[2] if value[2] == value[2] else 'nan'
            if 5 in value:
                h = fields(value[5])
                out['histogram'] = [h[1], h[2], h[3], h[4], h[5]]
                out['limits'], out['counts'] = doubles(h[6]), doubles(h[7])
        print(json.dumps(out))
)";

std::vector<Json> events_in(const std::filesystem::path& folder) {
  std::istringstream lines(python(reader, {qt(folder)}));
  std::vector<Json> events;
  for (std::string line; std::getline(lines, line);) events.push_back(Json::parse(line));
  return events;
}

}  // namespace

class TestTensorboard : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void crc32c_has_its_published_values() {
    // RFC 3720, appendix B.4.
    QCOMPARE(crc32c(std::string(32, '\0')), 0x8A9136AAu);
    QCOMPARE(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
    QCOMPARE(crc32c("123456789"), 0xE3069283u);
  }

  void scalars_are_read_by_an_independent_reader() {
    REQUIRE_PYTHON();
    TestFolder folder;
    {
      TensorBoardWriter writer(folder / "tb");
      writer.scalar("reward/mean", 0, 0.25, 1700000000.5);
      writer.scalar("reward/mean", 300, -1.5);
      writer.scalar("größe", 1LL << 40, 1e30);
      writer.scalar("bad", 2, std::nan(""));
    }
    const std::vector<Json> events = events_in(folder / "tb");
    QCOMPARE(events.size(), 5u);
    QCOMPARE(events[0]["version"].get<std::string>(), std::string("brain.Event:2"));
    QCOMPARE(events[1]["tag"].get<std::string>(), std::string("reward/mean"));
    QCOMPARE(events[1]["value"].get<double>(), 0.25);
    QCOMPARE(events[1]["time"].get<double>(), 1700000000.5);
    QCOMPARE(events[2]["step"].get<int>(), 300);
    QCOMPARE(events[2]["value"].get<double>(), -1.5);
    QVERIFY(events[2]["time"].get<double>() > 1.7e9);
    QCOMPARE(events[3]["step"].get<std::int64_t>(), 1LL << 40);
    QCOMPARE(events[3]["tag"].get<std::string>(), std::string("größe"));
    QCOMPARE(events[3]["value"].get<float>(), 1e30f);
    QCOMPARE(events[4]["value"].get<std::string>(), std::string("nan"));
  }

  void histograms_are_read_by_an_independent_reader() {
    REQUIRE_PYTHON();
    TestFolder folder;
    Distribution d;  // of 0, 1, 1, 4
    d.count = 4;
    d.mean = 1.5;
    d.std = 1.5;
    d.min = d.lo = 0;
    d.max = d.hi = 4;
    d.bins = {1, 2, 0, 1};
    {
      TensorBoardWriter writer(folder.path());
      writer.histogram("rewards", 7, d);
      writer.histogram("empty", 8, Distribution{});
    }
    const std::vector<Json> events = events_in(folder.path());
    QCOMPARE(events.size(), 2u);
    QCOMPARE(events[1]["step"].get<int>(), 7);
    QCOMPARE(events[1]["histogram"], Json({0.0, 4.0, 4.0, 6.0, 18.0}));
    QCOMPARE(events[1]["limits"], Json({1.0, 2.0, 3.0, 4.0}));
    QCOMPARE(events[1]["counts"], Json({1.0, 2.0, 0.0, 1.0}));
  }

  void a_resumed_run_opens_a_new_file_and_hides_what_it_repeats() {
    REQUIRE_PYTHON();
    TestFolder folder;
    {
      TensorBoardWriter writer(folder.path());
      for (int step = 0; step < 5; ++step) writer.scalar("a", step, step);
    }
    {
      TensorBoardWriter writer(folder.path(), 3);
      writer.scalar("a", 3, 30);
    }
    QCOMPARE(files_in(folder.path()), 2u);
    const std::vector<Json> events = events_in(folder.path());
    QCOMPARE(events.size(), 9u);
    QCOMPARE(events[7]["session"].get<int>(), 1);
    QCOMPARE(events[7]["step"].get<int>(), 3);
    QCOMPARE(events[8]["value"].get<double>(), 30.0);
  }

  void a_flush_is_visible_at_once() {
    REQUIRE_PYTHON();
    TestFolder folder;
    TensorBoardWriter writer(folder.path());
    writer.scalar("a", 1, 1);
    writer.flush();
    QCOMPARE(events_in(folder.path()).size(), 2u);
  }

  void a_folder_that_cannot_be_made_is_named() {
    TestFolder folder;
    write_raw(folder / "file", "");
    const Problem problem = failure_of([&] { TensorBoardWriter writer(folder / "file" / "tb"); });
    QCOMPARE(problem.code, std::string("write-failed"));
    QVERIFY(qt(problem.text).contains("file/tb"));
  }
};

REWARDLOOM_TEST(TestTensorboard)
#include "test_tensorboard.moc"
