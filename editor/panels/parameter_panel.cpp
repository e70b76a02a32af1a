#include "editor/panels/parameter_panel.h"

#include <QApplication>
#include <QFormLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPlainTextEdit>
#include <QScrollBar>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "editor/document/subgraph_edits.h"
#include "editor/document/sweep_edits.h"
#include "editor/panels/sweep_dialog.h"
#include "editor/panels/value_editor.h"
#include "engine/core/problem.h"
#include "engine/graph/parameters.h"
#include "engine/graph/settings.h"

namespace rewardloom {

ParameterPanel::ParameterPanel(QWidget* parent) : QScrollArea(parent) {
  setWidgetResizable(true);
  setFrameShape(QFrame::NoFrame);
  setMinimumWidth(280);
  setAccessibleName(tr("Parameters"));
}

void ParameterPanel::setModel(GraphModel* model) {
  if (model_) model_->disconnect(this);
  model_ = model;
  nodes_.clear();
  if (model_) {
    const auto refresh = [this] {
      if (!editing_) rebuild();
    };
    connect(model_, &GraphModel::edited, this, refresh);
    connect(model_, &GraphModel::replaced, this, refresh);
  }
  rebuild();
}

void ParameterPanel::show(const Scope& scope, std::vector<std::string> nodes) {
  if (scope == scope_ && nodes == nodes_) return;
  scope_ = scope;
  nodes_ = std::move(nodes);
  rebuild();
}

void ParameterPanel::focusParameter(const QString& name) {
  for (QWidget* widget : widget()->findChildren<QWidget*>()) {
    if (widget->accessibleName() != name) continue;
    ensureWidgetVisible(widget);
    widget->setFocus();
    auto* line = qobject_cast<QLineEdit*>(widget);
    if (!line) line = widget->findChild<QLineEdit*>();
    if (line) line->selectAll();
    return;
  }
}

void ParameterPanel::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Escape) {
    Q_EMIT left();
    return;
  }
  QScrollArea::keyPressEvent(event);
}

namespace {

/// The name by which the field with the focus is found again when all fields are made anew.
QString focusedField(const QWidget* content) {
  for (const QWidget* at = QApplication::focusWidget(); at && at != content;
       at = at->parentWidget()) {
    if (!at->accessibleName().isEmpty() && content && content->isAncestorOf(at)) {
      return at->accessibleName();
    }
  }
  return {};
}

}  // namespace

void ParameterPanel::takeFocusBack(const QString& name) {
  if (name.isEmpty()) return;
  for (QWidget* field : widget()->findChildren<QWidget*>()) {
    if (field->accessibleName() == name) return field->setFocus();
  }
}

bool ParameterPanel::isSet(const std::string& node, const std::string& parameter) const {
  const GraphNode* found = findNode(model_->document(), scope_, node);
  return found && found->params.contains(parameter);
}

Json ParameterPanel::valueOf(const std::string& node, const ParameterDeclaration& parameter) const {
  const GraphNode* found = findNode(model_->document(), scope_, node);
  if (!found) return parameter.default_value;
  return found->params.contains(parameter.name) ? found->params[parameter.name]
                                                : parameter.default_value;
}

namespace {

/// What a value without a declaration seems to be.
ParameterDeclaration guessed(const std::string& name, const Json& value) {
  ParameterDeclaration any;
  any.name = name;
  any.kind = value.is_string() ? ParameterKind::text : ParameterKind::object;
  if (value.is_number_integer()) any.kind = ParameterKind::integer;
  if (value.is_number_float()) any.kind = ParameterKind::number;
  if (value.is_boolean()) any.kind = ParameterKind::boolean;
  if (value.is_array()) any.kind = ParameterKind::list;
  return any;
}

/// A parameter of a subgraph or of the graph, declared as the first node that reads it declares its
/// own; `value` is its default.
ParameterDeclaration promoted(const std::vector<GraphNode>& readers, const Catalogue& catalogue,
                              const std::string& name, const Json& value) {
  ParameterDeclaration found = guessed(name, value);
  for (const GraphNode& node : readers) {
    const NodeDeclaration* type = catalogue.node(node.type);
    if (!type) continue;
    const auto reads = [&](const ParameterDeclaration& own) {
      const auto given = node.params.find(own.name);
      return given != node.params.end() && *given == "$" + name;
    };
    const auto own = std::find_if(type->params.begin(), type->params.end(), reads);
    if (own == type->params.end()) continue;
    found = *own;
    found.name = name;
    found.required = false;
    break;
  }
  found.default_value = value;
  return found;
}

/// What can be set of a node: what its type declares, or what its subgraph promotes.
std::vector<ParameterDeclaration> declarationsOf(const Document& document, const GraphNode& node,
                                                 const Catalogue& catalogue) {
  if (const NodeDeclaration* type = catalogue.node(node.type)) return type->params;
  std::vector<ParameterDeclaration> list;
  const auto name = node.subgraph();
  const Subgraph* inside = name ? document.subgraph(*name) : nullptr;
  if (!inside) return list;
  for (const auto& [key, value] : inside->parameters.items()) {
    list.push_back(promoted(inside->nodes, catalogue, key, value));
  }
  return list;
}

}  // namespace

