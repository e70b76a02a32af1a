"""Functions with the documented signature of verl's custom_reward_function."""
import asyncio


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    correct = solution_str.strip() == ground_truth
    return {
        "score": 1.0 if correct else -0.5,
        "acc": correct,
        "length": len(solution_str),
        "pred": solution_str,
        "source": data_source,
    }


def length_only(data_source, solution_str, ground_truth, extra_info=None):
    return len(solution_str) / 100


def difficulty(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    if data_source != "maths":
        raise NotImplementedError("no score for " + repr(data_source))
    assert extra_info["num_turns"] is None and extra_info["rollout_reward_scores"] == {}
    return extra_info["level"] * kwargs["weight"]


async def awaited(data_source, solution_str, ground_truth, extra_info=None):
    await asyncio.sleep(0)
    return float(solution_str == ground_truth)


def partly(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bare":
        return 1
    return {"score": 0.25, "format": 1.0}


def no_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"acc": 1.0}
