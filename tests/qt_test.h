// Ends a test file: REWARDLOOM_TEST(TestUnit) and the file's own moc output.
#pragma once
#include <QtTest/QtTest>

#define REWARDLOOM_TEST(Class)                       \
  int REWARDLOOM_TEST_RUN(int argc, char** argv);    \
  int REWARDLOOM_TEST_RUN(int argc, char** argv) {   \
    Class test;                                      \
    return QTest::qExec(&test, argc, argv);          \
  }
