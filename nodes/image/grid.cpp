#include <fmt/format.h>

#include <filesystem>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "engine/io/durable_file.h"
#include "nodes/image/png.h"

namespace rewardloom {

struct ImageGrid final : Node {
  Input<Images> images{this, "images", "of 1 or 3 channels, from -1 to 1"};
  Output<Text> file{this, "file", "what was written; empty in iterations that write nothing"};
  Param<std::string> name{this, "name", "samples", "NAME-ITERATION.png in images/"};
  Param<std::int64_t> most{this, "most", 80, "images that are drawn, the first ones", {.min = 1}};
  Param<std::int64_t> columns{this, "columns", 10, "images in a row", {.min = 1}};
  Param<std::int64_t> zoom{this, "zoom", 4, "pixels per pixel", {.min = 1, .max = 64}};
  Param<std::int64_t> every{
      this, "every", 1, "iterations between two files", {.min = 1, .unit = "iterations"}};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"PNG", "contact sheet", "samples", "preview"}};
  Doc doc{this,
          "Writes images as one PNG into the run folder, images/NODE/NAME-ITERATION.png, in "
          "iterations every - 1, 2 every - 1, ... Outside a run nothing is written."};

  void run(Step& step) const override {
    Text written;
    if ((step.iteration() + 1) % every() == 0 && !step.run_dir().empty()) {
      const at::Tensor& all = step[images].images;
      const at::Tensor shown = all.narrow(0, 0, std::min(most(), all.size(0)));
      const std::filesystem::path folder =
          std::filesystem::path(step.run_dir()) / "images" / step.node();
      std::filesystem::create_directories(folder);
      const auto path = folder / fmt::format("{}-{:05}.png", name(), step.iteration());
      write_durably(path, png_bytes(image_grid(shown, columns(), zoom())), Durability::buffered);
      written.text = path.string();
    }
    step[file] = std::move(written);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageGrid, "Images as a PNG", "ISO/IEC 15948")
