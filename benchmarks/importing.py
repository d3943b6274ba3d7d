"""Times `aljax import` on OTLP/JSON without texts, beside bare orjson over the same rows, and shows its memory.

The rows are made: traces of an agent with calls of a model and of tools, ten spans each, as a collector writes them. A
round reads the file with orjson alone and then imports it, in processes of their own. See ``benchmarks/README.md``.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aljax.host.files import check_writable, write_json

from receipts import machine, versions

SPANS, ROUNDS, EACH = 300_000, 5, 10
WORK = {
    "orjson": "for line in open(sys.argv[1], 'rb'): orjson.loads(line)",
    "import": "from aljax.logs.importing import import_traces; import_traces([sys.argv[1]], sys.argv[1] + '.log')",
}
PROGRAM = """
import sys, time, orjson
from aljax.host.memory import peak_memory
begin, busy = time.perf_counter(), time.process_time()
{work}
took = time.perf_counter() - begin, time.process_time() - busy
print(*took, peak_memory() / 2**20)
"""


def rows(spans: int) -> Iterator[bytes]:
    """Documents of OTLP/JSON, five traces each."""
    for first in range(0, spans // EACH, 5):
        found = [span for trace in range(first, first + 5) for span in of_trace(trace)]
        about = {"attributes": [{"key": "service.name", "value": {"stringValue": "desk"}}]}
        document = {"resourceSpans": [{"resource": about, "scopeSpans": [{"scope": {"name": "m"}, "spans": found}]}]}
        yield json.dumps(document, separators=(",", ":")).encode() + b"\n"


def of_trace(trace: int) -> Iterator[dict[str, Any]]:
    """A trace: an agent's span, then a turn of the model's and a call of a tool by turns."""
    began = 1_700_000_000 * 10**9 + trace * 60 * 10**9
    for n in range(EACH):
        sort = "invoke_agent" if n == 0 else "chat" if n % 2 else "execute_tool"
        about: dict[str, Any] = {
            "gen_ai.operation.name": sort, "gen_ai.agent.name": "desk", "gen_ai.conversation.id": f"talk-{trace}",
            "gen_ai.provider.name": "openai", "server.address": "api.openai.com",
        }  # fmt: skip
        if sort == "chat":
            about |= {
                "gen_ai.request.model": "m-1",
                "gen_ai.response.model": "m-1-2026",
                "gen_ai.response.id": f"r{trace}-{n}",
            }
        elif n:
            about |= {
                "gen_ai.tool.name": f"tool_{n}",
                "gen_ai.tool.call.id": f"call_{trace}_{n}",
                "gen_ai.tool.type": "function",
            }
        pairs = [{"key": key, "value": {"stringValue": value}} for key, value in about.items()]
        if sort == "chat":
            for key in ("input", "output"):
                pairs.append({"key": f"gen_ai.usage.{key}_tokens", "value": {"intValue": str(100 + n)}})
        span = {
            "traceId": f"{trace + 1:032x}", "spanId": f"{trace * EACH + n + 1:016x}", "name": f"{sort} x", "kind": 1,
            "startTimeUnixNano": str(began + n * 10**9), "endTimeUnixNano": str(began + (n + 1) * 10**9 - 1),
            "attributes": pairs, "status": {"code": 2, "message": "ValueError: x"} if n == 4 else {},
        }  # fmt: skip
        yield span if n == 0 else span | {"parentSpanId": f"{trace * EACH + 1:016x}"}


def measure(spans: int, rounds: int) -> dict[str, Any]:
    """Wall and processor seconds and MiB of memory at most, by what was done, a round each."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in WORK}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spans.jsonl"
        with path.open("wb") as file:
            file.writelines(rows(spans))
        size = path.stat().st_size
        for _ in range(rounds):
            for name, work in WORK.items():
                command = [sys.executable, "-c", PROGRAM.format(work=work), str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[name].append(tuple(map(float, done.stdout.split())))
    return {
        "spans": spans,
        "bytes": size,
        "rounds": {name: [list(took) for took in each] for name, each in found.items()},
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=SPANS, help="spans of the file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="times that it is read (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the receipt there")
    chosen = parser.parse_args()
    if chosen.json is not None:
        check_writable(chosen.json)
    where = machine()
    found = measure(chosen.spans, chosen.rounds)
    print(f"{found['spans']:,} spans, {found['bytes'] / 1e6:,.0f} MB")
    for name, each in found["rounds"].items():
        wall, busy, memory = (statistics.median(took[n] for took in each) for n in range(3))
        rates = f"{found['spans'] / wall:10,.0f} spans/s, {found['spans'] / busy:10,.0f} a processor second"
        print(f"{name:8} {wall:6.2f} s {rates}, {memory:5.0f} MiB")
    if chosen.json is not None:
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json(chosen.json, {"date": date, "machine": where, "versions": versions(())} | found)


if __name__ == "__main__":
    main()
