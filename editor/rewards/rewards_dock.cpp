#include "editor/rewards/rewards_dock.h"

#include <QCheckBox>
#include <QComboBox>
#include <QDir>
#include <QEvent>
#include <QFileDialog>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QMenu>
#include <QPushButton>
#include <QSlider>
#include <QSplitter>
#include <QStyledItemDelegate>
#include <QTabWidget>
#include <algorithm>

#include "editor/rewards/run_places.h"
#include "editor/rewards/view_export.h"
#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr QSize kUnseenSize(900, 420);

/// The style draws boxes darker than the window: on a dark one they would not be seen.
QColor boxOutline(const QColor& text) { return text.darker(140); }

class MetricDelegate final : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;

 protected:
  void initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const override {
    QStyledItemDelegate::initStyleOption(option, index);
    const QColor text = option->palette.color(QPalette::Text);
    if (text.lightness() > 127) option->palette.setColor(QPalette::Window, boxOutline(text));
  }
};

QString fileName(const QString& view) { return view.toLower().replace(QChar(' '), QChar('-')); }

}  // namespace

QStringList firstMetrics(const std::map<std::string, MetricSeries>& metrics) {
  QStringList names;
  std::vector<std::string> all;
  for (const auto& [name, series] : metrics) all.push_back(name);
  const auto pairs = proxy_gold_pairs(all);
  if (!pairs.empty()) {
    return {QString::fromStdString(pairs.front().gold),
            QString::fromStdString(pairs.front().proxy)};
  }
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
      slider_(new QSlider(Qt::Horizontal, this)),
      stepLabel_(new QLabel(this)),
      follow_(new QCheckBox(this)),
      onlyStep_(new QCheckBox(this)),
      portViews_(new QTabWidget(this)),
      runViews_(new QTabWidget(this)),
      heat_(new HeatMap(theme)),
      fan_(new QuantileFan(theme)),
      parts_(new ComponentStack(theme)),
      groups_(new GroupSpread(theme)),
      step_(new StepHistogram(theme)),
      proxyGold_(new ProxyGoldPanel(theme)),
      metrics_(new QListWidget),
      metricFilter_(new QLineEdit),
      plot_(new CurvePlot(theme)),
      samples_(new SamplesPanel(theme, this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);
  layout->addWidget(topBar());
  note_->setWordWrap(true);
  note_->setContentsMargins(8, 2, 8, 2);
  note_->hide();
  layout->addWidget(note_);
  auto* split = new QSplitter(Qt::Horizontal, this);
  split->setChildrenCollapsible(false);
  layout->addWidget(split, 1);
  portViews_->setDocumentMode(true);
  runViews_->setDocumentMode(true);
  addView(portViews_, heat_, heat_, tr("Distribution"));
  addView(portViews_, fan_, fan_, tr("Quantiles"));
  addView(portViews_, parts_, parts_, tr("Parts"));
  addView(portViews_, groups_, groups_, tr("Groups"));
  addView(portViews_, step_, step_, tr("At the step"));
  addView(runViews_, proxyGold_, &proxyGold_->plot(), tr("Proxy and gold"));
  auto* curves = new QSplitter(Qt::Horizontal);
  curves->addWidget(plot_);
  auto* choice = new QWidget;
  auto* choiceLayout = new QVBoxLayout(choice);
  choiceLayout->setContentsMargins(0, 2, 2, 2);
  choiceLayout->setSpacing(2);
  choiceLayout->addWidget(metricFilter_);
  choiceLayout->addWidget(metrics_, 1);
  curves->addWidget(choice);
  curves->setStretchFactor(0, 3);
  curves->setStretchFactor(1, 2);
  curves->setSizes({300, 200});
  metricFilter_->setPlaceholderText(tr("metric"));
  metricFilter_->setClearButtonEnabled(true);
  metricFilter_->setAccessibleName(tr("Search metrics"));
  // The end of a name tells metrics apart, its start where they are from.
  metrics_->setTextElideMode(Qt::ElideLeft);
  metrics_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  connect(metricFilter_, &QLineEdit::textChanged, this, &RewardsDock::filterMetrics);
  metrics_->setAccessibleName(tr("Metrics"));
  metrics_->setUniformItemSizes(true);
  metrics_->setItemDelegate(new MetricDelegate(metrics_));
  addView(runViews_, curves, plot_, tr("Metrics"));
  split->addWidget(portViews_);
  split->addWidget(runViews_);
  split->addWidget(samples_);
  split->setSizes({490, 450, 480});
  for (int i = 0; i < split->count(); ++i) split->setStretchFactor(i, 1);
  metrics_->setMinimumHeight(24);

  connect(ports_, &QComboBox::activated, this, [this] { portByHand_ = true; });
  connect(ports_, &QComboBox::currentIndexChanged, this, [this] {
    if (filling_) return;
    heat_->clearBrush();
    samples_->setRegion(std::nullopt);
    drawPort();
    if (const auto key = chosen()) samples_->showPort(*key);
    Q_EMIT shownPortChanged();
  });
  connect(metrics_, &QListWidget::itemChanged, this, [this] {
    if (filling_) return;
    metricsByHand_ = true;
    drawCurves();
  });
  connect(heat_, &HeatMap::brushed, this,
          [this](const HeatRegion& region) { samples_->setRegion(region); });
  connect(heat_, &HeatMap::brushCleared, this, [this] { samples_->setRegion(std::nullopt); });
  connect(samples_, &SamplesPanel::regionCleared, this, [this] {
    heat_->clearBrush();
    onlyStep_->setChecked(false);
  });
  connect(samples_, &SamplesPanel::iterationChosen, this, &RewardsDock::setCursor);
  connect(portViews_, &QTabWidget::currentChanged, this, &RewardsDock::drawAll);
  connect(runViews_, &QTabWidget::currentChanged, this, &RewardsDock::drawAll);
  outlineBoxes();
  active_ = heat_;
}

void RewardsDock::outlineBoxes() {
  QPalette palette = this->palette();
  if (theme_.dark) palette.setColor(QPalette::Window, boxOutline(theme_.text));
  for (QCheckBox* box : {follow_, onlyStep_}) box->setPalette(palette);
}

QWidget* RewardsDock::topBar() {
  auto* bar = new QWidget(this);
  auto* row = new QHBoxLayout(bar);
  row->setContentsMargins(6, 3, 6, 3);
  ports_->setAccessibleName(tr("Recorded port"));
  ports_->setToolTip(tr("The value whose distribution is drawn; a click on a wire chooses it too"));
  ports_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  ports_->setMinimumContentsLength(12);
  ports_->setMaxVisibleItems(30);
  row->addWidget(ports_, 2);
  slider_->setAccessibleName(tr("Iteration"));
  slider_->setToolTip(tr("The iteration that all views stay at"));
  slider_->setEnabled(false);
  row->addWidget(slider_, 3);
  stepLabel_->setMinimumWidth(fontMetrics().horizontalAdvance(tr("iteration 00000 of 00000")));
  row->addWidget(stepLabel_);
  follow_->setText(tr("Follow"));
  follow_->setToolTip(tr("Stays at the newest iteration"));
  follow_->setChecked(true);
  row->addWidget(follow_);
  onlyStep_->setText(tr("Its rollouts only"));
  onlyStep_->setToolTip(tr("Lists the rollouts of the slider's iteration alone"));
  row->addWidget(onlyStep_);
  auto* files = new QPushButton(tr("Export"), bar);
  files->setToolTip(tr("Views as PNG, SVG or CSV"));
  auto* menu = new QMenu(files);
  menu->addAction(tr("This view..."), this, &RewardsDock::exportView);
  menu->addAction(tr("All views..."), this, [this] { exportAllViews(); });
  files->setMenu(menu);
  row->addWidget(files);
  connect(slider_, &QSlider::valueChanged, this, [this](int value) {
    if (!filling_) pin(value);
  });
  connect(follow_, &QCheckBox::clicked, this, [this](bool on) {
    pin(on ? std::nullopt : std::optional<std::int64_t>(slider_->value()));
  });
  connect(onlyStep_, &QCheckBox::toggled, this, [this](bool on) {
    samples_->setIteration(on ? std::optional<std::int64_t>(slider_->value()) : std::nullopt);
  });
  return bar;
}

void RewardsDock::addView(QTabWidget* tabs, QWidget* page, RewardView* view, const QString& name) {
  tabs->addTab(page, name);
  views_.emplace_back(name, view);
  view->installEventFilter(this);
  connect(view, &RewardView::iterationHovered, this,
          [this](qint64 iteration) { setCursor(iteration); });
  connect(view, &RewardView::hoverEnded, this, [this] { setCursor(pinned_); });
  connect(view, &RewardView::iterationChosen, this, [this](qint64 iteration) { pin(iteration); });
}

std::vector<std::pair<QString, RewardView*>> RewardsDock::views() const { return views_; }

void RewardsDock::showView(const QString& name) {
  for (QTabWidget* tabs : {portViews_, runViews_}) {
    for (int i = 0; i < tabs->count(); ++i) {
      if (tabs->tabText(i) == name) tabs->setCurrentIndex(i);
    }
  }
  for (const auto& [title, view] : views_) {
    if (title == name) active_ = view;
  }
}

bool RewardsDock::eventFilter(QObject* watched, QEvent* event) {
  if (event->type() == QEvent::Enter) {
    if (auto* view = qobject_cast<RewardView*>(watched)) active_ = view;
  }
  return QWidget::eventFilter(watched, event);
}

void RewardsDock::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  refresh();
}

