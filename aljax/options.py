"""What users set, as data: the options of training, of its protocol, of learning and estimating from logs.

Nothing here needs JAX, so that the command line can show its help without loading it. The numbers that are traced
become pytrees where they are used (`aljax.train`, `aljax.offline.learn`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Baseline = Literal["none", "running", "batch", "leave_one_out", "critic"]
Schedule = Literal["constant", "linear", "cosine"]
Gradient = Literal["sampled", "all_rows"]
Curriculum = Literal["none", "nearer"]
Environments = Literal["point", "posterior"]
PolicyName = Literal["mlp", "gru"]
InputsName = Literal["observation", "belief", "told"]
Algorithm = Literal["imitation", "cost_sensitive", "fitted_q", "cql", "gradient"]
SUPERVISED: tuple[Algorithm, ...] = ("imitation", "cost_sensitive")
OFFLINE: tuple[Algorithm, ...] = ("fitted_q", "cql", "gradient")
RegimeName = Literal["online", "supervised", "offline"]
Objective = Literal["mean", "cvar"]


SHAPE = ("policy", "inputs", "hidden")
"""What says what a policy's network is like, of `TrainConfig` and of `LearnConfig`."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The shape of a training run. Static: a new value of any field compiles anew."""

    episodes: int = 12_000
    """Episodes to train on, in whole batches."""
    batch: int = 30
    """Episodes an update."""
    policy: PolicyName = "mlp"
    """The policy's network, and the critic's: mlp sees each observation by itself; gru, recurrent, remembers what the
    episode has shown so far."""
    inputs: InputsName = "observation"
    """What they are shown: the observation; belief: besides, for every row, the probability that it is up, given what
    the episode has shown; told: which rows are up, which no agent sees, as a yardstick for what memory could gain."""
    hidden: tuple[int, ...] = (64,)
    """Units of the hidden layers of the policy network, and of the critic; the last ones of a gru are recurrent."""
    baseline: Baseline = "critic"
    """What is subtracted from a step's cost to go: none; running: an exponential average over past updates (the
    paper's); batch: the mean over this batch's episodes at the same step; leave_one_out: that mean over the
    *other* episodes; critic: a learned value of the observation."""
    gradient: Gradient = "sampled"
    """What the policy's gradient is made of: sampled, the rows that were played (REINFORCE, the paper's); all_rows:
    every row at every step, by what the simulator and the critic say one step ahead, and of the row played what came
    otherwise. The second is planning with the model; it needs a critic."""
    curriculum: Curriculum = "none"
    """From where episodes of training start: none, from where the scenario says; nearer: a share of them from nearer to
    what is asked, the task vector times √u, u uniform on [0, 1]. So what pays only at the end of many steps that do not
    is found from its end. The share falls linearly to 0 over the run."""
    environments: Environments = "point"
    """Where training plays: point, in the environment of the scenario's numbers; posterior: in a new one every episode,
    whose numbers are drawn from the intervals that the scenario's file has for those that are not known for certain."""
    replays: int = 0
    """With the gradient of all_rows: gradient steps after each batch, each on some of the latest batches, drawn anew,
    about which the simulator and the critic are asked as they are by then; 0: one step, on the batch itself. No episode
    more is played."""
    replay_batches: int = 2
    """With replays: batches a step."""
    replay_last: int = 100
    """With replays: from so many latest batches."""
    schedule: Schedule = "cosine"
    """How the learning rate falls from its first value to `learning_rate_end` times that."""
    normalise: bool = True
    """Divide each batch's advantages by their standard deviation."""
    objective: Objective = "mean"
    """What is minimised of the total cost: its mean; cvar: the mean of its worst share `alpha`."""
    constraints: tuple[str, ...] = ()
    """What is promised besides, such as money<=0.02, a component's mean, or P(latency>12)<=0.05, how often it is more
    than so much. Which components are bounded is static, the numbers are traced."""

    @property
    def updates(self) -> int:
        """Gradient steps: whole batches that the episodes make, at least one."""
        return max(1, self.episodes // self.batch)


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """The numbers of a training run. Traced: a new value compiles nothing, and each may be an array to vmap over."""

    learning_rate: float = 2e-2
    """Adam's first step size."""
    learning_rate_end: float = 0.02
    """The last step size as a share of the first, where the schedule falls."""
    entropy: float = 0.4
    """Weight of the entropy bonus, falling linearly to 0 over the run. Without it, training on scenarios with a way
    out (escalate, terminate) often ends in taking it at once."""
    clip_norm: float = 10.0
    """Gradients longer than this are shortened to it; inf: never."""
    running_decay: float = 0.9
    """How much of the running baseline stays at each update."""
    critic_learning_rate: float = 2e-2
    """Adam's step size for the critic, on the same schedule."""
    trace: float = 0.8
    """The first λ of the λ-returns that stand for costs to go under a critic, rising linearly to 1 over the run. 1
    from the start: plain costs to go. Less scatters less, but inherits the critic's errors: hence the rise."""
    residual: float = 0.5
    """With the gradient of all_rows: how much counts of what came of the row played, less what was expected of it. 1:
    the critic's errors average out; 0: they stay, and nothing scatters."""
    nearer: float = 0.8
    """With the curriculum nearer: the share of the first batch's episodes that it is for."""
    alpha: float = 0.1
    """The worst share of episodes that the objective cvar is the mean cost of; 1: of all."""
    multiplier_rate: float = 0.2
    """How fast the multipliers of constraints are learned, on the schedule of the learning rate."""


NEARER: Mapping[str, Any] = {"curriculum": "nearer", "critic_learning_rate": 0.05, "entropy": 0.5}
"""Options of training that seldom end in a local optimum, at no more episodes or time than the defaults
(docs/explanation/training.md)."""

REPLAY: Mapping[str, Any] = {
    "gradient": "all_rows",
    "curriculum": "nearer",
    "replays": 8,
    "learning_rate": 0.005,
    "critic_learning_rate": 0.005,
    "running_decay": 0.98,
    "entropy": 0.8,
    "residual": 0.35,
}
"""Options of training that come nearer to the optimum than the defaults, in as many episodes and more time, by planning
with the simulator (docs/explanation/training.md)."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How runs are seeded and evaluated."""

    seeds: int = 5
    """How many independent runs, and as many evaluations."""
    seed: int = 0
    """From which all of them are drawn: the same number gives the same results, bit for bit."""
    evaluation_episodes: int = 1_000
    """Episodes of evaluation a seed; every policy meets the same starts and the same luck."""
    first_seed: int = 0
    """Leave out so many seeds: seed 3 of a run by itself is --first-seed 3 --seeds 1."""


@dataclasses.dataclass(frozen=True)
class LearnConfig:
    """The shape of learning from logs. Static: a new value of any field compiles anew."""

    algorithm: Algorithm = "fitted_q"
    """imitation, cost_sensitive (supervised); fitted_q, cql, gradient (offline)."""
    updates: int = 3_000
    """Gradient steps."""
    minibatch: int = 32
    """Logged episodes a step, drawn with replacement."""
    hidden: tuple[int, ...] = (64,)
    """Units of the hidden layers of every network."""
    policy: PolicyName = "mlp"
    """The architecture of every network: mlp, or gru, which remembers what the episode has shown so far."""
    inputs: InputsName = "observation"
    """What they are shown: the observation, or beside it the belief about which rows are up."""


@dataclasses.dataclass(frozen=True)
class LearnHyperparameters:
    """The numbers of learning from logs. Traced: a new value compiles nothing; each may be an array to vmap over."""

    step_size: float = 1e-2
    """Adam's first step size, falling along a cosine to a fiftieth."""
    pessimism: float = 1.0
    """0: trust what was learned of actions that the logs hardly have. fitted_q: an action's costs are raised by so many
    standard deviations over the root of how often it was logged in such a place (Jin et al., 2021); gradient: by three
    tenths of that in its targets, and by its divergence from the logger; cql: the weight of its regulariser, the less
    the more was logged; cost_sensitive: three tenths of it are the temperature, in standard deviations of the costs to
    go, at which cheap episodes' actions weigh more (large: imitation)."""
    target_rate: float = 0.1
    """How much of the learned network the network of the targets takes over at each step."""
    ratio_limit: float = 2.0
    """gradient: importance ratios are cut there."""


@dataclasses.dataclass(frozen=True)
class EstimateSettings:
    """How estimates are made and when they are refused."""

    resamples: int = 1_000
    """Of the bootstrap."""
    floor: float = 30.0
    """Fewest tasks that importance weights must be worth, in effect; below, what they say is refused."""
    folds: int = 2
    """The model of costs to go is taken from the other folds' tasks, never from the episode's own."""
    penalty: float | None = None
    """Where probabilities must be fitted: of the fit's squared coefficients, which draws it to the frequencies of
    actions, and with several loggers each one to all together. None: by the likelihood of held-out tasks."""
    experimental: bool = False
    """Also the direct method, whose intervals contain the truth less often than they say where its model is not exactly
    right."""
    seed: int = 0
    """Of folds, features and resampling."""


@dataclasses.dataclass(frozen=True)
class CalibrationSettings:
    """How a scenario is fitted to an agent log, and how its prediction is judged."""

    least: int = 20
    """Tools that were called less often are one row, `other`."""
    holdout: float = 0.5
    """The share of the tasks that a fit is judged on, and has not seen."""
    splits: int = 5
    """So often the tasks are divided; at a half, each half is held out once."""
    simulated: int = 4_000
    """Episodes that stand for a fit's prediction."""
    seed: int = 0
    """Of divisions, draws and simulated episodes."""