std::vector<ParameterDeclaration> ParameterPanel::common() const {
  std::vector<ParameterDeclaration> list;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const GraphNode* node = findNode(model_->document(), scope_, nodes_[i]);
    if (!node) return {};
    const auto own = declarationsOf(model_->document(), *node, model_->catalogue());
    if (i == 0) {
      list = own;
      continue;
    }
    std::erase_if(list, [&](const ParameterDeclaration& parameter) {
      return std::none_of(own.begin(), own.end(), [&](const ParameterDeclaration& other) {
        return other.name == parameter.name && other.kind == parameter.kind;
      });
    });
  }
  return list;
}

void ParameterPanel::rebuild() {
  const QString focused = focusedField(widget());
  const int scrolled = verticalScrollBar()->value();
  auto* content = new QWidget;
  auto* layout = new QVBoxLayout(content);
  layout->setContentsMargins(12, 10, 12, 10);
  layout->setSpacing(8);
  if (model_) {
    std::erase_if(nodes_, [&](const std::string& name) {
      return !findNode(model_->document(), scope_, name);
    });
    if (nodes_.empty()) {
      if (model_->document().subgraph(scope_)) {
        addSubgraphSettings(*layout);
      } else {
        addGraphSettings(*layout);
      }
    } else {
      addHeader(*layout);
      addParameters(*layout);
    }
  }
  layout->addStretch(1);
  // The old widgets may be in the middle of the very signal that led here.
  if (QWidget* old = takeWidget()) old->deleteLater();
  setWidget(content);
  takeFocusBack(focused);
  verticalScrollBar()->setValue(scrolled);
}

void ParameterPanel::addHeader(QVBoxLayout& layout) {
  if (nodes_.size() > 1) {
    layout.addWidget(
        new QLabel(tr("<b>%1 nodes</b>: what they have in common").arg(nodes_.size())));
    return;
  }
  const GraphNode* node = findNode(model_->document(), scope_, nodes_[0]);
  auto* name = new QLineEdit(QString::fromStdString(node->name));
  name->setAccessibleName(tr("Node name"));
  QFont font = name->font();
  font.setBold(true);
  name->setFont(font);
  layout.addWidget(name);
  const std::string before = node->name;
  connect(name, &QLineEdit::editingFinished, this, [this, name, before] {
    const std::string after = name->text().trimmed().toStdString();
    if (after == before) return;
    if (const auto fault = faultOfName(model_->document(), scope_, after)) {
      Q_EMIT statusText(*fault);
      name->setText(QString::fromStdString(before));
      return;
    }
    nodes_ = {after};
    model_->edit(tr("Rename"),
                 [&](Document& document) { renameNode(document, scope_, before, after); });
    Q_EMIT nodeRenamed(QString::fromStdString(before), QString::fromStdString(after));
  });
  const NodeDeclaration* type = model_->catalogue().node(node->type);
  const auto body = node->subgraph();
  const Subgraph* inside = body ? model_->document().subgraph(*body) : nullptr;
  QString title = type ? QString::fromStdString(type->title) : tr("unknown node type");
  if (inside)
    title = inside->about.empty() ? tr("Subgraph") : QString::fromStdString(inside->about);
  auto* label = new QLabel(
      QStringLiteral("%1<br><span style='font-size:small'>%2</span>")
          .arg(title.toHtmlEscaped(), QString::fromStdString(node->type).toHtmlEscaped()));
  label->setWordWrap(true);
  layout.addWidget(label);
}

