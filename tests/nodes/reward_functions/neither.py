def reward(text, truth):
    return float(text == truth)


def _private(completions, **kwargs):
    return [0.0 for _ in completions]
