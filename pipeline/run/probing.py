"""The first phase of a run: sources that no run has seen are probed."""

import pyarrow as pa

from dataset.ledger import next_source_order, sources_part
from dataset.parts.each import apply_each
from dataset.parts.listing import list_parts, replacing
from dataset.parts.part_file import read_part
from dataset.parts.tables import FACTS, SOURCES, join, write_part
from pipeline.graph.executor import SOURCES_A_TASK, ProbePass
from pipeline.planning.plan import Plan
from pipeline.planning.to_probe import SOURCE, SourcesToProbe
from pipeline.run.context import RunContext

PARTS_A_MERGE = 1024  # each of at most SOURCES_A_TASK sources


def probe_sources(context: RunContext, plan: Plan) -> SourcesToProbe:
    """Probe the unprobed sources of a plan; returns them."""
    sources = plan.sources_to_probe
    if not sources:
        return sources
    order, before = next_source_order(context.dataset), set(_parts(context))
    table = pa.concat_tables(sources.tables())
    with context.work_file("sources", SOURCE, SOURCES_A_TASK) as work:
        for first in range(0, table.num_rows, SOURCES_A_TASK):  # a task reads its part, not all sources
            work.add(table.slice(first, SOURCES_A_TASK))
    job = ProbePass(work.uri, work.rows, context.lock.fence, context.recipe.decode, order)
    for _ in context.executor.probe(job):
        context.lock.check()
    work.delete()
    _merge(context, sorted(set(_parts(context)) - before), sources, order)
    return sources


def _parts(context: RunContext) -> list[str]:
    (names,) = list_parts(context.dataset, ("sources",)).values()
    return names


def _merge(context: RunContext, parts: list[str], sources: SourcesToProbe, order: int) -> None:
    """Turn the parts of the probe's tasks into few, as larger tasks would have written: every plan opens all parts."""
    folder = context.dataset / "sources"
    first_uris = apply_each(folder, lambda name: read_part(folder, name, ["uri"]).column(0)[0].as_py(), parts)
    by_uri = dict(zip(first_uris, parts, strict=True))
    parts = [by_uri[uri] for uri in sources if uri in by_uri]
    for first in range(0, len(parts), PARTS_A_MERGE):
        some = parts[first : first + PARTS_A_MERGE]
        if len(some) == 1:
            continue
        table = join(apply_each(folder, lambda name: read_part(folder, name), some), SOURCES)
        name = sources_part(order, table.column("uri").to_pylist())
        old = [f"sources/{part}" for part in some]
        with replacing(context.dataset, [f"sources/{name}"], old, context.lock.fence.check):
            write_part(folder, name, table, FACTS, {"kind": "sources", "order": str(order)})
