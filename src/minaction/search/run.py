"""Running a search: the candidates, the front again with other seeds, the network it chooses."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from minaction.errors import InfeasibleStudyError
from minaction.search.directory import SEARCH_NAME, chosen_directory, open_search_directory
from minaction.search.evaluations import Evaluations
from minaction.search.feasible import left_out_of
from minaction.search.front import (
    TRIAL_SEED,
    Member,
    chosen_of,
    confirmed_front,
    first_front,
    to_confirm,
    tried,
)
from minaction.search.propose import Proposer, require_optuna, search_space
from minaction.search.search_file import Search
from minaction.search.space import Architecture, architectures, count_candidates
from minaction.study.choose_execution import require_means
from minaction.study.design import run_id
from minaction.study.directory import remove_unbegun_study
from minaction.study.driver import Listener, executor_for, run_study
from minaction.study.execute_ray import RayCluster
from minaction.study.journal import Journal, Record
from minaction.study.study_file import Analysis, Execution, Factors, Header, Study, Train


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a call of `run_search` did.

    Attributes:
        ran: Runs done in this call.
        failed: Those that failed; a resume tries them again.
        chosen: The network that was chosen, None where no candidate is on a front.
    """

    ran: int
    failed: int
    chosen: Member | None


def run_search(
    search: Search,
    directory: str | Path,
    listener: Listener,
    *,
    workers: int | None = None,
    data_dir: str | None = None,
    cluster: RayCluster | None = None,
) -> Outcome:
    """Run what is left of a search, in local processes or in a Ray cluster.

    The sampler is built anew from the journal: it proposes what it proposed before, of which the
    records are there, and goes on from where they end. So a search that was stopped ends as one
    that was not, and the number of workers plays no part either.

    Args:
        search: What to run.
        directory: Where its journal is or will be.
        listener: Told what happens.
        workers: Runs done at once; None for one a CPU, or as many as the cluster can do.
        data_dir: Where data sets are looked for first.
        cluster: The Ray cluster that does the runs, None for this machine's processes.

    Raises:
        InfeasibleStudyError: No network of the space can be tried, or latency cannot be measured.
        InputError: optuna is not installed.
        StudyFileError: The search asks for compilation and there is no compiler.
        StudyDirectoryError: The directory holds another search or is in use.
        DataFileError: A data set is missing or damaged.
        JournalError: The journal cannot be read.
        StorageError: The disk refused a write; finished runs are kept.
        ClusterError: The Ray cluster cannot be joined, or does not fit.
        MinActionError: Workers cannot be started, or the cluster was lost.
    """
    require_optuna()
    directory, crossing, terms = Path(directory), search.crossing, search.search
    require_means(crossing, data_dir, listener.note)
    open_search_directory(directory, search)
    datasets = search.space.dataset
    start = functools.partial(
        executor_for, terms.evaluations, datasets, workers, cluster, data_dir, listener.note
    )
    with (
        Journal(directory) as journal,
        Evaluations(search, directory, journal, start, listener) as evaluate,
    ):
        try:
            left_out = left_out_of(evaluate.problems)
        except InfeasibleStudyError:
            remove_unbegun_study(directory, SEARCH_NAME)
            raise
        _explore(search, evaluate, left_out, listener)
        wanted = to_confirm(search, first_front(search, evaluate.records.values()))
        if wanted:
            listener.started(len(wanted), sum(run_id(one) in evaluate.records for one in wanted))
            evaluate(wanted)
    front = confirmed_front(search, list(evaluate.records.values()))
    if front is None:
        return Outcome(ran=evaluate.ran, failed=evaluate.failed, chosen=None)
    chosen = chosen_of(search, front)
    study = chosen_study(search, chosen.tried)
    last = run_study(
        study,
        chosen_directory(directory, chosen.tried.run_id),
        listener,
        workers=workers,
        data_dir=data_dir,
        fleet="off",
        cluster=cluster,
    )
    return Outcome(ran=evaluate.ran + last.ran, failed=evaluate.failed + last.failed, chosen=chosen)


def _explore(
    search: Search, evaluate: Evaluations, left_out: Collection[Architecture], listener: Listener
) -> None:
    """Try as many candidates as the search file asks for, or as there are."""
    crossing, terms = search.crossing, search.search
    if left_out:
        listener.note(
            f"{len(left_out)} of {len(architectures(crossing))} architectures cannot be tried, as "
            f"{evaluate.problems[0]['reason']}"
        )
    evaluations = min(terms.evaluations, count_candidates(crossing, left_out))
    if evaluations < terms.evaluations:
        listener.note(f"there are only {evaluations} candidates; all of them are tried")
    proposer = Proposer(
        crossing,
        terms.objectives,
        terms.sampler,
        seed=terms.seed,
        evaluations=evaluations,
        tried_with=TRIAL_SEED,
        left_out=left_out,
    )
    listener.started(evaluations, len(tried(evaluate.records.values())))
    search_space(proposer, evaluate, evaluations=evaluations, batch=terms.batch)


def chosen_study(search: Search, record: Record) -> Study:
    """Return the study that trains the chosen network and reads the test split.

    Args:
        search: The search file.
        record: A record of the network; its arithmetic is that of the study.
    """
    given, train = record.config, search.train
    execution = record.provenance["execution"]
    return Study(
        study=Header(name=f"{search.name}-chosen", seeds=search.search.final_seeds),
        factors=Factors(
            **{key: given[key] for key in Factors.model_fields if key in given and key != "epochs"}
        ),
        train=Train(
            **{key: given[key] for key in ("epochs", "steps", "validate_every") if key in given},
            proximal="proximal" in given,
            save_weights=train.save_weights,
        ),
        execution=Execution(**{key: execution[key] for key in Execution.model_fields}),
        analysis=Analysis(margin=search.search.margin),
    )
