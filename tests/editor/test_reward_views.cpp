// The reward views on a run whose policy hacks its reward: paper 36's raw branch, shortened.
#include <QDir>
#include <QSignalSpy>
#include <QSlider>
#include <QTableView>
#include <QTemporaryDir>
#include <QXmlStreamReader>
#include <cmath>
#include <fstream>
#include <map>
#include <random>

#include "editor/rewards/custom_plot.h"
#include "editor/rewards/rewards_dock.h"
#include "editor/rewards/run_places.h"
#include "editor/rewards/wire_values.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "engine/io/run_store.h"
#include "tests/editor/editor_fixture.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

constexpr int kFit = 3;
constexpr int kIterations = 14;
const char* const kArm = "stage/race/shape[mode=raw]/";

/// graphs/36-par.json with its raw branch alone, few iterations, and every sample kept.
QString writeRawBranch(const QString& folder) {
  Json json = Json::parse(read_file(graphFile("36-par.json").toStdString()));
  json["settings"] = {
      {"iterations", kIterations}, {"seed", 0}, {"checkpoint_every", 100}, {"record_samples", 256}};
  json["nodes"]["start"]["params"]["model"] = REWARDLOOM_SOURCE_DIR "/resources/models/symbols";
  json["nodes"]["stage"]["params"]["phases"][0]["iterations"] = kFit;
  Json& race = json["subgraphs"]["race"]["nodes"];
  race.erase("one_reference");
  race["shape"]["params"]["values"] = {"raw"};
  json["subgraphs"]["loop"]["nodes"]["actor"]["params"]["model"] =
      REWARDLOOM_SOURCE_DIR "/resources/models/symbols";
  const QString file = folder + "/raw-branch.json";
  std::ofstream(file.toStdString()) << json.dump(2);
  return file;
}

/// The counts of equally wide bins from the least to the largest value, as run.db documents them.
std::vector<std::uint64_t> binned(const std::vector<double>& values, std::size_t bins) {
  std::vector<std::uint64_t> counts(bins, 0);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  for (const double value : values) {
    const double place =
        *high > *low ? (value / 2 - *low / 2) / (*high / 2 - *low / 2) * static_cast<double>(bins)
                     : 0;
    ++counts[std::min(static_cast<std::size_t>(place), bins - 1)];
  }
  return counts;
}

std::vector<double> numbersOf(const std::vector<SampleRow>& rows, const std::string& key) {
  std::vector<double> values;
  for (const SampleRow& row : rows) {
    const Json json = Json::parse(row.data);
    if (!json.value("absent", false)) values.push_back(json.at(key).get<double>());
  }
  return values;
}

QString csvOf(const RewardView& view) {
  QString text;
  QTextStream stream(&text);
  view.writeCsv(stream);
  stream.flush();
  return text;
}

void drag(QWidget& widget, QPointF from, QPointF to) {
  QTest::mousePress(&widget, Qt::LeftButton, {}, from.toPoint());
  QTest::mouseMove(&widget, ((from + to) / 2).toPoint());
  QTest::mouseMove(&widget, to.toPoint());
  QTest::mouseRelease(&widget, Qt::LeftButton, {}, to.toPoint());
}

std::vector<CurvePoint> curve(int count, const std::function<double(int)>& value) {
  std::vector<CurvePoint> points;
  for (int i = 0; i < count; ++i) points.push_back({i, value(i)});
  return points;
}

HistogramRow row(std::int64_t iteration, double mean) {
  HistogramRow row;
  row.iteration = iteration;
  row.distribution.count = 4;
  row.distribution.mean = mean;
  return row;
}

}  // namespace

