#include "editor/panels/sweep_dialog.h"

#include <QDialogButtonBox>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QVBoxLayout>

#include "editor/document/sweep_edits.h"
#include "editor/panels/value_editor.h"

namespace rewardloom {
namespace {

QString hintOf(const ParameterDeclaration& parameter) {
  switch (parameter.kind) {
    case ParameterKind::number:
      return QObject::tr("0.1, 0.2, 0.5   or   0.1:0.5:5   or   1e-5:1e-3:3 log");
    case ParameterKind::integer: return QObject::tr("2, 4, 8   or   2:8:4");
    case ParameterKind::boolean: return QObject::tr("false, true");
    case ParameterKind::text: return QObject::tr("one, two");
    case ParameterKind::list: return QObject::tr("[1, 2], [3, 4]");
    case ParameterKind::object: return QObject::tr("{\"a\": 1}, {\"a\": 2}");
    case ParameterKind::choice: break;
  }
  QStringList names;
  for (const ChoiceDeclaration& choice : parameter.choices) {
    names << QString::fromStdString(choice.name);
  }
  return names.join(QStringLiteral(", "));
}

}  // namespace

SweepDialog::SweepDialog(ParameterDeclaration parameter, const Json& current, QWidget* parent)
    : QDialog(parent),
      parameter_(std::move(parameter)),
      line_(new QLineEdit(this)),
      said_(new QLabel(this)),
      accept_(nullptr) {
  setWindowTitle(tr("Sweep %1").arg(QString::fromStdString(parameter_.name)));
  auto* layout = new QVBoxLayout(this);
  auto* what = new QLabel(
      tr("All that depends on <b>%1</b> runs once per value, side by side: each branch with its own "
         "weights, all with the same random numbers. What does not depend on it is shared.")
          .arg(QString::fromStdString(parameter_.name)));
  what->setWordWrap(true);
  layout->addWidget(what);
  line_->setAccessibleName(tr("Values"));
  line_->setPlaceholderText(hintOf(parameter_));
  if (parameter_.kind == ParameterKind::choice) {
    line_->setText(hintOf(parameter_));
  } else if (!current.is_null()) {
    line_->setText(valueText(current) + QStringLiteral(", "));
  }
  layout->addWidget(line_);
  auto* hint = new QLabel(hintOf(parameter_));
  hint->setForegroundRole(QPalette::PlaceholderText);
  hint->setWordWrap(true);
  layout->addWidget(hint);
  said_->setWordWrap(true);
  said_->setAccessibleName(tr("What the values are"));
  layout->addWidget(said_);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Ok | QDialogButtonBox::Cancel, this);
  accept_ = buttons->button(QDialogButtonBox::Ok);
  accept_->setText(tr("Sweep"));
  layout->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::accepted, this, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  connect(line_, &QLineEdit::textChanged, this, &SweepDialog::read);
  read();
  constexpr int kWidth = 460;
  resize(kWidth, layout->totalHeightForWidth(kWidth));
}

void SweepDialog::read() {
  // A comma at the end: the next value is still to be typed.
  QString text = line_->text().trimmed();
  if (text.endsWith(QChar(','))) text.chop(1);
  const SweepValues parsed = parseSweepValues(parameter_, text);
  values_ = parsed.values;
  accept_->setEnabled(parsed.fault.isEmpty());
  if (!parsed.fault.isEmpty()) {
    said_->setText(parsed.fault);
    return;
  }
  QStringList shown;
  for (const Json& value : values_) shown << valueText(value);
  said_->setText(tr("%1 branches: %2").arg(values_.size()).arg(shown.join(QStringLiteral(", "))));
}

}  // namespace rewardloom
