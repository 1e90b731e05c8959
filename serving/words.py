"""Names of the code in words: variables, features, rules, kinds of file, actions of the audit."""

from __future__ import annotations

from lakehouse.stage import Stage
from lakehouse.stage_sections import Variable
from ml.use.reasons import key_of
from serving.texts import Texts


def variable_words(variable: Variable, t: Texts) -> str:
    """Return a variable's name as the stage file gives it for this language, else its column."""
    named = variable.names
    return named.get(t.language) or named.get("en") or variable.name.replace("_", " ")


def feature_words(name: str, stage: Stage, t: Texts) -> str:
    """Return a feature in words, with its unit: `voltage_q05` is Voltage: low end [V].

    A feature is a statistic of one variable, or of all together. A name that is neither stays.
    """
    if (whole := f"feature.{name}") in t.sentences:
        return t(whole)
    for variable in sorted(stage.variables, key=lambda one: -len(one.name)):
        statistic = name.removeprefix(f"{variable.name}_")
        if statistic != name and (key := f"feature.of_{statistic}") in t.sentences:
            return t(key, variable=variable_words(variable, t), unit=variable.unit)
    return name


def rule_words(rule: str, t: Texts) -> str:
    """Return what a rule of a row, a file or a photo says; an unknown rule stays."""
    for key in (f"rule.{rule}", f"fault.{rule}"):
        if "{" not in t.sentences.get(key, "{"):
            return t(key)
    return rule


def reason_words(reason: str, stage: Stage, t: Texts) -> str:
    """Return in words why a person must decide: `unlike: ph_mean 9 > 2.4` names the feature.

    A reason without a known key stays.
    """
    if not (key := key_of(reason)):
        return reason
    named = {variable.name: variable_words(variable, t) for variable in stage.variables}
    parts = []
    for part in filter(None, reason.partition(": ")[2].split(", ")):
        name, *rest = part.split(" ")
        parts.append(" ".join([named.get(name) or feature_words(name, stage, t), *rest]))
    return t(f"reason.{key}") + (f" ({', '.join(parts)})" if parts else "")


def word_of(group: str, name: str, t: Texts) -> str:
    """Return the text of this name in a group of the texts; an unknown name stays."""
    key = f"{group}.{name.replace(' ', '_').replace(chr(39), '')}"
    return t(key) if key in t.sentences else name
