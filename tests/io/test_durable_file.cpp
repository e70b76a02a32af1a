#include "engine/io/durable_file.h"

#include <sys/stat.h>

#include <thread>

#include "tests/io/io_test.h"

using namespace rewardloom;

class TestDurableFile : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void it_appears_whole_with_the_commit() {
    TestFolder folder;
    write_raw(folder / "a", "old");
    std::string observed;
    const std::string large(300000, 'x');
    {
      DurableFile file(folder / "a");
      file.observe([&](std::string_view bytes) { observed += bytes; });
      file.write("small ");
      file.write(large);
      file.write(" end");
      QCOMPARE(read_raw(folder / "a"), std::string("old"));
      file.commit();
      QCOMPARE(file.size(), large.size() + 10);
    }
    QCOMPARE(read_raw(folder / "a"), "small " + large + " end");
    QCOMPARE(observed, read_raw(folder / "a"));
    QCOMPARE(files_in(folder.path()), 1u);
  }

  void without_a_commit_the_old_file_stays() {
    TestFolder folder;
    write_raw(folder / "a", "old");
    { DurableFile(folder / "a").write("new"); }
    QCOMPARE(read_raw(folder / "a"), std::string("old"));
    QCOMPARE(files_in(folder.path()), 1u);
  }

  void links_are_followed_and_permissions_kept() {
    TestFolder folder;
    write_raw(folder / "a", "old");
    QCOMPARE(::chmod((folder / "a").c_str(), 0600), 0);
    std::filesystem::create_symlink("a", folder / "b");
    write_durably(folder / "b", "new");
    QVERIFY(std::filesystem::is_symlink(folder / "b"));
    QCOMPARE(read_raw(folder / "a"), std::string("new"));
    using std::filesystem::perms;
    const perms kept = std::filesystem::status(folder / "a").permissions();
    QCOMPARE(kept, perms::owner_read | perms::owner_write);
    QCOMPARE(files_in(folder.path()), 2u);
  }

  void what_is_no_file_is_written_as_it_stands() {
    TestFolder folder;
    QCOMPARE(::mkfifo((folder / "pipe").c_str(), 0600), 0);
    std::string heard;
    std::thread reader([&] { heard = read_file(folder / "pipe"); });
    write_durably(folder / "pipe", "spoken");
    reader.join();
    QCOMPARE(heard, std::string("spoken"));
    QVERIFY(std::filesystem::is_fifo(folder / "pipe"));
    QCOMPARE(failure_of([] { write_durably("/dev/full", "lost"); }).code,
             std::string("write-failed"));
    QVERIFY(std::filesystem::is_character_file("/dev/full"));
  }

  void two_writers_of_one_name_do_not_mix() {
    TestFolder folder;
    DurableFile one(folder / "a");
    DurableFile two(folder / "a", Durability::buffered);
    one.write("one");
    two.write("two");
    two.commit();
    QCOMPARE(read_file(folder / "a"), std::string("two"));
    one.commit();
    QCOMPARE(read_file(folder / "a"), std::string("one"));
  }

  void a_missing_folder_is_named_with_what_to_do() {
    const Problem problem = failure_of([] { write_durably("/nowhere/a", "x"); });
    QCOMPARE(problem.code, std::string("write-failed"));
    QCOMPARE(problem.text, std::string("cannot create /nowhere/a: No such file or directory"));
    QCOMPARE(problem.help, std::string("create the folder first"));
    QCOMPARE(failure_of([] { read_file("/nowhere/a"); }).code, std::string("file-not-found"));
    QCOMPARE(failure_of([] { read_file("/tmp"); }).code, std::string("read-failed"));
  }

  void a_relative_path_works() {
    TestFolder folder;
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(folder.path());
    write_durably("a.txt", "x");
    const std::string found = read_file("a.txt");
    std::filesystem::current_path(before);
    QCOMPARE(found, std::string("x"));
  }
};

REWARDLOOM_TEST(TestDurableFile)
#include "test_durable_file.moc"