void RewardsDock::setTheme(const Theme& theme) {
  theme_ = theme;
  outlineBoxes();
  for (const auto& [name, view] : views_) view->setTheme(theme);
  samples_->setTheme(theme);
  showProblems();
  drawCurves();
}

void RewardsDock::setData(RunData* data) {
  if (data_) data_->disconnect(this);
  data_ = data;
  plot_->setCurves({});
  heat_->clearBrush();
  pinned_.reset();
  follow_->setChecked(true);
  onlyStep_->setChecked(false);
  wantedPort_.reset();
  portByHand_ = false;
  metricsByHand_ = false;
  filling_ = true;
  ports_->clear();
  offered_.clear();
  metrics_->clear();
  filling_ = false;
  samples_->setData(data);
  proxyGold_->setData(data);
  if (data_) connect(data_, &RunData::updated, this, &RewardsDock::refresh);
  refresh();
}

void RewardsDock::setCursor(std::optional<std::int64_t> iteration) {
  for (const auto& [name, view] : views_) view->setCursorIteration(iteration);
  drawStep();
}

void RewardsDock::pin(std::optional<std::int64_t> iteration) {
  const std::int64_t last = data_ ? std::max<std::int64_t>(data_->lastIteration(), 0) : 0;
  if (iteration) iteration = std::clamp<std::int64_t>(*iteration, 0, last);
  pinned_ = iteration;
  refreshSlider();
  setCursor(pinned_);
  if (onlyStep_->isChecked()) samples_->setIteration(pinned_.value_or(last));
}

