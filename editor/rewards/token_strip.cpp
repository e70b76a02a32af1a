#include "editor/rewards/token_strip.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QMouseEvent>
#include <QPainter>
#include <QScrollArea>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "editor/rewards/series_box.h"
#include "engine/core/json.h"

namespace rewardloom {
namespace {

constexpr double kCellPadding = 3;
constexpr double kLineGap = 3;
constexpr double kAgreement = 0.9;

std::vector<double> numbersOf(const Json& list) {
  std::vector<double> values;
  for (const Json& value : list) {
    values.push_back(value.is_number() ? value.get<double>() : std::nan(""));
  }
  return values;
}

/// Of the same answer: the same batch, or, in runs that did not record it, the same texts.
bool sameAnswer(const Json& a, const Json& b) {
  if (a.contains("batch") && b.contains("batch")) return a["batch"] == b["batch"];
  const auto same = [&](const char* key) { return a.value(key, Json()) == b.value(key, Json()); };
  return a.contains("completion") && same("completion") && same("prompt");
}

QString portName(const SampleRow& row) {
  const std::size_t slash = row.node.rfind('/');
  return QString::fromStdString(slash == std::string::npos ? row.node
                                                           : row.node.substr(slash + 1)) +
         QChar('.') + QString::fromStdString(row.port);
}

QString characterText(char32_t c) {
  return c == U'\n' ? QString(QChar(0x21b5)) : QString::fromUcs4(&c, 1);
}

/// What a token says, with what leaves no mark made visible.
QString visibleText(QString text) {
  if (!text.isEmpty() && text.trimmed().isEmpty()) text.replace(QChar(' '), QChar(0x2423));
  return text.replace(QChar('\n'), QChar(0x21b5))
      .replace(QChar('\t'), QChar(0x21e5))
      .replace(QChar('\r'), QChar(0x240d));
}

/// As the run recorded them; a token without a text is its id.
std::vector<QString> recordedTexts(const Json& ids, const Json& recorded) {
  std::vector<QString> texts;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool known = recorded[i].is_string() && !recorded[i].get<std::string>().empty();
    texts.push_back(known ? visibleText(QString::fromStdString(recorded[i].get<std::string>()))
                          : QStringLiteral("#%1").arg(ids[i].get<qint64>()));
  }
  return texts;
}

/// Texts of tokens where a run of an earlier version lets them be told: by what was learned, else
/// one character each and at most an end besides, else their ids.
std::vector<QString> tokenTexts(const QString& completion, const Json& ids,
                                const TokenTexts& learned) {
  std::vector<QString> texts;
  const std::u32string characters = completion.toStdU32String();
  const std::size_t count = ids.is_array() ? ids.size() : 0;
  const bool oneEach = count == characters.size() || count == characters.size() + 1;
  for (std::size_t i = 0; i < count; ++i) {
    const auto known = learned.find(ids[i].get<std::int64_t>());
    if (known != learned.end()) {
      texts.push_back(known->second);
    } else if (oneEach && i < characters.size()) {
      texts.push_back(characterText(characters[i]));
    } else if (oneEach) {
      texts.push_back(QStringLiteral("end"));
    } else {
      texts.push_back(QStringLiteral("#%1").arg(ids[i].get<qint64>()));
    }
  }
  return texts;
}

void addLogRatio(TokenTable& table, const SampleRow& row, const Json& data) {
  const auto sampled = data.find("behaviour_log_probs");
  const auto given = data.find("log_probs");
  if (sampled == data.end() || given == data.end() || !given->is_array()) return;
  const std::vector<double> ours = numbersOf(*sampled);
  const std::vector<double> theirs = numbersOf(*given);
  if (ours.size() != theirs.size()) return;
  TokenQuantity ratio{QStringLiteral("log-ratio to %1").arg(portName(row)),
                      QStringLiteral("log p(sampling policy) - log p(%1)").arg(portName(row)),
                      {}};
  TokenQuantity divergence{QStringLiteral("KL to %1").arg(portName(row)),
                           QStringLiteral("k3 estimate: e^-d - 1 + d of the log-ratio d"),
                           {}};
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double d = ours[i] - theirs[i];
    ratio.values.push_back(d);
    divergence.values.push_back(std::exp(-d) - 1 + d);
  }
  table.quantities.push_back(std::move(ratio));
  table.quantities.push_back(std::move(divergence));
}

/// The value that a port stands for, not its parts.
bool isMain(const SampleRow& row, const std::string& key) {
  return key == "total" || key == row.port || key == "rewards" || key == "advantages" ||
         key == "log_probs";
}

QColor cellColor(double value, double size, const Theme& theme) {
  if (!std::isfinite(value) || size <= 0) return theme.nodeBody;
  // Blue and orange are told apart by everyone; zero is the paper's colour.
  const double share = std::clamp(std::abs(value) / size, 0.0, 1.0);
  const QColor full = value > 0 ? QColor(0xe6, 0x9f, 0x00) : QColor(0x3d, 0x87, 0xc9);
  const QColor& paper = theme.nodeBody;
  const auto mix = [&](int from, int to) {
    return static_cast<int>(std::lround(from + share * 0.85 * (to - from)));
  };
  return QColor(mix(paper.red(), full.red()), mix(paper.green(), full.green()),
                mix(paper.blue(), full.blue()));
}

