#include "editor/rewards/samples_panel.h"

#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QScrollBar>
#include <QSplitter>
#include <QTableView>
#include <QTextBrowser>
#include <QToolButton>
#include <algorithm>
#include <cmath>

#include "editor/rewards/reward_view.h"
#include "engine/core/json.h"

namespace rewardloom {
namespace {

constexpr int kMostRows = 200000;
constexpr std::int64_t kChunkRows = 1500;   // some milliseconds of reading
constexpr int kFilterMs = 300;              // while rows arrive
constexpr std::int64_t kLearnedFrom = 400;  // samples that show what tokens say
constexpr int kLeastHeight = 30;            // a low dock is to fit a small screen
constexpr int kSearchMs = 120;              // after a key

}  // namespace

SamplesPanel::SamplesPanel(const Theme& theme, QWidget* parent)
    : QWidget(parent),
      model_(new RolloutModel(this)),
      search_(new QLineEdit(this)),
      count_(new QLabel(this)),
      clear_(new QToolButton(this)),
      table_(new QTableView(this)),
      detail_(new QTextBrowser(this)),
      tokens_(new TokenPanel(theme, this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(4, 4, 4, 4);
  auto* head = new QHBoxLayout;
  search_->setPlaceholderText(tr("text, or total > 0.5"));
  search_->setToolTip(
      tr("Rollouts whose prompt or completion holds the text; conditions such as "
         "total > 0.5 or iteration <= 20 narrow them further"));
  search_->setClearButtonEnabled(true);
  search_->setAccessibleName(tr("Search rollouts"));
  clear_->setText(tr("all"));
  clear_->setToolTip(tr("Forgets the brushed region and the iteration"));
  clear_->hide();
  head->addWidget(search_, 1);
  head->addWidget(count_);
  head->addWidget(clear_);
  layout->addLayout(head);
  auto* split = new QSplitter(Qt::Horizontal, this);
  split->setChildrenCollapsible(false);
  auto* one = new QSplitter(Qt::Vertical, split);
  one->addWidget(tokens_);
  one->addWidget(detail_);
  one->setStretchFactor(0, 2);
  one->setStretchFactor(1, 3);
  split->addWidget(table_);
  split->addWidget(one);
  split->setStretchFactor(0, 3);
  split->setStretchFactor(1, 2);
  layout->addWidget(split, 1);
  tokens_->hide();  // until a rollout is chosen
  table_->setModel(model_);
  table_->setSortingEnabled(true);
  table_->sortByColumn(0, Qt::DescendingOrder);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setAlternatingRowColors(true);
  table_->setWordWrap(false);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
  table_->verticalHeader()->setDefaultSectionSize(fontMetrics().height() + 6);
  table_->horizontalHeader()->setDefaultSectionSize(84);
  table_->horizontalHeader()->setStretchLastSection(true);
  table_->setAccessibleName(tr("Rollouts"));
  detail_->setAccessibleName(tr("The chosen rollout"));
  detail_->setMinimumHeight(kLeastHeight);
  table_->setMinimumHeight(kLeastHeight);
  detail_->setPlaceholderText(tr("Choose a rollout to see it in full"));
  reading_.setInterval(0);
  filtering_.setSingleShot(true);
  refreshing_.setSingleShot(true);
  connect(&refreshing_, &QTimer::timeout, this, &SamplesPanel::refresh);
  connect(&reading_, &QTimer::timeout, this, &SamplesPanel::readSome);
  connect(&filtering_, &QTimer::timeout, this, &SamplesPanel::filter);
  connect(search_, &QLineEdit::textChanged, this, [this] { filtering_.start(kSearchMs); });
  connect(search_, &QLineEdit::returnPressed, this, &SamplesPanel::filter);
  connect(clear_, &QToolButton::clicked, this, [this] {
    iteration_.reset();
    setRegion(std::nullopt);
    Q_EMIT regionCleared();
  });
  connect(table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          &SamplesPanel::showRollout);
}

void SamplesPanel::setTheme(const Theme& theme) { tokens_->setTheme(theme); }

void SamplesPanel::setData(RunData* data) {
  data_ = data;
  key_ = {};
  region_.reset();
  iteration_.reset();
  texts_.reset();
  chosen_.reset();
  restart();
}

void SamplesPanel::showPort(const ProbeKey& key) {
  const bool samePort = key.node == key_.node && key.port == key_.port;
  key_ = key;
  if (samePort) return filter();
  restart();
}

void SamplesPanel::setRegion(const std::optional<HeatRegion>& region) {
  region_ = region;
  // What did not fit while all were wanted may do so now.
  if (capped_) return restart();
  filter();
}

void SamplesPanel::setIteration(std::optional<std::int64_t> iteration) {
  if (iteration_ == iteration) return;
  iteration_ = iteration;
  if (capped_) return restart();
  filter();
}

void SamplesPanel::search(const QString& text) {
  search_->setText(text);
  filter();
}

void SamplesPanel::restart() {
  reading_.stop();
  model_->clear();
  capped_ = false;
  readTo_ = -1;
  left_ = {0, -1};
  refresh();
}

/// New iterations come first; then, from the newest to the oldest, what was there before.
void SamplesPanel::refresh() {
  if (!data_ || !data_->isOpen() || key_.node.empty()) return filter();
  if (!isVisible()) return;  // showEvent() comes back to it
  const std::int64_t newest = data_->lastIteration();
  if (newest < 0) return;
  if (readTo_ < 0) {
    left_ = {0, newest};
    if (region_) left_ = {region_->firstIteration, std::min(newest, region_->lastIteration)};
    if (iteration_) left_ = {*iteration_, *iteration_};
    readTo_ = newest;
    readSome();
    if (left_.last >= left_.first) reading_.start();
    return;
  }
  if (newest < readTo_) return restart();
  if (filtered_.isValid() && filtered_.elapsed() < kFilterMs) {
    if (!refreshing_.isActive()) refreshing_.start(kFilterMs);
    return;
  }
  // The newest one may have been half written when it was read.
  const std::int64_t from = readTo_;
  const std::vector<SampleRow> rows = data_->samples(key_, {from, newest}, kMostRows);
  readTo_ = newest;
  change([&] { model_->replaceFrom(from, rows, wanted()); });
}

bool SamplesPanel::readChunk() {
  if (left_.last < left_.first) return false;
  const std::int64_t width =
      std::max<std::int64_t>(1, kChunkRows / std::max<std::int64_t>(1, perIteration_));
  const Iterations range{std::max(left_.first, left_.last - width + 1), left_.last};
  const std::vector<SampleRow> rows = data_->samples(key_, range, kMostRows);
  if (!rows.empty()) {
    perIteration_ = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(rows.size()) / (range.last - range.first + 1));
  }
  model_->add(rows);
  left_.last = range.first - 1;
  if (model_->total() >= kMostRows) {
    capped_ = left_.last >= left_.first;
    left_ = {0, -1};
  }
  return left_.last >= left_.first;
}

void SamplesPanel::readSome() {
  if (!data_ || !data_->isOpen()) return reading_.stop();
  const bool more = readChunk();
  if (!more) reading_.stop();
  if (!more || !filtered_.isValid() || filtered_.elapsed() > kFilterMs) filter();
}

void SamplesPanel::readAll() {
  if (!data_ || !data_->isOpen()) return;
  if (readTo_ < 0 && data_->lastIteration() >= 0) {
    left_ = {0, data_->lastIteration()};
    readTo_ = data_->lastIteration();
  }
  while (readChunk()) {
  }
  reading_.stop();
  filter();
}

void SamplesPanel::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  refresh();
}

