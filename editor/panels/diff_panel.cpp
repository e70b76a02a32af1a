#include "editor/panels/diff_panel.h"

#include <QFileInfo>
#include <QHeaderView>
#include <QLabel>
#include <QTreeWidget>
#include <QVBoxLayout>

#include "editor/document/subgraph_edits.h"

namespace rewardloom {
namespace {

using Kind = Difference::Kind;

// Colour never is the only sign.
QString mark(Kind kind) {
  switch (kind) {
    case Kind::added: return QStringLiteral("+ added");
    case Kind::removed: return QString(QChar(0x2212)) + QStringLiteral(" removed");
    case Kind::renamed: return QString(QChar(0x2192)) + QStringLiteral(" renamed");
    case Kind::changed: break;
  }
  return QStringLiteral("~ changed");
}

}  // namespace

DiffPanel::DiffPanel(QWidget* parent)
    : QWidget(parent),
      theme_(Theme::darkTheme()),
      summary_(new QLabel(this)),
      tree_(new QTreeWidget(this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);
  summary_->setMargin(8);
  summary_->setWordWrap(true);
  layout->addWidget(summary_);
  layout->addWidget(tree_, 1);
  tree_->setHeaderLabels({tr("Node"), tr("What"), tr("There"), tr("Here")});
  tree_->setUniformRowHeights(true);
  tree_->setAlternatingRowColors(true);
  tree_->setAccessibleName(tr("Differences"));
  tree_->header()->resizeSection(0, 240);
  tree_->header()->resizeSection(1, 200);
  tree_->header()->resizeSection(2, 280);
  connect(tree_, &QTreeWidget::itemClicked, this, [this](QTreeWidgetItem* item) {
    const QString path = item->data(0, Qt::UserRole).toString();
    if (!path.isEmpty()) Q_EMIT goTo(path, item->data(1, Qt::UserRole).toString());
  });
  connect(tree_, &QTreeWidget::itemActivated, tree_, &QTreeWidget::itemClicked);
  fill();
}

void DiffPanel::setTheme(const Theme& theme) {
  theme_ = theme;
  fill();
}

void DiffPanel::setModel(GraphModel* model) {
  if (model == model_) return;
  if (model_) model_->disconnect(this);
  model_ = model;
  other_.reset();
  if (model_) {
    connect(model_, &GraphModel::edited, this, &DiffPanel::compare);
    connect(model_, &GraphModel::replaced, this, &DiffPanel::compare);
  }
  compare();
}

void DiffPanel::compareWithSaved() {
  if (!model_) return;
  if (model_->path().isEmpty()) {
    other_.reset();
    otherName_ = tr("the graph has no file yet");
    return compare();
  }
  compareWith(model_->path());
}

void DiffPanel::compareWith(const QString& file) {
  otherName_ = QFileInfo(file).fileName();
  try {
    other_ = Document::load(file.toStdString());
  } catch (const Failure& failure) {
    other_.reset();
    otherName_ = QString::fromStdString(failure.problem().text);
  }
  compare();
}

void DiffPanel::compare() {
  shown_.clear();
  if (model_ && other_) shown_ = differences(*other_, model_->document());
  fill();
}

QColor DiffPanel::colorOf(Kind kind) const {
  switch (kind) {
    case Kind::added: return theme_.done;
    case Kind::removed: return theme_.error;
    case Kind::renamed: return theme_.note;
    case Kind::changed: break;
  }
  return theme_.warning;
}

void DiffPanel::fill() {
  tree_->clear();
  if (!other_) {
    summary_->setText(otherName_.isEmpty()
                          ? tr("Compare the graph with its saved file or with another graph: "
                               "menu View.")
                          : otherName_);
    return;
  }
  summary_->setText(tr("Against %1: %2").arg(otherName_, differenceSummary(shown_)));
  std::map<std::pair<Scope, std::string>, QTreeWidgetItem*> nodes;
  QList<QTreeWidgetItem*> tops;
  for (const Difference& d : shown_) {
    const QString scope = QString::fromStdString(d.scope);
    QTreeWidgetItem*& top = nodes[{d.scope, d.node}];
    const bool whole = !d.node.empty() && d.what.isEmpty();
    if (!top) {
      QString title = d.node.empty() ? tr("the graph") : QString::fromStdString(d.node);
      if (!d.scope.empty()) title = d.node.empty() ? scope : scope + QChar('/') + title;
      top = new QTreeWidgetItem({title});
      if (!d.node.empty()) {
        const std::string prefix = pathPrefix(model_->document(), d.scope, model_->catalogue());
        top->setData(0, Qt::UserRole, QString::fromStdString(prefix + d.node));
      }
      const Kind kind = whole ? d.kind : Kind::changed;
      top->setText(1, mark(kind));
      for (int column = 0; column < 2; ++column) top->setForeground(column, colorOf(kind));
      tops << top;
    }
    QTreeWidgetItem* row = whole ? top : new QTreeWidgetItem(top);
    if (!whole) {
      row->setText(0, mark(d.kind));
      row->setText(1, d.what);
      row->setData(0, Qt::UserRole, top->data(0, Qt::UserRole));
      row->setData(1, Qt::UserRole, d.what.section(QChar(' '), 1));
      row->setForeground(0, colorOf(d.kind));
    }
    row->setText(2, d.before);
    row->setText(3, d.after);
    for (int column = 2; column < 4; ++column) row->setToolTip(column, row->text(column));
  }
  tree_->addTopLevelItems(tops);
  if (shown_.size() < 500) tree_->expandAll();
}

}  // namespace rewardloom
