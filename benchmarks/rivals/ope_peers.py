"""Golden numbers of off-policy evaluation from the unmodified peer libraries scope-rl and obp.

Makes a small logged data set (numpy default_rng(0)), gives it to the libraries' own estimator
classes and writes inputs and outputs to peer_estimates.json beside this file; tests/peer_estimates.json is a copy.

Environment: Python 3.10, `pip install numpy==1.23.5 scipy==1.10.1 pandas==1.5.3 scikit-learn==1.1.3 matplotlib==3.7.5
seaborn==0.11.2 PyYAML tqdm==4.66.5 mypy-extensions==0.4.4 gym==0.26.2`, then `pip install --no-deps scope-rl==0.2.1
obp==0.5.7`.
torch, d3rlpy and pytorch_revgrad are only imported, never used, by the estimators: they are
stubbed below, and the script fails if a stub is touched once the imports are done.
"""

import abc
import base64
import csv
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import platform
import sys
import types
from importlib import metadata
from pathlib import Path

os.environ["MPLCONFIGDIR"] = str(Path(__file__).resolve().parent / "mplconfig")  # both import pyplot
STUBBED = ("torch", "d3rlpy", "pytorch_revgrad")
importing = True
touched_late = []


class AnythingMeta(abc.ABCMeta):
    def __getattr__(cls, name):  # dotted names, such as torch.utils.data.DataLoader
        if name.startswith("_"):
            raise AttributeError(name)
        note(f"{cls.__name__}.{name}")
        return AnythingMeta(name, (Anything,), {})


class Anything(metaclass=AnythingMeta):
    """A stand-in that can be subclassed, called, and used as a decorator at import time."""

    def __init__(self, *args, **kwargs):
        note(f"{type(self).__name__}()")

    def __call__(self, *args, **kwargs):
        note(f"{type(self).__name__}()()")
        return args[0] if args else self


def note(what):
    if not importing:
        touched_late.append(what)


class StubModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        note(f"{self.__name__}.{name}")
        value = type(name, (Anything,), {})
        setattr(self, name, value)
        return value


class StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] in STUBBED:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return StubModule(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, StubFinder())

import numpy as np  # noqa: E402
import obp.ope as obp_ope  # noqa: E402
import scope_rl.ope.discrete as srl  # noqa: E402

importing = False

N, T, A, L = 60, 5, 3, 2


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def verify_unmodified(distribution):
    """Every installed .py file of the distribution has the hash that its wheel's RECORD states."""
    dist = metadata.distribution(distribution)
    checked = 0
    for path, digest, _ in csv.reader(dist.read_text("RECORD").splitlines()):
        if not path.endswith(".py") or not digest:
            continue
        algorithm, want = digest.split("=", 1)
        data = Path(dist.locate_file(path)).read_bytes()
        got = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
        assert got == want, f"{path} differs from its wheel"
        checked += 1
    assert checked > 20, checked
    return checked


def make_inputs():
    rng = np.random.default_rng(0)
    logger = (rng.random(N) < 0.6).astype(int)  # logger 0 about 40 %, logger 1 about 60 %
    shared = rng.normal(size=(N, T, A))
    behaviour = softmax(0.4 * shared[:, :, None, :] + 0.4 * rng.normal(size=(N, T, L, A))).round(6)
    target = softmax(0.5 * shared + 0.3 * rng.normal(size=(N, T, A))).round(6)
    own = behaviour[np.arange(N), :, logger]  # [N, T, A]
    u = rng.random((N, T, 1))
    action = (u * own.sum(-1, keepdims=True) > own.cumsum(-1)).sum(-1)
    reward = rng.normal(loc=1.0, scale=1.0, size=(N, T)).round(6)
    q = (reward[:, :, None] + 0.5 * rng.normal(size=(N, T, A)) + 0.2 * np.arange(A)).round(6)
    for p in (behaviour, target):
        assert abs(p.sum(-1) - 1).max() < 1e-5 and p.min() > 0
    assert action.min() == 0 and action.max() == A - 1
    return dict(action=action, logger=logger, behaviour=behaviour, target=target, reward=reward, q=q)


def run_scope_rl(x):
    version = metadata.version("scope-rl")
    action, own = x["action"], x["behaviour"][np.arange(N), :, x["logger"]]
    pscore = np.take_along_axis(own, action[:, :, None], 2)[:, :, 0]
    flat = dict(
        step_per_trajectory=T,
        action=action.reshape(-1),
        reward=x["reward"].reshape(-1),
        pscore=pscore.reshape(-1),
        evaluation_policy_action_dist=x["target"].reshape(-1, A),
        gamma=1.0,
    )
    with_q = dict(flat, state_action_value_prediction=x["q"].reshape(-1, A))
    dm = {
        k: with_q[k] for k in ("step_per_trajectory", "evaluation_policy_action_dist", "state_action_value_prediction")
    }
    describe = dict(
        step_per_trajectory="T = 5",
        action="action flattened episode by episode to [N*T]",
        reward="reward flattened to [N*T]",
        pscore="behaviour[n, t, logger[n], action[n, t]] flattened to [N*T]",
        evaluation_policy_action_dist="target reshaped to [N*T, A]",
        gamma="1.0",
        state_action_value_prediction="q reshaped to [N*T, A]",
    )
    out = {}
    for name, kwargs in [
        ("DirectMethod", dm),
        ("TrajectoryWiseImportanceSampling", flat),
        ("PerDecisionImportanceSampling", flat),
        ("DoublyRobust", with_q),
        ("SelfNormalizedTIS", flat),
        ("SelfNormalizedPDIS", flat),
        ("SelfNormalizedDR", with_q),
    ]:
        out[name] = {
            "value": float(getattr(srl, name)().estimate_policy_value(**kwargs)),
            "library": "scope-rl",
            "version": version,
            "class": f"scope_rl.ope.discrete.{name}",
            "call": f"{name}().estimate_policy_value(...)",
            "arguments": {k: describe[k] for k in kwargs},
        }
    return out