RolloutFilter SamplesPanel::wanted() const {
  RolloutFilter filter = RolloutFilter::parse(search_->text());
  filter.region = region_;
  filter.component = key_.component;
  filter.iteration = iteration_;
  return filter;
}

void SamplesPanel::change(const std::function<void()>& change) {
  const int scrolled = table_->verticalScrollBar()->value();
  {
    const QSignalBlocker quiet(table_->selectionModel());
    change();
    const int row = chosen_ ? model_->rowOf(chosen_->first, chosen_->second) : -1;
    if (row >= 0) {
      table_->selectionModel()->setCurrentIndex(
          model_->index(row, 0), QItemSelectionModel::ClearAndSelect | QItemSelectionModel::Rows);
    }
  }
  table_->verticalScrollBar()->setValue(scrolled);
  table_->viewport()->update();
  filtered_.start();
  showCount();
}

void SamplesPanel::filter() {
  filtering_.stop();
  change([this] { model_->apply(wanted()); });
}

void SamplesPanel::showCount() {
  const int shown = model_->rowCount();
  const int all = model_->total();
  QString text =
      shown == all ? tr("%1 rollouts").arg(shown) : tr("%1 of %2 rollouts").arg(shown).arg(all);
  if (capped_) text += tr(" (the newest; brush to see older ones)");
  if (iteration_) text += tr(", iteration %1").arg(*iteration_);
  if (region_) {
    text += tr(", iterations %1-%2, value %3 to %4")
                .arg(region_->firstIteration)
                .arg(region_->lastIteration)
                .arg(region_->low, 0, 'g', 3)
                .arg(region_->high, 0, 'g', 3);
  }
  count_->setText(text);
  clear_->setVisible(region_ || iteration_);
}

