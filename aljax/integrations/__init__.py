"""A router inside other people's agents: a small file a framework, each imports its framework when used.

`langchain` (LangChain and LangGraph), `pydantic_ai`, `openai_agents`, `mcp` (a server). They need neither JAX nor
NumPy, only the framework: the extras are called as the frameworks are, ``pip install 'aljax[pydantic-ai]'``.
"""
