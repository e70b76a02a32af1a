// What is wrong with the graph, as a list: a click goes there, a fix is offered where there is one.
#pragma once
#include <QWidget>

#include "editor/document/graph_model.h"

class QLabel;
class QTreeWidget;
class QTreeWidgetItem;

namespace rewardloom {

/// A change that would mend a problem, or none.
struct QuickFix {
  QString text;
  std::function<void(Document&)> apply;
};
std::optional<QuickFix> quickFix(const Problem& problem, const Document& document,
                                 const Catalogue& catalogue);

class ProblemsPanel final : public QWidget {
  Q_OBJECT

 public:
  explicit ProblemsPanel(QWidget* parent = nullptr);
  void setModel(GraphModel* model);
  /// Problems of a run, shown above those of the graph.
  void addRunProblem(const Problem& problem);
  void clearRunProblems();
  int count() const;

 Q_SIGNALS:
  void goTo(const QString& node, const QString& port);
  void countChanged(int errors, int warnings);

 private:
  void rebuild();
  void offerFix(const QPoint& at);

  GraphModel* model_ = nullptr;
  std::vector<Problem> runProblems_;
  std::vector<Problem> shown_;
  QTreeWidget* list_;
  QLabel* empty_;
};

}  // namespace rewardloom
