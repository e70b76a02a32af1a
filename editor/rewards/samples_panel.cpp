#include "editor/rewards/samples_panel.h"

#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QSplitter>
#include <QTableView>
#include <QTextBrowser>
#include <algorithm>
#include <cmath>
#include <set>

namespace rewardloom {
namespace {

constexpr std::int64_t kMostRows = 100000;
constexpr int kFixedColumns = 4;  // iteration, prompt, completion, reference

QString oneLine(QString text) {
  text.replace(QChar('\n'), QChar(0x21b5));
  return text.size() > 200 ? text.left(199) + QChar(0x2026) : text;
}

}  // namespace

Rollout parseRollout(const SampleRow& row) {
  Rollout out;
  out.iteration = row.iteration;
  out.row = row.row;
  out.all = Json::parse(row.data, nullptr, false);
  if (!out.all.is_object()) return out;
  const auto text = [&](const char* key) {
    const auto it = out.all.find(key);
    if (it == out.all.end()) return QString();
    return QString::fromStdString(it->is_string() ? it->get<std::string>() : it->dump());
  };
  out.prompt = text("prompt");
  out.completion = text("completion");
  out.reference = text("reference");
  for (const auto& [key, value] : out.all.items()) {
    if (value.is_number()) out.numbers[key] = value.get<double>();
  }
  return out;
}

void RolloutModel::set(std::vector<Rollout> rollouts) {
  beginResetModel();
  rollouts_ = std::move(rollouts);
  std::set<std::string> names;
  for (const Rollout& rollout : rollouts_) {
    for (const auto& [name, value] : rollout.numbers) names.insert(name);
  }
  columns_.assign(names.begin(), names.end());
  std::stable_sort(columns_.begin(), columns_.end(),
                   [](const auto& a, const auto& b) { return a == "total" && b != "total"; });
  shown_.resize(rollouts_.size());
  for (std::size_t i = 0; i < shown_.size(); ++i) shown_[i] = static_cast<int>(i);
  endResetModel();
}

void RolloutModel::filter(const QString& text, const std::optional<HeatRegion>& region,
                          const std::string& component) {
  beginResetModel();
  shown_.clear();
  for (std::size_t i = 0; i < rollouts_.size(); ++i) {
    const Rollout& r = rollouts_[i];
    if (region) {
      if (r.iteration < region->firstIteration || r.iteration > region->lastIteration) continue;
      auto number = r.numbers.find(component);
      if (number == r.numbers.end()) number = r.numbers.find("total");
      const bool inside = number != r.numbers.end() && number->second >= region->low &&
                          number->second <= region->high;
      if (!inside) continue;
    }
    const bool fits = text.isEmpty() || r.prompt.contains(text, Qt::CaseInsensitive) ||
                      r.completion.contains(text, Qt::CaseInsensitive);
    if (fits) shown_.push_back(static_cast<int>(i));
  }
  endResetModel();
}

int RolloutModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(shown_.size());
}

int RolloutModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : kFixedColumns + static_cast<int>(columns_.size());
}

QVariant RolloutModel::data(const QModelIndex& index, int role) const {
  const Rollout& r = rollout(index.row());
  const int column = index.column();
  if (column >= kFixedColumns) {
    const auto it = r.numbers.find(columns_[static_cast<std::size_t>(column - kFixedColumns)]);
    if (it == r.numbers.end()) return {};
    if (role == Qt::DisplayRole) return QString::number(it->second, 'g', 5);
    if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignRight | Qt::AlignVCenter);
    return {};
  }
  if (role == Qt::ToolTipRole && column == 2) return r.completion;
  if (role != Qt::DisplayRole) return {};
  switch (column) {
    case 0: return static_cast<qlonglong>(r.iteration);
    case 1: return oneLine(r.prompt);
    case 2: return oneLine(r.completion);
    default: return oneLine(r.reference);
  }
}

QVariant RolloutModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  switch (section) {
    case 0: return tr("iteration");
    case 1: return tr("prompt");
    case 2: return tr("completion");
    case 3: return tr("reference");
    default:
      return QString::fromStdString(columns_[static_cast<std::size_t>(section - kFixedColumns)]);
  }
}

