#include "editor/theme.h"

#include <array>
#include <map>

namespace rewardloom {
namespace {

// Okabe and Ito's palette (2008), which people with any of the three common deficiencies can tell
// apart; lightness differs too.
constexpr std::array<QRgb, 8> kColors = {0xffe69f00, 0xff56b4e9, 0xff009e73, 0xfff0e442,
                                         0xff3d87c9, 0xffd55e00, 0xffcc79a7, 0xff9aa5b1};

/// Types that flow together share a colour; the pattern tells them apart.
int family(const std::string& type) {
  static const std::map<std::string, int> families = {
      {"Rewards", 0},     {"TokenRewards", 0},  {"StepRewards", 0},  {"Completions", 1},
      {"Prompts", 1},     {"Dataset", 1},       {"Trajectories", 1}, {"Policy", 2},
      {"Reference", 2},   {"RewardModel", 2},   {"ValueModel", 2},   {"Judge", 2},
      {"Generator", 2},   {"Discriminator", 2}, {"Encoder", 2},      {"LogProbs", 3},
      {"Advantages", 4},  {"Values", 4},        {"Returns", 4},      {"LossTerm", 5},
      {"Preferences", 6}, {"Tests", 6},         {"Verdicts", 6},     {"Images", 6},
      {"Latents", 6},     {"Features", 6}};
  const auto it = families.find(type);
  return it == families.end() ? 7 : it->second;
}

}  // namespace

Theme Theme::darkTheme() {
  Theme t;
  t.dark = true;
  t.canvas = QColor(0x1f, 0x22, 0x27);
  t.grid = QColor(0x29, 0x2d, 0x33);
  t.nodeBody = QColor(0x2f, 0x34, 0x3b);
  t.nodeTitle = QColor(0x3d, 0x45, 0x50);
  t.nodeBorder = QColor(0x50, 0x59, 0x66);
  t.text = QColor(0xe8, 0xea, 0xed);
  t.faintText = QColor(0xa2, 0xaa, 0xb5);
  t.selection = QColor(0x5a, 0xb0, 0xff);
  t.wireShadow = QColor(0, 0, 0, 90);
  t.error = QColor(0xff, 0x6b, 0x5e);
  t.warning = QColor(0xf2, 0xb1, 0x3c);
  t.note = QColor(0x7f, 0xb3, 0xe6);
  t.running = QColor(0x56, 0xb4, 0xe9);
  t.done = QColor(0x2f, 0xb3, 0x86);
  t.stale = QColor(0xd9, 0xa4, 0x41);
  t.cached = QColor(0x8f, 0x9b, 0xa8);
  return t;
}

Theme Theme::lightTheme() {
  Theme t;
  t.dark = false;
  t.canvas = QColor(0xf4, 0xf5, 0xf7);
  t.grid = QColor(0xe4, 0xe7, 0xeb);
  t.nodeBody = QColor(0xff, 0xff, 0xff);
  t.nodeTitle = QColor(0xdd, 0xe3, 0xea);
  t.nodeBorder = QColor(0xa9, 0xb3, 0xbf);
  t.text = QColor(0x1d, 0x21, 0x27);
  t.faintText = QColor(0x5b, 0x65, 0x72);
  t.selection = QColor(0x1a, 0x73, 0xe8);
  t.wireShadow = QColor(255, 255, 255, 160);
  t.error = QColor(0xc6, 0x2b, 0x1e);
  t.warning = QColor(0xa8, 0x6a, 0x00);
  t.note = QColor(0x1f, 0x6f, 0xb5);
  t.running = QColor(0x1b, 0x7f, 0xc4);
  t.done = QColor(0x0b, 0x7d, 0x58);
  t.stale = QColor(0x9a, 0x68, 0x00);
  t.cached = QColor(0x6b, 0x76, 0x83);
  return t;
}

QPalette Theme::palette() const {
  QPalette p;
  p.setColor(QPalette::Window, dark ? QColor(0x26, 0x2a, 0x30) : QColor(0xee, 0xf0, 0xf3));
  p.setColor(QPalette::Base, dark ? canvas : QColor(Qt::white));
  p.setColor(QPalette::AlternateBase, dark ? grid : QColor(0xf6, 0xf7, 0xf9));
  p.setColor(QPalette::Button, dark ? nodeBody : QColor(0xe6, 0xe9, 0xee));
  for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText,
                          QPalette::ToolTipText, QPalette::BrightText}) {
    p.setColor(role, text);
  }
  p.setColor(QPalette::ToolTipBase, nodeBody);
  p.setColor(QPalette::PlaceholderText, faintText);
  p.setColor(QPalette::Highlight, selection);
  p.setColor(QPalette::HighlightedText, dark ? QColor(Qt::black) : QColor(Qt::white));
  p.setColor(QPalette::Link, selection);
  for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText}) {
    p.setColor(QPalette::Disabled, role, faintText);
  }
  return p;
}

PortStyle portStyle(const Catalogue& catalogue, const std::string& type, const std::string& dims,
                    const Theme& theme) {
  PortStyle style;
  QColor color(kColors[static_cast<std::size_t>(family(type))]);
  style.color = theme.dark ? color : color.darker(145);
  const PortTypeDeclaration* declared = catalogue.type(type);
  const std::string& shown = dims.empty() && declared ? declared->dims : dims;
  if (declared && declared->handle) {
    style.pattern = Qt::DotLine;
  } else if (shown.find(',') != std::string::npos) {
    style.pattern = Qt::DashLine;
  }
  return style;
}

}  // namespace rewardloom
