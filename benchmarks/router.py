"""Times a router's decisions and its loading, beside ONNX Runtime and NumPy on the same weights.

The network has 21 inputs, 64 tanh units and 6 outputs. A decision of the router is all that an agent waits for:
bookkeeping, features, network, probabilities, what is offered. The rivals are given the features and return logits.
Decisions of the three take turns, so that whatever else the machine does meets all of them. See
``benchmarks/README.md``.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax.host.files import check_writable, write_json
from aljax.networks.inputs import architecture_of
from aljax.options import TrainConfig
from aljax.policy import learned_of
from aljax.router import Router
from aljax.routing.export import Settings, router_text
from aljax.scenario import parse_scenario

from receipts import machine, versions

ROWS = COORDINATES = 6
HIDDEN = 64


def scenario_text() -> str:
    """Six tools, each with a coordinate of its own that nobody sees, as calibrated scenarios have them."""
    head = f"""
title = "Six tools"
coordinates = [{", ".join(f'"c{n}"' for n in range(COORDINATES))}]
horizon = 20
blind = true
auto_end = false
start_low = 0.0
start_high = 2.0
tolerance = 0.5
tolerance_low = inf

[weights]
latency = 0.05
money = 1.0
violation = 4.0
failure = 0.5
divergence = 0.0
"""
    return head + "".join(
        f"\n[actions.tool{n}]\nlatency = {1 + n}.0\nmoney = 0.01\nfailure = 0.1\nafter_failed = 0.4\n"
        f"shift = {{ c{n} = -1.0 }}\n"
        for n in range(ROWS)
    )


def rivals(weights: dict[str, Any]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The network by NumPy and, where it is installed, by ONNX Runtime, on one thread."""
    first, last = weights["Dense_0"], weights["Dense_1"]
    a, b, c, d = (np.asarray(layer[key], np.float32) for layer in (first, last) for key in ("kernel", "bias"))
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {"numpy": lambda x: np.tanh(x @ a + b) @ c + d}
    try:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return found
    nodes = [
        helper.make_node("Gemm", ["x", "a", "b"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "c", "d"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, a.shape[0]])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, c.shape[1]])
    weights_of = [numpy_helper.from_array(value, name) for name, value in zip("abcd", (a, b, c, d), strict=True)]
    graph = helper.make_graph(nodes, "policy", [given], [gives], weights_of)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return found | {"onnxruntime": lambda x: session.run(None, {"x": x[None]})[0][0]}


def figures(seconds: list[float]) -> dict[str, float]:
    """Microseconds."""
    p50, p99, worst = 1e6 * np.percentile(seconds, [50, 99, 100])
    return {"p50_us": round(float(p50), 1), "p99_us": round(float(p99), 1), "worst_us": round(float(worst), 1)}


def main() -> None:
    """Times, compares, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.json:
        check_writable(options.json)
    found: dict[str, Any] = {"machine": machine(), "versions": versions(("onnx", "onnxruntime"))}
    scenario = parse_scenario(scenario_text(), name="six_tools", where="six_tools.toml")
    config = TrainConfig(hidden=(HIDDEN,))
    inputs = 2 * COORDINATES + 3 + ROWS
    policy = learned_of(config, scenario.params, architecture_of(config, ROWS).init(jax.random.key(0), inputs))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "router.json"
        path.write_bytes(router_text(scenario, policy, Settings(), about={}))
        loads = []
        for _ in range(200):
            begin = time.perf_counter()
            router = Router.load(path)
            loads.append(time.perf_counter() - begin)
        found["kibibytes"] = round(path.stat().st_size / 1024)
    others = rivals(policy.variables["params"])
    spent: dict[str, list[float]] = {"decision": [], "record": [], "network": []} | {name: [] for name in others}
    differences = dict.fromkeys(others, 0.0)
    rng = np.random.default_rng(0)
    while len(spent["decision"]) < options.decisions:
        episode = router.start()
        for _ in range(20):
            begin = time.perf_counter()
            choice = episode.choose()
            ended = time.perf_counter()
            spent["decision"].append(ended - begin)
            begin = time.perf_counter()
            logits = episode._book.logits()
            spent["network"].append(time.perf_counter() - begin)
            x = np.asarray(episode._book.features(), np.float32)
            for name, network in others.items():
                begin = time.perf_counter()
                given = network(x)
                spent[name].append(time.perf_counter() - begin)
                differences[name] = max(differences[name], float(np.abs(given - logits).max()))
            begin = time.perf_counter()
            episode.record(choice.action or "", ok=bool(rng.random() < 0.8), seconds=1.0, dollars=0.01)
            spent["record"].append(time.perf_counter() - begin)
    found |= {
        "network": [inputs, HIDDEN, ROWS],
        "decisions": len(spent["decision"]),
        "loading": figures(loads),
        "what": {name: figures(seconds) for name, seconds in spent.items()},
        "largest_difference_of_logits": differences,
    }
    for name, value in {"loading": found["loading"], **found["what"]}.items():
        print(f"{name:12} {value}")
    print(differences)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
