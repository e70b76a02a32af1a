#include "engine/cli/command_line.h"
#include "engine/run/run.h"

int main(int argc, char** argv) {
  rewardloom::prepare_process();
  return rewardloom::cli::run_command_line(argc, argv);
}
