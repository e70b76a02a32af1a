// One widget for one value, as its declaration says: range, unit, choices.
#pragma once
#include <QWidget>
#include <functional>

#include "engine/core/declaration.h"

namespace rewardloom {

/// A widget that shows `value` and calls `changed` with a new, valid one. "$name" texts stand for
/// graph parameters and are allowed everywhere. `mixed`: several nodes have several values.
QWidget* makeValueEditor(const ParameterDeclaration& parameter, const Json& value, bool mixed,
                         const std::function<void(const Json&)>& changed,
                         const std::function<void(const QString&)>& refused, QWidget* parent);

/// What was typed as a value of that parameter, or why it is none.
struct ParsedValue {
  Json value;
  QString fault;
};
ParsedValue parseValue(const ParameterDeclaration& parameter, const QString& text);
QString valueText(const Json& value);

}  // namespace rewardloom
