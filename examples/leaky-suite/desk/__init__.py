"""The assistant's tools, and the rules that stand in for its model (`planner`)."""
