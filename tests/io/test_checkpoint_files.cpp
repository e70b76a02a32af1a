#include <ATen/ATen.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "engine/io/checkpoint_files.h"
#include "tests/io/io_test.h"

using namespace rewardloom;
namespace fs = std::filesystem;

namespace {

Package package_of(double value, std::int64_t size = 100) {
  Package package;
  package.tensors["w"] = at::full({size}, value, at::kFloat);
  package.meta = {{"step", value}};
  return package;
}

fs::path write_checkpoint(const fs::path& folder, std::int64_t iteration, int keep_last = 0) {
  CheckpointWriter writer(folder, iteration);
  writer.add("policy", package_of(static_cast<double>(iteration)));
  writer.add("adam.state", package_of(-1));
  writer.add_bytes("graph.json", "{}");
  writer.set_meta({{"program", "test"}});
  return writer.commit(keep_last);
}

std::vector<std::int64_t> iterations_in(const fs::path& folder) {
  std::vector<std::int64_t> iterations;
  for (const CheckpointInfo& info : list_checkpoints(folder)) iterations.push_back(info.iteration);
  return iterations;
}

void flip_bit(const fs::path& path, std::size_t at) {
  std::string bytes = read_raw(path);
  bytes.at(at) = static_cast<char>(bytes[at] ^ 1);
  write_raw(path, bytes);
}

using Iterations = std::vector<std::int64_t>;

}  // namespace