void ParameterPanel::addParameters(QVBoxLayout& layout) {
  const auto parameters = common();
  if (parameters.empty()) {
    const GraphNode* node = findNode(model_->document(), scope_, nodes_[0]);
    auto* none = new QLabel(node && node->subgraph()
                                ? tr("No parameters. To make one, enter it and turn a node's "
                                     "parameter into a graph parameter.")
                                : tr("No parameters."));
    none->setWordWrap(true);
    layout.addWidget(none);
    return;
  }
  for (const ParameterDeclaration& parameter : parameters) layout.addWidget(row(parameter));
}

QWidget* ParameterPanel::row(const ParameterDeclaration& parameter) {
  auto* box = new QWidget;
  auto* layout = new QVBoxLayout(box);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(2);
  bool changed = false;
  for (const std::string& node : nodes_) changed = changed || isSet(node, parameter.name);
  auto* head = new QWidget(box);
  auto* line = new QHBoxLayout(head);
  line->setContentsMargins(0, 0, 0, 0);
  const QString name = QString::fromStdString(parameter.name);
  auto* label =
      new QLabel(changed ? QStringLiteral("<b>%1</b> %2").arg(name, QChar(0x2022)) : name);
  label->setToolTip(QString::fromStdString(parameter.doc));
  line->addWidget(label, 1);
  auto* menu = new QToolButton(head);
  menu->setText(QString(QChar(0x22ee)));
  menu->setAutoRaise(true);
  menu->setToolTip(tr("Reset, make it a graph parameter, or sweep it"));
  menu->setAccessibleName(tr("More about %1").arg(name));
  connect(menu, &QToolButton::clicked, this, [this, parameter, menu] {
    openMenu(parameter, menu->mapToGlobal(QPoint(0, menu->height())));
  });
  line->addWidget(menu);
  layout->addWidget(head);
  const Json first = valueOf(nodes_[0], parameter);
  const bool mixed = std::any_of(nodes_.begin(), nodes_.end(), [&](const std::string& node) {
    return valueOf(node, parameter) != first;
  });
  QWidget* editor = makeValueEditor(
      parameter, first, mixed, [this, parameter](const Json& value) { set(parameter, value); },
      [this](const QString& text) { Q_EMIT statusText(text); }, box);
  editor->setToolTip(QString::fromStdString(parameter.doc));
  layout->addWidget(editor);
  auto* doc = new QLabel(QString::fromStdString(parameter.doc));
  doc->setWordWrap(true);
  doc->setForegroundRole(QPalette::PlaceholderText);
  QFont font = doc->font();
  font.setPointSizeF(font.pointSizeF() * 0.88);
  doc->setFont(font);
  layout->addWidget(doc);
  return box;
}

void ParameterPanel::openMenu(const ParameterDeclaration& parameter, const QPoint& globalPos) {
  QMenu menu;
  const QString fallback = parameter.required ? tr("none") : valueText(parameter.default_value);
  QAction* toDefault = menu.addAction(tr("Reset to the default (%1)").arg(fallback));
  QAction* toGraph = menu.addAction(tr("Make it a graph parameter"));
  QAction* toSweep = menu.addAction(tr("Sweep..."));
  toGraph->setEnabled(nodes_.size() == 1);
  toSweep->setEnabled(nodes_.size() == 1 && model_->catalogue().node("flow.sweep"));
  const QAction* chosen = menu.exec(globalPos);
  if (!chosen) return;
  if (chosen == toDefault) return reset(parameter);
  const Json value = valueOf(nodes_[0], parameter);
  if (chosen == toSweep) {
    return sweep(parameter, value, [&](Document& document, const Json& values) {
      return sweepParameter(document, scope_, nodes_[0], parameter.name, value, values,
                            model_->catalogue());
    });
  }
  model_->edit(tr("Make graph parameter"), [&](Document& document) {
    makeGraphParameter(document, scope_, nodes_[0], parameter.name, value);
  });
}

