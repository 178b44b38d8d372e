"""``python -m agentrt.cli``: the command line where its script is not on the path."""

from agentrt.cli import main

main()
