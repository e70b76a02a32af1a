// What happens to the file of an open graph behind the editor's back.
#pragma once
#include <QFileSystemWatcher>
#include <QObject>
#include <QTimer>

#include "editor/document/graph_model.h"

namespace rewardloom {

/// Compares the file with what the model last read or wrote: whoever writes it, and however (in
/// place, by renaming another over it).
class FileWatch final : public QObject {
  Q_OBJECT

 public:
  explicit FileWatch(GraphModel& model, QObject* parent = nullptr);

  enum class State { same, changed, gone };
  /// Looks now; also done when the system reports a change and when the window gets the focus.
  State look();

 Q_SIGNALS:
  void changed();  ///< the file holds something else
  void gone();     ///< there is no such file any more
  void same();     ///< it holds again what the model knows

 private:
  void follow();

  GraphModel& model_;
  QFileSystemWatcher watcher_;
  QTimer settle_;
  State told_ = State::same;
};

}  // namespace rewardloom
