// A graph in small: boxes and wires from left to right, for the gallery.
#pragma once
#include <QPixmap>

#include "editor/theme.h"
#include "engine/graph/document.h"

namespace rewardloom {

/// `size` in device-independent pixels. Fast enough for a page full of graphs.
QPixmap graphPicture(const Document& document, const Catalogue& catalogue, const Theme& theme,
                     QSize size, double pixelRatio);

}  // namespace rewardloom
