"""The loop, closed by commands: an agent's traces, a scenario, a policy, a router, and the same agent with the router.

    python loop.py FOLDER

The agent is one of the OpenAI Agents SDK with a scripted model, no network; its tools fail as written in WORLD, and a
clock of its own makes hours pass in seconds. Needs the extra openai-agents; the variable ALJAX says how the command is
called where it is not `aljax`.
"""

import asyncio
import dataclasses
import json
import os
import random
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from aljax.integrations.openai_agents import routed
from aljax.router import Router

from agents import (
    Agent,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    TracingProcessor,
    Usage,
    function_tool,
    generation_span,
    set_trace_processors,
)
from agents.tracing import get_trace_provider

TURN = 0.5
"""Seconds that the model takes to decide."""
WORLD = {"search": (1.0, 0.2, 0.05, 0.9), "update": (3.0, 0.1, 0.1, 0.3)}
"""A tool's seconds, and how often it fails at first, after it worked, after it failed."""
WEIGHTS = {"latency": 0.1, "violation": 1.0, "failure": 0.2}
TASKS, RUNS, PATIENCE = 60, 10, 6


class Office:
    """A task under way: the tools, what it still needs, and the clock."""

    def __init__(self, seed: int, needs: dict[str, int]) -> None:
        """Begins a task that needs so many calls of each tool to work."""
        self.rng, self.left, self.now, self.failures = random.Random(seed), dict(needs), 0.0, 0
        self.status = dict.fromkeys(WORLD, 1)

    def tools(self) -> list:
        """The agent's."""

        def tool(name: str):
            def call() -> str:
                seconds, *rates = WORLD[name]
                self.now += seconds
                failed = self.rng.random() < rates[self.status[name] - 1]
                self.status[name], self.failures = 3 if failed else 2, self.failures + failed
                if failed:
                    raise ConnectionError(name)
                self.left[name] -= 1
                return "done"

            return function_tool(call, name_override=name)

        return [tool(name) for name in WORLD]

    def cost(self) -> float:
        """What the run has cost; a need that is not met is a unit of violation, half a unit of it is tolerated."""
        missing = sum(max(left - 0.5, 0.0) for left in self.left.values())
        return WEIGHTS["latency"] * self.now + WEIGHTS["failure"] * self.failures + WEIGHTS["violation"] * missing


@dataclasses.dataclass
class Clerk(Model):
    """The scripted model: does what is needed, tries again what failed; goes by the router where it is told to."""

    office: Office
    routed: bool
    turns: int = 0

    async def get_response(self, system_instructions, input, model_settings, tools, *_, **__):
        """One turn."""
        with generation_span(model="scripted"):  # as models of the SDK's own do
            self.office.now += TURN
        self.turns += 1
        todo = [name for name, left in self.office.left.items() if left > 0]
        name = model_settings.tool_choice if self.routed else next(iter(todo), None)
        if name is None or (not self.routed and self.turns > PATIENCE):
            text = ResponseOutputText(text="Done.", type="output_text", annotations=[])
            said = ResponseOutputMessage(id="m", role="assistant", status="completed", type="message", content=[text])
        else:
            said = ResponseFunctionToolCall(type="function_call", call_id=str(self.turns), name=name, arguments="{}")
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *_, **__):
        """Not needed here."""
        raise NotImplementedError


class ToFile(TracingProcessor):
    """Writes what the SDK would send to its dashboard."""

    def __init__(self, path: Path) -> None:
        """Of the file."""
        self.file = path.open("w", encoding="utf-8")

    def on_trace_start(self, trace):
        """Nothing yet."""

    def on_span_start(self, span):
        """Nothing yet."""

    def on_trace_end(self, trace):
        """A line."""
        self.file.write(json.dumps(trace.export()) + "\n")

    on_span_end = on_trace_end

    def shutdown(self):
        """No more."""
        self.file.close()

    def force_flush(self):
        """Whole lines."""
        self.file.flush()


def needs_of(task: int) -> dict[str, int]:
    """What a task needs."""
    return {"search": 1 + task % 2, "update": task % 3 // 2}


def played(seed: int, router: Router | None = None) -> float:
    """One run of the agent; its cost."""
    task = seed % TASKS
    office = Office(seed, needs_of(task))
    get_trace_provider().time_iso = lambda: datetime.fromtimestamp(1e9 + 1e4 * seed + office.now, UTC).isoformat()
    agent = Agent("clerk", model=Clerk(office, router is not None), tools=office.tools())
    config = RunConfig(trace_metadata={"task": f"task {task}"}, tracing_disabled=router is not None)
    if router is None:
        asyncio.run(Runner.run(agent, "Go", run_config=config, max_turns=50))
    else:
        options = {"mode": "force", "clock": lambda: office.now, "task": f"task {task}"}
        asyncio.run(routed(agent, router, run_config=config, **options).run("Go", max_turns=50))
    return office.cost()


def aljax(*words: object) -> None:
    """A command."""
    subprocess.run([*shlex.split(os.environ.get("ALJAX", "aljax")), *map(str, words)], check=True)


def mean(costs: list[float]) -> str:
    """With its standard error."""
    middle = sum(costs) / len(costs)
    spread = (sum((cost - middle) ** 2 for cost in costs) / len(costs)) ** 0.5
    return f"{middle:.3f} ± {spread / len(costs) ** 0.5:.3f}"


def main() -> None:
    """All of it."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    traces, log, scenario = folder / "traces.jsonl", folder / "agent.jsonl", folder / "office.toml"
    processor = ToFile(traces)
    set_trace_processors([processor])
    before = [played(seed) for seed in range(TASKS * RUNS)]
    processor.shutdown()
    weights = ",".join(f"{name}={value}" for name, value in WEIGHTS.items())
    aljax("import", traces, "--task", "task", "--out", log, "--overwrite")
    aljax(
        "calibrate", log, "--out", scenario, "--weights", weights + ",money=0,divergence=0", "--overwrite", "--no-plots"
    )
    aljax("train", "--scenario", scenario, "--seeds", 2, "--out", folder / "run", "--overwrite", "--no-plots")
    aljax("export", folder / "run", "--out", folder / "router", "--overwrite")
    set_trace_processors([])
    router = Router.load(folder / "router" / "router.json", log=folder / "router.jsonl")
    after = [played(seed, router) for seed in range(10_000, 10_500)]
    print(f"the agent alone costs {mean(before)} a task, with the router {mean(after)};")
    print(f"the simulator promised {router.data['promise']['cost']:.3f}")


if __name__ == "__main__":
    main()
