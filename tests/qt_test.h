// Ends a test file: REWARDLOOM_TEST(TestUnit) and the file's own moc output.
#pragma once
#include <QtTest/QtTest>

namespace rewardloom {

/// Runs one test class. Qt's own crash handler is off: after an abort it prints for ever.
inline int run_test(QObject* test, int argc, char** argv) {
  QStringList arguments;
  for (int i = 0; i < argc; ++i) arguments << QString::fromLocal8Bit(argv[i]);
  arguments << QStringLiteral("-nocrashhandler");
  return QTest::qExec(test, arguments);
}

}  // namespace rewardloom

#define REWARDLOOM_TEST(Class)                      \
  int REWARDLOOM_TEST_RUN(int argc, char** argv);   \
  int REWARDLOOM_TEST_RUN(int argc, char** argv) {  \
    Class test;                                     \
    return rewardloom::run_test(&test, argc, argv); \
  }
