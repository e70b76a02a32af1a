// An open graph: the document, its undo history, its problems. Every change goes through edit(), so
// that everything can be undone; nothing here knows a window.
#pragma once
#include <QObject>
#include <QString>
#include <QTimer>
#include <QUndoStack>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "editor/document/document_patch.h"
#include "engine/core/catalogue.h"
#include "engine/graph/checker.h"

namespace rewardloom {

class GraphModel final : public QObject {
  Q_OBJECT

 public:
  explicit GraphModel(std::shared_ptr<const Catalogue> catalogue, QObject* parent = nullptr);

  const Document& document() const { return document_; }
  const Catalogue& catalogue() const { return *catalogue_; }
  std::shared_ptr<const Catalogue> sharedCatalogue() const { return catalogue_; }
  /// After plug-ins were loaded or unloaded.
  void setCatalogue(std::shared_ptr<const Catalogue> catalogue);

  /// One undoable step called `text`. `change` works on a copy: if it throws, nothing happened.
  /// Returns whether anything differs (only then a step is made). Steps with the same `mergeKey`,
  /// not empty, that follow one another become one.
  bool edit(const QString& text, const std::function<void(Document&)>& change,
            const QString& mergeKey = {});
  QUndoStack& history() { return history_; }
  bool isModified() const { return !history_.isClean(); }

  /// Throws Failure as Document::load does; the model then is as before.
  void load(const QString& path);
  /// A new, unsaved document, e.g. one that was recovered; it counts as modified.
  void adopt(Document document, const QString& path);
  /// Throws Failure write-failed; the document then still counts as modified.
  void save(const QString& path);
  /// The file's content takes the place of the document, as one step that can be undone. Throws
  /// Failure as load does.
  void reload();
  /// The bytes of the file as last read or written; nothing for a graph without a file.
  const std::optional<std::string>& savedText() const { return savedText_; }
  /// What stands in the file now is known and shall be written over: the document counts as
  /// modified.
  void keepMine();
  QString path() const { return path_; }
  /// "name" of the file, or of the graph, or "untitled".
  QString title() const;

  /// What is wrong with the graph as it is now; brought up to date within 50 ms of an edit.
  const CheckResult& problems() const { return problems_; }
  void checkNow();

 Q_SIGNALS:
  /// After an edit, an undo or a redo.
  void edited(const rewardloom::DocumentPatch& patch);
  /// After load, adopt or a new catalogue: everything may differ.
  void replaced();
  void problemsChanged();
  void pathChanged();
  void savedTextChanged();

 private:
  class Step;
  void moved(const DocumentPatch& patch);
  void reset(Document document, const QString& path);
  void rememberFile();

  std::shared_ptr<const Catalogue> catalogue_;
  Document document_;
  QString path_;
  std::optional<std::string> savedText_;
  QUndoStack history_;
  CheckResult problems_;
  QTimer checkTimer_;
};

}  // namespace rewardloom
