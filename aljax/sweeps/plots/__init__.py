"""Pictures of a sweep, a file a picture: `axes`, `heat_map`, `curves`, `pareto`; `draw` says which of them apply."""
