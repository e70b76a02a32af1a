// The journal of unsaved work: what is on the screen reaches the disk within a fraction of a
// second, and is offered again after a crash.
#pragma once
#include <QObject>
#include <QString>
#include <QTimer>
#include <vector>

#include "editor/document/graph_model.h"
#include "editor/document/latest_job.h"
#include "engine/run/handover.h"

namespace rewardloom {

/// Unsaved work that an editor left behind.
struct Recovery {
  QString journal;  ///< the file that holds it
  QString path;     ///< the graph file it belongs to, or empty
  QString title;
  qint64 modified = 0;  ///< seconds since 1970
};

/// Keeps the journal of one open document while it lives; removes it when the document is saved or
/// closed in order. Two files: FILE survives the end of the process and is quick to write;
/// FILE.safe survives a power cut and may lag behind. Both are written beside the window's thread.
class Journal final : public QObject {
  Q_OBJECT

 public:
  Journal(GraphModel& model, QString folder, QObject* parent = nullptr);
  ~Journal() override;

  QString file() const { return file_; }
  /// Writes now what waits, and returns when both files are there. Problems (a full disk) are
  /// reported once by `failed`.
  void flush();
  void discard();

  /// Journals in `folder` of processes that are gone.
  static std::vector<Recovery> left(const QString& folder);
  /// The document that a journal holds. Throws Failure.
  static Document read(const Recovery& recovery);
  static void remove(const Recovery& recovery);
  static QString standardFolder();

 Q_SIGNALS:
  void failed(const QString& text);

 private:
  void write();
  void complain(const QString& text);

  GraphModel& model_;
  QString folder_;
  QString file_;
  QTimer timer_;
  bool complained_ = false;
  Handover told_;    ///< faults, through Qt's queue of events
  LatestJob safe_;   ///< of power cuts
  LatestJob quick_;  ///< gives jobs to safe_, so it ends first
};

}  // namespace rewardloom