void RewardsDock::stepBy(std::int64_t iterations) {
  pin(static_cast<std::int64_t>(slider_->value()) + iterations);
}

void RewardsDock::refreshSlider() {
  const std::int64_t last = data_ ? data_->lastIteration() : -1;
  filling_ = true;
  slider_->setEnabled(last >= 0);
  slider_->setRange(0, static_cast<int>(std::max<std::int64_t>(last, 0)));
  slider_->setValue(static_cast<int>(pinned_.value_or(std::max<std::int64_t>(last, 0))));
  slider_->setPageStep(static_cast<int>(std::max<std::int64_t>(1, last / 20)));
  filling_ = false;
  follow_->setChecked(!pinned_);
  stepLabel_->setText(last < 0 ? tr("no iteration yet")
                               : tr("iteration %1 of %2").arg(slider_->value()).arg(last));
}

std::optional<ProbeKey> RewardsDock::chosen() const {
  const int index = ports_->currentIndex();
  if (!data_ || index < 0 || static_cast<std::size_t>(index) >= offered_.size()) {
    return std::nullopt;
  }
  return offered_[static_cast<std::size_t>(index)];
}

/// A reward in the place of the graph that proxy and gold are of, the proxy itself before others.
int RewardsDock::mostTelling() const {
  const auto pairs = proxy_gold_pairs(data_->seriesNames());
  const std::string near = pairs.empty() ? std::string() : pairs.front().proxy;
  int best = 0;
  std::pair<std::size_t, bool> rank{0, false};
  for (std::size_t i = 0; i < offered_.size(); ++i) {
    const std::string& node = offered_[i].node;
    if (offered_[i].component != "total") continue;
    const auto end = std::mismatch(node.begin(), node.end(), near.begin(), near.end()).first;
    const auto parts = static_cast<std::size_t>(std::count(node.begin(), end, '/'));
    const std::pair<std::size_t, bool> here{parts + 1, node.ends_with("proxy")};
    if (here <= rank) continue;
    rank = here;
    best = static_cast<int>(i);
  }
  return best;
}

std::string RewardsDock::shownNode() const {
  const auto key = chosen();
  return key ? key->node : std::string();
}

