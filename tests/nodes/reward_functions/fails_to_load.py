print("loading the table")
LEVELS = {"easy": 1}
LEVELS["hard"] = LEVELS["medium"] + 1


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return LEVELS[ground_truth]
