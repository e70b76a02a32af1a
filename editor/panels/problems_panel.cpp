#include "editor/panels/problems_panel.h"

#include <QHeaderView>
#include <QLabel>
#include <QMenu>
#include <QStyle>
#include <QStyledItemDelegate>
#include <QTreeWidget>
#include <QVBoxLayout>
#include <algorithm>

#include "editor/canvas/wiring.h"
#include "editor/document/subgraph_edits.h"

namespace rewardloom {
namespace {

std::optional<QuickFix> converterFix(const Located& at, const std::string& port,
                                     const Document& document, const Catalogue& catalogue) {
  const GraphNode* node = findNode(document, at.scope, at.node);
  const InputEdges* edges = node->input(port);
  if (!edges) return std::nullopt;
  for (const Reference& from : edges->from) {
    const PortEnd out{from.node, from.port, true};
    const PortEnd in{at.node, port, false};
    // The wire itself must not count as a circle: it ends in `in`, so it never does.
    const FitVerdict verdict = fitOf(document, at.scope, catalogue, out, in);
    if (verdict.converter.empty()) continue;
    const std::string converter = verdict.converter;
    return QuickFix{QObject::tr("Put %1 between them").arg(QString::fromStdString(converter)),
                    [=, &catalogue](Document& d) {
                      disconnectPorts(d, at.scope, {from, at.node, port});
                      connectThrough(d, at.scope, catalogue, converter, out, in, QPointF());
                    }};
  }
  return std::nullopt;
}

/// Rows as high as their wrapped texts: a tree makes them one line high whatever it wraps.
class WrappedText final : public QStyledItemDelegate {
 public:
  explicit WrappedText(QTreeWidget* list) : QStyledItemDelegate(list), list_(list) {}
  QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    const int margin = 2 * (list_->style()->pixelMetric(QStyle::PM_FocusFrameHMargin) + 1);
    const int icon = index.column() == 0 ? list_->iconSize().width() + 24 : 0;
    const int width = list_->columnWidth(index.column()) - 2 * margin - icon;
    const QString text = index.data(Qt::DisplayRole).toString();
    const QRect room(0, 0, std::max(width, 40), 10000);
    const QRect taken = option.fontMetrics.boundingRect(room, Qt::TextWordWrap, text);
    return QStyledItemDelegate::sizeHint(option, index).expandedTo({0, taken.height() + margin});
  }

 private:
  QTreeWidget* list_;
};

}  // namespace

std::optional<QuickFix> quickFix(const Problem& problem, const Document& document,
                                 const Catalogue& catalogue) {
  const std::string port = problem.where.port;
  if (problem.code == "unused-graph-parameter") {
    if (!document.parameters.contains(port)) return std::nullopt;
    return QuickFix{QObject::tr("Remove the parameter %1").arg(QString::fromStdString(port)),
                    [port](Document& d) { d.parameters.erase(port); }};
  }
  const auto at = locate(document, problem.where.node, catalogue);
  if (!at) return std::nullopt;
  if (problem.code == "dead-node") {
    return QuickFix{
        QObject::tr("Delete %1").arg(QString::fromStdString(at->node)),
        [at, &catalogue](Document& d) { removeNodes(d, at->scope, {at->node}, false, catalogue); }};
  }
  if (problem.code == "unknown-parameter" || problem.code == "param-range" ||
      problem.code == "param-type" || problem.code == "param-choice") {
    const GraphNode* node = findNode(document, at->scope, at->node);
    if (!node->params.contains(port)) return std::nullopt;
    const QString text =
        problem.code == "unknown-parameter" ? QObject::tr("Remove %1") : QObject::tr("Reset %1");
    return QuickFix{text.arg(QString::fromStdString(port)),
                    [at, port](Document& d) { resetParameter(d, at->scope, at->node, port); }};
  }
  if (problem.code == "type-mismatch") return converterFix(*at, port, document, catalogue);
  return std::nullopt;
}