void ParameterPanel::sweep(const ParameterDeclaration& parameter, const Json& current,
                           const std::function<std::string(Document&, const Json&)>& change) {
  const bool reference =
      current.is_string() && parameter_name(current.get_ref<const std::string&>());
  SweepDialog dialog(parameter, reference ? Json() : current, this);
  if (dialog.exec() != QDialog::Accepted) return;
  std::string made;
  try {
    model_->edit(tr("Sweep %1").arg(QString::fromStdString(parameter.name)),
                 [&](Document& document) { made = change(document, dialog.values()); });
  } catch (const Failure& failure) {
    const Problem& problem = failure.problem();
    Q_EMIT statusText(QString::fromStdString(problem.text + ": " + problem.help));
    return;
  }
  Q_EMIT swept(QString::fromStdString(made));
}

void ParameterPanel::set(const ParameterDeclaration& parameter, const Json& value) {
  const std::string name = parameter.name;
  model_->edit(tr("Set %1").arg(QString::fromStdString(name)), [&](Document& document) {
    for (const std::string& node : nodes_) setParameter(document, scope_, node, name, value);
  });
}

void ParameterPanel::reset(const ParameterDeclaration& parameter) {
  const std::string name = parameter.name;
  model_->edit(tr("Reset %1").arg(QString::fromStdString(name)), [&](Document& document) {
    for (const std::string& node : nodes_) resetParameter(document, scope_, node, name);
  });
}

void ParameterPanel::addGraphSettings(QVBoxLayout& layout) {
  const Document& document = model_->document();
  auto* form = new QFormLayout;
  auto* name = new QLineEdit(QString::fromStdString(document.name));
  connect(name, &QLineEdit::editingFinished, this, [this, name] {
    model_->edit(tr("Name"), [&](Document& d) { d.name = name->text().toStdString(); });
  });
  form->addRow(tr("Graph"), name);
  name->setAccessibleName(tr("Graph name"));
  auto* about = aboutEditor(document.about);
  connect(about, &QPlainTextEdit::textChanged, this, [this, about] {
    editing_ = true;
    model_->edit(
        tr("About"), [&](Document& d) { d.about = about->toPlainText().toStdString(); },
        QStringLiteral("about"));
    editing_ = false;
  });
  form->addRow(tr("About"), about);
  const auto refused = [this](const QString& text) { Q_EMIT statusText(text); };
  for (const SettingDeclaration& setting : setting_declarations()) {
    const bool given = document.settings.contains(setting.name);
    const Json value = given ? document.settings[setting.name] : setting.default_value;
    const std::string key = setting.name;
    auto* editor = makeValueEditor(
        setting, value, false,
        [this, key](const Json& v) {
          model_->edit(tr("Set %1").arg(QString::fromStdString(key)),
                       [&](Document& d) { d.settings[key] = v; });
        },
        refused, nullptr);
    editor->setToolTip(QString::fromStdString(setting.doc));
    form->addRow(QString::fromStdString(key), editor);
  }
  addValues(*form, document.parameters);
  layout.addLayout(form);
}

QPlainTextEdit* ParameterPanel::aboutEditor(const std::string& text) {
  auto* about = new QPlainTextEdit(QString::fromStdString(text));
  about->setMaximumHeight(120);
  about->setTabChangesFocus(true);
  about->setAccessibleName(tr("About"));
  return about;
}

namespace {

Json& parametersOf(Document& document, const Scope& scope) {
  Subgraph* subgraph = scope.empty() ? nullptr : document.subgraph(scope);
  return subgraph ? subgraph->parameters : document.parameters;
}

}  // namespace

void ParameterPanel::addValues(QFormLayout& form, const Json& values) {
  for (const auto& [key, value] : values.items()) {
    const ParameterDeclaration declared = promoted(
        nodesOf(std::as_const(model_->document()), scope_), model_->catalogue(), key, value);
    auto* editor = makeValueEditor(
        declared, value, false,
        [this, name = key](const Json& v) {
          model_->edit(tr("Set $%1").arg(QString::fromStdString(name)),
                       [&](Document& d) { parametersOf(d, scope_)[name] = v; });
        },
        [this](const QString& text) { Q_EMIT statusText(text); }, nullptr);
    const QString shown = QStringLiteral("$") + QString::fromStdString(key);
    if (!scope_.empty()) {
      form.addRow(shown, editor);
      continue;
    }
    auto* line = new QWidget;
    auto* box = new QHBoxLayout(line);
    box->setContentsMargins(0, 0, 0, 0);
    box->setSpacing(2);
    box->addWidget(editor, 1);
    auto* button = new QToolButton(line);
    button->setText(QString(QChar(0x22ee)));
    button->setAutoRaise(true);
    button->setToolTip(tr("Sweep it"));
    button->setAccessibleName(tr("Sweep %1").arg(shown));
    connect(button, &QToolButton::clicked, this, [this, declared, name = key, value = value] {
      sweep(declared, value, [&](Document& document, const Json& values) {
        return sweepGraphParameter(document, name, values, model_->catalogue());
      });
    });
    box->addWidget(button);
    form.addRow(shown, line);
  }
}

