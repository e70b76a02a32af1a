#include "editor/rewards/rollout_model.h"

#include <QRegularExpression>
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/json.h"

namespace rewardloom {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int kCellCharacters = 200;

QString oneLine(const QString& text) {
  QString line = text.left(kCellCharacters + 1);
  line.replace(QChar('\n'), QChar(0x21b5));
  if (line.size() > kCellCharacters) line = line.left(kCellCharacters - 1) + QChar(0x2026);
  return line;
}

QString textOf(const Json& json, const char* key) {
  const auto it = json.find(key);
  if (it == json.end()) return {};
  return QString::fromStdString(it->is_string() ? it->get_ref<const std::string&>() : it->dump());
}

double meanOf(const Json& list) {
  double sum = 0;
  std::size_t count = 0;
  for (const Json& value : list) {
    if (!value.is_number()) continue;
    sum += value.get<double>();
    ++count;
  }
  return count == 0 ? kNone : sum / static_cast<double>(count);
}

/// What identifies a rollout is no measure of it.
bool isMeasure(const std::string& key) {
  return key != "batch" && key != "tokens" && key != "token_texts";
}

}  // namespace

bool NumberCondition::holds(double x) const {
  switch (is) {
    case Is::less: return x < value;
    case Is::atMost: return x <= value;
    case Is::more: return x > value;
    case Is::atLeast: return x >= value;
    case Is::equal: return x == value;
  }
  return false;
}

RolloutFilter RolloutFilter::parse(const QString& line) {
  static const QRegularExpression condition(
      QStringLiteral("([\\w./\\[\\]=-]*\\w\\]?)\\s*(<=|>=|<|>|==)\\s*(-?[0-9.]+(?:e-?[0-9]+)?)"),
      QRegularExpression::CaseInsensitiveOption);
  RolloutFilter filter;
  QString rest = line;
  for (auto it = condition.globalMatch(line); it.hasNext();) {
    const QRegularExpressionMatch match = it.next();
    bool number = false;
    NumberCondition found;
    found.name = match.captured(1);
    found.value = match.captured(3).toDouble(&number);
    if (!number) continue;
    const QString sign = match.captured(2);
    found.is = sign == QStringLiteral("<")    ? NumberCondition::Is::less
               : sign == QStringLiteral("<=") ? NumberCondition::Is::atMost
               : sign == QStringLiteral(">")  ? NumberCondition::Is::more
               : sign == QStringLiteral(">=") ? NumberCondition::Is::atLeast
                                              : NumberCondition::Is::equal;
    filter.conditions.push_back(std::move(found));
    rest.replace(match.captured(0), QString());
  }
  filter.text = rest.trimmed();
  return filter;
}

void RolloutModel::clear() {
  beginResetModel();
  rollouts_.clear();
  shown_.clear();
  names_.clear();
  indexOfName_.clear();
  perToken_.clear();
  references_ = false;
  layOutColumns();
  endResetModel();
}

std::size_t RolloutModel::nameIndex(const std::string& name) {
  const auto [it, fresh] = indexOfName_.try_emplace(name, names_.size());
  if (fresh) {
    names_.push_back(name);
    perToken_.push_back(false);
  }
  return it->second;
}

void RolloutModel::add(Rollout rollout,
                       const std::vector<std::pair<std::string, double>>& numbers) {
  for (const auto& [name, value] : numbers) {
    const std::size_t index = nameIndex(name);
    if (rollout.numbers.size() <= index) rollout.numbers.resize(index + 1, kNone);
    rollout.numbers[index] = value;
  }
  // A reference that only repeats the prompt says nothing.
  references_ =
      references_ || (!rollout.reference.isEmpty() && rollout.reference != rollout.prompt);
  rollouts_.push_back(std::move(rollout));
}

void RolloutModel::add(const std::vector<SampleRow>& rows) {
  std::vector<std::pair<std::string, double>> numbers;
  for (const SampleRow& row : rows) {
    Rollout rollout;
    rollout.iteration = row.iteration;
    rollout.row = row.row;
    numbers.clear();
    const Json json = Json::parse(row.data, nullptr, false);
    if (json.is_object()) {
      rollout.prompt = textOf(json, "prompt");
      rollout.completion = textOf(json, "completion");
      rollout.reference = textOf(json, "reference");
      for (const auto& [key, value] : json.items()) {
        if (!isMeasure(key)) continue;
        if (value.is_number()) numbers.emplace_back(key, value.get<double>());
        if (!value.is_array()) continue;
        numbers.emplace_back(key, meanOf(value));
        perToken_[nameIndex(key)] = true;
      }
    }
    rollout.data = row.data;
    add(std::move(rollout), numbers);
  }
}

