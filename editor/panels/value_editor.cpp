#include "editor/panels/value_editor.h"

#include <QCheckBox>
#include <QComboBox>
#include <QFileDialog>
#include <QHBoxLayout>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QToolButton>

namespace rewardloom {
namespace {

bool isGraphParameter(const QString& text) {
  return text.size() > 1 && text[0] == QChar('$') && text[1] != QChar('$');
}

/// Leaves the wheel to the panel's scrolling.
class CalmComboBox final : public QComboBox {
 public:
  using QComboBox::QComboBox;

 protected:
  void wheelEvent(QWheelEvent* event) override { event->ignore(); }
};

QWidget* choiceEditor(const ParameterDeclaration& parameter, const Json& value, bool mixed,
                      const std::function<void(const Json&)>& changed, QWidget* parent) {
  auto* box = new CalmComboBox(parent);
  for (const ChoiceDeclaration& choice : parameter.choices) {
    box->addItem(QString::fromStdString(choice.name));
    box->setItemData(box->count() - 1, QString::fromStdString(choice.doc), Qt::ToolTipRole);
  }
  if (parameter.nullable) box->addItem(QStringLiteral("null"));
  const QString text = valueText(value);
  const int index = mixed ? -1 : box->findText(text);
  if (index < 0 && !mixed) box->addItem(text);
  box->setCurrentIndex(mixed ? -1 : box->findText(text));
  QObject::connect(box, &QComboBox::textActivated, box, [=](const QString& chosen) {
    const bool null = parameter.nullable && chosen == QStringLiteral("null");
    changed(null ? Json() : Json(chosen.toStdString()));
  });
  return box;
}

QWidget* boolEditor(const Json& value, bool mixed, const std::function<void(const Json&)>& changed,
                    QWidget* parent) {
  auto* box = new QCheckBox(parent);
  box->setTristate(mixed);
  box->setCheckState(mixed                                     ? Qt::PartiallyChecked
                     : value.is_boolean() && value.get<bool>() ? Qt::Checked
                                                               : Qt::Unchecked);
  QObject::connect(box, &QCheckBox::clicked, box, [=](bool on) { changed(Json(on)); });
  return box;
}

QString rangeText(const ParameterDeclaration& parameter) {
  QStringList parts;
  if (parameter.min) {
    parts << QStringLiteral("%1 %2")
                 .arg(parameter.exclusive_min ? QStringLiteral(">") : QString(QChar(0x2265)))
                 .arg(*parameter.min);
  }
  if (parameter.max) {
    parts << QStringLiteral("%1 %2")
                 .arg(parameter.exclusive_max ? QStringLiteral("<") : QString(QChar(0x2264)))
                 .arg(*parameter.max);
  }
  return parts.join(QStringLiteral(", "));
}

QWidget* lineEditor(const ParameterDeclaration& parameter, const Json& value, bool mixed,
                    const std::function<void(const Json&)>& changed,
                    const std::function<void(const QString&)>& refused, QWidget* parent) {
  auto* row = new QWidget(parent);
  auto* layout = new QHBoxLayout(row);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(4);
  auto* edit = new QLineEdit(row);
  const QString shown = mixed ? QString() : valueText(value);
  edit->setText(shown);
  edit->setCursorPosition(0);
  edit->setPlaceholderText(mixed ? QObject::tr("several values") : rangeText(parameter));
  layout->addWidget(edit, 1);
  row->setFocusProxy(edit);
  QObject::connect(edit, &QLineEdit::editingFinished, edit, [=] {
    if (edit->text() == shown) return;
    const ParsedValue parsed = parseValue(parameter, edit->text());
    if (parsed.fault.isEmpty()) {
      changed(parsed.value);
      return;
    }
    refused(QStringLiteral("%1: %2").arg(QString::fromStdString(parameter.name), parsed.fault));
    edit->setText(shown);
  });
  // Return says that the value is meant, even where it is the default: the file then holds it.
  QObject::connect(edit, &QLineEdit::returnPressed, edit, [=] {
    if (mixed || edit->text() != shown || value.is_null()) return;
    changed(value);
  });
  if (!parameter.unit.empty()) {
    auto* unit = new QToolButton(row);
    unit->setText(QString::fromStdString(parameter.unit));
    unit->setEnabled(false);
    unit->setAutoRaise(true);
    layout->addWidget(unit);
  }
  if (parameter.path) {
    auto* browse = new QToolButton(row);
    browse->setText(QString(QChar(0x2026)));
    browse->setToolTip(QObject::tr("Choose a file or folder"));
    layout->addWidget(browse);
    QObject::connect(browse, &QToolButton::clicked, browse, [=] {
      const QString path = QFileDialog::getOpenFileName(row, QObject::tr("Choose a file"));
      if (!path.isEmpty()) changed(Json(path.toStdString()));
    });
  }
  return row;
}

}  // namespace

QString valueText(const Json& value) {
  if (value.is_string()) return QString::fromStdString(value.get<std::string>());
  return QString::fromStdString(value.dump());
}

ParsedValue parseValue(const ParameterDeclaration& parameter, const QString& text) {
  if (isGraphParameter(text)) return {Json(text.toStdString()), {}};
  ParsedValue parsed;
  const bool plain =
      parameter.kind == ParameterKind::text || parameter.kind == ParameterKind::choice;
  if (parameter.nullable && text.trimmed() == QStringLiteral("null")) return parsed;
  if (plain) {
    parsed.value = text.toStdString();
  } else {
    parsed.value = Json::parse(text.trimmed().toStdString(), nullptr, false);
    if (parsed.value.is_discarded()) {
      parsed.fault = QObject::tr("\"%1\" is not a %2")
                         .arg(text, QString::fromUtf8(to_string(parameter.kind).data()));
      return parsed;
    }
  }
  if (const auto fault = fault_of(parameter, parsed.value)) {
    parsed.fault = QString::fromStdString(*fault);
  }
  return parsed;
}

QWidget* makeValueEditor(const ParameterDeclaration& parameter, const Json& value, bool mixed,
                         const std::function<void(const Json&)>& changed,
                         const std::function<void(const QString&)>& refused, QWidget* parent) {
  const bool reference = value.is_string() && isGraphParameter(valueText(value));
  QWidget* editor = nullptr;
  if (parameter.kind == ParameterKind::choice && !reference) {
    editor = choiceEditor(parameter, value, mixed, changed, parent);
  } else if (parameter.kind == ParameterKind::boolean && !reference && !parameter.nullable) {
    editor = boolEditor(value, mixed, changed, parent);
  } else {
    editor = lineEditor(parameter, value, mixed, changed, refused, parent);
  }
  editor->setAccessibleName(QString::fromStdString(parameter.name));
  return editor;
}

}  // namespace rewardloom
