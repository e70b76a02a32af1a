#include "editor/window/gallery.h"

#include <QDir>
#include <QEvent>
#include <QFileInfo>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QPushButton>
#include <QRegularExpression>
#include <QScrollArea>
#include <QVBoxLayout>
#include <algorithm>

#include "editor/canvas/graph_picture.h"
#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr int kCardWidth = 300;
constexpr QSize kPicture(276, 110);
constexpr int kAboutLines = 4;

/// "arXiv:2402.03300" where the text names one.
QString paperOf(const QString& about) {
  static const QRegularExpression paper(QStringLiteral("arXiv:\\s?\\d{4}\\.\\d{4,5}"));
  return paper.match(about).captured(0);
}

QString firstWords(const QString& text, qsizetype most) {
  if (text.size() <= most) return text;
  const qsizetype end = text.lastIndexOf(QChar(' '), most);
  QString start = text.left(end > 0 ? end : most);
  while (!start.isEmpty() && start.back().isPunct()) start.chop(1);
  return start + QChar(0x2026);
}

/// How many letters surely fit into a label's lines, cautiously.
qsizetype wordsThatFit(const QLabel& label) {
  const double letter = label.fontMetrics().averageCharWidth() * 1.12;
  return static_cast<qsizetype>(kAboutLines * (kPicture.width() / letter - 4));
}

}  // namespace

Gallery::Gallery(std::shared_ptr<const Catalogue> catalogue, QWidget* parent)
    : QWidget(parent),
      catalogue_(std::move(catalogue)),
      theme_(Theme::darkTheme()),
      filter_(new QLineEdit(this)),
      recent_(new QListWidget(this)),
      recentTitle_(new QLabel(tr("<h3>Recent</h3>"), this)),
      scroll_(new QScrollArea(this)),
      cardArea_(new QWidget(this)),
      grid_(new QGridLayout(cardArea_)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(32, 20, 32, 12);
  layout->setSpacing(8);
  auto* head = new QHBoxLayout;
  head->addWidget(new QLabel(tr("<h1>RewardLoom</h1>Design a reward-driven training pipeline, run "
                                "it, and watch what the reward does.")),
                  1);
  auto* create = new QPushButton(tr("New graph"), this);
  connect(create, &QPushButton::clicked, this, &Gallery::newWanted);
  head->addWidget(create, 0, Qt::AlignBottom);
  layout->addLayout(head);
  layout->addWidget(recentTitle_);
  recent_->setAccessibleName(tr("Recent"));
  connect(recent_, &QListWidget::itemActivated, this, [this](QListWidgetItem* item) {
    Q_EMIT openWanted(item->data(Qt::UserRole).toString());
  });
  layout->addWidget(recent_);
  auto* row = new QHBoxLayout;
  row->addWidget(new QLabel(tr("<h3>Graphs</h3>"), this));
  filter_->setPlaceholderText(tr("Filter by word"));
  filter_->setAccessibleName(tr("Filter the graphs"));
  filter_->setClearButtonEnabled(true);
  filter_->setMaximumWidth(280);
  row->addStretch(1);
  row->addWidget(filter_, 1);
  layout->addLayout(row);
  scroll_->setWidget(cardArea_);
  scroll_->setWidgetResizable(true);
  scroll_->setFrameShape(QFrame::NoFrame);
  scroll_->viewport()->installEventFilter(this);
  grid_->setContentsMargins(0, 0, 0, 0);
  grid_->setSpacing(12);
  layout->addWidget(scroll_, 1);
  connect(filter_, &QLineEdit::textChanged, this, [this] {
    columns_ = 0;
    arrange();
  });
  reader_.setInterval(0);
  connect(&reader_, &QTimer::timeout, this, [this] {
    const auto next =
        std::find_if(cards_.begin(), cards_.end(), [](const Card& card) { return !card.read; });
    if (next == cards_.end()) {
      reader_.stop();
    } else {
      readOne(*next);
    }
  });
}

void Gallery::setTheme(const Theme& theme) {
  theme_ = theme;
  for (Card& card : cards_) card.read = false;
  if (!cards_.empty()) reader_.start();
}

void Gallery::setRecent(const QStringList& paths) {
  recent_->clear();
  for (const QString& path : paths) {
    auto* item = new QListWidgetItem(
        QFileInfo(path).fileName() + QStringLiteral("   ") + QFileInfo(path).absolutePath(),
        recent_);
    item->setData(Qt::UserRole, path);
  }
  const int rows = std::min<int>(4, static_cast<int>(paths.size()));
  recent_->setFixedHeight(rows * std::max(recent_->sizeHintForRow(0), 16) + 8);
  recent_->setVisible(!paths.isEmpty());
  recentTitle_->setVisible(!paths.isEmpty());
}