QColor readableOn(const QColor& paper) {
  const double light = 0.299 * paper.red() + 0.587 * paper.green() + 0.114 * paper.blue();
  return light > 140 ? QColor(0x14, 0x16, 0x1a) : QColor(0xf2, 0xf4, 0xf6);
}

}  // namespace

TokenTexts learnTokenTexts(const std::vector<SampleRow>& rows) {
  // An answer with a token that its text leaves out is misread, which votes make harmless.
  std::map<std::int64_t, std::map<QString, int>> votes;
  for (const SampleRow& row : rows) {
    const Json data = Json::parse(row.data, nullptr, false);
    if (!data.is_object() || !data.contains("tokens") || !data.contains("completion")) continue;
    const Json& ids = data["tokens"];
    const std::u32string characters =
        QString::fromStdString(data["completion"].get<std::string>()).toStdU32String();
    const bool ended = ids.size() == characters.size() + 1;
    if (ids.size() != characters.size() && !ended) continue;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const QString text =
          i < characters.size() ? characterText(characters[i]) : QStringLiteral("end");
      ++votes[ids[i].get<std::int64_t>()][text];
    }
  }
  TokenTexts texts;
  for (const auto& [id, counts] : votes) {
    int all = 0;
    for (const auto& [text, count] : counts) all += count;
    for (const auto& [text, count] : counts) {
      if (count >= kAgreement * all) texts[id] = text;
    }
  }
  return texts;
}

const SampleRow* rowWithTokens(const std::vector<SampleRow>& sameRow) {
  for (const SampleRow& row : sameRow) {
    if (row.data.find("\"tokens\":") != std::string::npos) return &row;
  }
  return nullptr;
}

TokenTable tokenTable(const SampleRow& chosen, const std::vector<SampleRow>& sameRow,
                      const TokenTexts& texts) {
  TokenTable table;
  const Json own = Json::parse(chosen.data, nullptr, false);
  if (!own.is_object()) return table;
  const QString completion =
      QString::fromStdString(own.contains("completion") && own["completion"].is_string()
                                 ? own["completion"].get<std::string>()
                                 : std::string());
  for (const SampleRow& row : sameRow) {
    const Json data = Json::parse(row.data, nullptr, false);
    if (!data.is_object() || !sameAnswer(own, data)) continue;
    if (table.ids.empty() && data.contains("tokens") && data["tokens"].is_array()) {
      const Json& ids = data["tokens"];
      const Json recorded = data.value("token_texts", Json());
      const bool told = recorded.is_array() && recorded.size() == ids.size();
      table.tokens = told ? recordedTexts(ids, recorded) : tokenTexts(completion, ids, texts);
      table.ids = ids.get<std::vector<std::int64_t>>();
    }
    for (const auto& [key, value] : data.items()) {
      if (!isMain(row, key)) continue;
      TokenQuantity quantity{portName(row), QString::fromStdString(row.node + "." + row.port), {}};
      if (value.is_number()) quantity.values = {value.get<double>()};
      if (value.is_array()) quantity.values = numbersOf(value);
      if (!quantity.values.empty()) table.quantities.push_back(std::move(quantity));
    }
    addLogRatio(table, row, data);
  }
  const bool perToken = std::any_of(table.quantities.begin(), table.quantities.end(),
                                    [](const TokenQuantity& q) { return q.perToken(); });
  if (table.tokens.empty() && !completion.isEmpty()) table.tokens = {completion};
  if (!perToken) {
    table.note = QStringLiteral("one value per answer");
  } else if (table.ids.empty()) {
    table.note = QStringLiteral("the run did not record the tokens' ids");
  }
  std::stable_sort(
      table.quantities.begin(), table.quantities.end(),
      [](const TokenQuantity& a, const TokenQuantity& b) { return a.perToken() && !b.perToken(); });
  return table;
}

TokenStrip::TokenStrip(const Theme& theme, QWidget* parent) : QWidget(parent), theme_(theme) {
  setMouseTracking(true);
  setAccessibleName(tr("Tokens"));
  QSizePolicy policy(QSizePolicy::Preferred, QSizePolicy::Minimum);
  policy.setHeightForWidth(true);
  setSizePolicy(policy);
}

void TokenStrip::setTheme(const Theme& theme) {
  theme_ = theme;
  update();
}

void TokenStrip::setTable(TokenTable table) {
  table_ = std::move(table);
  quantity_ = 0;
  layOut(width());
  updateGeometry();
  update();
}

void TokenStrip::setQuantity(int index) {
  quantity_ = index;
  update();
}