class TestRewardViews : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() {
    catalogue_ = testCatalogue();
    QVERIFY(folder_.isValid());
    window_ = std::make_unique<MainWindow>(catalogue_, paths());
    window_->setUnattended(true);
    window_->resize(1600, 1000);
    window_->show();
    QVERIFY(window_->openPath(writeRawBranch(folder_.path())));
    window_->actions().run("rewards.distribution");
    window_->startRun();
    GraphTab& tab = *window_->currentTab();
    // Watched while it goes on.
    QTRY_VERIFY_WITH_TIMEOUT(tab.data().lastIteration() >= kFit + 2, 240000);
    QVERIFY(tab.run().isActive());
    QTRY_VERIFY(dock().showPort(QString(kArm) + "gold", "rewards"));
    const std::size_t early = dock().heatMap().grid().iterations().size();
    QVERIFY(early >= 1);
    QTRY_VERIFY_WITH_TIMEOUT(!tab.run().isActive(), 240000);
    QCOMPARE(tab.run().state(), RunState::done);
    QTRY_COMPARE(tab.data().lastIteration(), std::int64_t{kIterations - 1});
    QTRY_COMPARE(dock().heatMap().grid().iterations().size(), std::size_t{kIterations - kFit});
    dock().samples().readAll();
  }

  void cleanupTestCase() { window_.reset(); }

  void histograms_are_those_of_the_logged_samples() {
    int compared = 0;
    for (const auto& [node, port, key] : {std::tuple{"gold", "rewards", "total"},
                                          {"gold", "rewards", "f1"},
                                          {"proxy", "rewards", "total"},
                                          {"adv", "advantages", "advantages"}}) {
      const ProbeKey probe{std::string(kArm) + node, port, key};
      for (const HistogramRow& row : data().histograms(probe)) {
        const auto rows = data().samples(probe, {row.iteration, row.iteration}, 1000);
        const std::vector<double> values = numbersOf(rows, key);
        QCOMPARE(static_cast<std::int64_t>(values.size()), row.distribution.count);
        QCOMPARE(binned(values, row.distribution.bins.size()), row.distribution.bins);
        double sum = 0;
        for (const double value : values) sum += value;
        QVERIFY(std::abs(sum / static_cast<double>(values.size()) - row.distribution.mean) < 1e-9);
        ++compared;
      }
    }
    QCOMPARE(compared, 4 * (kIterations - kFit));
  }

  void the_heat_map_shows_every_sample_in_its_place() {
    dock().showPort(QString(kArm) + "gold", "rewards");
    const HeatGrid& grid = dock().heatMap().grid();
    const ProbeKey probe{std::string(kArm) + "gold", "rewards", "total"};
    const double wide = (grid.high() - grid.low()) / HeatGrid::kBins;
    for (std::size_t column = 0; column < grid.iterations().size(); ++column) {
      const std::int64_t i = grid.iterations()[column];
      std::vector<double> values = numbersOf(data().samples(probe, {i, i}, 1000), "total");
      const HistogramRow& recorded = data().histograms(probe)[column];
      // A recorded bin may be spread over the common bins it covers, no further.
      const double slack = (recorded.distribution.hi - recorded.distribution.lo) / 64 + wide;
      double sum = 0;
      for (int bin = 0; bin < HeatGrid::kBins; ++bin) {
        sum += static_cast<double>(grid.share(column, bin));
        const double border = grid.low() + wide * (bin + 1);
        const auto below = [&](double limit) {
          return static_cast<double>(std::count_if(values.begin(), values.end(),
                                                   [&](double v) { return v <= limit; })) /
                 static_cast<double>(values.size());
        };
        QVERIFY(sum >= below(border - slack) - 1e-4);
        QVERIFY(sum <= below(border + slack) + 1e-4);
      }
      QVERIFY(std::abs(sum - 1) < 1e-4);
    }
  }

  void brushing_lists_exactly_the_rollouts_of_the_region() {
    dock().showPort(QString(kArm) + "proxy", "rewards");
    HeatMap& heat = dock().heatMap();
    QVERIFY(heat.isVisible());
    const double low = heat.grid().low() + 0.6 * (heat.grid().high() - heat.grid().low());
    drag(heat, heat.placeOf(kFit + 2, heat.grid().high()), heat.placeOf(kFit + 6, low));
    QVERIFY(heat.region().has_value());
    const HeatRegion region = *heat.region();
    QCOMPARE(region.firstIteration, std::int64_t{kFit + 2});
    QCOMPARE(region.lastIteration, std::int64_t{kFit + 6});
    dock().samples().readAll();
    const ProbeKey probe{std::string(kArm) + "proxy", "rewards", "total"};
    std::set<std::pair<std::int64_t, std::int64_t>> expected;
    for (const SampleRow& row :
         data().samples(probe, {region.firstIteration, region.lastIteration}, 100000)) {
      const double value = Json::parse(row.data).at("total").get<double>();
      if (value >= region.low && value <= region.high) expected.insert({row.iteration, row.row});
    }
    QVERIFY(expected.size() > 3);
    const RolloutModel& model = dock().samples().rollouts();
    std::set<std::pair<std::int64_t, std::int64_t>> listed;
    for (int i = 0; i < model.rowCount(); ++i) {
      listed.insert({model.rollout(i).iteration, model.rollout(i).row});
    }
    QVERIFY(listed == expected);
    // Sorted by the reward, narrowed by a condition.
    int column = 0;
    while (model.headerData(column, Qt::Horizontal, Qt::DisplayRole).toString() != "total")
      ++column;
    dock().samples().table().sortByColumn(column, Qt::DescendingOrder);
    for (int i = 1; i < model.rowCount(); ++i) {
      QVERIFY(model.number(i - 1, "total") >= model.number(i, "total"));
    }
    const double middle = model.number(model.rowCount() / 2, "total");
    dock().samples().search(QString("total > %1").arg(middle, 0, 'g', 17));
    QVERIFY(model.rowCount() > 0 && model.rowCount() < static_cast<int>(expected.size()));
    for (int i = 0; i < model.rowCount(); ++i) QVERIFY(model.number(i, "total") > middle);
    dock().samples().search({});
    // Columns are measures: what identifies a rollout or its tokens is none.
    for (const std::string& name : model.names()) {
      QVERIFY2(!name.starts_with("token") && name != "batch", name.c_str());
    }
    // A click forgets the region.
    QTest::mouseClick(&heat, Qt::LeftButton, {}, heat.placeOf(kFit + 8, low).toPoint());
    QVERIFY(!heat.region());
    QVERIFY(model.rowCount() > static_cast<int>(expected.size()));
  }

  void one_slider_moves_every_view() {
    dock().slider().setValue(kFit + 4);
    for (const auto& [name, view] : dock().views()) {
      QCOMPARE(view->cursorIteration(), std::optional<std::int64_t>(kFit + 4));
    }
    window_->actions().run("rewards.on");
    QCOMPARE(dock().heatMap().cursorIteration(), std::optional<std::int64_t>(kFit + 5));
    dock().showView("At the step");
    QVERIFY(csvOf(dock().step()).contains(QString("\n%1,").arg(kFit + 5)));
    window_->actions().run("rewards.follow");
    QVERIFY(!dock().heatMap().cursorIteration().has_value());
    QCOMPARE(dock().slider().value(), kIterations - 1);
    dock().showView("Distribution");
  }

  void proxy_and_gold_are_found_by_name() {
    dock().showView("Proxy and gold");
    dock().proxyGold().refresh();
    const ProxyGoldNames& shown = dock().proxyGold().shown();
    QCOMPARE(shown.gold, std::string(kArm) + "measure/gold");
    QCOMPARE(shown.proxy, std::string(kArm) + "measure/proxy");
    QVERIFY(QString::fromStdString(shown.kl).endsWith("/kl/kl_mean"));
    const ProxyGoldData& drawn = dock().proxyGold().plot().data();
    QCOMPARE(drawn.gold.size(), std::size_t{kIterations - kFit});
    // What the metric says is the mean of what flowed.
    const ProbeKey gold{std::string(kArm) + "gold", "rewards", "total"};
    for (std::size_t i = 0; i < drawn.gold.size(); ++i) {
      QVERIFY(std::abs(drawn.gold[i].value - data().histograms(gold)[i].distribution.mean) < 1e-5);
    }
    // By hand: any two.
    dock().proxyGold().choose({std::string("mean of ") + kArm + "proxy.rewards", shown.gold, {}});
    QCOMPARE(dock().proxyGold().plot().data().proxy.size(), std::size_t{kIterations - kFit});
    dock().proxyGold().choose({});
    dock().proxyGold().setAcross(ProxyGoldPlot::Across::rootKl);
    const QString csv = csvOf(dock().proxyGold().plot());
    QCOMPARE(csv.count('\n'), 1 + 2 * (kIterations - kFit));
    dock().proxyGold().setAcross(ProxyGoldPlot::Across::iterations);
  }

  void group_spread_is_that_of_the_logged_groups() {
    dock().showPort(QString(kArm) + "proxy", "rewards");
    dock().showView("Groups");
    const auto& points = dock().groups().points();
    QCOMPARE(points.size(), std::size_t{kIterations - kFit});
    const ProbeKey probe{std::string(kArm) + "proxy", "rewards", "total"};
    for (const GroupSpreadPoint& point : points) {
      std::map<std::int64_t, std::vector<double>> groups;
      for (const SampleRow& row : data().samples(probe, {point.iteration, point.iteration}, 1000)) {
        const Json json = Json::parse(row.data);
        groups[json.at("group").get<std::int64_t>()].push_back(json.at("total").get<double>());
      }
      double sum = 0;
      int alike = 0;
      for (const auto& [id, values] : groups) {
        double mean = 0, squares = 0;
        for (const double v : values) mean += v / static_cast<double>(values.size());
        for (const double v : values) squares += (v - mean) * (v - mean);
        const auto [low, high] = std::minmax_element(values.begin(), values.end());
        if (*low == *high) ++alike;
        if (*low != *high) sum += std::sqrt(squares / static_cast<double>(values.size()));
      }
      const auto count = static_cast<int>(groups.size());
      QVERIFY(std::abs(point.noSignal - static_cast<double>(alike) / count) < 1e-12);
      QVERIFY(std::abs(point.mean - sum / (count - alike)) < 1e-9);
    }
    dock().showView("Distribution");
  }

  void parts_of_gold_add_up_to_it() {
    dock().showPort(QString(kArm) + "gold", "rewards");
    dock().showView("Parts");
    const RewardParts& parts = dock().parts().parts();
    QVERIFY(parts.additive);
    QCOMPARE(parts.parts.size(), std::size_t{3});
    // A shaped reward is not the sum of what it was shaped from: it is not stacked.
    dock().showPort(QString(kArm) + "shaped", "rewards");
    QVERIFY(!dock().parts().parts().reason.isEmpty() || dock().parts().parts().additive);
    dock().showView("Distribution");
  }

  void tokens_carry_what_each_port_says_of_them() {
    dock().showPort(QString(kArm) + "proxy", "rewards");
    dock().samples().readAll();
    QTableView& table = dock().samples().table();
    table.setCurrentIndex(table.model()->index(0, 0));
    const TokenTable& tokens = dock().samples().tokens().table();
    const Rollout& rollout = dock().samples().rollouts().rollout(0);
    QVERIFY(static_cast<qsizetype>(tokens.tokens.size()) >= rollout.completion.size());
    // Each token's own text, as the run's tokenizer gives it.
    const Json own = Json::parse(rollout.data);
    QCOMPARE(tokens.ids, own.at("tokens").get<std::vector<std::int64_t>>());
    QCOMPARE(own.at("token_texts").size(), tokens.ids.size());
    QString text;
    for (const QString& token : tokens.tokens) {
      if (token != "<E>") text += token;
    }
    QCOMPARE(text, rollout.completion);
    QVERIFY(tokens.note.isEmpty());
    QVERIFY(dock().samples().tokens().isVisible());
    std::map<QString, const TokenQuantity*> quantities;
    for (const TokenQuantity& quantity : tokens.quantities) quantities[quantity.name] = &quantity;
    for (const char* name :
         {"old.log_probs", "log-ratio to old.log_probs", "KL to old.log_probs"}) {
      QVERIFY2(quantities.contains(name), name);
      QCOMPARE(quantities[name]->values.size(), tokens.tokens.size());
    }
    for (const char* name : {"adv.advantages", "gold.rewards", "proxy.rewards"}) {
      QVERIFY2(quantities.contains(name), name);
      QCOMPARE(quantities[name]->values.size(), std::size_t{1});
    }
    const auto& ratio = quantities["log-ratio to old.log_probs"]->values;
    for (std::size_t i = 0; i < ratio.size(); ++i) {
      const double k3 = std::exp(-ratio[i]) - 1 + ratio[i];
      QVERIFY(std::abs(quantities["KL to old.log_probs"]->values[i] - k3) < 1e-12);
      QVERIFY(k3 >= 0);
    }
  }

  void wires_show_histograms_and_open_their_values() {
    GraphTab& tab = *window_->currentTab();
    tab.scene().setScope("loop");
    QCoreApplication::processEvents();
    QTest::qWait(400);
    const WireItem* shown = nullptr;
    const WireItem* plain = nullptr;
    for (const WireItem* item : tab.scene().wireItems()) {
      if (item->wire().from.node == "shaped") shown = item;
      if (item->wire().from.node == "actor") plain = item;
    }
    QVERIFY(shown && plain);
    QVERIFY(shown->histogram().has_value());
    QVERIFY(!plain->histogram());
    const HistogramRow last =
        data().histograms({std::string(kArm) + "shaped", "rewards", "total"}).back();
    QCOMPARE(*shown->histogram(), wireHistogram(last));
    dock().showPort(QString(kArm) + "gold", "rewards");
    tab.canvas().resetZoom();
    tab.canvas().centerOn(shown->path().pointAtPercent(0.5));
    QCoreApplication::processEvents();
    // Where the wire is not behind a node.
    QPointF free;
    int best = 0;
    for (int i = 1; i < 100; ++i) {
      const QPointF at = shown->path().pointAtPercent(i / 100.0);
      if (!tab.scene().nodeAt(at) && !tab.scene().portAt(at, 12) &&
          tab.scene().wireAt(at) == shown) {
        free = free.isNull() || std::abs(i - 50) < std::abs(best - 50) ? at : free;
        if (free == at) best = i;
      }
    }
    QVERIFY(!free.isNull());
    const QPoint place = tab.canvas().mapFromScene(free);
    QTest::mouseClick(tab.canvas().viewport(), Qt::LeftButton, {}, place);
    QCOMPARE(dock().shownNode(), std::string(kArm) + "shaped");
    tab.scene().setScope({});
  }

  void every_view_is_written_in_every_format() {
    QTemporaryDir folder;
    dock().showPort(QString(kArm) + "gold", "rewards");
    dock().samples().readAll();
    dock().exportAllViews(folder.path());
    for (const auto& [name, view] : dock().views()) {
      const QString base = folder.path() + '/' + QString(name).toLower().replace(' ', '-');
      const QImage picture(base + ".png");
      QVERIFY2(!picture.isNull(), qPrintable(base));
      QCOMPARE(picture.size(), view->size() * 2);
      QFile svg(base + ".svg");
      QVERIFY(svg.open(QIODevice::ReadOnly));
      QXmlStreamReader xml(&svg);
      int texts = 0;
      while (!xml.atEnd()) {
        if (xml.readNext() == QXmlStreamReader::StartElement && xml.name() == QString("text"))
          ++texts;
      }
      QVERIFY2(!xml.hasError(), qPrintable(base + xml.errorString()));
      QVERIFY2(texts > 3, qPrintable(base));
      QFile csv(base + ".csv");
      QVERIFY(csv.open(QIODevice::ReadOnly));
      QVERIFY2(csv.readAll().count('\n') > 3, qPrintable(base));
    }
    QFile rollouts(folder.path() + "/rollouts.csv");
    QVERIFY(rollouts.open(QIODevice::ReadOnly));
    QVERIFY(rollouts.readAll().count('\n') > 256);
    QVERIFY_EXCEPTION_THROWN(dock().exportAllViews("/nowhere/at/all"), Failure);
  }

  void a_finished_run_shows_all_that_the_live_one_did() {
    MainWindow other(catalogue_, paths());
    other.setUnattended(true);
    other.resize(1600, 1000);
    other.show();
    QVERIFY(other.openPath(data().folder()));
    dock().pin(std::nullopt);
    for (const auto& [node, port] : {std::pair{"gold", "rewards"}, {"adv", "advantages"}}) {
      QVERIFY(dock().showPort(QString(kArm) + node, port));
      QVERIFY(other.rewards().showPort(QString(kArm) + node, port));
      for (std::size_t i = 0; i < dock().views().size(); ++i) {
        const QString name = dock().views()[i].first;
        dock().showView(name);
        other.rewards().showView(name);
        QCOMPARE(csvOf(*other.rewards().views()[i].second), csvOf(*dock().views()[i].second));
      }
    }
    for (RewardsDock* shown : {&dock(), &other.rewards()}) {
      shown->samples().table().sortByColumn(0, Qt::DescendingOrder);
      shown->samples().readAll();
    }
    QCOMPARE(other.rewards().samples().csv(), dock().samples().csv());
    dock().showView("Distribution");
  }

  void damaged_runs_show_what_can_be_read() {
    const QString whole = data().folder();
    const auto copy = [&](const char* name) {
      const QString to = folder_.path() + '/' + name;
      QDir().mkpath(to);
      for (const char* file : {"run.db", "graph.json", "run.json"}) {
        QFile::copy(whole + '/' + file, to + '/' + file);
      }
      return to;
    };
    const auto open = [&](const QString& path, bool expected) {
      auto window = std::make_unique<MainWindow>(catalogue_, paths());
      window->setUnattended(true);
      window->show();
      [&] { QCOMPARE(window->openPath(path), expected); }();
      return window;
    };
    // No graph: the records are there, and it is said.
    const QString graphless = copy("graphless");
    QFile::remove(graphless + "/graph.json");
    auto window = open(graphless, true);
    QVERIFY(window->currentTab()->data().metrics().size() > 20);
    QVERIFY(!window->currentTab()->data().problems().isEmpty());
    window.reset();
    // Pages in the middle are overwritten: some series are lost, others not, nothing falls over.
    const QString damaged = copy("damaged");
    QFile store(damaged + "/run.db");
    QVERIFY(store.open(QIODevice::ReadWrite));
    const qint64 pages = store.size() / 4096;
    for (qint64 page = pages / 3; page < pages / 3 + 12; ++page) {
      store.seek(page * 4096);
      store.write(QByteArray(4096, '\x5a'));
    }
    store.close();
    window = open(damaged, true);
    RunData& hurt = window->currentTab()->data();
    std::size_t readable = 0;
    for (const std::string& name : hurt.seriesNames()) {
      const MetricSeries* series = hurt.series(name);
      if (series && !series->empty()) ++readable;
    }
    for (const ProbeKey& key : std::vector(hurt.probes())) {
      hurt.histograms(key);
      hurt.samples(key, {}, 100000);
    }
    QVERIFY(readable > 0);
    QVERIFY(!hurt.problems().isEmpty());
    window.reset();
    // Cut off in the middle, as by a full disk.
    const QString cut = copy("cut");
    QVERIFY(QFile::resize(cut + "/run.db", pages / 2 * 4096));
    window = open(cut, true);
    QVERIFY(!window->currentTab()->data().problems().isEmpty());
    window.reset();
    // No database at all behind the name: the graph is still shown.
    const QString none = copy("none");
    QFile text(none + "/run.db");
    QVERIFY(text.open(QIODevice::WriteOnly | QIODevice::Truncate));
    text.write(QByteArray("this is no database, however long it may be").repeated(200));
    text.close();
    window = open(none, true);
    QVERIFY(!window->currentTab()->model().document().nodes.empty());
    window.reset();
  }

  void a_store_of_another_version_says_so() {
    QTemporaryDir folder;
    {
      RunStore store(std::filesystem::path(folder.path().toStdString()) / "run.db");
      for (int i = 0; i < 5; ++i) store.add(MetricRow{i, "reward/mean", 0.5 * i});
      store.commit();
    }
    QProcess sqlite;
    const QString file = folder.path() + "/run.db";
    sqlite.start("sqlite3", {file,
                             "UPDATE meta SET value = '99'; DROP TABLE samples;"
                             "ALTER TABLE histograms DROP COLUMN q05;"});
    if (!sqlite.waitForFinished(10000) || sqlite.exitCode() != 0) QSKIP("needs sqlite3");
    RunData data;
    data.open(folder.path());
    QCOMPARE(data.series("reward/mean")->size(), std::size_t{5});
    QVERIFY(data.samples({"a", "b", "c"}, {}, 10).empty());
    QVERIFY(data.problems().join(' ').contains("99"));
  }

  void what_a_run_writes_is_seen_within_200_ms() {
    QTemporaryDir folder;
    RunStore store(std::filesystem::path(folder.path().toStdString()) / "run.db");
    store.add(MetricRow{0, "reward/mean", 0.0});
    store.commit();
    RunData data;
    data.open(folder.path());
    data.series("reward/mean");
    data.setLive(true);
    std::vector<qint64> delays;
    for (int i = 1; i <= 15; ++i) {
      QTest::qWait(17 * (i % 5));
      QElapsedTimer clock;
      clock.start();
      store.add(MetricRow{i, "reward/mean", 1.0 * i});
      store.commit();
      QTRY_COMPARE(data.lastIteration(), std::int64_t{i});
      delays.push_back(clock.elapsed());
      QCOMPARE(data.series("reward/mean")->valueAt(i), 1.0 * i);
    }
    std::sort(delays.begin(), delays.end());
    // The median: a loaded machine may keep any one of them waiting.
    QVERIFY2(delays[7] < 200, qPrintable(QString::number(delays[7])));
    // A resumed run writes its last iterations anew.
    store.truncate_after(10);
    store.add(MetricRow{10, "reward/mean", -1.0});
    store.commit();
    QTRY_COMPARE(data.lastIteration(), std::int64_t{10});
    QCOMPARE(data.series("reward/mean")->size(), std::size_t{11});
    QCOMPARE(data.series("reward/mean")->valueAt(12), -1.0);
  }

  void overoptimisation_is_a_fall_beyond_noise() {
    std::mt19937 random(7);
    std::normal_distribution<double> noise(0, 0.05);
    int alarms = 0;
    for (int trial = 0; trial < 40; ++trial) {
      const auto proxy = curve(150, [&](int i) { return 0.02 * i + noise(random); });
      const auto fallen = curve(
          150, [&](int i) { return (i < 50 ? 0.02 * i : 1 - 0.02 * (i - 50)) + noise(random); });
      const auto found = overoptimisation(proxy, fallen);
      QVERIFY(found && found->suspect);
      QVERIFY(std::abs(found->peak - 50) <= 8);
      const auto level = curve(150, [&](int i) { return 1 - std::exp(-i / 20.0) + noise(random); });
      if (overoptimisation(proxy, level)->suspect) ++alarms;
      // Both fall: nothing is gained at gold's cost.
      const auto falling = curve(150, [&](int i) { return -0.02 * i + noise(random); });
      QVERIFY(!overoptimisation(falling, fallen)->suspect);
    }
    QVERIFY2(alarms <= 4, qPrintable(QString("%1 false alarms of 40").arg(alarms)));
    QVERIFY(
        !overoptimisation(curve(3, [](int i) { return i; }), curve(3, [](int i) { return i; })));
    const auto nan = curve(30, [](int) { return std::nan(""); });
    QVERIFY(!overoptimisation(nan, nan) || !overoptimisation(nan, nan)->suspect);
  }

  void a_plot_holds_only_the_points_that_are_seen() {
    std::mt19937 random(3);
    std::normal_distribution<double> noise;
    MetricSeries series;
    for (int i = 0; i < 300000; ++i) series.append(i, noise(random));
    CurvePlot view(Theme::darkTheme());
    view.resize(600, 260);
    view.show();
    view.setCurves({{"noise", &series, Qt::red}});
    QCustomPlot& plot = view.plot();
    plot.replot();
    QVERIFY(plot.isVisible());
    const auto drawn = [&] { return plot.graph(0)->dataCount(); };
    QVERIFY(drawn() > 600);
    QVERIFY(drawn() <= 2 * 600 * std::ceil(view.devicePixelRatioF()));
    // Nothing between the extremes is lost: the lowest and the highest of all are there.
    double low = 0, high = 0;
    for (const SeriesPoint& point : series.points()) {
      low = std::min(low, point.value);
      high = std::max(high, point.value);
    }
    bool foundRange = false;
    const QCPRange values = plot.graph(0)->getValueRange(foundRange);
    QVERIFY(foundRange);
    QCOMPARE(values.lower, low);
    QCOMPARE(values.upper, high);
    // Near enough there are fewer points than pixels: each is drawn as it is.
    plot.xAxis->setRange(1000.5, 1100.5);
    plot.replot();
    QCOMPARE(drawn(), 102);
    for (const QCPGraphData& point : *plot.graph(0)->data()) {
      QCOMPARE(point.value, series.valueAt(static_cast<std::int64_t>(point.key)));
    }
  }

  void plots_are_zoomed_dragged_and_chosen_in_by_hand() {
    MetricSeries series;
    for (int i = 0; i < 1000; ++i) series.append(i, 0.001 * i);
    CurvePlot view(Theme::lightTheme());
    view.resize(600, 260);
    view.show();
    view.setCurves({{"rising", &series, Qt::red}});
    QCustomPlot& plot = view.plot();
    plot.replot();
    QCOMPARE(plot.xAxis->range(), QCPRange(0, 1000));
    const QRect area = plot.axisRect()->rect();
    const QPointF middle = QRectF(area).center();
    QWheelEvent wheel(middle, plot.mapToGlobal(middle.toPoint()), {}, {0, 240}, Qt::NoButton, {},
                      Qt::NoScrollPhase, false);
    QCoreApplication::sendEvent(&plot, &wheel);
    plot.replot();
    const QCPRange near = plot.xAxis->range();
    QVERIFY(near.size() < 800);
    // What is seen fills the height.
    QVERIFY(plot.yAxis->range().size() < 0.9);
    drag(plot, middle, middle + QPointF(80, 0));
    plot.replot();
    QVERIFY(plot.xAxis->range().lower < near.lower - 20);
    QVERIFY(std::abs(plot.xAxis->range().size() - near.size()) < 1e-6);
    // Not out of the run.
    for (int i = 0; i < 9; ++i) drag(plot, middle - QPointF(200, 0), middle + QPointF(200, 0));
    QVERIFY(plot.xAxis->range().lower >= 0);
    // A click chooses, a drag does not; a double click shows all again.
    QSignalSpy chosen(&view, &RewardView::iterationChosen);
    drag(plot, middle, middle - QPointF(50, 0));
    QCOMPARE(chosen.count(), 0);
    plot.replot();
    const double x = plot.xAxis->pixelToCoord(middle.x());
    QTest::mouseClick(&plot, Qt::LeftButton, {}, middle.toPoint());
    QCOMPARE(chosen.count(), 1);
    QVERIFY(std::abs(chosen[0][0].toDouble() - x) <= 2);
    QSignalSpy hovered(&view, &RewardView::iterationHovered);
    const QPointF over = middle + QPointF(30, 4);
    QMouseEvent move(QEvent::MouseMove, over, plot.mapToGlobal(over), Qt::NoButton, Qt::NoButton,
                     Qt::NoModifier);
    QCoreApplication::sendEvent(&plot, &move);
    QCOMPARE(hovered.count(), 1);
    QCOMPARE(hovered[0][0].toLongLong(),
             static_cast<qlonglong>(std::floor(plot.xAxis->pixelToCoord(over.x()))));
    QTest::mouseDClick(&plot, Qt::LeftButton, {}, middle.toPoint());
    plot.replot();
    QCOMPARE(plot.xAxis->range(), QCPRange(0, 1000));
    // The legend says what the curve is at the cursor.
    view.setCursorIteration(250);
    plot.replot();
    QCOMPARE(plot.legend->itemCount(), 1);
    const auto* line = qobject_cast<QCPItemStraightLine*>(plot.item(0));
    QVERIFY(line && line->visible());
    QCOMPARE(line->point1->key(), 250.0);
  }

  void plots_wear_the_theme_and_the_screens_scale() {
    MetricSeries series;
    for (int i = 0; i < 50; ++i) series.append(i, 0.1 * i);
    CurvePlot view(Theme::lightTheme());
    view.resize(400, 200);
    view.show();
    view.setCurves({{"rising", &series, Qt::red}});
    for (const Theme& theme : {Theme::darkTheme(), Theme::lightTheme()}) {
      view.setTheme(theme);
      view.plot().replot();
      const QImage image = view.grab().toImage();
      QCOMPARE(QColor(image.pixel(2, image.height() / 2)), theme.canvas);
      QCOMPARE(view.plot().xAxis->tickLabelColor(), theme.faintText);
    }
    view.setCurves({});
    QVERIFY(!view.plot().isVisible());
    QVERIFY(!view.grab().isNull());
  }

  void pairs_stand_in_one_place_of_the_graph() {
    const auto pairs = proxy_gold_pairs(
        {"a/measure/gold", "a/measure/proxy", "a/update/a/kl/kl_mean", "a/update/a/clip/approx_kl",
         "b/measure/gold", "b/measure/proxy", "b/update/b/kl/kl_mean", "loss"});
    QCOMPARE(pairs.size(), std::size_t{2});
    for (const ProxyGoldNames& pair : pairs) {
      QCOMPARE(pair.proxy.substr(0, 2), pair.gold.substr(0, 2));
      QCOMPARE(pair.kl.substr(0, 2), pair.gold.substr(0, 2));
      QVERIFY(pair.kl.ends_with("kl_mean"));
    }
    const auto held =
        proxy_gold_pairs({"held_out/grade/accuracy", "reward/accuracy", "update/actor/loss"});
    QCOMPARE(held.size(), std::size_t{1});
    QCOMPARE(held[0].gold, std::string("held_out/grade/accuracy"));
    QCOMPARE(held[0].proxy, std::string("reward/accuracy"));
    QVERIFY(proxy_gold_pairs({"loss", "grad_norm"}).empty());
  }

  void weighted_parts_are_stacked_in_the_unit_of_the_total() {
    GraphNode node;
    node.type = "reward.combine";
    node.params = {{"weights", {1.0, -0.5}}};
    const std::vector<HistogramRow> total = {row(0, 0.5), row(1, 0.0)};
    const std::vector<std::pair<std::string, std::vector<HistogramRow>>> columns = {
        {"right", {row(0, 0.75), row(1, 0.5)}}, {"length", {row(0, 0.5), row(1, 1.0)}}};
    const RewardParts parts = rewardParts(total, columns, &node);
    QVERIFY(parts.additive);
    QCOMPARE(parts.parts[1].means, (std::vector<double>{-0.25, -0.5}));
    QVERIFY(!rewardParts(total, columns, nullptr).additive);
    node.params["op"] = "product";
    QVERIFY(!rewardParts(total, columns, &node).additive);
  }

  void tokens_fall_back_to_what_there_is() {
    const SampleRow reward{3, "check", "rewards", 1,
                           "{\"batch\": 7, \"completion\": \"forty two\", \"total\": 1.0}"};
    const SampleRow advantage{3, "adv", "advantages", 1, "{\"batch\": 7, \"advantages\": 0.5}"};
    const SampleRow other{3, "elsewhere", "rewards", 1, "{\"batch\": 8, \"total\": 9.0}"};
    const TokenTable whole = tokenTable(reward, {advantage, reward, other});
    QCOMPARE(whole.tokens, (std::vector<QString>{"forty two"}));
    QCOMPARE(whole.quantities.size(), std::size_t{2});
    QVERIFY(!whole.note.isEmpty());
    // Words: their texts are not known, their ids are.
    const SampleRow words{3, "old", "log_probs", 1,
                          "{\"batch\": 7, \"tokens\": [11, 12], \"log_probs\": [-1.0, -2.0]}"};
    const TokenTable ids = tokenTable(reward, {reward, words});
    QCOMPARE(ids.tokens, (std::vector<QString>{"#11", "#12"}));
    QVERIFY(ids.quantities.front().perToken());
    // Recorded texts, also of tokens of several characters or of a part of one.
    const SampleRow pieces{
        3, "old", "log_probs", 1,
        "{\"batch\": 7, \"tokens\": [11, 12, 13, 14, 15], \"log_probs\": [-1.0, "
        "-2.0, -3.0, -4.0, -5.0], \"token_texts\": [\" forty\", \"\\\\xe2\\\\x82\", "
        "\"\\n\", \"  \", \"\"]}"};
    const TokenTable told = tokenTable(reward, {reward, pieces}, {{11, "wrong"}});
    QCOMPARE(told.tokens, (std::vector<QString>{" forty", "\\xe2\\x82", QString(QChar(0x21b5)),
                                                QString(2, QChar(0x2423)), "#15"}));
    QCOMPARE(told.ids, (std::vector<std::int64_t>{11, 12, 13, 14, 15}));
    // Runs of a version without batches: the same texts are the same answer.
    const SampleRow old{3, "check", "rewards", 1, "{\"completion\": \"x\", \"total\": 1.0}"};
    const SampleRow same{3, "adv", "advantages", 1, "{\"completion\": \"x\", \"advantages\": 2.0}"};
    const SampleRow differs{3, "b", "advantages", 1,
                            "{\"completion\": \"y\", \"advantages\": 3.0}"};
    QCOMPARE(tokenTable(old, {old, same, differs}).quantities.size(), std::size_t{2});
    QVERIFY(tokenTable({0, "a", "b", 0, "no JSON"}, {}).tokens.empty());
  }

  void token_texts_are_learned_by_a_clear_majority() {
    std::vector<SampleRow> rows;
    for (int i = 0; i < 20; ++i) {
      rows.push_back({i, "old", "log_probs", 0, "{\"completion\": \"ab\", \"tokens\": [5, 6, 1]}"});
    }
    rows.push_back({20, "old", "log_probs", 0, "{\"completion\": \"ba\", \"tokens\": [5, 9]}"});
    const TokenTexts texts = learnTokenTexts(rows);
    QCOMPARE(texts.at(5), QString("a"));
    QCOMPARE(texts.at(6), QString("b"));
    QCOMPARE(texts.at(1), QString("end"));
    QVERIFY(learnTokenTexts({}).empty());
  }

  void conditions_and_text_narrow_together() {
    const RolloutFilter filter = RolloutFilter::parse("total>=0.5 foo iteration < 12");
    QCOMPARE(filter.text, QString("foo"));
    QCOMPARE(filter.conditions.size(), std::size_t{2});
    RolloutModel model;
    const auto add = [&](std::int64_t iteration, const char* text, double total) {
      Rollout rollout;
      rollout.iteration = iteration;
      rollout.completion = text;
      model.add(std::move(rollout), {{"total", total}});
    };
    add(1, "a foo", 0.7);
    add(2, "a foo", 0.2);
    add(3, "a bar", 0.7);
    add(20, "a FOO", 0.7);
    model.apply(filter);
    QCOMPARE(model.rowCount(), 1);
    QCOMPARE(model.rollout(0).iteration, std::int64_t{1});
    model.apply(RolloutFilter::parse("nothing>3"));
    QCOMPARE(model.rowCount(), 0);
  }

  void recorded_paths_are_places_of_the_document() {
    const Document document = Document::load(graphFile("36-par.json").toStdString());
    const auto at = [&](const char* path) { return placeInDocument(document, path); };
    QCOMPARE(at("stage/race/shape[mode=raw]/gold"), (RunPlace{"loop", "gold"}));
    QCOMPARE(at("stage/race/one_reference[mode=par]/adv"), (RunPlace{"loop", "adv"}));
    QCOMPARE(at("stage/fit/people"), (RunPlace{"fit", "people"}));
    QCOMPARE(at("stage/race/levels"), (RunPlace{"race", "levels"}));
    QCOMPARE(at("scorer"), (RunPlace{"", "scorer"}));
    QVERIFY(!at("stage/race/gone"));
    QVERIFY(!at(""));
  }

 private:
  EditorPaths paths() const {
    return {QStringLiteral(REWARDLOOM_PROGRAM), QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs"),
            folder_.path() + "/runs", folder_.path() + "/journals"};
  }
  RewardsDock& dock() { return window_->rewards(); }
  RunData& data() { return window_->currentTab()->data(); }

  std::shared_ptr<const Catalogue> catalogue_;
  QTemporaryDir folder_;
  std::unique_ptr<MainWindow> window_;
};

}  // namespace rewardloom

using rewardloom::TestRewardViews;
REWARDLOOM_TEST(TestRewardViews)
#include "test_reward_views.moc"