void RolloutModel::replaceFrom(std::int64_t iteration, const std::vector<SampleRow>& rows,
                               const RolloutFilter& filter) {
  beginResetModel();
  std::erase_if(rollouts_, [&](const Rollout& rollout) { return rollout.iteration >= iteration; });
  add(rows);
  select(filter);
  endResetModel();
}

std::optional<std::size_t> RolloutModel::findName(const QString& name) const {
  const std::string wanted = name.toStdString();
  const auto exact = indexOfName_.find(wanted);
  if (exact != indexOfName_.end()) return exact->second;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (names_[i].ends_with("/" + wanted)) return i;
  }
  return std::nullopt;
}

bool RolloutModel::inside(const Rollout& rollout, const RolloutFilter& filter,
                          std::optional<std::size_t> component) const {
  const HeatRegion& region = *filter.region;
  if (rollout.iteration < region.firstIteration || rollout.iteration > region.lastIteration) {
    return false;
  }
  // A region of another kind than one value per rollout (a spread of groups) is one of iterations.
  if (!component) return true;
  const auto within = [&](double value) { return value >= region.low && value <= region.high; };
  if (!perToken_[*component]) {
    return *component < rollout.numbers.size() && within(rollout.numbers[*component]);
  }
  const Json json = Json::parse(rollout.data, nullptr, false);
  const auto list = json.is_object() ? json.find(filter.component) : json.end();
  if (list == json.end() || !list->is_array()) return false;
  return std::any_of(list->begin(), list->end(), [&](const Json& value) {
    return value.is_number() && within(value.get<double>());
  });
}

void RolloutModel::apply(const RolloutFilter& filter) {
  beginResetModel();
  select(filter);
  endResetModel();
}

void RolloutModel::select(const RolloutFilter& filter) {
  layOutColumns();
  const auto component = findName(QString::fromStdString(filter.component));
  std::vector<std::pair<std::optional<std::size_t>, NumberCondition>> conditions;
  for (const NumberCondition& condition : filter.conditions) {
    conditions.emplace_back(findName(condition.name), condition);
  }
  const auto fits = [&](const Rollout& rollout) {
    if (filter.iteration && rollout.iteration != *filter.iteration) return false;
    if (filter.region && !inside(rollout, filter, component)) return false;
    for (const auto& [index, condition] : conditions) {
      const double value =
          index ? (*index < rollout.numbers.size() ? rollout.numbers[*index] : kNone)
          : condition.name == QStringLiteral("iteration") ? static_cast<double>(rollout.iteration)
                                                          : kNone;
      if (!condition.holds(value)) return false;
    }
    return filter.text.isEmpty() || rollout.completion.contains(filter.text, Qt::CaseInsensitive) ||
           rollout.prompt.contains(filter.text, Qt::CaseInsensitive);
  };
  shown_.clear();
  for (std::size_t i = 0; i < rollouts_.size(); ++i) {
    if (fits(rollouts_[i])) shown_.push_back(static_cast<int>(i));
  }
  order();
}

double RolloutModel::number(int row, const std::string& name) const {
  const auto it = indexOfName_.find(name);
  const Rollout& r = rollout(row);
  return it == indexOfName_.end() || it->second >= r.numbers.size() ? kNone : r.numbers[it->second];
}

int RolloutModel::rowOf(std::int64_t iteration, std::int64_t index) const {
  for (std::size_t i = 0; i < shown_.size(); ++i) {
    const Rollout& r = rollouts_[static_cast<std::size_t>(shown_[i])];
    if (r.iteration == iteration && r.row == index) return static_cast<int>(i);
  }
  return -1;
}

