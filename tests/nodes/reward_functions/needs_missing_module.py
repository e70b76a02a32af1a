import os
import a_module_that_nobody_has


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return a_module_that_nobody_has.score(os.fspath(solution_str))
