#include "editor/panels/search_popup.h"

#include <QApplication>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QPainter>
#include <QScreen>
#include <QStyledItemDelegate>
#include <QVBoxLayout>
#include <algorithm>

namespace rewardloom {
namespace {

constexpr std::size_t kMostRows = 200;
constexpr int kDocRole = Qt::UserRole + 1;
constexpr int kTitleRole = Qt::UserRole + 2;
constexpr int kDetailRole = Qt::UserRole + 3;

/// The title at the left, what tells more of it fainter at the right.
class ResultDelegate final : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;

  void paint(QPainter* painter, const QStyleOptionViewItem& given,
             const QModelIndex& index) const override {
    QStyleOptionViewItem option = given;
    initStyleOption(&option, index);
    option.text.clear();
    const QStyle* style = option.widget ? option.widget->style() : QApplication::style();
    style->drawControl(QStyle::CE_ItemViewItem, &option, painter, option.widget);
    const bool chosen = option.state & QStyle::State_Selected;
    const QRect row = option.rect.adjusted(6, 0, -6, 0);
    const QString title = index.data(kTitleRole).toString();
    const QString detail = index.data(kDetailRole).toString();
    const int left = std::min(option.fontMetrics.horizontalAdvance(title), row.width());
    painter->setFont(option.font);
    painter->setPen(option.palette.color(chosen ? QPalette::HighlightedText : QPalette::Text));
    painter->drawText(row, Qt::AlignLeft | Qt::AlignVCenter,
                      option.fontMetrics.elidedText(title, Qt::ElideRight, row.width()));
    const QRect rest = row.adjusted(left + 16, 0, 0, 0);
    if (rest.width() < 20) return;
    if (!chosen) painter->setPen(option.palette.color(QPalette::PlaceholderText));
    painter->drawText(rest, Qt::AlignRight | Qt::AlignVCenter,
                      option.fontMetrics.elidedText(detail, Qt::ElideRight, rest.width()));
  }

  QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex&) const override {
    return {option.rect.width(), option.fontMetrics.height() + 6};
  }
};

}  // namespace

SearchPopup::SearchPopup(QWidget* parent)
    : QFrame(parent, Qt::Popup),
      query_(new QLineEdit(this)),
      list_(new QListWidget(this)),
      doc_(new QLabel(this)) {
  setFrameShape(QFrame::StyledPanel);
  setMinimumSize(560, 400);
  resize(minimumSize());  // what places it asks before it is shown
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(8, 8, 8, 8);
  layout->addWidget(query_);
  layout->addWidget(list_, 1);
  doc_->setWordWrap(true);
  doc_->setMinimumHeight(54);
  doc_->setAlignment(Qt::AlignTop);
  doc_->setTextFormat(Qt::PlainText);
  layout->addWidget(doc_);
  query_->setClearButtonEnabled(true);
  query_->installEventFilter(this);
  query_->setAccessibleName(tr("Search"));
  list_->setUniformItemSizes(true);
  list_->setItemDelegate(new ResultDelegate(list_));
  list_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  list_->setFocusPolicy(Qt::NoFocus);
  list_->setAccessibleName(tr("Results"));
  connect(query_, &QLineEdit::textChanged, this, &SearchPopup::refresh);
  connect(list_, &QListWidget::itemClicked, this, &SearchPopup::choose);
  connect(list_, &QListWidget::currentRowChanged, this, &SearchPopup::describe);
}

void SearchPopup::open(QPoint globalPos, const QString& hint, std::vector<SearchEntry> entries,
                       std::function<void(const QString&)> chosen) {
  entries_ = std::move(entries);
  chosen_ = std::move(chosen);
  query_->setPlaceholderText(hint);
  query_->clear();
  refresh();
  QRect box(globalPos, size());
  if (const QScreen* screen = this->screen()) {
    const QRect area = screen->availableGeometry();
    box.moveLeft(
        std::clamp(box.left(), area.left(), std::max(area.left(), area.right() - box.width())));
    box.moveTop(
        std::clamp(box.top(), area.top(), std::max(area.top(), area.bottom() - box.height())));
  }
  move(box.topLeft());
  show();
  query_->setFocus();
}

void SearchPopup::setQuery(const QString& query) { query_->setText(query); }

QStringList SearchPopup::shownIds() const {
  QStringList ids;
  for (int i = 0; i < list_->count(); ++i) ids << list_->item(i)->data(Qt::UserRole).toString();
  return ids;
}

void SearchPopup::refresh() {
  list_->clear();
  const auto found = fuzzySearch(entries_, query_->text().trimmed());
  for (std::size_t i = 0; i < found.size() && i < kMostRows; ++i) {
    const SearchEntry& entry = *found[i];
    QStringList details;
    const bool named = entry.idShown && entry.id.contains(QChar('.'));
    if (named && entry.id != entry.title) details << entry.id;
    if (!entry.detail.isEmpty()) details << entry.detail;
    const QString detail = details.join(QStringLiteral("    "));
    // The text is what assistive software reads.
    auto* item = new QListWidgetItem(entry.title + QStringLiteral("    ") + detail, list_);
    item->setData(Qt::UserRole, entry.id);
    item->setData(kDocRole, entry.doc);
    item->setData(kTitleRole, entry.title);
    item->setData(kDetailRole, detail);
  }
  list_->setCurrentRow(0);
  describe();
}

void SearchPopup::describe() {
  const QListWidgetItem* item = list_->currentItem();
  QString doc = item ? item->data(kDocRole).toString() : tr("nothing fits");
  if (doc.size() > 220) doc = doc.left(219) + QChar(0x2026);
  doc_->setText(doc);
}

void SearchPopup::choose() {
  const QListWidgetItem* item = list_->currentItem();
  if (!item) return;
  const QString id = item->data(Qt::UserRole).toString();
  // The choice may open this popup again.
  const auto chosen = std::exchange(chosen_, {});
  hide();
  if (chosen) chosen(id);
}

bool SearchPopup::eventFilter(QObject* watched, QEvent* event) {
  if (watched == query_ && event->type() == QEvent::KeyPress) {
    const auto* key = static_cast<QKeyEvent*>(event);
    const int row = list_->currentRow();
    switch (key->key()) {
      case Qt::Key_Down: list_->setCurrentRow(std::min(row + 1, list_->count() - 1)); return true;
      case Qt::Key_Up: list_->setCurrentRow(std::max(row - 1, 0)); return true;
      case Qt::Key_PageDown:
        list_->setCurrentRow(std::min(row + 10, list_->count() - 1));
        return true;
      case Qt::Key_PageUp: list_->setCurrentRow(std::max(row - 10, 0)); return true;
      case Qt::Key_Return:
      case Qt::Key_Enter:
      case Qt::Key_Tab: choose(); return true;
      default: break;
    }
  }
  return QFrame::eventFilter(watched, event);
}

}  // namespace rewardloom
