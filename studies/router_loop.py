"""Is what a router promises kept, and how far is that from the best, inside the frameworks that agents are written in?

The loop of `examples/routers/loop.py`, gone through in a world that is known, with each framework: traces, import,
calibrate, train, export, and the agent with the router. Weights and numbers of episodes are in that file, chosen before
the first run. `--python` is one that has the frameworks; it need not have JAX.

    python studies/router_loop.py --python /envs/frameworks/bin/python --json studies/results/router_loop.json
"""

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

from aljax.host.files import check_writable, write_json

import receipts

HERE = Path(__file__).parents[1]
FRAMEWORKS = ("langchain", "pydantic_ai", "openai_agents")


def main() -> None:
    """Runs all of it, and writes the receipt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--frameworks", nargs="+", default=FRAMEWORKS, choices=FRAMEWORKS)
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.json:
        check_writable(options.json)
    found: dict[str, Any] = {"machine": receipts.machine(), "versions": receipts.versions(()), "frameworks": {}}
    environment = {
        "ALJAX": f"{shlex.quote(sys.executable)} -m aljax",
        "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    loop = str(HERE / "examples" / "routers" / "loop.py")
    for name in options.frameworks:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "found.json"
            command = [options.python, loop, folder, "--framework", name, "--json", str(out)]
            found["frameworks"][name] = receipts.in_a_process(command, out, **environment)
        for row in found["frameworks"][name]["rows"]:
            print(name, row, flush=True)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    sys.exit(receipts.status_of(main))
