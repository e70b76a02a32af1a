// Folders of PNG files: classes, grids, and what is wrong with a file said by name.
#include <filesystem>
#include <fstream>

#include "nodes/image/image_files.h"
#include "nodes/image/png.h"
#include "tests/nodes/small_tensors.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

using namespace testing;
namespace fs = std::filesystem;

at::Tensor grey(std::int64_t height, std::int64_t width, int first) {
  return (at::arange(height * width, at::kInt) + first).to(at::kByte).view({height, width});
}

void put(const QTemporaryDir& folder, const std::string& name, const std::string& bytes) {
  const fs::path path = fs::path(folder.path().toStdString()) / name;
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string root(const QTemporaryDir& folder) { return folder.path().toStdString(); }

std::string text_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.problem().text;
  }
  return "";
}

}  // namespace

class TestImageFolder : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void what_is_written_is_read_back() {
    const at::Tensor one = grey(3, 5, 7);
    QVERIFY(decode_png(png_bytes(one), "x").equal(one.unsqueeze(0)));
    const at::Tensor colour = at::stack({grey(3, 5, 0), grey(3, 5, 50), grey(3, 5, 99)}, 2);
    QVERIFY(decode_png(png_bytes(colour), "x").equal(colour.permute({2, 0, 1})));
  }

  void each_folder_is_a_class_in_the_order_of_the_names() {
    const QTemporaryDir folder;
    put(folder, "cat/b.png", png_bytes(grey(2, 2, 20)));
    put(folder, "cat/a.PNG", png_bytes(grey(2, 2, 10)));
    put(folder, "dog/a.png", png_bytes(grey(2, 2, 30)));
    put(folder, "cat/notes.txt", "no image");
    const LabelledImages read = read_image_folder(root(folder), 0, 0);
    QVERIFY(read.images.sizes() == at::IntArrayRef({3, 1, 2, 2}));
    QVERIFY(read.labels.equal(ids({0, 0, 1})));
    QVERIFY(
        read.images.select(3, 0).select(2, 0).squeeze(1).to(at::kLong).equal(ids({10, 20, 30})));
  }

  void numbers_as_names_are_the_classes() {
    const QTemporaryDir folder;
    for (const char* name : {"2/a.png", "10/a.png", "7/a.png"}) {
      put(folder, name, png_bytes(grey(2, 2, 0)));
    }
    QVERIFY(read_image_folder(root(folder), 0, 0).labels.equal(ids({10, 2, 7})));
  }

  void grey_files_among_coloured_ones_become_coloured() {
    const QTemporaryDir folder;
    put(folder, "a/1.png", png_bytes(grey(2, 2, 40)));
    put(folder, "a/2.png", png_bytes(at::full({2, 2, 3}, 9, at::kByte)));
    const LabelledImages read = read_image_folder(root(folder), 0, 0);
    QVERIFY(read.images.sizes() == at::IntArrayRef({2, 3, 2, 2}));
    QCOMPARE(read.images[0][2][0][1].item<int>(), 41);
  }

  void grids_fall_into_their_images() {
    const QTemporaryDir folder;
    const at::Tensor images = (normals(3, {5, 1, 4, 4}) * 0.3).to(at::kFloat);
    put(folder, "0/grid.png", png_bytes(image_grid(images, 3, 1)));
    const LabelledImages read = read_image_folder(root(folder), 4, 1);
    QVERIFY(read.images.sizes() == at::IntArrayRef({5, 1, 4, 4}));
    const at::Tensor back = read.images.to(at::kFloat) / 127.5 - 1;
    QVERIFY(at::allclose(back, images.clamp(-1, 1), 0, 0.005));
    const std::string text = text_of([&] { read_image_folder(root(folder), 5, 1); });
    QVERIFY2(text.ends_with("is 14 x 9 pixels, which is no grid of 5 x 5 with 1 between"),
             text.c_str());
  }

  void what_is_wrong_is_said_by_name() {
    const QTemporaryDir sizes;
    put(sizes, "a/1.png", png_bytes(grey(2, 2, 0)));
    put(sizes, "a/2.png", png_bytes(grey(2, 3, 0)));
    const std::string text = text_of([&] { read_image_folder(root(sizes), 0, 0); });
    QVERIFY2(text.find("a/2.png is 3 x 2 pixels, but ") != std::string::npos, text.c_str());
    QVERIFY2(text.ends_with("a/1.png is 2 x 2"), text.c_str());
    const std::string whole = png_bytes(grey(9, 9, 0));
    for (const std::string& broken :
         {std::string(), std::string("GIF89a"), whole.substr(0, 20), whole.substr(0, 60)}) {
      const QTemporaryDir folder;
      put(folder, "a/1.png", broken);
      QCOMPARE(code_of([&] { read_image_folder(root(folder), 0, 0); }), std::string("bad-png"));
    }
    const QTemporaryDir empty;
    QCOMPARE(code_of([&] { read_image_folder(root(empty), 0, 0); }), std::string("file-not-found"));
    put(empty, "a/readme.txt", "");
    QCOMPARE(code_of([&] { read_image_folder(root(empty), 0, 0); }), std::string("file-not-found"));
    QCOMPARE(code_of([] { read_image_folder("/nowhere", 0, 0); }), std::string("file-not-found"));
  }

  void the_node_reads_folders() {
    const QTemporaryDir folder;
    put(folder, "0/a.png", png_bytes(at::zeros({2, 2}, at::kByte)));
    put(folder, "1/a.png", png_bytes(at::full({2, 2}, 255, at::kByte)));
    Bench bench("image.read", {{"format", "folder"}, {"images", root(folder)}, {"split", "all"}});
    bench.fire();
    const Images& read = bench.out<Images>("images");
    QVERIFY(read.labels.equal(ids({0, 1})));
    QCOMPARE(read.images[0].max().item<float>(), -1.0f);
    QCOMPARE(read.images[1].min().item<float>(), 1.0f);
  }
};

}  // namespace rewardloom

REWARDLOOM_TEST(rewardloom::TestImageFolder)
#include "test_image_folder.moc"