void TokenStrip::layOut(int width) {
  cells_.clear();
  const QFontMetricsF metrics(font());
  const double line = metrics.height() + 2 * kCellPadding;
  QPointF at(2, 2);
  for (const QString& token : table_.tokens) {
    const double wide = std::min(std::max(metrics.horizontalAdvance(token), 7.0) + 2 * kCellPadding,
                                 std::max(40.0, width - 4.0));
    if (at.x() > 2 && at.x() + wide > width - 2) at = QPointF(2, at.y() + line + kLineGap);
    cells_.emplace_back(at, QSizeF(wide, line));
    at.rx() += wide + 1;
  }
  height_ = cells_.empty() ? 0 : at.y() + line + 4;
  setMinimumHeight(static_cast<int>(height_));
}

int TokenStrip::heightForWidth(int) const { return static_cast<int>(height_); }

void TokenStrip::resizeEvent(QResizeEvent*) { layOut(width()); }

double TokenStrip::valueOf(const TokenQuantity& quantity, std::size_t token) const {
  if (!quantity.perToken()) return quantity.values.front();
  return token < quantity.values.size() ? quantity.values[token] : std::nan("");
}

void TokenStrip::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  const bool some =
      quantity_ >= 0 && static_cast<std::size_t>(quantity_) < table_.quantities.size();
  const TokenQuantity* quantity =
      some ? &table_.quantities[static_cast<std::size_t>(quantity_)] : nullptr;
  double size = 0;
  if (quantity) {
    for (const double value : quantity->values) {
      if (std::isfinite(value)) size = std::max(size, std::abs(value));
    }
  }
  const QFontMetricsF metrics(font());
  for (std::size_t i = 0; i < cells_.size(); ++i) {
    const QColor paper =
        quantity ? cellColor(valueOf(*quantity, i), size, theme_) : theme_.nodeBody;
    painter.fillRect(cells_[i], paper);
    painter.setPen(readableOn(paper));
    painter.drawText(cells_[i], Qt::AlignCenter,
                     metrics.elidedText(table_.tokens[i], Qt::ElideRight, cells_[i].width()));
  }
}

void TokenStrip::mouseMoveEvent(QMouseEvent* event) {
  for (std::size_t i = 0; i < cells_.size(); ++i) {
    if (!cells_[i].contains(event->position())) continue;
    QString text = QStringLiteral("<b>%1</b> (%2%3)<table>")
                       .arg(table_.tokens[i].left(60).toHtmlEscaped())
                       .arg(i + 1)
                       .arg(i < table_.ids.size() ? tr(", id %1").arg(table_.ids[i]) : QString());
    for (const TokenQuantity& quantity : table_.quantities) {
      text += QStringLiteral("<tr><td>%1</td><td align='right'>&nbsp;%2%3</td></tr>")
                  .arg(quantity.name.toHtmlEscaped())
                  .arg(valueOf(quantity, i), 0, 'g', 4)
                  .arg(quantity.perToken() ? QString() : tr(" (answer)"));
    }
    QToolTip::showText(event->globalPosition().toPoint(), text + QStringLiteral("</table>"), this);
    return;
  }
}

TokenPanel::TokenPanel(const Theme& theme, QWidget* parent)
    : QWidget(parent),
      quantity_(new SeriesBox(this)),
      scale_(new QLabel(this)),
      note_(new QLabel(this)),
      strip_(new TokenStrip(theme, this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(2);
  auto* head = new QHBoxLayout;
  head->addWidget(quantity_, 1);
  head->addWidget(scale_);
  layout->addLayout(head);
  note_->setWordWrap(true);
  layout->addWidget(note_);
  auto* scroll = new QScrollArea(this);
  scroll->setWidget(strip_);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setMinimumHeight(24);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  layout->addWidget(scroll, 1);
  quantity_->setAccessibleName(tr("What colours the tokens"));
  scale_->setToolTip(
      tr("Orange tokens are above zero, blue ones below; the strongest colour is the "
         "largest size"));
  quantity_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  quantity_->setMinimumContentsLength(8);
  connect(quantity_, &QComboBox::activated, this, [this] {
    wanted_ = quantity_->currentText();
    choose();
  });
}

void TokenPanel::setTheme(const Theme& theme) { strip_->setTheme(theme); }

void TokenPanel::setTable(TokenTable table) {
  quantity_->clear();
  for (const TokenQuantity& quantity : table.quantities) {
    quantity_->addItem(quantity.name);
    quantity_->setItemData(quantity_->count() - 1, quantity.help, Qt::ToolTipRole);
  }
  note_->setText(table.note);
  note_->setVisible(!table.note.isEmpty());
  strip_->setTable(std::move(table));
  quantity_->setCurrentIndex(std::max(0, quantity_->findText(wanted_)));
  choose();
}

void TokenPanel::choose() {
  const int index = quantity_->currentIndex();
  strip_->setQuantity(index);
  const auto& quantities = strip_->table().quantities;
  if (index < 0 || static_cast<std::size_t>(index) >= quantities.size()) {
    scale_->clear();
    return;
  }
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const double value : quantities[static_cast<std::size_t>(index)].values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high) return scale_->clear();
  scale_->setText(low == high ? QString::number(low, 'g', 4)
                              : tr("%1 … %2").arg(low, 0, 'g', 3).arg(high, 0, 'g', 3));
}

}  // namespace rewardloom