class TestCheckpointFiles : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void the_checksum_has_its_published_values() {
    // XXH3_128bits of the empty input, from the specification's test vectors.
    QCOMPARE(xxh3_128(""), std::string("99aa06d3014798d86001c324468d497f"));
    QProcess sum;
    if (QStandardPaths::findExecutable("xxhsum").isEmpty()) return;
    TestFolder folder;
    write_raw(folder / "a", "reward");
    sum.start("xxhsum", {"-H2", qt(folder / "a")});
    sum.waitForFinished();
    QVERIFY(qt(sum.readAllStandardOutput().toStdString()).startsWith(qt(xxh3_128("reward"))));
  }

  void what_is_written_comes_back() {
    TestFolder folder;
    const fs::path path = write_checkpoint(folder / "checkpoints", 10);
    QCOMPARE(path.filename().string(), std::string("000010"));
    const CheckpointInfo info = verify_checkpoint(path);
    QCOMPARE(info.iteration, 10);
    QCOMPARE(info.files.size(), 3u);
    QCOMPARE(info.meta.dump(), Json({{"program", "test"}}).dump());
    QCOMPARE(info.bytes(), fs::file_size(path / "policy.safetensors") +
                               fs::file_size(path / "adam.state.safetensors") + 2);
    const Package policy = load_checkpoint(path, "policy");
    QVERIFY(at::equal(policy.tensors.at("w"), at::full({100}, 10.f)));
    QCOMPARE(policy.meta["step"].get<double>(), 10.0);
    QCOMPARE(load_checkpoint_bytes(path, "graph.json"), std::string("{}"));
    QCOMPARE(files_in(folder / "checkpoints"), 1u);
  }

  void the_last_few_are_kept() {
    TestFolder folder;
    for (const int iteration : {10, 20, 30, 1'000'000, 40}) {
      write_checkpoint(folder.path(), iteration, 3);
    }
    QCOMPARE(iterations_in(folder.path()), (Iterations{30, 40, 1'000'000}));
    // The one just written stays even if it is the oldest.
    write_checkpoint(folder.path(), 5, 1);
    QCOMPARE(iterations_in(folder.path()), Iterations{5});
    QCOMPARE(files_in(folder.path()), 1u);
  }

  void an_iteration_written_again_is_replaced() {
    TestFolder folder;
    write_checkpoint(folder.path(), 10);
    CheckpointWriter writer(folder.path(), 10);
    writer.add("policy", package_of(7));
    const fs::path path = writer.commit(0);
    QCOMPARE(verify_checkpoint(path).files.size(), 1u);
    QCOMPARE(load_checkpoint(path, "policy").meta["step"].get<double>(), 7.0);
    QCOMPARE(files_in(folder.path()), 1u);
  }

  void a_run_resumes_from_the_newest_and_never_silently_from_an_older_one() {
    TestFolder folder;
    QCOMPARE(failure_of([&] { newest_checkpoint(folder.path()); }).code,
             std::string("checkpoint-missing"));
    for (const int iteration : {10, 20}) write_checkpoint(folder.path(), iteration);
    QCOMPARE(newest_checkpoint(folder.path()).iteration, 20);
    fs::remove(folder / "000020" / "manifest.json");
    const Problem problem = failure_of([&] { newest_checkpoint(folder.path()); });
    QCOMPARE(problem.code, std::string("checkpoint-corrupt"));
    QVERIFY(qt(problem.help).contains("000010"));
  }

  void a_resumed_run_forgets_later_ones() {
    TestFolder folder;
    for (const int iteration : {10, 20, 30}) write_checkpoint(folder.path(), iteration);
    remove_checkpoints_after(folder.path(), 20);
    QCOMPARE(iterations_in(folder.path()), (Iterations{10, 20}));
    QVERIFY(list_checkpoints(folder / "none").empty());
  }

  void a_flipped_bit_is_found_and_an_intact_checkpoint_offered() {
    TestFolder folder;
    for (const int iteration : {10, 20, 30}) write_checkpoint(folder.path(), iteration);
    const fs::path file = folder / "000030" / "policy.safetensors";
    const std::string expected = read_checkpoint(folder / "000030").files[0].checksum;
    flip_bit(file, fs::file_size(file) - 1);
    flip_bit(folder / "000020" / "adam.state.safetensors", 50);
    for (const auto& action : std::vector<std::function<void()>>{
             [&] { verify_checkpoint(folder / "000030"); },
             [&] { load_checkpoint(folder / "000030", "policy"); }}) {
      const Problem problem = failure_of(action);
      QCOMPARE(problem.code, std::string("checkpoint-corrupt"));
      QCOMPARE(problem.where.file, file.string());
      QCOMPARE(problem.text,
               "expected checksum " + expected + ", found " + xxh3_128(read_raw(file)));
      QCOMPARE(problem.help,
               "use " + (folder / "000010").string() + ", the newest intact checkpoint before it");
    }
    // Files that are intact still load.
    QCOMPARE(load_checkpoint(folder / "000030", "adam.state").meta["step"].get<double>(), -1.0);
    flip_bit(folder / "000010" / "graph.json", 0);
    QVERIFY(qt(failure_of([&] { verify_checkpoint(folder / "000030"); }).help)
                .startsWith("no earlier checkpoint is intact"));
  }

  void missing_and_shortened_files_are_corrupt() {
    TestFolder folder;
    const fs::path path = write_checkpoint(folder.path(), 1);
    fs::resize_file(path / "policy.safetensors", 20);
    QVERIFY(qt(failure_of([&] { verify_checkpoint(path); }).text).contains("found 20 bytes"));
    fs::remove(path / "policy.safetensors");
    const Problem problem = failure_of([&] { verify_checkpoint(path); });
    QCOMPARE(problem.code, std::string("checkpoint-corrupt"));
    QVERIFY(qt(problem.text).contains("missing"));
  }

  void every_change_of_a_manifest_is_found() {
    TestFolder folder;
    const fs::path manifest = write_checkpoint(folder.path(), 12) / "manifest.json";
    const std::string original = read_raw(manifest);
    int found = 0;
    for (std::size_t at = 0; at < original.size(); ++at) {
      flip_bit(manifest, at);
      const std::string code = failure_of([&] { verify_checkpoint(folder / "000012"); }).code;
      if (code == "checkpoint-corrupt" || code == "checkpoint-version") {
        ++found;
      } else {
        // Only white space, or what JSON reads as the same value, may pass.
        QCOMPARE(Json::parse(read_raw(manifest)), Json::parse(original));
      }
      write_raw(manifest, original);
    }
    QVERIFY(found > static_cast<int>(original.size()) / 2);
    QCOMPARE(verify_checkpoint(folder / "000012").iteration, 12);
  }

  void a_newer_format_is_refused_with_both_versions() {
    TestFolder folder;
    const fs::path manifest = write_checkpoint(folder.path(), 1) / "manifest.json";
    Json json = Json::parse(read_raw(manifest));
    json["rewardloom_checkpoint"] = 9;
    write_raw(manifest, json.dump());
    const Problem problem = failure_of([&] { read_checkpoint(folder / "000001"); });
    QCOMPARE(problem.code, std::string("checkpoint-version"));
    QVERIFY(qt(problem.text).contains("version 9, this program reads 1"));
  }

  void a_renamed_checkpoint_is_refused() {
    TestFolder folder;
    write_checkpoint(folder.path(), 10);
    fs::rename(folder / "000010", folder / "000020");
    QVERIFY(qt(failure_of([&] { read_checkpoint(folder / "000020"); }).text)
                .contains("named for iteration 20, the manifest says 10"));
    QVERIFY(list_checkpoints(folder.path()).empty());
  }

  void what_is_not_there_is_named() {
    TestFolder folder;
    write_checkpoint(folder.path(), 10);
    const Problem none = failure_of([&] { read_checkpoint(folder / "000011"); });
    QCOMPARE(none.code, std::string("checkpoint-missing"));
    QCOMPARE(none.help, std::string("there are 000010"));
    const Problem file = failure_of([&] { load_checkpoint(folder / "000010", "critic"); });
    QCOMPARE(file.code, std::string("checkpoint-missing"));
    QVERIFY(qt(file.help).contains("policy.safetensors"));
  }

  void names_that_leave_the_folder_are_refused() {
    TestFolder folder;
    CheckpointWriter writer(folder.path(), 1);
    for (const char* name : {"../x", "a/b", "", ".hidden", "manifest.json", "a b"}) {
      QCOMPARE(failure_of([&] { writer.add_bytes(name, ""); }).code,
               std::string("checkpoint-name"));
    }
    writer.add("a", package_of(1));
    QVERIFY(qt(failure_of([&] { writer.add("a", package_of(1)); }).text).contains("already"));
    QCOMPARE(failure_of([&] { CheckpointWriter other(folder.path(), -1); }).code,
             std::string("checkpoint-name"));
  }

  void without_a_commit_nothing_remains() {
    TestFolder folder;
    {
      CheckpointWriter writer(folder.path(), 1);
      writer.add("a", package_of(1));
      QVERIFY(list_checkpoints(folder.path()).empty());
    }
    QCOMPARE(files_in(folder.path()), 0u);
  }

  void what_a_killed_process_left_is_removed_at_the_next_start() {
    TestFolder folder;
    write_checkpoint(folder.path(), 10);
    const pid_t child = ::fork();
    if (child == 0) {
      CheckpointWriter writer(folder.path(), 20);
      writer.add_bytes("a", std::string(1000, 'x'));
      ::kill(::getpid(), SIGKILL);
    }
    ::waitpid(child, nullptr, 0);
    QCOMPARE(files_in(folder.path()), 2u);
    QCOMPARE(iterations_in(folder.path()), Iterations{10});
    { CheckpointWriter writer(folder.path(), 20); }
    QCOMPARE(files_in(folder.path()), 1u);
    fs::create_directory(folder / ".removing-000005");
    QCOMPARE(remove_unfinished_checkpoints(folder.path()), 1u);
  }

  void a_file_over_the_limit_leaves_older_checkpoints_intact() {
    TestFolder folder;
    write_checkpoint(folder.path(), 10, 1);
    rlimit old_limit{};
    getrlimit(RLIMIT_FSIZE, &old_limit);
    const rlimit limit{256 << 10, old_limit.rlim_max};
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    const Problem problem = failure_of([&] {
      CheckpointWriter writer(folder.path(), 20);
      writer.add("policy", package_of(1, 1 << 20));
      writer.commit(1);
    });
    setrlimit(RLIMIT_FSIZE, &old_limit);
    std::signal(SIGXFSZ, old_handler);
    QCOMPARE(problem.code, std::string("write-failed"));
    QVERIFY(qt(problem.text).contains("policy.safetensors"));
    QCOMPARE(verify_checkpoint(folder / "000010").iteration, 10);
    QCOMPARE(files_in(folder.path()), 1u);
  }

  void a_full_disk_leaves_older_checkpoints_intact() {
    TestFolder folder;
    fs::create_directory(folder / "disk");
    const std::string disk = (folder / "disk").string();
    if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m") != 0)
      QSKIP("needs the right to mount");
    write_checkpoint(disk, 10, 1);
    const Problem problem = failure_of([&] {
      CheckpointWriter writer(disk, 20);
      writer.add("small", package_of(1));
      writer.add("policy", package_of(1, 1 << 20));
      writer.commit(1);
    });
    const Problem old_one = failure_of([&] { verify_checkpoint(fs::path(disk) / "000010"); });
    const std::size_t remaining = files_in(disk);
    write_checkpoint(disk, 30, 1);
    const Iterations after = iterations_in(disk);
    ::umount(disk.c_str());
    QCOMPARE(problem.code, std::string("write-failed"));
    QVERIFY2(qt(problem.text).contains("No space left on device"), problem.text.c_str());
    QVERIFY(qt(problem.help).contains("free some space"));
    QCOMPARE(old_one.code, std::string("no-failure"));
    QCOMPARE(remaining, 1u);
    QCOMPARE(after, Iterations{30});
  }
};

REWARDLOOM_TEST(TestCheckpointFiles)
#include "test_checkpoint_files.moc"
