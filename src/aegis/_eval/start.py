"""Starting a run: from a request to a job, and what the ledger keeps of it."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from typing import Any

from aegis._eval import against, changed, prepare
from aegis._eval.against import Comparing
from aegis._eval.gitinfo import git_info
from aegis._eval.images import image_identity
from aegis._eval.network import make_network, resolve_suite
from aegis._eval.outcome import EvalResult
from aegis._eval.outputs import Outputs
from aegis._eval.prepare import LEDGER_FOLDER, Prepared, Source
from aegis._eval.replay import find_run
from aegis._eval.request import RunRequest
from aegis._eval.session import Job, Setting, execute, new_run_id, utc_now
from aegis._version import __version__
from aegis.baseline.found import Wanted
from aegis.engine import fingerprint as fingerprints
from aegis.engine.clocks import refuse_without_machines
from aegis.engine.resolve import Resolved
from aegis.results import Ledger, RunRecord
from aegis.sandbox.base import DriverInfo


async def start(request: RunRequest, outputs: Outputs, *, show: bool, handle_signals: bool) -> EvalResult:
    """Prepare the run, execute it, conclude it. Raises like `aegis.eval.run`."""
    request.check()
    outputs.check()
    source = prepare.find(request)
    failed = prepare.failed_before(request, source)
    planned, seed = prepare.choose(request, source.suite, failed)
    refuse_without_machines(source.suite, planned, request.isolation)
    resolved = resolve_suite(source.suite, replay=request.replay is not None)
    root = source.project.root
    with closing(Ledger(root / LEDGER_FOLDER)) as ledger:
        replay_of = None
        if request.replay is not None:
            replay_of = find_run(ledger, request.replay, source.suite.suite).run_id
        prepared = prepare.read_files(source, ledger.blobs, request.timeout_s)
        run_id = new_run_id()
        environment = fingerprints.environment(
            source.suite, isolation=request.isolation, network=resolved.describe()
        )
        wanted = Wanted(source.suite.suite, environment, run_id)
        baseline = against.look_up(request, wanted, root=root, ledger=ledger)
        order, notes = changed.order(request, source, prepared, planned, seed, ledger)
        setting = Setting(
            isolation=request.isolation,
            vmm=request.vmm,
            require_kvm=request.require_kvm,
            jobs=request.jobs,
            retries=request.retries,
            seed=seed,
            record=request.record,
            replay_of=replay_of,
            keep=request.keep,
        )

        def begin(info: DriverInfo) -> None:
            config = _config(request, source, prepared, resolved, setting, ledger, info)
            config["environment"] = environment
            config["baseline"] = baseline
            config["cases"] = ledger.blobs.put(prepare.cases_kept(prepared, planned))
            config["selected"] = len({trial.case for trial in planned}) < len(source.suite.cases)
            config["refused"] = prepare.refused(source.suite, planned)
            config["own_oracles"] = prepare.own_oracles(source.suite)
            record = RunRecord(run_id, source.suite.suite, "running", config["started_at"], config)
            ledger.create_run(record, planned)

        job = Job(
            run_id=run_id,
            root=root,
            prepared=prepared,
            plan=order,
            setting=setting,
            ledger=ledger,
            network=make_network(resolved, prepared, planned, setting, ledger, root),
            base=source.path.parent,
            begin=begin,
            comparing=None if baseline is None else Comparing(ledger, baseline),
            whole=Counter((trial.case, trial.variant) for trial in planned),
        )
        notes = (*against.lines(baseline, ledger), *notes)
        return await execute(job, outputs, show=show, handle_signals=handle_signals, notes=notes)


def _config(
    request: RunRequest,
    source: Source,
    prepared: Prepared,
    resolved: Resolved,
    setting: Setting,
    ledger: Ledger,
    info: DriverInfo,
) -> dict[str, Any]:
    """What the ledger keeps of a run; the suite itself is a blob, as it may be large."""
    image = image_identity(setting.isolation, prepared.recipe.image, source.project.root)
    content = json.dumps(prepared.to_json(), separators=(",", ":")).encode("ascii")
    return {
        "content": ledger.blobs.put(content),
        "suite_path": str(source.path),
        "requested": {
            "isolation": setting.isolation,
            "vmm": setting.vmm,
            "require_kvm": setting.require_kvm,
            "jobs": setting.jobs,
            "retries": setting.retries,
            "record": setting.record,
            "keep": setting.keep.to_json(),
        },
        "replay_of": setting.replay_of,
        "recorded": setting.record,
        "network": {**resolved.describe(), "secrets_missing": list(resolved.missing)},
        "env": dict(request.env),
        "fail_under": request.threshold,
        "version": __version__,
        "seed": setting.seed,
        "isolation": {
            "driver": info.driver,
            "accel": info.accel,
            "security_boundary": info.security_boundary,
            "isolated_state": info.isolated_state,
            "version": info.version,
        },
        "git": git_info(source.project.root),
        "fingerprint": fingerprints.fingerprint(
            source.suite,
            prepared.files,
            image=image,
            isolation=setting.isolation,
            network=resolved.describe(),
        ),
        "started_at": utc_now(),
    }
