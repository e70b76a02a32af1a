#include <filesystem>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "engine/io/safetensors.h"
#include "nodes/image/network.h"

namespace rewardloom {

struct SaveImageModel final : Node {
  Reads<Generator> generator{this, "generator", "the network to write", true};
  Reads<Encoder> encoder{this, "encoder", "instead: an encoder", true};
  Reads<Discriminator> discriminator{this, "discriminator", "instead: a head", true};
  Output<Text> folder{this, "folder", "where it was written; empty in other iterations"};
  Param<std::string> path{
      this, "path", "", "folder; empty: models/NAME in the run folder", {.path = true}};
  Param<std::string> name{this, "name", "generator", "the folder's name under models"};
  Param<std::int64_t> every{
      this, "every", 1, "writes in iterations every - 1, ...", {.min = 1, .unit = "iterations"}};
  Rule one{this,
           {{{"generator", {{"connected", false}}}, {"encoder", {{"connected", false}}}},
            {{"discriminator", {{"connected", true}}}},
            "there is no network to write",
            "connect a generator, an encoder or a discriminator"}};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"export", "checkpoint", "safetensors"}};
  Doc doc{this,
          "model.safetensors with the tensors by name: what the parameter model of image.generator "
          "and image.encoder reads."};

  void run(Step& step) const override {
    Text written;
    if ((step.iteration() + 1) % every() == 0) {
      const std::filesystem::path target = place(step);
      std::filesystem::create_directories(target);
      Package package;
      network(step).save(package);
      write_safetensors(target / "model.safetensors", package);
      written.text = target.string();
    }
    step[folder] = std::move(written);
  }

 private:
  const Network& network(const Step& step) const {
    if (step.connected(generator)) return step.read<Network>(generator);
    if (step.connected(encoder)) return step.read<Network>(encoder);
    return step.read<Network>(discriminator);
  }
  std::filesystem::path place(const Step& step) const {
    if (!path().empty()) return path();
    if (step.run_dir().empty()) {
      step.fail("no-run-folder", "there is no run folder to write into", "set path");
    }
    return std::filesystem::path(step.run_dir()) / "models" / name();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SaveImageModel, "Save an image network", "")
