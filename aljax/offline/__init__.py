"""Learning from logged episodes, and estimating from them what a policy would cost.

Data flow one way: data → files → learn → regimes, and data → behaviour, model, estimators → estimate → report →
command. The estimators and what they stand on take plain arrays, from a simulator or from real agents.
"""
