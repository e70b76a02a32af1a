#include "editor/document/graph_model.h"

#include <QFileInfo>
#include <QUndoCommand>
#include <utility>

#include "engine/io/durable_file.h"

namespace rewardloom {

/// A patch on the history. The first redo() is the push itself: the document has changed by then.
class GraphModel::Step final : public QUndoCommand {
 public:
  Step(GraphModel& model, const QString& text, DocumentPatch patch, QString mergeKey)
      : QUndoCommand(text),
        model_(model),
        patch_(std::move(patch)),
        mergeKey_(std::move(mergeKey)) {}

  int id() const override { return mergeKey_.isEmpty() ? -1 : 1; }

  bool mergeWith(const QUndoCommand* other) override {
    const auto* step = static_cast<const Step*>(other);
    if (step->mergeKey_ != mergeKey_) return false;
    Document before = model_.document_;
    step->patch_.revert(before);
    patch_.revert(before);
    patch_ = DocumentPatch::between(before, model_.document_);
    setObsolete(patch_.empty());
    return true;
  }

  void undo() override {
    patch_.revert(model_.document_);
    model_.moved(patch_);
  }
  void redo() override {
    if (!std::exchange(pushed_, true)) return;
    patch_.apply(model_.document_);
    model_.moved(patch_);
  }

 private:
  GraphModel& model_;
  DocumentPatch patch_;
  QString mergeKey_;
  bool pushed_ = false;
};

GraphModel::GraphModel(std::shared_ptr<const Catalogue> catalogue, QObject* parent)
    : QObject(parent), catalogue_(std::move(catalogue)) {
  checkTimer_.setSingleShot(true);
  checkTimer_.setInterval(0);
  connect(&checkTimer_, &QTimer::timeout, this, &GraphModel::checkNow);
}

void GraphModel::setCatalogue(std::shared_ptr<const Catalogue> catalogue) {
  catalogue_ = std::move(catalogue);
  checkNow();
  Q_EMIT replaced();
}

bool GraphModel::edit(const QString& text, const std::function<void(Document&)>& change,
                      const QString& mergeKey) {
  Document after = document_;
  change(after);
  DocumentPatch patch = DocumentPatch::between(document_, after);
  if (patch.empty()) return false;
  patch.apply(document_);
  const DocumentPatch seen = patch;
  history_.push(new Step(*this, text, std::move(patch), mergeKey));
  moved(seen);
  return true;
}

void GraphModel::moved(const DocumentPatch& patch) {
  if (patch.touchesMeaning()) checkTimer_.start();
  Q_EMIT edited(patch);
}

void GraphModel::load(const QString& path) {
  reset(Document::load(path.toStdString()), path);
  history_.setClean();
  rememberFile();
}

void GraphModel::rememberFile() {
  savedText_.reset();
  try {
    if (!path_.isEmpty()) savedText_ = read_file(path_.toStdString());
  } catch (const Failure&) {
    // Gone between two looks: the watch says so.
    savedText_ = std::string();
  }
  Q_EMIT savedTextChanged();
}

void GraphModel::reload() {
  Document there = Document::load(path_.toStdString());
  edit(tr("Load from disk"), [&](Document& document) { document = there; });
  document_ = std::move(there);  // with the bytes it was read from
  history_.setClean();
  rememberFile();
  checkNow();
}

void GraphModel::keepMine() {
  history_.resetClean();
  rememberFile();
}

void GraphModel::adopt(Document document, const QString& path) {
  reset(std::move(document), path);
  history_.resetClean();
  if (!path.isEmpty() && QFileInfo::exists(path)) rememberFile();
}

void GraphModel::reset(Document document, const QString& path) {
  document_ = std::move(document);
  path_ = path;
  savedText_.reset();
  history_.clear();
  checkNow();
  Q_EMIT replaced();
  Q_EMIT pathChanged();
}

void GraphModel::save(const QString& path) {
  document_.save(path.toStdString());
  document_.file = path.toStdString();
  const bool moved = path != path_;
  path_ = path;
  rememberFile();
  history_.setClean();
  if (moved) Q_EMIT pathChanged();
}

QString GraphModel::title() const {
  if (!path_.isEmpty()) return QFileInfo(path_).fileName();
  return document_.name.empty() ? tr("untitled") : QString::fromStdString(document_.name);
}

void GraphModel::checkNow() {
  checkTimer_.stop();
  problems_ = check(document_, *catalogue_);
  Q_EMIT problemsChanged();
}

}  // namespace rewardloom