void RolloutModel::sort(int column, Qt::SortOrder order) {
  beginResetModel();
  const auto less = [&](int a, int b) {
    const Rollout& x = rollouts_[static_cast<std::size_t>(a)];
    const Rollout& y = rollouts_[static_cast<std::size_t>(b)];
    if (column >= kFixedColumns) {
      const std::string& name = columns_[static_cast<std::size_t>(column - kFixedColumns)];
      const auto number = [&](const Rollout& r) {
        const auto it = r.numbers.find(name);
        return it == r.numbers.end() ? -HUGE_VAL : it->second;
      };
      return number(x) < number(y);
    }
    if (column == 0) return x.iteration < y.iteration;
    if (column == 1) return x.prompt < y.prompt;
    return column == 2 ? x.completion < y.completion : x.reference < y.reference;
  };
  std::stable_sort(shown_.begin(), shown_.end(), [&](int a, int b) {
    return order == Qt::AscendingOrder ? less(a, b) : less(b, a);
  });
  endResetModel();
}

SamplesPanel::SamplesPanel(QWidget* parent)
    : QWidget(parent),
      model_(new RolloutModel(this)),
      search_(new QLineEdit(this)),
      count_(new QLabel(this)),
      table_(new QTableView(this)),
      detail_(new QTextBrowser(this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(4, 4, 4, 4);
  auto* head = new QHBoxLayout;
  search_->setPlaceholderText(tr("Search prompts and completions"));
  search_->setClearButtonEnabled(true);
  search_->setAccessibleName(tr("Search rollouts"));
  head->addWidget(search_, 1);
  head->addWidget(count_);
  layout->addLayout(head);
  auto* split = new QSplitter(Qt::Horizontal, this);
  split->addWidget(table_);
  split->addWidget(detail_);
  split->setStretchFactor(0, 3);
  split->setStretchFactor(1, 2);
  layout->addWidget(split, 1);
  table_->setModel(model_);
  table_->setSortingEnabled(true);
  table_->sortByColumn(0, Qt::DescendingOrder);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setAlternatingRowColors(true);
  table_->setWordWrap(false);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(22);
  table_->horizontalHeader()->setStretchLastSection(true);
  table_->setAccessibleName(tr("Rollouts"));
  connect(search_, &QLineEdit::textChanged, this, &SamplesPanel::filter);
  connect(table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          &SamplesPanel::showRollout);
}

void SamplesPanel::setData(RunData* data) {
  data_ = data;
  shownTo_ = -1;
  refresh();
}

void SamplesPanel::showPort(const ProbeKey& key) {
  const bool samePort = key.node == key_.node && key.port == key_.port;
  key_ = key;
  if (!samePort) shownTo_ = -1;
  refresh();
}

void SamplesPanel::setRegion(const std::optional<HeatRegion>& region) {
  region_ = region;
  filter();
}

void SamplesPanel::refresh() {
  if (!data_ || !data_->isOpen() || key_.node.empty()) {
    model_->set({});
    filter();
    return;
  }
  if (shownTo_ == data_->lastIteration()) return;
  shownTo_ = data_->lastIteration();
  SampleFilter filter;
  filter.node = key_.node;
  filter.port = key_.port;
  filter.limit = kMostRows;
  std::vector<Rollout> rollouts;
  for (const SampleRow& row : data_->samples(filter).rows) rollouts.push_back(parseRollout(row));
  model_->set(std::move(rollouts));
  this->filter();
}

void SamplesPanel::filter() {
  model_->filter(search_->text(), region_, key_.component);
  const auto* header = table_->horizontalHeader();
  model_->sort(header->sortIndicatorSection(), header->sortIndicatorOrder());
  const int shown = model_->rowCount();
  count_->setText(shown == model_->total()
                      ? tr("%1 rollouts").arg(shown)
                      : tr("%1 of %2 rollouts").arg(shown).arg(model_->total()));
}

void SamplesPanel::showRollout(const QModelIndex& index) {
  if (!index.isValid()) return;
  const Rollout& r = model_->rollout(index.row());
  QString html;
  const auto block = [&](const QString& title, const QString& text) {
    if (text.isEmpty()) return;
    html += QStringLiteral("<p><b>%1</b></p><pre style='white-space:pre-wrap'>%2</pre>")
                .arg(title, text.toHtmlEscaped());
  };
  block(tr("Prompt"), r.prompt);
  block(tr("Completion"), r.completion);
  block(tr("Reference"), r.reference);
  html += QStringLiteral("<table cellpadding='3'>");
  for (const auto& [name, value] : r.numbers) {
    html += QStringLiteral("<tr><td>%1</td><td align='right'>%2</td></tr>")
                .arg(QString::fromStdString(name).toHtmlEscaped())
                .arg(value, 0, 'g', 6);
  }
  detail_->setHtml(html + QStringLiteral("</table>"));
  Q_EMIT iterationChosen(r.iteration);
}

}  // namespace rewardloom
