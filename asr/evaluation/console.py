"""Shows an evaluation on the console: rates, commands, confusions, and what could not be scored."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asr.evaluation.breakdown import by_condition, score_by
from asr.evaluation.groups import GroupScore
from asr.evaluation.report import Evaluation
from asr.understanding.acceptance import NUM_SHOWN as NUM_CONDITIONS

NUM_SHOWN = 10  # rows of each table on the console


def show(console: Console, evaluation: Evaluation, folder: Path, *, in_full: bool) -> None:
    """Prints the figures, and the failures last, where they are seen. Commands are shown only `in_full`."""
    if evaluation.understanding is not None and in_full:
        _show_understanding(console, evaluation)
    # Labels of commands often come without transcripts.
    if evaluation.understanding is None or evaluation.has_transcripts:
        _show_rates(console, evaluation)
    if evaluation.confusions:
        console.print("most confused words", style="italic")
    for confusion in evaluation.confusions[:NUM_SHOWN]:
        console.print(
            f"  {confusion.count:4d} x {confusion.reference} heard as {confusion.hypothesis}", highlight=False
        )
    for fault in evaluation.form_faults:
        console.print(f"warning: the references hold {fault.line}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False, markup=False)
    for failure in evaluation.failures:
        console.print(f"not scored: {failure.id}: {failure.error}", style="red", soft_wrap=True, markup=False)


def _show_rates(console: Console, evaluation: Evaluation) -> None:
    """Prints WER and CER, of all and of the worst speakers and transcripts."""
    table = Table(
        "", "rate", "95 % interval", "sub", "del", "ins", "of", title=f"{evaluation.run} on {evaluation.manifest}"
    )
    if evaluation.normalized:
        table.caption = "references and transcripts normalised: lower case, no punctuation"
    for name, group, interval in (
        ("WER", evaluation.words, evaluation.word_interval),
        ("CER", evaluation.characters, evaluation.character_interval),
    ):
        counts = group.counts
        edits = (counts.substitutions, counts.deletions, counts.insertions, counts.reference_length)
        between = f"{interval.low:.2%} to {interval.high:.2%}"
        table.add_row(name, f"{counts.rate:.2%}", between, *(f"{number:,}" for number in edits))
    console.print(table)
    if (found := evaluation.hallucinated) is not None:
        console.print(
            f"{found.num_words:,} words hallucinated in {found.minutes:.1f} min in which nothing is said: "
            f"{found.words_a_minute:.2f} a minute",
            highlight=False,
        )
    right, number = evaluation.words.num_exact, evaluation.words.num_utterances
    console.print(f"{right:,} of {number:,} utterances without an error ({right / number:.2%})", highlight=False)
    for title, groups in (("speakers", evaluation.speakers), ("commands", evaluation.commands)):
        _show_groups(console, title, groups)


def _show_understanding(console: Console, evaluation: Evaluation) -> None:
    """Prints acceptance first, then intents, slots, false accepts, and the commands under each condition."""
    understanding = evaluation.understanding
    assert understanding is not None
    rows = {
        "accepted (intent and all slots right)": understanding.accepted,
        "right, before any is rejected": understanding.guessed,
        "understood, rightly or wrongly": understanding.understood,
        "intents right": understanding.intents,
        "slots right": understanding.all_slots,
        **{f"  {slot}": share for slot, share in understanding.slots.items()},
        f"false accepts in {understanding.other_hours:.2f} h": understanding.false_accepts,
    }
    conditions = score_by(evaluation.judged, by_condition)
    if 1 < len(conditions) <= NUM_CONDITIONS:
        rows |= {f"accepted, {name}": score.accepted for name, score in conditions.items()}
    title = f"{evaluation.run} on {evaluation.manifest}"
    table = Table("commands", "number", "of", "share", title=None if evaluation.has_transcripts else title)
    for name, share in rows.items():
        if share.total:
            table.add_row(escape(name), f"{share.number:,}", f"{share.total:,}", f"{share.rate:.1%}")
    console.print(table)


def _show_groups(console: Console, title: str, groups: dict[str, GroupScore]) -> None:
    """Prints the groups with the highest WER."""
    if not groups:
        return
    worst = sorted(groups.items(), key=lambda item: (-item[1].counts.rate, item[0]))[:NUM_SHOWN]
    table = Table(
        title, "utterances", "right", "WER", title=f"{title}, the worst first ({len(worst)} of {len(groups)})"
    )
    for name, group in worst:
        table.add_row(escape(name), str(group.num_utterances), str(group.num_exact), f"{group.counts.rate:.2%}")
    console.print(table)
