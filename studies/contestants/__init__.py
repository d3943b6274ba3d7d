"""Everybody's trainers: a small file a library. `CONTESTANTS` lists them, by the names of tables and files."""

from . import cleanrl_ppo, evosax_agents, ours, purejaxrl_ppo, rejax_agents, sb3_agents, tianshou_ppo, torchrl_ppo
from .common import Contestant

CONTESTANTS: dict[str, Contestant] = {
    kind.name: kind()
    for kind in (
        ours.Default,
        ours.Replay,
        ours.AllRows,
        ours.Reinforce,
        rejax_agents.PPO,
        rejax_agents.DQN,
        rejax_agents.PQN,
        purejaxrl_ppo.PPO,
        evosax_agents.Evosax,
        sb3_agents.PPO,
        sb3_agents.DQN,
        sb3_agents.MaskablePPO,
        sb3_agents.RecurrentPPO,
        cleanrl_ppo.PPO,
        tianshou_ppo.PPO,
        torchrl_ppo.PPO,
    )
}
