// The device path on a machine without a device: a mock guard for LibTorch's spare device type
// records what the executor asks of streams and events.
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "tests/qt_test.h"
#include "tests/run/test_nodes.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

/// Counts calls; an event is done a while after it was recorded.
class MockDevice final : public c10::impl::DeviceGuardImplInterface {
 public:
  static MockDevice& instance() {
    static MockDevice device;
    return device;
  }
  mutable std::atomic<int> recorded{0};
  mutable std::atomic<int> blocked{0};
  mutable std::atomic<int> queried{0};
  std::atomic<int> polls_until_done{0};

  c10::DeviceType type() const override { return c10::DeviceType::PrivateUse1; }
  c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
  c10::Device getDevice() const override { return {type(), 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device device) const noexcept override {
    return c10::Stream(c10::Stream::UNSAFE, device, current_);
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, 0);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool = false) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, ++last_);
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override {
    const c10::Stream before(c10::Stream::UNSAFE, stream.device(), current_);
    current_ = stream.id();
    return before;
  }
  void record(void** event, const c10::Stream&, const c10::DeviceIndex,
              const c10::EventFlag) const override {
    *event = new std::atomic<int>(polls_until_done.load());
    ++recorded;
  }
  void block(void*, const c10::Stream&) const override { ++blocked; }
  bool queryEvent(void* event) const override {
    ++queried;
    return static_cast<std::atomic<int>*>(event)->fetch_sub(1) <= 0;
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<std::atomic<int>*>(event);
  }

 private:
  mutable std::atomic<c10::StreamId> last_{0};
  static thread_local c10::StreamId current_;
};
thread_local c10::StreamId MockDevice::current_ = 0;

constexpr const char* kGraph = R"({"rewardloom":1,"name":"x","nodes":{
  "a":{"type":"test.sum"},
  "b":{"type":"test.sum","inputs":{"values":["a.sum"]}},
  "c":{"type":"test.sum","inputs":{"values":["b.sum"]}},
  "h":{"type":"test.counter"},
  "add":{"type":"test.add","inputs":{"handle":"h.handle","amount":"c.sum"}}},
  "placement":{"a":{"device":"privateuseone:0"},"b":{"device":"privateuseone:0"}}})";

}  // namespace

class TestDevices : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() {
    c10::impl::DeviceGuardImplRegistrar(c10::DeviceType::PrivateUse1, &MockDevice::instance());
  }
  void init() {
    MockDevice& device = MockDevice::instance();
    device.recorded = 0;
    device.blocked = 0;
    device.queried = 0;
    device.polls_until_done = 0;
  }

  void deviceNodesAreOrderedByEvents() {
    Bench bench(kGraph);
    bench.iterate();
    QCOMPARE(MockDevice::instance().recorded.load(), 2);
    QCOMPARE(MockDevice::instance().blocked.load(), 1);
    QCOMPARE(bench.ear.metrics.count({0, "add/value"}), std::size_t{1});
  }
  void cpuNodesWaitByAskingNotByBlocking() {
    MockDevice::instance().polls_until_done = 5;
    Bench bench(kGraph);
    bench.iterate();
    QVERIFY(MockDevice::instance().queried.load() >= 5);
    QCOMPARE(bench.ear.metrics.count({0, "add/value"}), std::size_t{1});
  }
  void manyIterationsWork() {
    MockDevice::instance().polls_until_done = 2;
    Bench bench(kGraph);
    bench.iterate(50);
    QCOMPARE(MockDevice::instance().recorded.load(), 100);
    QCOMPARE(bench.ear.metrics.count({49, "add/value"}), std::size_t{1});
  }
  void devicesThatAreNotThereAreRefused_data() {
    QTest::addColumn<QString>("device");
    QTest::addColumn<QString>("text");
    QTest::newRow("nonsense") << "gpu!"
                              << "\"gpu!\" is no device";
    QTest::newRow("index") << "privateuseone:3"
                           << "privateuseone:3 was asked for, but this machine has 1 of that kind";
  }
  void devicesThatAreNotThereAreRefused() {
    QFETCH(QString, device);
    QFETCH(QString, text);
    try {
      parse_device(device.toStdString());
      QFAIL("accepted");
    } catch (const Failure& failure) {
      QCOMPARE(QString::fromStdString(failure.problem().text), text);
    }
  }
};

REWARDLOOM_TEST(TestDevices)
#include "test_devices.moc"