void ParameterPanel::addSubgraphSettings(QVBoxLayout& layout) {
  const Subgraph& subgraph = *model_->document().subgraph(scope_);
  auto* form = new QFormLayout;
  auto* name = new QLineEdit(QString::fromStdString(subgraph.name));
  name->setAccessibleName(tr("Subgraph name"));
  connect(name, &QLineEdit::editingFinished, this, [this, name, before = scope_] {
    const std::string after = name->text().trimmed().toStdString();
    if (after == before) return;
    if (const auto fault = faultOfSubgraphName(model_->document(), after)) {
      Q_EMIT statusText(*fault);
      name->setText(QString::fromStdString(before));
      return;
    }
    Q_EMIT subgraphRenamed(QString::fromStdString(after));
  });
  form->addRow(tr("Subgraph"), name);
  auto* about = aboutEditor(subgraph.about);
  connect(about, &QPlainTextEdit::textChanged, this, [this, about] {
    editing_ = true;
    model_->edit(
        tr("About"),
        [&](Document& d) { d.subgraph(scope_)->about = about->toPlainText().toStdString(); },
        QStringLiteral("about"));
    editing_ = false;
  });
  form->addRow(tr("About"), about);
  addValues(*form, subgraph.parameters);
  layout.addLayout(form);
  addSubgraphPorts(layout, false);
  addSubgraphPorts(layout, true);
}

void ParameterPanel::addSubgraphPorts(QVBoxLayout& layout, bool outputs) {
  const Subgraph& subgraph = *model_->document().subgraph(scope_);
  layout.addWidget(new QLabel(outputs ? tr("<b>Outputs</b>") : tr("<b>Inputs</b>")));
  const auto row = [&](const std::string& port, const QString& what) {
    auto* line = new QWidget;
    auto* box = new QHBoxLayout(line);
    box->setContentsMargins(0, 0, 0, 0);
    const QString shown = QString::fromStdString(port);
    auto* name = new QLineEdit(shown);
    name->setAccessibleName((outputs ? tr("Output %1") : tr("Input %1")).arg(shown));
    connect(name, &QLineEdit::editingFinished, this, [this, name, port, outputs] {
      const std::string after = name->text().trimmed().toStdString();
      model_->edit(tr("Rename port"), [&](Document& d) {
        renameSubgraphPort(d, scope_, outputs, port, after, model_->catalogue());
      });
    });
    box->addWidget(name, 2);
    box->addWidget(new QLabel(what), 1);
    auto* remove = new QToolButton;
    remove->setText(QString(QChar(0x2715)));
    remove->setAutoRaise(true);
    remove->setToolTip(tr("Remove this port and its wires"));
    remove->setAccessibleName(tr("Remove %1").arg(shown));
    connect(remove, &QToolButton::clicked, this, [this, port, outputs] {
      model_->edit(tr("Remove port"), [&](Document& d) {
        removeSubgraphPort(d, scope_, outputs, port, model_->catalogue());
      });
    });
    box->addWidget(remove);
    layout.addWidget(line);
  };
  if (outputs) {
    for (const auto& [port, from] : subgraph.outputs)
      row(port, QString::fromStdString(from.text()));
  } else {
    for (const auto& [port, type] : subgraph.inputs) row(port, QString::fromStdString(type));
  }
  const bool none = outputs ? subgraph.outputs.empty() : subgraph.inputs.empty();
  if (!none) return;
  auto* hint = new QLabel(outputs ? tr("Pull a wire to \"outputs\" to make one.")
                                  : tr("Pull a wire from \"inputs\" to make one."));
  hint->setWordWrap(true);
  hint->setForegroundRole(QPalette::PlaceholderText);
  layout.addWidget(hint);
}

}  // namespace rewardloom
