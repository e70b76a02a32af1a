"""Functions with the documented signature of TRL's trainers."""
import asyncio
import re


def boxed(completions, ground_truth, **kwargs):
    found = [re.search(r"\\boxed\{(.*?)\}", text) for text in completions]
    return [1.0 if one and one.group(1) == truth else 0.0 for one, truth in zip(found, ground_truth)]


def tokens(completion_ids, **kwargs):
    return [float(len(ids)) for ids in completion_ids]


def tokens_as_once_documented(completions_ids, **kwargs):
    return [float(len(ids)) for ids in completions_ids]


def thought(completions, **kwargs):
    texts = [completion[0]["content"] for completion in completions]
    return [float(bool(re.match(r"^<think>.*?</think>.+$", text, re.DOTALL))) for text in texts]


def roles(prompts, completions, **kwargs):
    return [len(p) + (p[-1]["role"] == "user") + (c[0]["role"] == "assistant") for p, c in zip(prompts, completions)]


def maths_only(prompts, completions, task, **kwargs):
    return [float(len(c)) if t == "maths" else None for c, t in zip(completions, task)]


async def awaited(prompts, completions, **kwargs):
    await asyncio.sleep(0.001)
    return [1.0 if completion else 0.0 for completion in completions]


def everything(prompts, completions, completion_ids, trainer_state, log_extra, log_metric, **kwargs):
    log_extra("first", [text[:1] for text in completions])
    log_metric("longest", max(map(len, completions)))
    unknown = sorted(set(kwargs) - {"task", "ground_truth", "extra_info", "data_source"})
    assert not unknown, unknown
    return [trainer_state.global_step / trainer_state.max_steps + len(prompt) for prompt in prompts]


def ranked(completions, **kwargs):
    order = sorted(range(len(completions)), key=lambda i: completions[i])
    return [float(order.index(i)) for i in range(len(completions))]


def too_few(completions, **kwargs):
    return [0.0] * (len(completions) - 1)


def one_number(completions, **kwargs):
    return 1.0


def mixed(completions, **kwargs):
    values = [1, "one", float("nan"), True, 2.5, None]
    return [values[i % len(values)] for i in range(len(completions))]


def needs_solution(completions, solution, **kwargs):
    return [float(c == s) for c, s in zip(completions, solution)]


class Threshold:
    def __init__(self, length):
        self.length = length

    def __call__(self, completions, **kwargs):
        return [float(len(text) > self.length) for text in completions]


longer_than_three = Threshold(3)
