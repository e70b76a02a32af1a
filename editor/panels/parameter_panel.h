// The parameters of the selected nodes, made from their declarations alone.
#pragma once
#include <QScrollArea>
#include <functional>
#include <string>
#include <vector>

#include "editor/document/graph_edits.h"
#include "editor/document/graph_model.h"

class QFormLayout;
class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QVBoxLayout;

namespace rewardloom {

class ParameterPanel final : public QScrollArea {
  Q_OBJECT

 public:
  explicit ParameterPanel(QWidget* parent = nullptr);

  void setModel(GraphModel* model);
  /// Nodes of one scope; with several, the parameters that all of them have.
  void show(const Scope& scope, std::vector<std::string> nodes);
  void focusParameter(const QString& name);

 Q_SIGNALS:
  /// Escape was pressed: the canvas should have the keys again.
  void left();
  void subgraphRenamed(const QString& to);
  void nodeRenamed(const QString& from, const QString& to);
  void statusText(const QString& text);
  /// A node of the graph that sweeps a parameter was made.
  void swept(const QString& node);

 protected:
  void keyPressEvent(QKeyEvent* event) override;

 private:
  void rebuild();
  void addHeader(QVBoxLayout& layout);
  void addGraphSettings(QVBoxLayout& layout);
  void addSubgraphSettings(QVBoxLayout& layout);
  void addSubgraphPorts(QVBoxLayout& layout, bool outputs);
  void addValues(QFormLayout& form, const Json& values);
  QPlainTextEdit* aboutEditor(const std::string& text);
  void takeFocusBack(const QString& name);
  void addParameters(QVBoxLayout& layout);
  QWidget* row(const ParameterDeclaration& parameter);
  void openMenu(const ParameterDeclaration& parameter, const QPoint& globalPos);
  void sweep(const ParameterDeclaration& parameter, const Json& current,
             const std::function<std::string(Document&, const Json&)>& change);
  Json valueOf(const std::string& node, const ParameterDeclaration& parameter) const;
  bool isSet(const std::string& node, const std::string& parameter) const;
  std::vector<ParameterDeclaration> common() const;
  void set(const ParameterDeclaration& parameter, const Json& value);
  void reset(const ParameterDeclaration& parameter);

  GraphModel* model_ = nullptr;
  Scope scope_;
  std::vector<std::string> nodes_;
  bool editing_ = false;
};

}  // namespace rewardloom
