// What is wrong with the graph, as a list: a click goes there, a fix is offered where there is one.
#pragma once
#include <QWidget>

#include "editor/document/graph_model.h"
#include "engine/io/run_rows.h"

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
  /// Problems of a run, shown above those of the graph. One that comes again in later iterations is
  /// counted, with the newest words.
  void addRunProblem(const Problem& problem);
  /// The alarms that a run's store holds by now; those that were heard of already do not count
  /// again.
  void setAlarms(const std::vector<AlarmRow>& alarms);
  void clearRunProblems();
  int count() const;

 Q_SIGNALS:
  void goTo(const QString& node, const QString& port);
  void countChanged(int errors, int warnings);

 private:
  void rebuild();
  void offerFix(const QPoint& at);

  struct RunProblem {
    Problem newest;
    std::int64_t first = 0;  ///< iterations, where it has any
    int times = 1;
  };
  bool take(const Problem& problem);
  static QString when(const RunProblem& problem);

  GraphModel* model_ = nullptr;
  std::vector<RunProblem> runProblems_;
  std::size_t alarms_ = 0;  ///< of the run's store, that were taken
  std::vector<Problem> shown_;
  QTreeWidget* list_;
  QLabel* empty_;
};

}  // namespace rewardloom