bool RewardsDock::showPort(const QString& node, const QString& port) {
  if (!data_) return false;
  int found = -1;
  for (std::size_t i = 0; i < offered_.size(); ++i) {
    const ProbeKey& key = offered_[i];
    if (key.node != node.toStdString() || key.port != port.toStdString()) continue;
    if (found < 0 || key.component == "total") found = static_cast<int>(i);
  }
  if (found < 0) {
    // It may be recorded later in the run.
    wantedPort_ = {node, port};
    return false;
  }
  wantedPort_.reset();
  portByHand_ = true;
  if (ports_->currentIndex() == found) {
    drawPort();
  } else {
    ports_->setCurrentIndex(found);
  }
  return true;
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
  // The curves of a run that was closed are gone.
  if (!data_ || !data_->isOpen()) plot_->setCurves({});
  refreshChoices();
  refreshSlider();
  showProblems();
  if (!isVisible()) return;  // showEvent() comes back to it
  drawAll();
  samples_->refresh();
}

void RewardsDock::drawAll() {
  drawPort();
  if (runViews_->currentIndex() == 0) {
    proxyGold_->refresh();
  } else {
    drawCurves();
  }
}

/// The distributions that can be looked at by themselves.
std::vector<ProbeKey> RewardsDock::offered() const {
  std::vector<ProbeKey> list;
  for (const ProbeKey& key : data_->probes()) {
    if (key.component != kWithinGroupStd) list.push_back(key);
  }
  return list;
}

void RewardsDock::refreshChoices() {
  if (!data_) return;
  const std::vector<ProbeKey> now = offered();
  if (now != offered_) {
    const auto before = chosen();
    offered_ = now;
    filling_ = true;
    ports_->clear();
    int again = -1;
    for (std::size_t i = 0; i < offered_.size(); ++i) {
      ports_->addItem(offered_[i].text());
      ports_->setItemData(static_cast<int>(i), offered_[i].text(), Qt::ToolTipRole);
      if (before && portByHand_ && *before == offered_[i]) again = static_cast<int>(i);
    }
    ports_->setCurrentIndex(again >= 0 ? again : mostTelling());
    filling_ = false;
    if (wantedPort_) showPort(wantedPort_->first, wantedPort_->second);
    if (const auto key = chosen()) samples_->showPort(*key);
    Q_EMIT shownPortChanged();
  }
  refreshMetrics();
}

void RewardsDock::refreshMetrics() {
  if (static_cast<std::size_t>(metrics_->count()) == data_->metrics().size()) return;
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
  filterMetrics();
  chooseMetrics(metricsByHand_ ? checked : firstMetrics(data_->metrics()));
}

void RewardsDock::filterMetrics() {
  for (int i = 0; i < metrics_->count(); ++i) {
    QListWidgetItem* item = metrics_->item(i);
    item->setHidden(!item->text().contains(metricFilter_->text(), Qt::CaseInsensitive));
  }
}

/// Only the view that is seen is computed; the others are when their tab is opened.
void RewardsDock::drawPort() {
  const auto key = chosen();
  if (!key) {
    heat_->setRows({});
    fan_->setRows({});
    parts_->setParts({});
    groups_->setPoints({});
    step_->setRow(nullptr);
    return;
  }
  const QWidget* seen = portViews_->currentWidget();
  if (seen == heat_) heat_->setRows(data_->histograms(*key));
  if (seen == fan_) fan_->setRows(data_->histograms(*key));
  if (seen == groups_) drawGroups(*key);
  drawStep();
  if (seen != parts_) return;
  std::vector<std::pair<std::string, std::vector<HistogramRow>>> columns;
  for (const ProbeKey& other : offered_) {
    if (other.node != key->node || other.port != key->port || other.component == "total") continue;
    columns.emplace_back(other.component, data_->histograms(other));
  }
  const ProbeKey total{key->node, key->port, "total"};
  const GraphNode* node = nullptr;
  if (data_->graph()) {
    const auto place = placeInDocument(*data_->graph(), key->node);
    if (place) node = findNode(*data_->graph(), place->scope, place->node);
  }
  parts_->setParts(rewardParts(
      data_->has(total) ? data_->histograms(total) : std::vector<HistogramRow>(), columns, node));
}