void Gallery::setFolder(const QString& folder) {
  for (const QFileInfo& info :
       QDir(folder).entryInfoList({QStringLiteral("*.json")}, QDir::Files, QDir::Name)) {
    addCard(info.absoluteFilePath());
  }
  arrange();
  reader_.start();
}

void Gallery::addCard(const QString& path) {
  Card card;
  card.path = path;
  auto* frame = new QFrame(cardArea_);
  frame->setFrameShape(QFrame::StyledPanel);
  frame->setMinimumWidth(kCardWidth);
  const QString name = QFileInfo(path).completeBaseName();
  frame->setAccessibleName(name);
  auto* layout = new QVBoxLayout(frame);
  layout->setContentsMargins(11, 11, 11, 9);
  layout->setSpacing(5);
  card.picture = new QLabel(frame);
  card.picture->setFixedSize(kPicture);
  layout->addWidget(card.picture, 0, Qt::AlignHCenter);
  card.title = new QLabel(name, frame);
  card.title->setWordWrap(true);
  QFont bold = card.title->font();
  bold.setBold(true);
  card.title->setFont(bold);
  layout->addWidget(card.title);
  card.paper = new QLabel(frame);
  card.paper->setForegroundRole(QPalette::PlaceholderText);
  layout->addWidget(card.paper);
  card.about = new QLabel(frame);
  card.about->setWordWrap(true);
  card.about->setAlignment(Qt::AlignTop | Qt::AlignLeft);
  card.about->setFixedHeight(card.about->fontMetrics().lineSpacing() * kAboutLines + 4);
  layout->addWidget(card.about);
  auto* row = new QHBoxLayout;
  const auto button = [&](const QString& text, auto signal) {
    auto* made = new QPushButton(text, frame);
    made->setAccessibleName(text + QChar(' ') + name);
    connect(made, &QPushButton::clicked, this, [this, path, signal] {
      Q_EMIT(this->*signal)(path);
    });
    row->addWidget(made);
  };
  button(tr("Open"), &Gallery::openWanted);
  button(tr("Run"), &Gallery::runWanted);
  row->addStretch(1);
  layout->addLayout(row);
  card.widget = frame;
  card.words = name;
  cards_.push_back(card);
}

void Gallery::readOne(Card& card) {
  card.read = true;
  try {
    const Document document = Document::load(card.path.toStdString());
    const QString about = QString::fromStdString(document.about);
    const QString paper = paperOf(about);
    const QString file = QFileInfo(card.path).completeBaseName();
    const QString title = QString::fromStdString(document.name);
    card.title->setText(title.isEmpty() ? file : title);
    card.paper->setText(paper.isEmpty() ? file : paper + QStringLiteral("   ") + file);
    card.about->setText(firstWords(QString(about).remove(QStringLiteral(" (") + paper + QChar(')')),
                                   wordsThatFit(*card.about)));
    card.widget->setToolTip(QStringLiteral("<p><b>%1</b></p><p>%2</p>")
                                .arg(file.toHtmlEscaped(), about.toHtmlEscaped()));
    card.words = file + QChar(' ') + title + QChar(' ') + about;
    card.picture->setPixmap(
        graphPicture(document, *catalogue_, theme_, kPicture, devicePixelRatioF()));
  } catch (const Failure& failure) {
    card.about->setText(
        tr("cannot be read: %1").arg(QString::fromStdString(failure.problem().text)));
  }
}

void Gallery::readAll() {
  for (Card& card : cards_) {
    if (!card.read) readOne(card);
  }
}

int Gallery::shownCards() const {
  return static_cast<int>(std::count_if(cards_.begin(), cards_.end(),
                                        [](const Card& card) { return !card.widget->isHidden(); }));
}

void Gallery::arrange() {
  const int columns = std::max(1, (scroll_->viewport()->width() + 12) / (kCardWidth + 12));
  if (columns == columns_) return;
  columns_ = columns;
  int place = 0;
  const QStringList words = filter_->text().split(QChar(' '), Qt::SkipEmptyParts);
  for (const Card& card : cards_) {
    const bool fits = std::all_of(words.begin(), words.end(), [&](const QString& word) {
      return card.words.contains(word, Qt::CaseInsensitive);
    });
    card.widget->setVisible(fits);
    grid_->removeWidget(card.widget);
    if (!fits) continue;
    grid_->addWidget(card.widget, place / columns, place % columns, Qt::AlignTop);
    ++place;
  }
  // All columns alike, also those that are left empty.
  for (int column = 0; column < std::max(columns, grid_->columnCount()); ++column) {
    grid_->setColumnStretch(column, column < columns ? 1 : 0);
    grid_->setColumnMinimumWidth(column, column < columns ? kCardWidth : 0);
  }
  grid_->setRowStretch(place / columns + 1, 1);
}

bool Gallery::eventFilter(QObject* watched, QEvent* event) {
  if (watched == scroll_->viewport() && event->type() == QEvent::Resize) arrange();
  return QWidget::eventFilter(watched, event);
}

}  // namespace rewardloom