/// What a rollout earned stands before its texts, the rest behind them.
void RolloutModel::layOutColumns() {
  columns_ = {{Kind::iteration, 0}};
  std::vector<std::size_t> rest;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const bool main = names_[i] == "total" || names_[i] == "advantages" || names_[i] == "rewards";
    if (main) {
      columns_.push_back({Kind::number, i});
    } else {
      rest.push_back(i);
    }
  }
  columns_.push_back({Kind::prompt, 0});
  columns_.push_back({Kind::completion, 0});
  if (references_) columns_.push_back({Kind::reference, 0});
  std::sort(rest.begin(), rest.end(),
            [&](std::size_t a, std::size_t b) { return names_[a] < names_[b]; });
  for (const std::size_t index : rest) columns_.push_back({Kind::number, index});
}

int RolloutModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(shown_.size());
}

int RolloutModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(columns_.size());
}

QVariant RolloutModel::data(const QModelIndex& index, int role) const {
  const Rollout& r = rollout(index.row());
  const Column& column = columns_[static_cast<std::size_t>(index.column())];
  if (role == Qt::TextAlignmentRole) {
    const bool text = column.kind != Kind::number && column.kind != Kind::iteration;
    return QVariant(Qt::AlignVCenter | (text ? Qt::AlignLeft : Qt::AlignRight));
  }
  if (role == Qt::ToolTipRole && column.kind == Kind::completion) return r.completion;
  if (role == Qt::ToolTipRole && column.kind == Kind::prompt) return r.prompt;
  if (role != Qt::DisplayRole) return {};
  switch (column.kind) {
    case Kind::iteration: return static_cast<qlonglong>(r.iteration);
    case Kind::prompt: return oneLine(r.prompt);
    case Kind::completion: return oneLine(r.completion);
    case Kind::reference: return oneLine(r.reference);
    case Kind::number: break;
  }
  const double value = column.number < r.numbers.size() ? r.numbers[column.number] : kNone;
  return std::isnan(value) ? QVariant() : QVariant(QString::number(value, 'g', 5));
}

QVariant RolloutModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  const Column& column = columns_[static_cast<std::size_t>(section)];
  if (column.kind == Kind::number) {
    const std::string& name = names_[column.number];
    const std::size_t slash = name.rfind('/');
    if (role == Qt::ToolTipRole) return QString::fromStdString(name);
    if (role != Qt::DisplayRole) return {};
    return QString::fromStdString(slash == std::string::npos ? name : name.substr(slash + 1));
  }
  if (role != Qt::DisplayRole) return {};
  switch (column.kind) {
    case Kind::iteration: return tr("iteration");
    case Kind::prompt: return tr("prompt");
    case Kind::completion: return tr("completion");
    case Kind::reference: return tr("reference");
    case Kind::number: break;
  }
  return {};
}

void RolloutModel::order() {
  if (sortColumn_ < 0 || static_cast<std::size_t>(sortColumn_) >= columns_.size()) return;
  const Column column = columns_[static_cast<std::size_t>(sortColumn_)];
  const bool up = sortOrder_ == Qt::AscendingOrder;
  const auto at = [&](int i) -> const Rollout& { return rollouts_[static_cast<std::size_t>(i)]; };
  const auto by = [&](auto key) {
    std::stable_sort(shown_.begin(), shown_.end(), [&](int a, int b) {
      return up ? key(at(a)) < key(at(b)) : key(at(b)) < key(at(a));
    });
  };
  switch (column.kind) {
    case Kind::iteration: return by([](const Rollout& r) { return std::pair(r.iteration, r.row); });
    case Kind::prompt: return by([](const Rollout& r) -> const QString& { return r.prompt; });
    case Kind::completion:
      return by([](const Rollout& r) -> const QString& { return r.completion; });
    case Kind::reference: return by([](const Rollout& r) -> const QString& { return r.reference; });
    case Kind::number: break;
  }
  // Rows without the number come last, whichever way.
  const double last = up ? HUGE_VAL : -HUGE_VAL;
  by([&](const Rollout& r) {
    const double value = column.number < r.numbers.size() ? r.numbers[column.number] : kNone;
    return std::isnan(value) ? last : value;
  });
}

void RolloutModel::sort(int column, Qt::SortOrder order) {
  if (column == sortColumn_ && order == sortOrder_) return;
  sortColumn_ = column;
  sortOrder_ = order;
  beginResetModel();
  this->order();
  endResetModel();
}

}  // namespace rewardloom
