// Pictures of graphs, laid out by Graphviz within this process.
#include <fmt/format.h>
#include <graphviz/gvc.h>

#include <CLI/CLI.hpp>

#include "engine/cli/command_line.h"
#include "engine/cli/terminal.h"
#include "engine/core/registry.h"
#include "engine/graph/document.h"
#include "engine/graph/dot.h"
#include "engine/io/durable_file.h"

namespace rewardloom::cli {
namespace {

struct GraphGiven {
  std::string graph;
  std::string dot;
  std::string svg;
  std::vector<std::string> plugins;
};

[[noreturn]] void refuse_layout(const char* doing) {
  throw Failure("graph-layout", fmt::format("Graphviz cannot {} this graph", doing),
                "write it with --dot and look at it with Graphviz's own programs");
}

/// Versions of Graphviz differ in the type that they count bytes with.
template <class Size>
Size size_of(int (*)(GVC_t*, graph_t*, const char*, char**, Size*));
using RenderedSize = decltype(size_of(gvRenderData));

std::string svg_of(const std::string& dot) {
  const std::unique_ptr<GVC_t, int (*)(GVC_t*)> context(gvContext(), gvFreeContext);
  const std::unique_ptr<Agraph_t, int (*)(Agraph_t*)> graph(agmemread(dot.c_str()), agclose);
  if (!context || !graph) refuse_layout("read");
  if (gvLayout(context.get(), graph.get(), "dot") != 0) refuse_layout("lay out");
  char* bytes = nullptr;
  RenderedSize size = 0;
  const int status = gvRenderData(context.get(), graph.get(), "svg", &bytes, &size);
  std::string svg = status == 0 && bytes != nullptr ? std::string(bytes, size) : std::string();
  if (bytes != nullptr) gvFreeRenderData(bytes);
  gvFreeLayout(context.get(), graph.get());
  if (svg.empty()) refuse_layout("draw");
  return svg;
}

void write_to(const std::string& file, const std::string& text) {
  if (file == "-") return print(text);
  write_durably(file, text, Durability::buffered);
}

int draw_graph(const GraphGiven& given) {
  if (given.dot.empty() && given.svg.empty()) {
    throw WrongUsage("usage", "there is nothing to write",
                     "give --dot FILE or --svg FILE; - is standard output");
  }
  const Document document = load_graph(given.graph);
  const auto registry = make_registry(given.plugins);
  const std::string dot = dot_text(document, registry->catalogue());
  if (!given.dot.empty()) write_to(given.dot, dot);
  if (!given.svg.empty()) write_to(given.svg, svg_of(dot));
  return kDone;
}

}  // namespace

void add_graph_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand("graph", "draws a graph");
  const auto given = std::make_shared<GraphGiven>();
  command->add_option("GRAPH", given->graph, "the graph file; it need not check")
      ->required()
      ->type_name("GRAPH");
  command
      ->add_option("--dot", given->dot,
                   "writes Graphviz's language; - is standard output (default: off)")
      ->type_name("FILE");
  command->add_option("--svg", given->svg, "writes a picture; - is standard output (default: off)")
      ->type_name("FILE");
  add_plugin_option(*command, given->plugins);
  command->footer("Exit status: 3 if the file cannot be read as a graph.");
  command->callback([&action, given] { action = [given] { return draw_graph(*given); }; });
}

}  // namespace rewardloom::cli
