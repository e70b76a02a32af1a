// Colours and measures of the editor, light and dark; the colours of port types.
#pragma once
#include <QColor>
#include <QFont>
#include <QPalette>
#include <QString>
#include <Qt>

#include "engine/core/catalogue.h"

namespace rewardloom {

struct Theme {
  bool dark = true;
  QColor canvas, grid, nodeBody, nodeTitle, nodeBorder, text, faintText, selection, wireShadow;
  QColor error, warning, note, running, done, stale, cached;

  static Theme lightTheme();
  static Theme darkTheme();
  QPalette palette() const;
};

/// How a wire of a type is drawn: a colour that survives the three common colour-vision types, and
/// a pattern, so that colour never is the only sign: dashes for values per token or step, dots for
/// handles.
struct PortStyle {
  QColor color;
  Qt::PenStyle pattern = Qt::SolidLine;
};
/// `dims` are those of the port; empty: those of its type. An unknown type is grey.
PortStyle portStyle(const Catalogue& catalogue, const std::string& type, const std::string& dims,
                    const Theme& theme);

}  // namespace rewardloom
