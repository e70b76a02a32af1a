#include "editor/rewards/rewards_dock.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QListWidget>
#include <QSplitter>
#include <algorithm>

namespace rewardloom {

QStringList firstMetrics(const std::map<std::string, MetricSeries>& metrics) {
  QStringList names;
  for (const char* word : {"accuracy", "gold", "reward/mean", "reward", "score", "loss"}) {
    for (const auto& [name, series] : metrics) {
      const QString text = QString::fromStdString(name);
      const bool count =
          text.contains(QStringLiteral("absent")) || text.endsWith(QStringLiteral("rows"));
      const QString last = text.section(QChar('/'), -1);
      if (count || !last.contains(QLatin1String(word)) || names.contains(text)) continue;
      names << text;
      if (names.size() == 4) return names;
    }
    if (names.size() >= 2) break;
  }
  return names;
}

RewardsDock::RewardsDock(const Theme& theme, QWidget* parent)
    : QWidget(parent),
      theme_(theme),
      ports_(new QComboBox(this)),
      note_(new QLabel(this)),
      heat_(new HeatMap(theme, this)),
      metrics_(new QListWidget(this)),
      plot_(new CurvePlot(theme, this)),
      samples_(new SamplesPanel(this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  auto* split = new QSplitter(Qt::Horizontal, this);
  layout->addWidget(split, 1);

  auto* left = new QWidget(split);
  auto* leftLayout = new QVBoxLayout(left);
  leftLayout->setContentsMargins(4, 4, 4, 4);
  auto* head = new QHBoxLayout;
  ports_->setAccessibleName(tr("Recorded port"));
  ports_->setMinimumContentsLength(24);
  head->addWidget(ports_, 1);
  head->addWidget(note_);
  leftLayout->addLayout(head);
  leftLayout->addWidget(heat_, 1);
  split->addWidget(left);

  auto* middle = new QSplitter(Qt::Horizontal, split);
  middle->addWidget(plot_);
  middle->addWidget(metrics_);
  middle->setStretchFactor(0, 3);
  middle->setStretchFactor(1, 1);
  metrics_->setAccessibleName(tr("Metrics"));
  metrics_->setUniformItemSizes(true);
  split->addWidget(middle);
  split->addWidget(samples_);
  split->setSizes({400, 460, 520});

  connect(ports_, &QComboBox::currentIndexChanged, this, [this] {
    if (filling_) return;
    heat_->setCursorIteration(std::nullopt);
    drawHeat();
    if (const auto key = chosen()) samples_->showPort(*key);
  });
  connect(metrics_, &QListWidget::itemChanged, this, [this] {
    if (!filling_) drawCurves();
  });
  connect(heat_, &HeatMap::brushed, this,
          [this](const HeatRegion& region) { samples_->setRegion(region); });
  connect(heat_, &HeatMap::brushCleared, this, [this] { samples_->setRegion(std::nullopt); });
  connect(heat_, &HeatMap::iterationHovered, this, &RewardsDock::setCursor);
  connect(plot_, &CurvePlot::iterationHovered, this, &RewardsDock::setCursor);
  connect(samples_, &SamplesPanel::iterationChosen, this, &RewardsDock::setCursor);
}

void RewardsDock::setTheme(const Theme& theme) {
  theme_ = theme;
  heat_->setTheme(theme);
  plot_->setTheme(theme);
  drawCurves();
}

void RewardsDock::setData(RunData* data) {
  if (data_) data_->disconnect(this);
  data_ = data;
  plot_->setCurves({});
  filling_ = true;
  ports_->clear();
  metrics_->clear();
  filling_ = false;
  samples_->setData(data);
  if (data_) connect(data_, &RunData::updated, this, &RewardsDock::refresh);
  refresh();
}

void RewardsDock::setCursor(std::int64_t iteration) {
  heat_->setCursorIteration(iteration);
  plot_->setCursorIteration(iteration);
}

std::optional<ProbeKey> RewardsDock::chosen() const {
  const int index = ports_->currentIndex();
  if (!data_ || index < 0 || static_cast<std::size_t>(index) >= data_->probes().size()) {
    return std::nullopt;
  }
  return data_->probes()[static_cast<std::size_t>(index)];
}

void RewardsDock::showPort(const QString& node, const QString& port) {
  if (!data_) return;
  const auto& probes = data_->probes();
  for (std::size_t i = 0; i < probes.size(); ++i) {
    if (probes[i].node != node.toStdString() || probes[i].port != port.toStdString()) continue;
    ports_->setCurrentIndex(static_cast<int>(i));
    if (probes[i].component == "total") return;
  }
}

void RewardsDock::chooseMetrics(const QStringList& names) {
  filling_ = true;
  for (int i = 0; i < metrics_->count(); ++i) {
    QListWidgetItem* item = metrics_->item(i);
    item->setCheckState(names.contains(item->text()) ? Qt::Checked : Qt::Unchecked);
  }
  filling_ = false;
  drawCurves();
}

void RewardsDock::refresh() {
  refreshChoices();
  drawHeat();
  drawCurves();
  samples_->refresh();
  note_->setText(data_ && !data_->problems().isEmpty() ? data_->problems().first() : QString());
}

void RewardsDock::refreshChoices() {
  if (!data_) return;
  const auto& probes = data_->probes();
  if (static_cast<std::size_t>(ports_->count()) != probes.size()) {
    const QString before = ports_->currentText();
    filling_ = true;
    ports_->clear();
    int best = 0;
    for (std::size_t i = 0; i < probes.size(); ++i) {
      ports_->addItem(probes[i].text());
      if (probes[i].component == "total" && best == 0) best = static_cast<int>(i);
    }
    const int again = ports_->findText(before);
    ports_->setCurrentIndex(again >= 0 ? again : best);
    filling_ = false;
    if (const auto key = chosen()) samples_->showPort(*key);
  }
  if (static_cast<std::size_t>(metrics_->count()) != data_->metrics().size()) {
    QStringList checked;
    for (int i = 0; i < metrics_->count(); ++i) {
      if (metrics_->item(i)->checkState() == Qt::Checked) checked << metrics_->item(i)->text();
    }
    filling_ = true;
    metrics_->clear();
    for (const auto& [name, series] : data_->metrics()) {
      auto* item = new QListWidgetItem(QString::fromStdString(name), metrics_);
      item->setFlags(item->flags() | Qt::ItemIsUserCheckable);
      item->setCheckState(Qt::Unchecked);
      item->setToolTip(item->text());
    }
    filling_ = false;
    chooseMetrics(checked.isEmpty() ? firstMetrics(data_->metrics()) : checked);
  }
}

void RewardsDock::drawHeat() {
  const auto key = chosen();
  heat_->setRows(key ? data_->histograms(*key) : std::vector<HistogramRow>());
}

void RewardsDock::drawCurves() {
  std::vector<Curve> curves;
  if (data_) {
    for (int i = 0; i < metrics_->count(); ++i) {
      QListWidgetItem* item = metrics_->item(i);
      if (item->checkState() != Qt::Checked) continue;
      const auto it = data_->metrics().find(item->text().toStdString());
      if (it == data_->metrics().end()) continue;
      curves.push_back({item->text(), &it->second, CurvePlot::curveColor(curves.size(), theme_)});
    }
  }
  plot_->setCurves(std::move(curves));
}

}  // namespace rewardloom
