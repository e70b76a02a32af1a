"""What verl's GSM8K scorer looks like: no data_source, options with defaults."""
import re

NUMBER = re.compile(r"#### (-?[\d.,]+)")


def last_number(text, method):
    if method == "strict":
        found = NUMBER.findall(text)
    else:
        found = [word for word in re.findall(r"-?[\d.,]+", text) if word not in ("", ".")]
    return found[-1].replace(",", "") if found else None


def compute_score(solution_str, ground_truth, method="strict", format_score=0.0, score=1.0):
    answer = last_number(solution_str, method)
    if answer is None:
        return 0
    return score if answer == ground_truth else format_score
