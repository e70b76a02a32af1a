#include "editor/window/node_page.h"

#include <QDir>

#include "editor/document/graph_edits.h"
#include "engine/core/problem.h"

namespace rewardloom {
namespace {

QString escaped(const std::string& text) { return QString::fromStdString(text).toHtmlEscaped(); }

QString portTable(const QString& title, const std::vector<PortDeclaration>& ports) {
  if (ports.empty()) return {};
  QString html = QStringLiteral("<h4>%1</h4><table cellpadding='3'>").arg(title);
  for (const PortDeclaration& port : ports) {
    QString type = escaped(port.type);
    if (!port.dims.empty()) type += QStringLiteral(" [%1]").arg(escaped(port.dims));
    QString note;
    if (port.optional) note += QObject::tr(" (optional)");
    if (port.variadic) note += QObject::tr(" (any number)");
    if (port.access == Access::write) note += QObject::tr(" (writes)");
    html += QStringLiteral("<tr><td><b>%1</b></td><td>%2</td><td>%3%4</td></tr>")
                .arg(escaped(port.name), type, escaped(port.doc), note);
  }
  return html + QStringLiteral("</table>");
}

}  // namespace

QString nodePageHtml(const NodeDeclaration& node) {
  QString html = QStringLiteral("<h2>%1</h2><p><code>%2</code></p><p>%3</p>")
                     .arg(escaped(node.title), escaped(node.id),
                          escaped(node.doc).replace(QChar('\n'), QStringLiteral("<br>")));
  html += portTable(QObject::tr("Inputs"), node.inputs);
  html += portTable(QObject::tr("Outputs"), node.outputs);
  if (!node.params.empty()) {
    html += QStringLiteral("<h4>%1</h4><table cellpadding='3'>").arg(QObject::tr("Parameters"));
    for (const ParameterDeclaration& parameter : node.params) {
      QString value =
          parameter.required ? QObject::tr("required") : escaped(parameter.default_value.dump());
      if (!parameter.unit.empty()) value += QStringLiteral(" ") + escaped(parameter.unit);
      QString doc = escaped(parameter.doc);
      for (const ChoiceDeclaration& choice : parameter.choices) {
        doc += QStringLiteral("<br><b>%1</b>: %2").arg(escaped(choice.name), escaped(choice.doc));
      }
      html += QStringLiteral("<tr><td><b>%1</b></td><td>%2</td><td>%3</td></tr>")
                  .arg(escaped(parameter.name), value, doc);
    }
    html += QStringLiteral("</table>");
  }
  for (const PresetDeclaration& preset : node.presets) {
    html += QStringLiteral("<p><b>%1</b> %2: <code>%3</code></p>")
                .arg(QObject::tr("Preset"), escaped(preset.name), escaped(preset.params.dump()));
  }
  if (!node.source.empty()) {
    html += QStringLiteral("<p><i>%1</i> %2</p>").arg(QObject::tr("Source:"), escaped(node.source));
  }
  return html;
}

QString subgraphPageHtml(const Subgraph& subgraph) {
  const auto table = [](const QString& title, const QStringList& rows) {
    if (rows.isEmpty()) return QString();
    return QStringLiteral("<h4>%1</h4><table cellpadding='3'>%2</table>").arg(title, rows.join(""));
  };
  const auto row = [](const std::string& name, const std::string& what) {
    return QStringLiteral("<tr><td><b>%1</b></td><td>%2</td></tr>")
        .arg(escaped(name), escaped(what));
  };
  QStringList inputs, outputs, parameters;
  for (const auto& [name, type] : subgraph.inputs) inputs << row(name, type);
  for (const auto& [name, from] : subgraph.outputs) outputs << row(name, from.text());
  for (const auto& [name, value] : subgraph.parameters.items()) {
    parameters << row(name, value.dump());
  }
  return QStringLiteral("<h2>%1</h2><p><code>subgraph.%1</code></p><p>%2</p>")
             .arg(escaped(subgraph.name), escaped(subgraph.about)) +
         table(QObject::tr("Inputs"), inputs) + table(QObject::tr("Outputs"), outputs) +
         table(QObject::tr("Parameters"), parameters);
}

std::map<std::pair<std::string, std::string>, int> followCounts(const QString& folder) {
  std::map<std::pair<std::string, std::string>, int> counts;
  for (const QFileInfo& file :
       QDir(folder).entryInfoList({QStringLiteral("*.json")}, QDir::Files)) {
    try {
      const Document document = Document::load(file.absoluteFilePath().toStdString());
      std::vector<Scope> scopes{{}};
      for (const Subgraph& subgraph : document.subgraphs) scopes.push_back(subgraph.name);
      for (const Scope& scope : scopes) {
        for (const Wire& wire : wiresOf(document, scope)) {
          const GraphNode* from = findNode(document, scope, wire.from.node);
          const GraphNode* to = findNode(document, scope, wire.node);
          if (from && to) ++counts[{from->type, to->type}];
        }
      }
    } catch (const Failure&) {
      continue;  // a broken file in the gallery only teaches nothing
    }
  }
  return counts;
}

}  // namespace rewardloom