void SamplesPanel::showRollout(const QModelIndex& index) {
  if (!index.isValid() || index.row() >= model_->rowCount() || !data_) return;
  const Rollout& r = model_->rollout(index.row());
  chosen_ = {r.iteration, r.row};
  showTokens(r);
  QString html;
  const auto block = [&](const QString& title, const QString& text) {
    if (text.isEmpty()) return;
    html += QStringLiteral("<p><b>%1</b></p><pre style='white-space:pre-wrap'>%2</pre>")
                .arg(title, text.toHtmlEscaped());
  };
  block(tr("Prompt"), r.prompt);
  block(tr("Completion"), r.completion);
  if (r.reference != r.prompt) block(tr("Reference"), r.reference);
  html += QStringLiteral("<table cellpadding='2'>");
  for (std::size_t i = 0; i < r.numbers.size(); ++i) {
    if (std::isnan(r.numbers[i])) continue;
    html += QStringLiteral("<tr><td>%1</td><td align='right'>%2</td></tr>")
                .arg(QString::fromStdString(model_->names()[i]).toHtmlEscaped())
                .arg(r.numbers[i], 0, 'g', 6);
  }
  detail_->setHtml(html + QStringLiteral("</table>"));
  Q_EMIT iterationChosen(r.iteration);
}

void SamplesPanel::showTokens(const Rollout& rollout) {
  const SampleRow chosen{rollout.iteration, key_.node, key_.port, rollout.row, rollout.data};
  const std::vector<SampleRow> rows = data_->samplesOfRow(rollout.iteration, rollout.row);
  const SampleRow* tokens = rowWithTokens(rows);
  const bool told = tokens && tokens->data.find("\"token_texts\":") != std::string::npos;
  if (tokens && !told && !texts_) {
    texts_ = learnTokenTexts(data_->samples({tokens->node, tokens->port, {}}, {}, kLearnedFrom));
  }
  tokens_->setTable(tokenTable(chosen, rows, texts_.value_or(TokenTexts())));
  tokens_->show();
}

QString SamplesPanel::csv() const {
  QString text = QStringLiteral("iteration,row,prompt,completion,reference");
  for (const std::string& name : model_->names()) {
    text += QChar(',') + csvField(QString::fromStdString(name));
  }
  text += QChar('\n');
  for (int i = 0; i < model_->rowCount(); ++i) {
    const Rollout& r = model_->rollout(i);
    text += QStringLiteral("%1,%2,%3,%4,%5")
                .arg(QString::number(r.iteration), QString::number(r.row), csvField(r.prompt),
                     csvField(r.completion), csvField(r.reference));
    for (std::size_t k = 0; k < model_->names().size(); ++k) {
      text += QChar(',') + (k < r.numbers.size() ? csvNumber(r.numbers[k]) : QString());
    }
    text += QChar('\n');
  }
  return text;
}

}  // namespace rewardloom