def run_obp(x):
    version = metadata.version("obp")
    n = np.arange(N)
    action, logger = x["action"][:, 0].copy(), x["logger"]
    behaviour = x["behaviour"][:, 0]  # [N, L, A]
    share = np.bincount(logger, minlength=L) / N
    values = dict(
        reward=x["reward"][:, 0].copy(),
        action=action,
        action_dist=x["target"][:, 0][:, :, None],
        pscore=behaviour[n, logger, action],
        pscore_avg=(share[None, :, None] * behaviour).sum(1)[n, action],
        estimated_rewards_by_reg_model=x["q"][:, 0][:, :, None],
        stratum_idx=logger,
    )
    describe = dict(
        reward="reward[:, 0]",
        action="action[:, 0]",
        action_dist="target[:, 0, :, None] ([N, A, len_list=1])",
        pscore="behaviour[n, 0, logger[n], action[n, 0]]",
        pscore_avg="sum_l (n_l / N) * behaviour[n, 0, l, action[n, 0]], n_l = number of episodes of logger l",
        estimated_rewards_by_reg_model="q[:, 0, :, None]",
        stratum_idx="logger",
    )
    ips = ("reward", "action", "action_dist", "pscore")
    dr = ips + ("estimated_rewards_by_reg_model",)
    avg = ("reward", "action", "action_dist", "pscore_avg")
    out = {}
    for name, keys in [
        ("InverseProbabilityWeighting", ips),
        ("SelfNormalizedInverseProbabilityWeighting", ips),
        ("DirectMethod", ("action_dist", "estimated_rewards_by_reg_model")),
        ("DoublyRobust", dr),
        ("SelfNormalizedDoublyRobust", dr),
        ("MultiLoggersNaiveInverseProbabilityWeighting", ips),
        ("MultiLoggersBalancedInverseProbabilityWeighting", avg),
        ("MultiLoggersNaiveDoublyRobust", dr),
        ("MultiLoggersBalancedDoublyRobust", avg + ("estimated_rewards_by_reg_model",)),
        ("MultiLoggersWeightedInverseProbabilityWeighting", ips + ("stratum_idx",)),
        ("MultiLoggersWeightedDoublyRobust", dr + ("stratum_idx",)),
    ]:
        cls = getattr(obp_ope, name)
        out[name] = {
            "value": float(cls().estimate_policy_value(**{k: values[k] for k in keys})),
            "library": "obp",
            "version": version,
            "class": f"{cls.__module__}.{name}",
            "call": f"{name}().estimate_policy_value(...) on step 0 only; lambda_ left at its default (no clipping)",
            "arguments": {k: describe[k] for k in keys},
        }
    return out


def main():
    for name in ("scope-rl", "obp"):
        print(f"{name} {metadata.version(name)}: {verify_unmodified(name)} .py files as in the wheel")
    x = make_inputs()
    outputs = {"scope_rl": run_scope_rl(x), "obp": run_obp(x)}
    assert not touched_late, f"a stub was used by an estimator: {touched_late}"
    doc = {
        "about": f"N={N} episodes, T={T} steps, A={A} actions, L={L} loggers, gamma=1; made by peer_estimates.py",
        "inputs": {k: v.tolist() for k, v in x.items()},
        "outputs": outputs,
        "versions": {
            "python": platform.python_version(),
            **{p: metadata.version(p) for p in ("scope-rl", "obp", "numpy", "scipy", "pandas", "scikit-learn", "gym")},
            "stubbed": list(STUBBED),
        },
    }
    text = json.dumps(doc, separators=(",", ":"))
    assert len(text) < 120_000, len(text)
    path = Path(__file__).resolve().parent / "peer_estimates.json"
    path.write_text(text + "\n")

    own = x["behaviour"][np.arange(N), :, x["logger"]]
    take = lambda p: np.take_along_axis(p, x["action"][:, :, None], 2)[:, :, 0]  # noqa: E731
    w = (take(x["target"]) / take(own)).cumprod(1)
    print(
        "episodes per logger",
        np.bincount(x["logger"]),
        "| max weight per step",
        w.max(0).round(2),
        "| ESS per step",
        (w.sum(0) ** 2 / (w**2).sum(0)).round(1),
        "| bytes",
        len(text),
    )
    for lib, rows in outputs.items():
        for name, row in rows.items():
            print(f"{lib:9s}{name:50s}{row['value']!r}")


if __name__ == "__main__":
    main()
