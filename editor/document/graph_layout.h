// Where things stand on the canvas: the document's `layout` in typed form. Positions never change a
// number.
#pragma once
#include <QPointF>
#include <QRectF>
#include <QString>
#include <optional>
#include <string>
#include <vector>

#include "editor/document/graph_edits.h"
#include "engine/graph/document.h"

namespace rewardloom {

/// A titled rectangle around nodes.
struct Frame {
  QString title;
  std::vector<std::string> around;
  QString color;  ///< "#rrggbb" or empty
  bool operator==(const Frame&) const = default;
};

/// A text on the canvas.
struct Note {
  QString text;
  QRectF rect;
  bool operator==(const Note&) const = default;
};

/// A wire's way: points it passes through.
struct WireDots {
  Wire wire;
  std::vector<QPointF> points;
};

std::optional<QPointF> position(const Document& document, const Scope& scope,
                                const std::string& node);
void setPosition(Document& document, const Scope& scope, const std::string& node, QPointF at);
void forgetPosition(Document& document, const Scope& scope, const std::string& node);
void renamePosition(Document& document, const Scope& scope, const std::string& from,
                    const std::string& to);

/// A subgraph's places under another name.
void renameScope(Document& document, const Scope& from, const Scope& to);

std::vector<Frame> frames(const Document& document, const Scope& scope);
void setFrames(Document& document, const Scope& scope, const std::vector<Frame>& list);
std::vector<Note> notes(const Document& document, const Scope& scope);
void setNotes(Document& document, const Scope& scope, const std::vector<Note>& list);
std::vector<WireDots> wireDots(const Document& document, const Scope& scope);
void setWireDots(Document& document, const Scope& scope, const std::vector<WireDots>& list);
bool isCollapsed(const Document& document, const Scope& scope, const std::string& node);
void setCollapsed(Document& document, const Scope& scope, const std::string& node, bool collapsed);

}  // namespace rewardloom