ProblemsPanel::ProblemsPanel(QWidget* parent)
    : QWidget(parent), list_(new QTreeWidget(this)), empty_(new QLabel(tr("No problems."), this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->addWidget(empty_);
  layout->addWidget(list_);
  empty_->setMargin(10);
  empty_->setAlignment(Qt::AlignTop | Qt::AlignLeft);
  list_->setColumnCount(3);
  list_->setHeaderLabels({tr("Where"), tr("What is wrong"), tr("What to do")});
  list_->setRootIsDecorated(false);
  list_->setWordWrap(true);
  list_->setItemDelegate(new WrappedText(list_));
  list_->setAlternatingRowColors(true);
  list_->setAccessibleName(tr("Problems"));
  list_->setContextMenuPolicy(Qt::CustomContextMenu);
  list_->header()->setSectionResizeMode(0, QHeaderView::Interactive);
  list_->header()->resizeSection(0, 260);
  list_->header()->resizeSection(1, 520);
  connect(list_, &QTreeWidget::itemClicked, this, [this](QTreeWidgetItem* item) {
    const Problem& problem = shown_.at(static_cast<std::size_t>(list_->indexOfTopLevelItem(item)));
    Q_EMIT goTo(QString::fromStdString(problem.where.node),
                QString::fromStdString(problem.where.port));
  });
  connect(list_->header(), &QHeaderView::sectionResized, list_, &QTreeWidget::doItemsLayout);
  connect(list_, &QTreeWidget::itemActivated, list_, &QTreeWidget::itemClicked);
  connect(list_, &QTreeWidget::customContextMenuRequested, this, &ProblemsPanel::offerFix);
  rebuild();
}

void ProblemsPanel::setModel(GraphModel* model) {
  if (model_) model_->disconnect(this);
  model_ = model;
  if (model_) connect(model_, &GraphModel::problemsChanged, this, &ProblemsPanel::rebuild);
  rebuild();
}

void ProblemsPanel::addRunProblem(const Problem& problem) {
  if (take(problem)) rebuild();
}

void ProblemsPanel::setAlarms(const std::vector<AlarmRow>& alarms) {
  bool changed = false;
  // A resumed run has deleted what it will repeat.
  alarms_ = std::min(alarms_, alarms.size());
  for (; alarms_ < alarms.size(); ++alarms_) {
    const AlarmRow& row = alarms[alarms_];
    changed |=
        take({row.severity, row.code, {"", row.node, row.port}, row.text, row.help, row.iteration});
  }
  if (changed) rebuild();
}

/// Whether that is news.
bool ProblemsPanel::take(const Problem& problem) {
  constexpr std::size_t most = 500;
  const auto same = [&](const RunProblem& known) {
    const Problem& other = known.newest;
    if (other.code != problem.code || other.where.node != problem.where.node ||
        other.where.port != problem.where.port) {
      return false;
    }
    return problem.iteration ? other.iteration.has_value() : other == problem;
  };
  const auto known = std::find_if(runProblems_.begin(), runProblems_.end(), same);
  if (known == runProblems_.end()) {
    if (runProblems_.size() >= most) return false;
    runProblems_.push_back({problem, problem.iteration.value_or(0)});
    return true;
  }
  if (!problem.iteration || *problem.iteration <= *known->newest.iteration) return false;
  known->newest = problem;
  ++known->times;
  return true;
}

QString ProblemsPanel::when(const RunProblem& problem) {
  if (!problem.newest.iteration) return {};
  if (problem.times == 1) return tr("  (iteration %1)").arg(*problem.newest.iteration);
  return tr("  (%1 times, iterations %2 to %3)")
      .arg(problem.times)
      .arg(problem.first)
      .arg(*problem.newest.iteration);
}

void ProblemsPanel::clearRunProblems() {
  runProblems_.clear();
  alarms_ = 0;
  rebuild();
}

int ProblemsPanel::count() const { return static_cast<int>(shown_.size()); }

void ProblemsPanel::rebuild() {
  shown_.clear();
  for (const RunProblem& problem : runProblems_) shown_.push_back(problem.newest);
  if (model_) {
    const auto& problems = model_->problems().problems;
    shown_.insert(shown_.end(), problems.begin(), problems.end());
  }
  list_->clear();
  int errors = 0;
  int warnings = 0;
  for (std::size_t i = 0; i < shown_.size(); ++i) {
    const Problem& problem = shown_[i];
    errors += problem.severity == Severity::error;
    warnings += problem.severity == Severity::warning;
    QString where = QString::fromStdString(problem.where.node);
    if (!problem.where.port.empty())
      where += QChar('.') + QString::fromStdString(problem.where.port);
    if (i < runProblems_.size()) where += when(runProblems_[i]);
    auto* item = new QTreeWidgetItem(
        list_, {where, QString::fromStdString(problem.text), QString::fromStdString(problem.help)});
    const auto icon = problem.severity == Severity::error     ? QStyle::SP_MessageBoxCritical
                      : problem.severity == Severity::warning ? QStyle::SP_MessageBoxWarning
                                                              : QStyle::SP_MessageBoxInformation;
    item->setIcon(0, style()->standardIcon(icon));
    for (int column = 0; column < 3; ++column) item->setToolTip(column, item->text(column));
  }
  empty_->setVisible(shown_.empty());
  list_->setVisible(!shown_.empty());
  Q_EMIT countChanged(errors, warnings);
}

void ProblemsPanel::offerFix(const QPoint& at) {
  QTreeWidgetItem* item = list_->itemAt(at);
  if (!item || !model_) return;
  const Problem problem = shown_.at(static_cast<std::size_t>(list_->indexOfTopLevelItem(item)));
  const auto fix = quickFix(problem, model_->document(), model_->catalogue());
  QMenu menu;
  QAction* mend = menu.addAction(fix ? fix->text : tr("No quick fix for this"));
  mend->setEnabled(fix.has_value());
  if (menu.exec(list_->viewport()->mapToGlobal(at)) == mend && fix) {
    model_->edit(fix->text, fix->apply);
  }
}

}  // namespace rewardloom
