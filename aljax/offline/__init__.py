"""Learning from logged episodes, and estimating from them what a policy would cost.

Data flow one way: data → arrays, identity, unusual → reading, writing; data → algorithms → learn → learning → regimes;
and data → behaviour, model, estimators → question, answer → doubts → estimate → report, plots. The estimators and what
they stand on take plain arrays, from a simulator or from real agents.
"""