void RewardsDock::drawGroups(const ProbeKey& key) {
  const ProbeKey spread{key.node, key.port, kWithinGroupStd};
  if (data_->has(spread)) return groups_->setPoints(groupSpread(data_->histograms(spread)));
  // Runs of a version that did not record it: the share that an advantage node nearby reported.
  std::string nearest;
  std::size_t most = 0;
  for (const auto& [name, series] : data_->metrics()) {
    if (!name.ends_with("constant_groups")) continue;
    const auto end =
        std::mismatch(name.begin(), name.end(), key.node.begin(), key.node.end()).first;
    const auto shared = static_cast<std::size_t>(end - name.begin());
    if (!nearest.empty() && shared <= most) continue;
    nearest = name;
    most = shared;
  }
  const MetricSeries* series = nearest.empty() ? nullptr : data_->series(nearest);
  groups_->setPoints(series ? groupSpread(*series) : std::vector<GroupSpreadPoint>());
}

void RewardsDock::drawStep() {
  const auto key = chosen();
  if (!key || portViews_->currentWidget() != step_) return;
  const std::vector<HistogramRow>& rows = data_->histograms(*key);
  const std::int64_t at = heat_->cursorIteration().value_or(data_->lastIteration());
  const auto after =
      std::upper_bound(rows.begin(), rows.end(), at,
                       [](std::int64_t i, const HistogramRow& row) { return i < row.iteration; });
  step_->setRow(after == rows.begin() ? nullptr : &*std::prev(after));
}

void RewardsDock::drawCurves() {
  std::vector<Curve> curves;
  if (data_) {
    for (int i = 0; i < metrics_->count(); ++i) {
      QListWidgetItem* item = metrics_->item(i);
      if (item->checkState() != Qt::Checked) continue;
      const MetricSeries* series = data_->series(item->text().toStdString());
      if (series) curves.push_back({item->text(), series, seriesColor(curves.size(), theme_)});
    }
  }
  plot_->setCurves(std::move(curves));
}

void RewardsDock::showProblems() {
  const QStringList problems = data_ ? data_->problems() : QStringList();
  note_->setVisible(!problems.isEmpty());
  if (problems.isEmpty()) return;
  QString text = tr("Not all of this run can be read: %1").arg(problems.first());
  if (problems.size() > 1) text += tr(" (and %1 more)").arg(problems.size() - 1);
  const QString style = QStringLiteral("color: %1").arg(theme_.warning.name());
  if (note_->text() == text && note_->styleSheet() == style) return;
  note_->setText(text);
  note_->setToolTip(problems.join(QChar('\n')));
  note_->setStyleSheet(style);
}

void RewardsDock::exportView() {
  QString selected;
  QString path = QFileDialog::getSaveFileName(
      this, tr("Export view"), fileName(active_->accessibleName()) + QStringLiteral(".png"),
      tr("Picture (*.png);;Vector drawing (*.svg);;Numbers (*.csv)"), &selected);
  if (path.isEmpty()) return;
  if (QFileInfo(path).suffix().isEmpty())
    path += selected.section(QChar('*'), 1).remove(QChar(')'));
  try {
    rewardloom::exportView(*active_, path);
    Q_EMIT statusText(tr("wrote %1").arg(path));
  } catch (const Failure& failure) {
    Q_EMIT statusText(QString::fromStdString(failure.problem().text));
  }
}

void RewardsDock::exportAllViews() {
  const QString folder = QFileDialog::getExistingDirectory(this, tr("Export all views into"));
  if (folder.isEmpty()) return;
  try {
    exportAllViews(folder);
    Q_EMIT statusText(tr("wrote every view into %1").arg(folder));
  } catch (const Failure& failure) {
    Q_EMIT statusText(QString::fromStdString(failure.problem().text));
  }
}

void RewardsDock::exportAllViews(const QString& folder) {
  const int portView = portViews_->currentIndex();
  const int runView = runViews_->currentIndex();
  for (const auto& [name, view] : views_) {
    // A view that is behind another has not been drawn yet.
    showView(name);
    drawAll();
    if (!view->isVisible()) view->resize(kUnseenSize);
    for (const char* ending : {"png", "svg", "csv"}) {
      rewardloom::exportView(
          *view,
          QStringLiteral("%1/%2.%3").arg(folder, fileName(name), QString::fromLatin1(ending)));
    }
  }
  portViews_->setCurrentIndex(portView);
  runViews_->setCurrentIndex(runView);
  writeExport(folder + QStringLiteral("/rollouts.csv"), samples_->csv().toUtf8());
}

}  // namespace rewardloom
